//! Sending a response.

use wasip2::http::types::{
    Fields, HeaderError, OutgoingBody, OutgoingResponse, ResponseOutparam, Trailers,
};
use wasip2::io::streams::OutputStream;

/// A whole response: 200 with this text.
pub fn text(out: ResponseOutparam, text: &str) {
    let body = start(out, 200, Fields::new());
    write(&body, text.as_bytes());
    let _ = OutgoingBody::finish(body, None);
}

/// A response whose only field is this one; or the text of the error that the field was refused with.
pub fn field(out: ResponseOutparam, name: &str, value: &[u8]) {
    match fields(&[(name, value)]) {
        Ok(fields) => {
            let body = start(out, 200, fields);
            write(&body, b"sent\n");
            let _ = OutgoingBody::finish(body, None);
        }
        Err(error) => text(out, &format!("refused {error:?}\n")),
    }
}

/// Makes fields.
pub fn fields(list: &[(&str, &[u8])]) -> Result<Fields, HeaderError> {
    let list: Vec<_> = list
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.to_vec()))
        .collect();
    Fields::from_list(&list)
}

/// Sends the head; the body is to be written and finished.
pub fn start(out: ResponseOutparam, status: u16, fields: Fields) -> OutgoingBody {
    let response = OutgoingResponse::new(fields);
    let accepted = response.set_status_code(status).is_ok();
    let body = response.body().expect("the first body of a response");
    ResponseOutparam::set(out, Ok(response));
    if !accepted {
        write(&body, b"refused status\n");
    }
    body
}

/// Writes bytes to a body, waiting where there is no room.
pub fn write(body: &OutgoingBody, bytes: &[u8]) {
    let stream = body.write().expect("the first stream of a body");
    write_to(&stream, bytes);
}

/// Writes until all is taken or the stream has ended.
pub fn write_to(stream: &OutputStream, bytes: &[u8]) {
    for piece in bytes.chunks(4096) {
        if stream.blocking_write_and_flush(piece).is_err() {
            return;
        }
    }
}

/// Ends a body with these trailers.
pub fn finish(body: OutgoingBody, trailers: Option<Trailers>) -> String {
    match OutgoingBody::finish(body, trailers) {
        Ok(()) => "finished".to_owned(),
        Err(error) => format!("{error:?}"),
    }
}
