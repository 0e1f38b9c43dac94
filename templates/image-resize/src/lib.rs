//! Makes images small enough: `POST /?width=W&height=H`, PNG or JPEG in, the same out.

use std::io::Cursor;

use anyhow::Result;
use image::{ImageError, ImageFormat, ImageReader, Limits};
use wstd::http::{Body, Method, Request, Response, StatusCode};

/// The longest side, in pixels, of what comes in and of what goes out.
const SIDE_MAX: u32 = 4096;
/// What decoding may allocate: an image of few bytes can have many pixels.
const DECODED_BYTES_MAX: u64 = 40 << 20;

#[wstd::http_server]
async fn main(mut request: Request<Body>) -> Result<Response<Body>> {
    if request.method() != Method::POST {
        return text(StatusCode::METHOD_NOT_ALLOWED, "POST an image\n");
    }
    let size = match size(request.uri().query().unwrap_or_default()) {
        Some(size) => size,
        None => {
            return text(
                StatusCode::BAD_REQUEST,
                "?width=W&height=H is right, or one of them: 1 to 4096\n",
            );
        }
    };
    match resize(request.body_mut().contents().await?, size) {
        Ok((format, bytes)) => Ok(Response::builder()
            .header("content-type", format.to_mime_type())
            .body(bytes.into())?),
        Err(ImageError::Limits(error)) => {
            text(StatusCode::PAYLOAD_TOO_LARGE, &format!("{error}\n"))
        }
        Err(error) => text(StatusCode::UNSUPPORTED_MEDIA_TYPE, &format!("{error}\n")),
    }
}

/// The box that the image has to fit into; a side that is not given is not limited.
fn size(query: &str) -> Option<(u32, u32)> {
    let (mut width, mut height) = (None, None);
    for parameter in query.split('&').filter(|it| !it.is_empty()) {
        let (name, value) = parameter.split_once('=')?;
        let side = value
            .parse()
            .ok()
            .filter(|side| (1..=SIDE_MAX).contains(side))?;
        match name {
            "width" => width = Some(side),
            "height" => height = Some(side),
            _ => return None,
        }
    }
    width.or(height)?;
    Some((width.unwrap_or(SIDE_MAX), height.unwrap_or(SIDE_MAX)))
}

/// Keeps the proportions.
fn resize(bytes: &[u8], (width, height): (u32, u32)) -> Result<(ImageFormat, Vec<u8>), ImageError> {
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(SIDE_MAX);
    limits.max_image_height = Some(SIDE_MAX);
    limits.max_alloc = Some(DECODED_BYTES_MAX);
    reader.limits(limits);
    let format = reader.format().unwrap_or(ImageFormat::Png);
    let mut image = reader.decode()?;
    if image.width() > width || image.height() > height {
        image = image.thumbnail(width, height);
    }
    let mut out = Cursor::new(Vec::new());
    image.write_to(&mut out, format)?;
    Ok((format, out.into_inner()))
}

fn text(status: StatusCode, text: &str) -> Result<Response<Body>> {
    Ok(Response::builder().status(status).body(text.into())?)
}
