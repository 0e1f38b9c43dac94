//! The cache as a proxy uses it: an origin that is a table, and clocks that are numbers.

#![allow(clippy::too_many_lines, clippy::option_option)] // tables, and what they say

mod below;
mod collapse;
mod freshness;
mod lookup;
mod model;
mod purge;
mod swarm;

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};

use super::body::Aborted;
use super::status::Forward;
use super::wait::Waiter;
use super::*;

/// Enough that nothing is evicted.
const ROOM: u64 = 1 << 30;

const URL: &str = "https://a.test/x";

/// Sun, 06 Nov 1994 08:49:37 GMT.
const EPOCH_S: u64 = 784_111_777;
const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

const SETTINGS: Settings = Settings {
    bytes_max: ROOM,
    object_bytes_max: 1 << 20,
    client_directives: true,
};

type Fields<'a> = &'a [(&'a str, &'a str)];

struct Bench {
    worker: Worker,
    tenant: Tenant,
    start: Instant,
}

impl Bench {
    fn new() -> Self {
        Self::with(SETTINGS)
    }

    fn with(settings: Settings) -> Self {
        let worker = Worker::new(ROOM);
        let tenant = worker.tenant(settings);
        Self {
            worker,
            tenant,
            start: Instant::now(),
        }
    }

    /// So many milliseconds after [`DATE`].
    fn at(&self, ms: u64) -> Now {
        Now {
            instant: self.start + Duration::from_millis(ms),
            wall: wall(ms),
        }
    }

    fn look(&self, fields: Fields<'_>, ms: u64) -> Lookup {
        self.tenant.lookup(&get(URL, fields), self.at(ms))
    }

    /// Has the origin answer 200 with these fields and this body; whether it is stored.
    fn store(&self, request: Fields<'_>, response: Fields<'_>, body: &str, ms: u64) -> bool {
        self.store_at(URL, request, response, body, ms)
    }

    fn store_at(
        &self,
        url: &str,
        request: Fields<'_>,
        response: Fields<'_>,
        body: &str,
        ms: u64,
    ) -> bool {
        let fill = fill(self.tenant.lookup(&get(url, request), self.at(ms)));
        let now = self.at(ms);
        match fill.answered(head(200, response), now.instant, now) {
            Outcome::Store(answer, mut writer) => {
                let demand = writer.push(&Bytes::copy_from_slice(body.as_bytes()));
                drop(answer);
                demand == Demand::Storing && writer.finish()
            }
            Outcome::Pass { .. } => false,
            other => panic!("{other:?}"),
        }
    }

    fn idle(&self) {
        self.tenant.0.check(true);
        assert_eq!(self.worker.bytes(), self.tenant.counters().bytes);
    }
}

fn wall(ms: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(EPOCH_S * 1_000 + ms)
}

fn headers(fields: Fields<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, value.parse().unwrap());
    }
    headers
}

fn request(method: Method, url: &str, fields: Fields<'_>) -> Request {
    Request {
        method,
        url: Rc::from(url),
        headers: Rc::new(headers(fields)),
    }
}

fn get(url: &str, fields: Fields<'_>) -> Request {
    request(Method::GET, url, fields)
}

fn head(status: u16, fields: Fields<'_>) -> OriginHead {
    OriginHead {
        status: StatusCode::from_u16(status).unwrap(),
        headers: headers(fields),
        length: None,
    }
}

fn fill(lookup: Lookup) -> Fill {
    match lookup {
        Lookup::Miss(fill) | Lookup::Revalidate(fill) => fill,
        other => panic!("{}", kind(&other)),
    }
}

fn answer(lookup: Lookup) -> Answer {
    match lookup {
        Lookup::Fresh(answer) | Lookup::Stale(answer, _) => answer,
        other => panic!("{}", kind(&other)),
    }
}

/// A lookup in a word.
fn kind(lookup: &Lookup) -> String {
    match lookup {
        Lookup::Fresh(_) => "fresh".into(),
        Lookup::Stale(_, Some(_)) => "stale+fill".into(),
        Lookup::Stale(_, None) => "stale".into(),
        Lookup::Revalidate(_) => "revalidate".into(),
        Lookup::Miss(_) => "miss".into(),
        Lookup::Wait(_) => "wait".into(),
        Lookup::Pass(reason) => format!("pass {}", reason.as_str()),
        Lookup::Unavailable => "unavailable".into(),
        Lookup::Failed => "failed".into(),
    }
}

/// The whole body, which has to be here.
fn text(answer: &mut Answer) -> String {
    let mut whole = Vec::new();
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        match answer.body.poll_chunk(&mut cx) {
            Poll::Ready(Some(chunk)) => whole.extend_from_slice(&chunk.unwrap()),
            Poll::Ready(None) => return String::from_utf8(whole).unwrap(),
            Poll::Pending => panic!("it waits after {whole:?}"),
        }
    }
}

/// Counts how often it is woken.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Bell {
    fn rings(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Polls once.
fn poll(waiter: &mut Waiter, bell: &Arc<Bell>) -> Poll<Lookup> {
    let waker = Waker::from(Arc::clone(bell));
    std::pin::Pin::new(waiter).poll(&mut Context::from_waker(&waker))
}
