//! When the calling thread runs, relative to others on its core.

use std::io;

/// How soon a thread that wakes gets its core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// At once: `SCHED_FIFO` of the lowest priority preempts every ordinary thread. Needs
    /// `CAP_SYS_NICE` or an `RLIMIT_RTPRIO` of 1 or more.
    RealTime,
    /// When the kernel's fair scheduler gives it its turn.
    Fair,
}

/// Makes the calling thread run as soon as it wakes, as far as this process may.
///
/// Only for threads that sleep almost always: a real-time thread that computes starves its core.
/// Threads and processes that it starts are ordinary ones again.
///
/// Source: sched(7).
pub fn wake_at_once() -> Wake {
    match set_scheduler(libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, 1) {
        Ok(()) => Wake::RealTime,
        // EPERM, or a cgroup (v1) without real-time share. The thread is what it was.
        Err(_) => Wake::Fair,
    }
}

/// Makes the threads that the calling thread starts from now on wake at once, as far as this process
/// may: for one that is about to lose the permission. Until [`fair`], the calling thread does, too.
pub fn wake_next_at_once() -> Wake {
    match set_scheduler(libc::SCHED_FIFO, 1) {
        Ok(()) => Wake::RealTime,
        Err(_) => Wake::Fair,
    }
}

/// Makes the calling thread an ordinary one again, as everyone may.
///
/// # Errors
/// None that is documented for this policy.
pub fn fair() -> io::Result<()> {
    set_scheduler(libc::SCHED_OTHER, 0)
}

fn set_scheduler(policy: libc::c_int, priority: libc::c_int) -> io::Result<()> {
    // SAFETY: `sched_param` is plain data, and zero is a valid value of every field.
    let mut parameters: libc::sched_param = unsafe { std::mem::zeroed() };
    parameters.sched_priority = priority;
    // SAFETY: the pointer is to a live `sched_param`, which the call only reads; pid 0 is the calling
    // thread.
    let done = unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Policy of the calling thread: field 41 of `/proc/thread-self/stat` (proc_pid_stat(5)).
    fn policy() -> i32 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let after_name = stat.rsplit_once(')').unwrap().1;
        after_name
            .split_ascii_whitespace()
            .nth(38)
            .unwrap()
            .parse()
            .unwrap()
    }

    #[test]
    fn the_kernel_agrees_with_what_is_said_and_children_are_ordinary() {
        std::thread::spawn(|| {
            let wake = wake_at_once();
            let expected = match wake {
                Wake::RealTime => libc::SCHED_FIFO,
                Wake::Fair => libc::SCHED_OTHER,
            };
            assert_eq!(policy(), expected);
            let child = std::thread::spawn(policy).join().unwrap();
            assert_eq!(child, libc::SCHED_OTHER);
        })
        .join()
        .unwrap();
    }
}
