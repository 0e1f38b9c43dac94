//! Processes as the kernel shows them in `/proc`, and cores.

use std::fs;
use std::net::SocketAddr;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use super::Client;

/// The cores that this test may run on, in ascending order.
pub fn cores() -> Vec<usize> {
    // The main thread's mask: a test may have pinned its own.
    let pid = Pid::from_raw(std::process::id() as i32);
    let set = sched_getaffinity(pid).expect("reading the affinity mask");
    (0..CpuSet::count())
        .filter(|core| set.is_set(*core).unwrap_or(false))
        .collect()
}

/// Keeps the calling thread on one core.
pub fn pin_thread(core: usize) {
    let mut set = CpuSet::new();
    set.set(core).expect("a core number");
    sched_setaffinity(Pid::from_raw(0), &set).expect("pinning a thread");
}

/// A line of `/proc/PID/status` in KiB: `VmRSS`, `VmHWM`.
pub fn memory_kib(pid: u32, key: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("reading a status");
    status
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))
        .and_then(|value| value.split_whitespace().next()?.parse().ok())
        .unwrap_or_else(|| panic!("no {key} in {status}"))
}

/// CPU time of a process's main thread so far, in nanoseconds.
pub fn cpu_ns(pid: u32) -> u64 {
    schedstat(pid)[0]
}

/// How long it was ready and had no core, in nanoseconds: others had it.
pub fn core_wait_ns(pid: u32) -> u64 {
    schedstat(pid)[1]
}

fn schedstat(pid: u32) -> [u64; 2] {
    let path = format!("/proc/{pid}/task/{pid}/schedstat");
    let text = fs::read_to_string(path).expect("reading schedstat");
    let mut numbers = text.split_whitespace().map(|word| word.parse());
    [(); 2].map(|()| numbers.next().expect("a field").expect("a number"))
}

/// The children of a process that run that subcommand of skep, in the order they were started.
pub(super) fn children(parent: u32, subcommand: &str) -> Vec<u32> {
    let mut found: Vec<(u64, u32)> = fs::read_dir("/proc")
        .expect("listing /proc")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid: u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            // The second field is a name in parentheses, which may contain anything.
            let fields: Vec<_> = stat.rsplit_once(") ")?.1.split(' ').collect();
            let (state, ppid, started) = (fields[0], fields[1], fields[19]);
            let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let words: Vec<_> = line.split(|byte| *byte == 0).collect();
            (ppid.parse() == Ok(parent)
                && state != "Z"
                && words.get(1) == Some(&subcommand.as_bytes()))
            .then_some((started.parse().ok()?, pid))
        })
        .collect();
    found.sort_unstable();
    found.into_iter().map(|(_, pid)| pid).collect()
}

/// Sets `VmHWM` back to the present `VmRSS`, which is returned in KiB (proc_pid_clear_refs(5)).
pub fn reset_memory_peak(pid: u32) -> u64 {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("resetting the peak");
    memory_kib(pid, "VmRSS")
}

/// Whether a process holds the host's end of this connection.
pub fn holds(pid: u32, client: &Client) -> bool {
    let peer = client.stream().peer_addr().expect("an address");
    let local = client.stream().local_addr().expect("an address");
    socket_inode(peer, local)
        .is_some_and(|inode| open_files(pid).contains(&format!("socket:[{inode}]")))
}

/// The inode of the host's end of a connection (`/proc/net/tcp`).
pub fn socket_inode(host: SocketAddr, client: SocketAddr) -> Option<u64> {
    let hex = |addr: SocketAddr| match addr {
        SocketAddr::V4(addr) => format!(
            "{:08X}:{:04X}",
            u32::from_ne_bytes(addr.ip().octets()),
            addr.port()
        ),
        SocketAddr::V6(_) => unreachable!("hosts of tests listen on 127.0.0.1"),
    };
    let table = fs::read_to_string("/proc/net/tcp").expect("the socket table");
    table.lines().find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        (fields.get(1) == Some(&hex(host).as_str()) && fields.get(2) == Some(&hex(client).as_str()))
            .then(|| fields[9].parse().ok())?
    })
}

/// What the open descriptors of a process are.
pub fn open_files(pid: u32) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).expect("listing descriptors");
    entries
        .filter_map(|entry| {
            Some(
                fs::read_link(entry.ok()?.path())
                    .ok()?
                    .display()
                    .to_string(),
            )
        })
        .collect()
}
