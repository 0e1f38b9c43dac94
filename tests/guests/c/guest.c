// A hello in C with nothing beneath it: no libc and no generated bindings, only the canonical ABI of the component model.
//
// Each import is a core function whose parameters are the flattened WIT parameters. A result that does not fit one core
// value is stored through a last pointer parameter: its discriminant first (0 is ok), then its payload, aligned.
//
//   result<own<T>, E>   │ u8 tag │ pad │ u32 handle │            result<u64, E>   │ u8 tag │ pad … │ u64 │

#include <stddef.h>
#include <stdint.h>

#define IMPORT(module, name) __attribute__((import_module(module), import_name(name)))
#define HTTP "wasi:http/types@0.2.4"
#define STREAMS "wasi:io/streams@0.2.4"

typedef uint32_t handle;

typedef struct {
    uint8_t tag;
    handle value;
} result_handle;

typedef struct {
    uint8_t tag;
    uint64_t value;
} result_u64;

// Room for a `result<_, error-code>` and for a `result<_, stream-error>`; only the tag is read.
typedef struct {
    uint64_t tag_and_payload[6];
} result_none;

typedef struct {
    const char *name;
    size_t name_bytes;
    const char *value;
    size_t value_bytes;
} field;

IMPORT(HTTP, "[static]fields.from-list")
void fields_from_list(const field *list, size_t length, result_handle *out);
IMPORT(HTTP, "[constructor]outgoing-response")
handle outgoing_response_new(handle fields);
IMPORT(HTTP, "[method]outgoing-response.body")
void outgoing_response_body(handle response, result_handle *out);
IMPORT(HTTP, "[static]response-outparam.set")
void response_outparam_set(handle param, int32_t tag, handle response, int32_t, int64_t, int32_t, int32_t, int32_t,
                           int32_t);
IMPORT(HTTP, "[method]outgoing-body.write")
void outgoing_body_write(handle body, result_handle *out);
IMPORT(HTTP, "[static]outgoing-body.finish")
void outgoing_body_finish(handle body, int32_t has_trailers, handle trailers, result_none *out);
IMPORT(HTTP, "[resource-drop]incoming-request")
void incoming_request_drop(handle request);
IMPORT(STREAMS, "[method]output-stream.check-write")
void output_stream_check_write(handle stream, result_u64 *out);
IMPORT(STREAMS, "[method]output-stream.write")
void output_stream_write(handle stream, const char *bytes, size_t length, result_none *out);
IMPORT(STREAMS, "[resource-drop]output-stream")
void output_stream_drop(handle stream);

static const char BODY[] = "Hello from skep\n";
#define BODY_BYTES (sizeof BODY - 1)

#define FIELD(name, value) {name, sizeof name - 1, value, sizeof value - 1}
static const field HEADERS[] = {FIELD("content-type", "text/plain"), FIELD("content-length", "16")};

// Where the host would put a string that it returns: only an error code carries one, and none is read.
__attribute__((export_name("cabi_realloc")))
void *cabi_realloc(void *old, size_t old_size, size_t align, size_t size) {
    static _Alignas(16) uint8_t room[1024];
    (void)old, (void)old_size, (void)align;
    if (size > sizeof room) __builtin_trap();
    return room;
}

__attribute__((export_name("wasi:http/incoming-handler@0.2.4#handle")))
void handle_request(handle request, handle out) {
    result_handle fields, body, stream;
    result_u64 room;
    result_none done;

    incoming_request_drop(request);
    fields_from_list(HEADERS, sizeof HEADERS / sizeof *HEADERS, &fields);
    if (fields.tag) __builtin_trap();
    handle response = outgoing_response_new(fields.value);
    outgoing_response_body(response, &body);
    if (body.tag) __builtin_trap();
    response_outparam_set(out, 0, response, 0, 0, 0, 0, 0, 0);
    outgoing_body_write(body.value, &stream);
    if (stream.tag) __builtin_trap();
    output_stream_check_write(stream.value, &room);
    if (!room.tag && room.value >= BODY_BYTES) output_stream_write(stream.value, BODY, BODY_BYTES, &done);
    output_stream_drop(stream.value);
    outgoing_body_finish(body.value, 0, 0, &done);
}
