//! Clients that come, wait, read and leave in any order, and an origin that answers, fails or breaks off in
//! any order: at the end everybody has something, and nothing is left over.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    /// A client with a language.
    Come(u8),
    /// The waiter of this place is polled, the fill is answered, and so on; places count round.
    Poll(usize),
    Leave(usize),
    Answer(usize, u8),
    Fail(usize),
    GiveUp(usize),
    Push(usize),
    Finish(usize),
    Break(usize),
    Read(usize),
    Purge(bool),
    Wait,
}

fn step() -> impl Strategy<Value = Step> {
    let place = || 0_usize..64;
    prop_oneof![
        10 => (0_u8..3).prop_map(Step::Come),
        8 => place().prop_map(Step::Poll),
        2 => place().prop_map(Step::Leave),
        6 => (place(), 0_u8..7).prop_map(|(place, what)| Step::Answer(place, what)),
        1 => place().prop_map(Step::Fail),
        2 => place().prop_map(Step::GiveUp),
        8 => place().prop_map(Step::Push),
        4 => place().prop_map(Step::Finish),
        1 => place().prop_map(Step::Break),
        8 => place().prop_map(Step::Read),
        1 => any::<bool>().prop_map(Step::Purge),
        3 => Just(Step::Wait),
    ]
}

struct Swarm {
    bench: Bench,
    now_s: u64,
    waiters: Vec<(Waiter, Arc<Bell>, usize)>,
    fills: Vec<Fill>,
    writers: Vec<(Writer, usize)>,
    /// With the piece that each wants next.
    readers: Vec<(Answer, usize)>,
}

const RESPONSES: [(u16, Fields<'static>); 7] = [
    (
        200,
        &[
            (
                "cache-control",
                "max-age=30, stale-while-revalidate=10, stale-if-error=60",
            ),
            ("etag", "\"a\""),
        ],
    ),
    (
        200,
        &[
            ("cache-control", "max-age=30"),
            ("vary", "accept-language"),
            ("etag", "\"b\""),
        ],
    ),
    (200, &[("cache-control", "no-cache"), ("etag", "\"c\"")]),
    (200, &[("cache-control", "private")]),
    (304, &[]),
    (503, &[]),
    (404, &[("cache-control", "max-age=5")]),
];

/// Pieces are numbered, so that a reader sees what it misses; a few are as large as an object may be.
fn piece(number: usize) -> Bytes {
    let size = if number % 8 == 7 { 30_000 } else { 10 };
    Bytes::from(vec![u8::try_from(number % 251).unwrap(); size])
}

fn pick<T>(from: &[T], place: usize) -> Option<usize> {
    (!from.is_empty()).then(|| place % from.len())
}

impl Swarm {
    fn now(&self) -> Now {
        self.bench.at(self.now_s * 1_000)
    }

    fn take(&mut self, lookup: Lookup) {
        match lookup {
            Lookup::Fresh(answer) | Lookup::Stale(answer, None) => self.readers.push((answer, 0)),
            Lookup::Stale(answer, Some(fill)) => {
                self.readers.push((answer, 0));
                self.fills.push(fill);
            }
            Lookup::Miss(fill) | Lookup::Revalidate(fill) => self.fills.push(fill),
            Lookup::Wait(waiter) => self.waiters.push((waiter, Arc::default(), 0)),
            Lookup::Pass(_) | Lookup::Failed => {}
            Lookup::Unavailable => panic!("nobody asked for that"),
        }
    }

    /// Polls a waiter if it was never polled or was woken since, as an executor does; whether it did.
    fn poll(&mut self, place: usize) -> bool {
        let (waiter, bell, polled) = &mut self.waiters[place];
        if *polled > bell.rings() {
            return false;
        }
        *polled = bell.rings() + 1;
        if let Poll::Ready(lookup) = poll(waiter, bell) {
            drop(self.waiters.remove(place));
            self.take(lookup);
        }
        true
    }

    fn answer(&mut self, place: usize, what: u8) {
        let fill = self.fills.remove(place);
        let (status, fields) = RESPONSES[usize::from(what)];
        let now = self.now();
        match fill.answered(head(status, fields), now.instant, now) {
            Outcome::Store(answer, writer) => {
                self.readers.push((answer, 0));
                self.writers.push((writer, 0));
            }
            Outcome::Stored(answer) => self.readers.push((answer, 0)),
            Outcome::Again(fill) => self.fills.push(fill),
            Outcome::Pass { .. } => {}
        }
    }

    fn push(&mut self, place: usize) {
        let (writer, number) = &mut self.writers[place];
        if writer
            .poll_ready(&Context::from_waker(Waker::noop()))
            .is_ready()
        {
            writer.push(&piece(*number));
            *number += 1;
        }
    }

    /// Reads a piece, which is the next one; stored bodies are cut differently.
    fn read(&mut self, place: usize) {
        let (answer, next) = &mut self.readers[place];
        match answer
            .body
            .poll_chunk(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(Some(Ok(chunk))) => {
                let mut left = &chunk[..];
                while !left.is_empty() {
                    let expected = piece(*next);
                    assert!(left.starts_with(&expected));
                    left = &left[expected.len()..];
                    *next += 1;
                }
            }
            Poll::Ready(_) => drop(self.readers.remove(place)),
            Poll::Pending => {}
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Come(language) => {
                let language = language.to_string();
                let lookup = self
                    .bench
                    .tenant
                    .lookup(&get(URL, &[("accept-language", &language)]), self.now());
                self.take(lookup);
            }
            Step::Poll(place) => {
                if let Some(place) = pick(&self.waiters, *place) {
                    self.poll(place);
                }
            }
            Step::Leave(place) => {
                drop(pick(&self.waiters, *place).map(|place| self.waiters.remove(place)));
            }
            Step::Answer(place, what) => {
                if let Some(place) = pick(&self.fills, *place) {
                    self.answer(place, *what);
                }
            }
            Step::Fail(place) => {
                let fill = pick(&self.fills, *place).map(|place| self.fills.remove(place));
                let answer = fill.and_then(|fill| fill.failed(self.now()));
                self.readers.extend(answer.map(|answer| (answer, 0)));
            }
            Step::GiveUp(place) => {
                drop(pick(&self.fills, *place).map(|place| self.fills.remove(place)));
            }
            Step::Push(place) => {
                if let Some(place) = pick(&self.writers, *place) {
                    self.push(place);
                }
            }
            Step::Finish(place) => {
                if let Some(place) = pick(&self.writers, *place) {
                    self.writers.remove(place).0.finish();
                }
            }
            Step::Break(place) => {
                drop(pick(&self.writers, *place).map(|place| self.writers.remove(place)));
            }
            Step::Read(place) => {
                if let Some(place) = pick(&self.readers, *place) {
                    self.read(place);
                }
            }
            Step::Purge(stale) => {
                let how = if *stale { How::MakeStale } else { How::Remove };
                self.bench.tenant.purge(Purge::All, how, self.now());
            }
            Step::Wait => self.now_s += 7,
        }
        self.bench.tenant.0.check(false);
    }

    /// The origin answers all there is; then nobody may be waiting without having been woken.
    fn end(mut self) {
        for _ in 0..10_000 {
            if !self.fills.is_empty() {
                self.answer(0, 3);
            } else if let Some((writer, _)) = self.writers.pop() {
                writer.finish();
            } else if !(0..self.waiters.len()).any(|place| self.poll(place)) {
                break;
            }
        }
        assert_eq!(
            (self.waiters.len(), self.fills.len(), self.writers.len()),
            (0, 0, 0),
            "somebody was forgotten"
        );
        for _ in 0..10_000 {
            if self.readers.is_empty() {
                break;
            }
            self.read(0);
        }
        assert!(self.readers.is_empty(), "somebody reads for ever");
        self.bench.idle();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn nobody_is_forgotten(steps in prop::collection::vec(step(), 1..200)) {
        let bench = Bench::with(Settings { bytes_max: 200_000, object_bytes_max: 100_000, ..SETTINGS });
        let mut swarm = Swarm {
            bench, now_s: 0, waiters: Vec::new(), fills: Vec::new(), writers: Vec::new(), readers: Vec::new(),
        };
        for one in &steps {
            swarm.step(one);
        }
        swarm.end();
    }
}
