//! The HTTP handler: an image in, its label and scores out.

use std::io::Cursor;

use anyhow::Result;
use image::imageops::FilterType;
use image::{ImageError, ImageReader, Limits};
use wstd::http::{Body, Method, Request, Response, StatusCode};

use crate::model::{LABELS, Model, SIDE};

/// The longest side of an image, in pixels.
const SIDE_MAX: u32 = 2048;
/// What decoding may allocate: an image of few bytes can have many pixels.
const DECODED_BYTES_MAX: u64 = 32 << 20;

#[wstd::http_server]
async fn main(mut request: Request<Body>) -> Result<Response<Body>> {
    if request.method() != Method::POST {
        return answer(
            StatusCode::METHOD_NOT_ALLOWED,
            "text/plain",
            "POST an image\n".to_owned(),
        );
    }
    let pixels = match pixels(request.body_mut().contents().await?) {
        Ok(pixels) => pixels,
        Err(error) => {
            return answer(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "text/plain",
                format!("{error}\n"),
            );
        }
    };
    let scores = Model::shipped().scores(&pixels);
    let best = (0..LABELS.len())
        .max_by(|a, b| scores[*a].total_cmp(&scores[*b]))
        .unwrap_or(0);
    let json = format!(
        "{{\"label\": {:?}, \"scores\": {scores:.3?}}}\n",
        LABELS[best]
    );
    answer(StatusCode::OK, "application/json", json)
}

/// PNG or JPEG as the model wants to see it.
fn pixels(bytes: &[u8]) -> Result<Vec<u8>, ImageError> {
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(SIDE_MAX);
    limits.max_image_height = Some(SIDE_MAX);
    limits.max_alloc = Some(DECODED_BYTES_MAX);
    reader.limits(limits);
    let grey = reader.decode()?.grayscale();
    Ok(grey
        .resize_exact(SIDE as u32, SIDE as u32, FilterType::Triangle)
        .into_luma8()
        .into_raw())
}

fn answer(status: StatusCode, content_type: &str, text: String) -> Result<Response<Body>> {
    Ok(Response::builder()
        .status(status)
        .header("content-type", content_type)
        .body(text.into())?)
}
