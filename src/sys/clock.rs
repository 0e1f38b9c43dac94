//! Clocks, in nanoseconds.

/// CPU time of the calling thread, in nanoseconds: user and system, from its start. A system call,
/// about 0.2 µs.
pub fn thread_cpu_ns() -> u64 {
    now(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// Time since an arbitrary start, in nanoseconds, that never goes back. Answered by the vDSO, about
/// 25 ns.
pub fn monotonic_ns() -> u64 {
    now(libc::CLOCK_MONOTONIC)
}

fn now(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid place to write to. The call cannot fail: both clocks exist on every
    // Linux.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_counts_work_and_not_sleep() {
        let (cpu, wall) = (thread_cpu_ns(), monotonic_ns());
        std::thread::sleep(std::time::Duration::from_millis(30));
        let slept = thread_cpu_ns() - cpu;
        assert!(slept < 10_000_000, "{slept} ns of CPU for a sleep");
        assert!(monotonic_ns() - wall >= 30_000_000);
        while thread_cpu_ns() - cpu < slept + 5_000_000 {}
    }
}
