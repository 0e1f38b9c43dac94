//! The sampler against the kernel's own account of real processes.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use skep_load::sampler::Sampler;

/// A server whose workers work for some 0.2 s each and end, one after the other.
const SERVER: &str = "\
    for worker in 1 2 3 4 5 6; do \
        sh -c 'i=0; while [ $i -lt 120000 ]; do i=$((i+1)); done' & wait $!; \
    done; \
    read stop";

#[test]
fn workers_that_end_are_counted_once() {
    let children_ms = || {
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
        usage.user_time().num_milliseconds() + usage.system_time().num_milliseconds()
    };
    let before_ms = children_ms();
    let mut server = Command::new("sh")
        .args(["-c", SERVER])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut sampler = Sampler::new(Path::new("/"), server.id());
    let (mut last, mut most_processes) = (0.0, 0);
    let began = Instant::now();
    let mut quiet = 0;
    // Until the workers are done: the server has been alone for five samples.
    while quiet < 5 && began.elapsed() < Duration::from_secs(60) {
        sleep(Duration::from_millis(30));
        let sample = sampler
            .sample(began.elapsed().as_secs_f64())
            .expect("the server reads its input");
        assert!(sample.cpu_s >= last, "CPU time does not shrink");
        assert!(sample.rss_bytes > 0);
        last = sample.cpu_s;
        most_processes = most_processes.max(sample.processes);
        quiet = if sample.processes == 1 { quiet + 1 } else { 0 };
    }
    drop(server.stdin.take());
    server.wait().unwrap();
    assert!(sampler.sample(0.0).is_none(), "the server has ended");
    assert_eq!(most_processes, 2);
    let truth_s = (children_ms() - before_ms) as f64 / 1e3;
    assert!(
        (last - truth_s).abs() < 0.06,
        "sampled {last} s, the kernel says {truth_s} s"
    );
}
