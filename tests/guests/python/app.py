"""A guest in Python: / says hello, /echo sends the body back."""

from componentize_py_types import Err, Ok
from wit_world.exports import IncomingHandler as Exported
from wit_world.imports.streams import StreamError_Closed
from wit_world.imports.types import Fields, IncomingBody, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam

SPLICE_BYTES_MAX = 64 * 1024


class IncomingHandler(Exported):
    def handle(self, request: IncomingRequest, response_out: ResponseOutparam) -> None:
        path = (request.path_with_query() or "/").split("?")[0]
        if path == "/echo":
            echo(request, response_out)
        elif path == "/":
            text(response_out, 200, b"Hello from skep\n")
        else:
            text(response_out, 404, b"no such route\n")


def text(response_out: ResponseOutparam, status: int, text: bytes) -> None:
    body = start(response_out, status, [("content-type", b"text/plain"), ("content-length", b"%d" % len(text))])
    with body.write() as stream:
        stream.blocking_write_and_flush(text)
    OutgoingBody.finish(body, None)


def echo(request: IncomingRequest, response_out: ResponseOutparam) -> None:
    repeated = [("content-type", value) for value in request.headers().get("content-type")]
    incoming = request.consume()
    body = start(response_out, 200, repeated)
    with incoming.stream() as source, body.write() as sink:
        try:
            while True:
                sink.blocking_splice(source, SPLICE_BYTES_MAX)
        except Err as end:
            if not isinstance(end.value, StreamError_Closed):
                raise
    OutgoingBody.finish(body, None)


def start(response_out: ResponseOutparam, status: int, headers: list[tuple[str, bytes]]) -> OutgoingBody:
    """Sends the head of a response and returns its body."""
    response = OutgoingResponse(Fields.from_list(headers))
    response.set_status_code(status)
    body = response.body()
    ResponseOutparam.set(response_out, Ok(response))
    return body
