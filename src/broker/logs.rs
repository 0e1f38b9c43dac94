//! Log lines of all workers, appended to one file or to standard output, and each tenant's to its own
//! besides ([`super::tenant_files`]).
//!
//! ```text
//! worker 0 ──datagrams──► reader ─┐   LOG_QUEUE_BATCHES   ┌────────────────┐
//! worker 1 ──datagrams──► reader ─┴──────── queue ───────►│ writer thread  │──► file or stdout
//!                                                          │ gathers, writes│
//!                                                          └────────────────┘
//! ```
//!
//! A disk that stalls fills the queue, then the workers' channels; workers drop what finds no room
//! and count it, and never wait. Lines that cannot be written are counted here.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::tenant_files::{Names, TenantFiles};
use crate::config::{LogDir, limits};
use crate::sys::{AsyncChannel, report};

/// Datagrams that wait for the writer, each of at most `LOG_BATCH_BYTES_MAX`.
const LOG_QUEUE_BATCHES: usize = 64;

/// Bytes gathered for one write; the last datagram may go over.
const WRITE_BYTES: usize = 256 * 1024;

/// Shortest time between two reports of lines that could not be written.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// What the writer is given.
#[derive(Debug)]
enum Entry {
    /// Lines, each with its end.
    Lines(Vec<u8>),
    /// The file may have been renamed.
    Reopen,
}

/// The writer thread's inlet.
#[derive(Debug)]
pub(super) struct Logs {
    queue: mpsc::Sender<Entry>,
    writer: JoinHandle<()>,
    readers: tokio::task::JoinSet<()>,
    /// The tenants that have files of their own, where tenants have.
    pub(super) names: Names,
}

impl Logs {
    /// Opens the log, and each tenant's in `tenants` when it has a line, and starts the writer.
    pub(super) fn open(path: Option<PathBuf>, tenants: Option<LogDir>) -> io::Result<Logs> {
        let file = open(path.as_deref())?;
        let (queue, entries) = mpsc::channel(LOG_QUEUE_BATCHES);
        let names = Names::default();
        let writer = Writer {
            path,
            file,
            tenants: tenants.map(|place| TenantFiles::new(place, names.clone())),
            torn: false,
            lost: 0,
            reported: None,
        };
        let writer = std::thread::Builder::new()
            .name("skep-log".into())
            .spawn(|| writer.run(entries))?;
        Ok(Logs {
            queue,
            writer,
            readers: tokio::task::JoinSet::new(),
            names,
        })
    }

    /// Reads a worker's log channel to its end.
    pub(super) fn read(&mut self, channel: AsyncChannel) {
        while self.readers.try_join_next().is_some() {}
        self.readers.spawn(read(channel, self.queue.clone()));
    }

    /// Opens the file again before the next write.
    pub(super) async fn reopen(&self) {
        // The writer outlives this inlet.
        let _ = self.queue.send(Entry::Reopen).await;
    }

    /// Reads what the channels hold (their other ends are closed), writes it, and ends. Whoever
    /// calls this sets the time it may take.
    pub(super) async fn finish(mut self) {
        while self.readers.join_next().await.is_some() {}
        drop(self.queue);
        let _ = tokio::task::spawn_blocking(move || self.writer.join()).await;
    }
}

async fn read(channel: AsyncChannel, queue: mpsc::Sender<Entry>) {
    let mut buf = Vec::new();
    loop {
        match channel.recv_bytes(&mut buf).await {
            Ok(true) => {}
            Ok(false) => return,
            // Too long: dropped.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => continue,
            Err(_) => return,
        }
        let mut lines = buf.clone();
        lines.truncate(limits::LOG_BATCH_BYTES_MAX);
        if lines.last() != Some(&b'\n') {
            lines.push(b'\n');
        }
        if queue.send(Entry::Lines(lines)).await.is_err() {
            return;
        }
    }
}

struct Writer {
    path: Option<PathBuf>,
    file: File,
    tenants: Option<TenantFiles>,
    /// The last write stopped within a line.
    torn: bool,
    /// Lines not written since the last report.
    lost: usize,
    reported: Option<Instant>,
}

impl Writer {
    fn run(mut self, mut entries: mpsc::Receiver<Entry>) {
        let mut gathered = Vec::with_capacity(WRITE_BYTES);
        while let Some(first) = entries.blocking_recv() {
            let mut next = Some(first);
            while let Some(entry) = next {
                match entry {
                    Entry::Lines(lines) => gathered.extend_from_slice(&lines),
                    Entry::Reopen => {
                        self.write(&mut gathered);
                        self.reopen();
                    }
                }
                next = if gathered.len() < WRITE_BYTES {
                    entries.try_recv().ok()
                } else {
                    None
                };
            }
            self.write(&mut gathered);
        }
        self.report();
    }

    /// Writes and empties `gathered`.
    fn write(&mut self, gathered: &mut Vec<u8>) {
        if self.torn && !gathered.is_empty() {
            self.torn = self.file.write_all(b"\n").is_err();
        }
        let mut rest = &gathered[..];
        while !rest.is_empty() {
            match self.file.write(rest) {
                Ok(length) if length > 0 => rest = &rest[length..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                _ => break,
            }
        }
        if !rest.is_empty() {
            let written = gathered.len() - rest.len();
            self.torn |= written > 0 && gathered[written - 1] != b'\n';
            self.lost += rest.iter().filter(|&&byte| byte == b'\n').count();
        }
        if let Some(tenants) = &mut self.tenants {
            self.lost += tenants.write(gathered);
        }
        gathered.clear();
        if self.lost > 0
            && self
                .reported
                .is_none_or(|at| at.elapsed() >= REPORT_INTERVAL)
        {
            self.report();
        }
    }

    fn report(&mut self) {
        if self.lost > 0 {
            report::line(format_args!(
                "log: {} lines could not be written",
                self.lost
            ));
            self.lost = 0;
            self.reported = Some(Instant::now());
        }
    }

    fn reopen(&mut self) {
        if let Some(tenants) = &mut self.tenants {
            tenants.reopen();
        }
        match open(self.path.as_deref()) {
            Ok(file) => (self.file, self.torn) = (file, false),
            Err(error) => report::line(format_args!("log: keeps the old file: {error}")),
        }
    }
}

fn open(path: Option<&Path>) -> io::Result<File> {
    let Some(path) = path else {
        return Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?));
    };
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)
        .map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("log file {}: {error}", path.display()),
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::channel::Channel;
    use std::fs;

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(test);
    }

    #[test]
    fn lines_arrive_whole_and_in_order_also_across_a_rotation() {
        run(async {
            let dir = tempfile::tempdir().unwrap();
            let (path, old) = (dir.path().join("log"), dir.path().join("log.1"));
            let mut logs = Logs::open(Some(path.clone()), None).unwrap();
            let (ours, theirs) = Channel::pair().unwrap();
            logs.read(AsyncChannel::new(theirs).unwrap());
            ours.try_send_bytes(b"{\"n\":1}\n{\"n\":2}\n", &[]).unwrap();
            ours.try_send_bytes(b"{\"n\":3}", &[]).unwrap();
            while fs::read(&path).unwrap().len() < 24 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            fs::rename(&path, &old).unwrap();
            logs.reopen().await;
            ours.try_send_bytes(b"{\"n\":4}\n", &[]).unwrap();
            drop(ours);
            logs.finish().await;
            assert_eq!(
                fs::read(&old).unwrap(),
                b"{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n"
            );
            assert_eq!(fs::read(&path).unwrap(), b"{\"n\":4}\n");
        });
    }

    #[test]
    fn what_cannot_be_written_is_counted() {
        let file = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut writer = Writer {
            path: None,
            file,
            tenants: None,
            torn: false,
            lost: 0,
            reported: Some(Instant::now()),
        };
        writer.write(&mut b"1\n2\n3\n".to_vec());
        assert_eq!(writer.lost, 3);
    }
}
