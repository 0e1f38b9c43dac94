//! Makes HTML of the Markdown that it is sent.

use anyhow::Result;
use pulldown_cmark::{Event, Options, Parser, Tag, html};
use wstd::http::{Body, Method, Request, Response, StatusCode};

#[wstd::http_server]
async fn main(mut request: Request<Body>) -> Result<Response<Body>> {
    if request.method() != Method::POST {
        return text(StatusCode::METHOD_NOT_ALLOWED, "POST Markdown\n");
    }
    let body = request.body_mut().contents().await?;
    let Ok(markdown) = std::str::from_utf8(body) else {
        return text(
            StatusCode::BAD_REQUEST,
            "Markdown is UTF-8, and this is not\n",
        );
    };
    Ok(Response::builder()
        .header("content-type", "text/html; charset=utf-8")
        .body(to_html(markdown).into())?)
}

/// Whoever wrote the text may not be who reads it: markup in it is shown and not obeyed, and links lead to the web alone.
fn to_html(markdown: &str) -> String {
    let options =
        Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_FOOTNOTES;
    let events = Parser::new_ext(markdown, options).map(|event| match event {
        Event::Html(markup) | Event::InlineHtml(markup) => Event::Text(markup),
        Event::Start(Tag::Link {
            link_type,
            dest_url,
            title,
            id,
        }) => {
            let dest_url = if is_harmless(&dest_url) {
                dest_url
            } else {
                "#".into()
            };
            Event::Start(Tag::Link {
                link_type,
                dest_url,
                title,
                id,
            })
        }
        other => other,
    });
    let mut out = String::with_capacity(markdown.len() * 3 / 2);
    html::push_html(&mut out, events);
    out
}

/// Of what has a scheme, or could be taken to have one, only these.
fn is_harmless(url: &str) -> bool {
    let lower = url.to_ascii_lowercase();
    ["http://", "https://", "mailto:"]
        .iter()
        .any(|it| lower.starts_with(it))
        || !url.contains(':')
}

fn text(status: StatusCode, text: &str) -> Result<Response<Body>> {
    Ok(Response::builder().status(status).body(text.into())?)
}
