//! Every template of `skep new`: it is written, built and served by the lines that the command prints, and does what its
//! README says.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "in a test, a panic is the report"
)]

#[path = "templates/app.rs"]
mod app;
mod common;
#[path = "templates/images.rs"]
mod images;
#[path = "templates/s3.rs"]
mod s3;

use std::process::Command;

use app::{App, built};
use common::Origin;
use images::{drawn, jpeg_size, png, read_png};
use s3::Bucket;

#[test]
fn wasi_http_rust() {
    let app = App::start("wasi-http-rust", "");
    assert_eq!(
        app.get("/").expect(200).text(),
        "Hello from wasi-http-rust\n"
    );
    let body = vec![b'x'; 3 << 20];
    assert_eq!(app.post("/echo", &body).expect(200).body, body);
    app.post("/", b"").expect(405);
    app.get("/other").expect(404);
    let other = App::start("wasi-http-rust", "--env GREETING=Hi");
    assert_eq!(
        other.get("/").expect(200).text(),
        "Hi from wasi-http-rust\n"
    );
}

#[test]
fn fastedge_rust() {
    let app = App::start("fastedge-rust", "");
    let greeted = app.get("/").expect(200);
    assert_eq!(greeted.text(), "hello from fastedge-rust\n");
    assert_eq!(greeted.header("content-type"), Some("text/plain"));
    let refused = app.post("/", b"").expect(405);
    assert_eq!(refused.header("allow"), Some("GET"));
}

#[test]
fn anonymous_proxy() {
    let origin = Origin::start();
    let app = App::start("anonymous-proxy", "--egress 127.0.0.1");
    let url = |path: &str| format!("/?url=http%3A%2F%2F127.0.0.1:{}{path}", origin.port());
    let told = app.get(&url("/hello")).expect(200).text();
    assert_eq!(told, "len = 5, content-type = None\n");
    // The head that the origin got has a line for its method, its host, and so on, and nothing of the client's.
    let plain = app.get(&url("/head")).expect(200).text();
    let told = app
        .get_with(&url("/head"), "cookie: who=me\r\n")
        .expect(200);
    assert_eq!(told.text(), plain);
    for path in ["/", "/?uri=x", "/?url=%ff", "/?url=%20"] {
        app.get(path).expect(400);
    }
    // Not allowed, and not there.
    app.get("/?url=http%3A%2F%2F10.0.0.1%2F").expect(502);
    app.get(&url("/drop")).expect(502);
}

#[test]
fn markdown_to_html() {
    let app = App::start("markdown-to-html", "");
    let html = |markdown: &[u8]| {
        let made = app.post("/", markdown).expect(200);
        assert_eq!(
            made.header("content-type"),
            Some("text/html; charset=utf-8")
        );
        made.text()
    };
    for (markdown, expected) in [
        ("# One *two*", "<h1>One <em>two</em></h1>\n"),
        ("~~gone~~", "<p><del>gone</del></p>\n"),
        (
            "[a](https://b.test/?c:d)",
            "<p><a href=\"https://b.test/?c:d\">a</a></p>\n",
        ),
        ("[a](b/c)", "<p><a href=\"b/c\">a</a></p>\n"),
        ("[a](JavaScript:b)", "<p><a href=\"#\">a</a></p>\n"),
        ("a <b>c</b>", "<p>a &lt;b&gt;c&lt;/b&gt;</p>\n"),
        ("", ""),
    ] {
        assert_eq!(html(markdown.as_bytes()), expected, "{markdown}");
    }
    assert!(html(b"|a|\n|-|\n|b|").contains("<td>b</td>"));
    app.post("/", b"\xff\xfe").expect(400);
    app.get("/").expect(405);
}

#[test]
fn wasi_http_js() {
    let app = App::start("wasi-http-js", "");
    let greeted = app.get("/?name=Ada").expect(200);
    assert_eq!(greeted.text(), "Hello, Ada, from wasi-http-js\n");
    let body = vec![b'x'; 1 << 20];
    assert_eq!(app.post("/echo", &body).expect(200).body, body);
    app.post("/", b"").expect(404);
    app.get("/other").expect(404);
}

#[test]
fn cdn_filter_rust() {
    let origin = Origin::start();
    // Beside the server of the printed line, which is not there.
    let app = App::start("cdn-filter-rust", &format!("--origin {}", origin.url()));
    let refused = app.get("/hello").expect(403);
    assert_eq!(refused.text(), "no token\n");
    app.get_with("/hello", "x-token: guess\r\n").expect(403);
    assert_eq!(origin.connections(), 0);
    let passed = app.get_with("/head", "x-token: letmein\r\n").expect(200);
    assert_eq!(passed.header("x-filtered-by"), Some("cdn-filter-rust"));
    assert!(!passed.text().contains("x-token"), "{passed:?}");
}

#[test]
fn image_resize() {
    let app = App::start("image-resize", "");
    // Red on the left, blue on the right.
    let image = png(
        64,
        32,
        |x, _| if x < 32 { [255, 0, 0] } else { [0, 0, 255] },
    );
    for (query, size) in [
        ("width=16", (16, 8)),
        ("height=8", (16, 8)),
        ("width=40&height=8", (16, 8)),
        ("width=8&height=8", (8, 4)),
        ("width=100&height=100", (64, 32)),
    ] {
        let made = app.post(&format!("/?{query}"), &image).expect(200);
        assert_eq!(made.header("content-type"), Some("image/png"));
        let (width, height, pixels) = read_png(&made.body);
        assert_eq!((width, height), size, "{query}");
        assert_eq!(pixels[..3], [255, 0, 0], "{query}");
        assert_eq!(pixels[pixels.len() - 3..], [0, 0, 255], "{query}");
    }
    let photo = include_bytes!("templates/photo.jpg");
    assert_eq!(jpeg_size(photo), (64, 32));
    let made = app.post("/?width=16", photo).expect(200);
    assert_eq!(made.header("content-type"), Some("image/jpeg"));
    assert_eq!(jpeg_size(&made.body), (16, 8));
    for query in [
        "",
        "?",
        "?width=0",
        "?width=4097",
        "?width=-1",
        "?width",
        "?depth=3",
    ] {
        app.post(&format!("/{query}"), &image).expect(400);
    }
    // Few bytes, and too many pixels: too wide, and too much memory.
    let black = |width, height| png(width, height, |_, _| [0, 0, 0]);
    app.post("/?width=9", &black(4_097, 1)).expect(413);
    app.post("/?width=9", &black(4_096, 4_096)).expect(413);
    for bytes in [
        &b""[..],
        b"no image at all",
        &image[..image.len() / 2],
        &photo[..20],
    ] {
        app.post("/?width=9", bytes).expect(415);
    }
    app.get("/?width=9").expect(405);
}

#[test]
fn image_classify() {
    let app = App::start("image-classify", "");
    for label in ["circle", "square", "triangle"] {
        // Of any size and either brightness.
        for (side, ink, back) in [(28, 255, 0), (100, 20, 200), (301, 0, 255)] {
            let told = app.post("/", &drawn(label, side, ink, back)).expect(200);
            assert_eq!(told.header("content-type"), Some("application/json"));
            let told: serde_json::Value = serde_json::from_slice(&told.body).unwrap();
            assert_eq!(told["label"], label, "{side} {ink} {back}: {told}");
            assert_eq!(told["scores"].as_array().map(Vec::len), Some(3));
        }
    }
    app.post("/", b"no image at all").expect(415);
    app.post("/", &png(2_049, 1, |_, _| [0, 0, 0])).expect(415);
    app.get("/").expect(405);
}

/// The program's own tests: the model names images right that it has not learnt from, and training makes it again.
#[test]
fn image_classify_is_right_and_can_be_made_again() {
    let dir = built("image-classify");
    let test = Command::new("cargo")
        .args(["test", "--release", "--locked", "--test", "model"])
        .env("CARGO_TARGET_DIR", dir.join("target"))
        .current_dir(&dir)
        .output()
        .expect("cargo");
    let said = String::from_utf8_lossy(&test.stdout);
    assert!(
        said.contains("2 passed"),
        "{said}{}",
        String::from_utf8_lossy(&test.stderr)
    );
}

#[test]
fn s3_upload() {
    let bucket = Bucket::start("uploads", "us-east-1", "minio", "minio123");
    let place = format!("--env S3_ENDPOINT={}", bucket.url());
    let app = App::start("s3-upload", &place);
    const TOKEN: &str = "authorization: Bearer letmein\r\n";
    let fields = format!("{TOKEN}content-type: image/jpeg\r\n");
    let put = app.send("PUT /pets/cat.jpg", &fields, b"a cat").expect(201);
    assert_eq!(put.text(), "pets/cat.jpg\n");
    let object = bucket.object("/uploads/pets/cat.jpg").expect("the object");
    assert_eq!(object.body, b"a cat");
    // It knows the type, and not the token.
    assert!(
        object.head.contains("content-type: image/jpeg\r\n"),
        "{}",
        object.head
    );
    assert!(!object.head.contains("letmein"), "{}", object.head);
    app.send("PUT /empty", TOKEN, b"").expect(201);
    assert_eq!(
        bucket.object("/uploads/empty").map(|it| it.body),
        Some(Vec::new())
    );

    let half = vec![b'x'; 1 << 20];
    let mut client = app.connect();
    client.send(format!(
        "PUT /large HTTP/1.1\r\nhost: a.test\r\n{TOKEN}content-length: {}\r\n\r\n",
        2 << 20
    ));
    client.send(&half);
    // The bucket has the one half before the client sends the other.
    bucket.wait_for_bytes("/uploads/large", 1 << 19);
    client.send(&half);
    client.read_response().expect(201);
    assert_eq!(
        bucket.object("/uploads/large").map(|it| it.body.len()),
        Some(2 << 20)
    );

    let kept = bucket.objects();
    for fields in [
        "",
        "authorization: Bearer letmeout\r\n",
        "authorization: Bearer \r\n",
        "authorization: letmein\r\n",
    ] {
        app.send("PUT /a", fields, b"x").expect(401);
    }
    for path in ["/", "/a//b", "/a/../b", "/./a", "/a%20b", "/a/"] {
        app.send(&format!("PUT {path}"), TOKEN, b"x").expect(400);
    }
    app.send("POST /a", TOKEN, b"x").expect(405);
    let mut client = app.connect();
    client.send(format!(
        "PUT /a HTTP/1.1\r\nhost: a.test\r\n{TOKEN}transfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"
    ));
    client.read_response().expect(411);
    let wrong = App::start("s3-upload", &format!("{place} --secret S3_SECRET=other"));
    wrong.send("PUT /a", TOKEN, b"x").expect(502);
    assert_eq!(bucket.objects(), kept);
}
