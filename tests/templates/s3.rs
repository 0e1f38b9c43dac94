//! An S3-compatible bucket that takes what is signed for it: it computes AWS Signature Version 4 of each request anew, as
//! "Authenticating Requests: Using Query Parameters" in the Amazon S3 API reference has it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use data_encoding::HEXLOWER;
use ring::{digest, hmac};

use crate::common::PATIENCE;

/// What was put there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object {
    /// The head of the request.
    pub head: String,
    /// The body, as far as it has come.
    pub body: Vec<u8>,
    /// Whether all of it has come.
    is_whole: bool,
}

/// A server on a free port, for as long as the process lives.
pub struct Bucket {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    name: &'static str,
    region: &'static str,
    key: &'static str,
    secret: &'static str,
    objects: Mutex<BTreeMap<String, Object>>,
    changed: Condvar,
}

impl Bucket {
    /// A bucket of that name, for who has the key and its secret.
    pub fn start(
        name: &'static str,
        region: &'static str,
        key: &'static str,
        secret: &'static str,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            name,
            region,
            key,
            secret,
            objects: Mutex::default(),
            changed: Condvar::new(),
        });
        let served = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&served);
                std::thread::spawn(move || while shared.serve(&stream).is_some() {});
            }
        });
        Self { address, shared }
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Everything that is whole.
    pub fn objects(&self) -> BTreeMap<String, Object> {
        let mut objects = self.shared.objects.lock().expect("objects").clone();
        objects.retain(|_, object| object.is_whole);
        objects
    }

    /// What is at `/BUCKET/KEY`.
    pub fn object(&self, path: &str) -> Option<Object> {
        self.objects().remove(path)
    }

    /// Waits until so much of an object has come.
    #[track_caller]
    pub fn wait_for_bytes(&self, path: &str, bytes: usize) {
        let is_short = |objects: &mut BTreeMap<String, Object>| {
            objects.get(path).is_none_or(|it| it.body.len() < bytes)
        };
        let objects = self.shared.objects.lock().expect("objects");
        let waited = self
            .shared
            .changed
            .wait_timeout_while(objects, PATIENCE, is_short);
        assert!(
            !waited.expect("objects").1.timed_out(),
            "{path} does not come"
        );
    }
}

impl Shared {
    /// One request; nothing when the connection has ended.
    fn serve(&self, mut stream: &TcpStream) -> Option<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).ok()?;
            head.extend(byte);
        }
        let head = String::from_utf8(head).ok()?;
        let (status, why) = match self.refusal(&head) {
            None => ("200 OK", ""),
            Some(why) => ("403 Forbidden", why),
        };
        let left = header(&head, "content-length").and_then(|length| length.parse().ok())?;
        let path = head.split([' ', '?']).nth(1)?.to_owned();
        self.take(stream, left, |piece| {
            if why.is_empty() {
                let mut objects = self.objects.lock().expect("objects");
                let object = objects.entry(path.clone()).or_default();
                object.head.clone_from(&head);
                object.body.extend_from_slice(piece);
                object.is_whole = object.body.len() == left;
                self.changed.notify_all();
            }
        })?;
        let length = why.len();
        write!(
            stream,
            "HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{why}"
        )
        .ok()
    }

    /// Reads a body; a body of no bytes is one empty piece.
    fn take(
        &self,
        mut stream: &TcpStream,
        mut left: usize,
        mut each: impl FnMut(&[u8]),
    ) -> Option<()> {
        each(b"");
        let mut piece = vec![0; 64 * 1024];
        while left > 0 {
            let room = left.min(piece.len());
            let length = stream
                .read(&mut piece[..room])
                .ok()
                .filter(|length| *length > 0)?;
            each(&piece[..length]);
            left -= length;
        }
        Some(())
    }

    /// Why a request is not taken.
    fn refusal(&self, head: &str) -> Option<&'static str> {
        let Some(("PUT", target)) = head
            .split_once(" HTTP/1.1")
            .and_then(|(line, _)| line.split_once(' '))
        else {
            return Some("no PUT");
        };
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        if !path.starts_with(&format!("/{}/", self.name)) {
            return Some("another bucket");
        }
        let mut parameters: Vec<_> = query.split('&').collect();
        let value = |name: &str| {
            let prefix = format!("{name}=");
            query
                .split('&')
                .find_map(|it| it.strip_prefix(prefix.as_str()))
                .unwrap_or_default()
        };
        let (time, seconds) = (value("X-Amz-Date"), value("X-Amz-Expires"));
        let Some(age) = age(time) else {
            return Some("no time");
        };
        if !(-60..seconds.parse().unwrap_or(0)).contains(&age) {
            return Some("out of time");
        }
        let (day, region) = (&time[..8], self.region);
        let scope = format!("{day}/{region}/s3/aws4_request");
        let credential = format!("{}/{scope}", self.key).replace('/', "%2F");
        if value("X-Amz-Algorithm") != "AWS4-HMAC-SHA256" || value("X-Amz-Credential") != credential
        {
            return Some("another algorithm, key, day or region");
        }
        parameters.retain(|it| !it.starts_with("X-Amz-Signature="));
        parameters.sort_unstable();
        let signed = value("X-Amz-SignedHeaders").replace("%3B", ";");
        if !signed.split(';').any(|it| it == "host") {
            return Some("the host is not signed");
        }
        let mut canonical = format!("PUT\n{path}\n{}\n", parameters.join("&"));
        for name in signed.split(';') {
            canonical += &format!("{name}:{}\n", header(head, name).unwrap_or_default().trim());
        }
        canonical += &format!("\n{signed}\nUNSIGNED-PAYLOAD");
        let hash = HEXLOWER.encode(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
        let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{hash}");
        let mut key = format!("AWS4{}", self.secret).into_bytes();
        for part in [day, region, "s3", "aws4_request", &text] {
            let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), part.as_bytes());
            key = mac.as_ref().to_vec();
        }
        (value("X-Amz-Signature") != HEXLOWER.encode(&key)).then_some("another signature")
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(": ")?;
        key.eq_ignore_ascii_case(name).then_some(value)
    })
}

/// How many seconds ago `20261128T042027Z` was.
fn age(time: &str) -> Option<i64> {
    let number = |from: usize, to: usize| time.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    // Days since 1970, of years that begin in March (H. Hinnant, "chrono-compatible low-level date algorithms").
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days =
        year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    let then = ((days * 24 + number(9, 11)?) * 60 + number(11, 13)?) * 60 + number(13, 15)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Some(now.as_secs() as i64 - then)
}
