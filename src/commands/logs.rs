//! `skep logs`: one tenant's lines, from the files that the broker keeps in `log.dir`.
//!
//! ```text
//! shop.log.2   shop.log.1   shop.log
//!     …            ├── the last N lines ──┤──► --follow
//! ```
//!
//! Lines are printed as they are: they are JSON that has no character a terminal obeys.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use anyhow::{Context, anyhow};

use super::Result;
use crate::cli::LogsArgs;
use crate::config::{Host, LogDir, limits};

/// `skep logs`
pub fn logs(args: &LogsArgs) -> Result {
    let host = Host::load(&args.config)?;
    let file = args.config.display();
    let Some(place) = host.log.tenants else {
        return Err(
            anyhow!("{file}: log.dir is not set; the directory of tenants' logs is right").into(),
        );
    };
    if !host.tenants.iter().any(|it| it.name == args.tenant) {
        return Err(anyhow!(
            "{file}: no tenant {}; the name of a [[tenant]] is right",
            args.tenant
        )
        .into());
    }
    let files = Files {
        place: &place,
        tenant: &args.tenant,
    };
    match files.show(args.lines, args.follow, &mut io::stdout().lock()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        shown => {
            let context = || place.dir.display().to_string();
            Ok(shown.with_context(context)?)
        }
    }
}

/// The files of one tenant.
struct Files<'a> {
    place: &'a LogDir,
    tenant: &'a str,
}

impl Files<'_> {
    fn show(&self, lines: usize, follow: bool, out: &mut impl Write) -> io::Result<()> {
        let mut opened = self.open_all()?;
        let mut left = lines;
        // The oldest file that something is shown of.
        let mut first = opened.len();
        while left > 0 && first > 0 {
            first -= 1;
            left -= seek_back(&mut opened[first], left)?;
        }
        for file in &mut opened[first..] {
            copy(file, out)?;
        }
        if !follow {
            return Ok(());
        }
        let mut current = opened.pop();
        if let Some(file) = &mut current {
            file.seek(SeekFrom::End(0))?;
        }
        loop {
            self.follow(&mut current, out)?;
            std::thread::sleep(Duration::from_millis(limits::LOG_FOLLOW_POLL_MS));
        }
    }

    /// Every file there is, the oldest first. A rotation meanwhile moves a file that is open.
    fn open_all(&self) -> io::Result<Vec<File>> {
        let mut opened: Vec<File> = Vec::new();
        // From the current one: what is moved while this looks is found again under the next number.
        for number in 0..=self.place.keep {
            if let Some(file) = self.open(number)? {
                let inode = file.metadata()?.ino();
                let is_known = |known: &File| known.metadata().is_ok_and(|it| it.ino() == inode);
                if !opened.iter().any(is_known) {
                    opened.push(file);
                }
            }
        }
        opened.reverse();
        Ok(opened)
    }

    fn open(&self, number: usize) -> io::Result<Option<File>> {
        match File::open(self.place.numbered(self.tenant, number)) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Shows what has come since, and goes on to the next file where `current` was moved away.
    fn follow(&self, current: &mut Option<File>, out: &mut impl Write) -> io::Result<()> {
        loop {
            let next = match current {
                Some(file) => {
                    // Looked up first: what is not the current file any more gets no more lines, so
                    // the copy that follows is all of it.
                    let next = self.after(file)?;
                    copy(file, out)?;
                    next
                }
                None => self.open_all()?.into_iter().next(),
            };
            match next {
                Some(next) => *current = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// The file that was begun after this one was full, if there is one.
    fn after(&self, file: &File) -> io::Result<Option<File>> {
        let inode = file.metadata()?.ino();
        let is_at = |number: usize| {
            let path = self.place.numbered(self.tenant, number);
            fs::metadata(path).is_ok_and(|it| it.ino() == inode)
        };
        if is_at(0) {
            return Ok(None);
        }
        match (1..=self.place.keep).find(|number| is_at(*number)) {
            Some(number) => self.open(number - 1),
            // So much has come that it is gone: all that is left comes after it.
            None => Ok(self.open_all()?.into_iter().next()),
        }
    }
}

/// Moves to the start of the last `lines` lines; says how many there are.
fn seek_back(file: &mut File, lines: usize) -> io::Result<usize> {
    let mut end = file.seek(SeekFrom::End(0))?;
    let mut found = 0;
    let mut block = vec![0; limits::LOG_READ_BYTES];
    let mut is_last = true;
    while end > 0 {
        let start = end.saturating_sub(block.len() as u64);
        let read = &mut block[..(end - start) as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(read)?;
        for (at, _) in read
            .iter()
            .enumerate()
            .rev()
            .filter(|(_, byte)| **byte == b'\n')
        {
            // The one at the very end ends the last line and begins none.
            if std::mem::take(&mut is_last) && start + at as u64 + 1 == end {
                continue;
            }
            found += 1;
            if found == lines {
                file.seek(SeekFrom::Start(start + at as u64 + 1))?;
                return Ok(lines);
            }
        }
        is_last = false;
        end = start;
    }
    let length = file.seek(SeekFrom::End(0))?;
    file.rewind()?;
    // The first line has no line end before it.
    Ok(if length > 0 { found + 1 } else { 0 })
}

fn copy(file: &mut File, out: &mut impl Write) -> io::Result<()> {
    io::copy(file, out)?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(dir: &tempfile::TempDir) -> LogDir {
        LogDir {
            dir: dir.path().to_owned(),
            rotate_bytes: 1 << 20,
            keep: 2,
        }
    }

    fn shown(files: &Files<'_>, lines: usize) -> String {
        let mut out = Vec::new();
        files.show(lines, false, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_last_lines_are_shown_across_files() {
        let dir = tempfile::tempdir().unwrap();
        let place = place(&dir);
        let files = Files {
            place: &place,
            tenant: "a",
        };
        assert_eq!(shown(&files, 5), "");
        fs::write(place.numbered("a", 1), "1\n2\n").unwrap();
        fs::write(place.numbered("a", 0), "3\n4\n5\n").unwrap();
        for (lines, expected) in [
            (0, ""),
            (1, "5\n"),
            (3, "3\n4\n5\n"),
            (4, "2\n3\n4\n5\n"),
            (5, "1\n2\n3\n4\n5\n"),
            (99, "1\n2\n3\n4\n5\n"),
        ] {
            assert_eq!(shown(&files, lines), expected, "{lines}");
        }
        let long = "x".repeat(limits::LOG_READ_BYTES - 1) + "\n";
        fs::write(place.numbered("a", 0), long.repeat(3)).unwrap();
        assert_eq!(shown(&files, 2), long.repeat(2));
        assert_eq!(shown(&files, 4), "2\n".to_owned() + &long.repeat(3));
    }

    #[test]
    fn following_goes_on_after_rotations() {
        let dir = tempfile::tempdir().unwrap();
        let place = place(&dir);
        let files = Files {
            place: &place,
            tenant: "a",
        };
        let (mut current, mut out) = (None, Vec::new());
        let write = |number, text: &str| fs::write(place.numbered("a", number), text).unwrap();
        let rotate = || {
            let _ = fs::rename(place.numbered("a", 1), place.numbered("a", 2));
            fs::rename(place.numbered("a", 0), place.numbered("a", 1)).unwrap();
        };
        let mut check = |expected: &str| {
            files.follow(&mut current, &mut out).unwrap();
            assert_eq!(
                String::from_utf8(std::mem::take(&mut out)).unwrap(),
                expected
            );
        };
        check("");
        write(0, "1\n");
        check("1\n");
        check("");
        write(0, "1\n2\n"); // the same file
        rotate();
        check("2\n");
        write(0, "3\n");
        check("3\n");
        rotate();
        write(0, "4\n");
        rotate();
        write(0, "5\n");
        check("4\n5\n");
        // More than is kept: what is left.
        for text in ["6\n", "7\n", "8\n", "9\n"] {
            rotate();
            write(0, text);
        }
        check("7\n8\n9\n");
    }
}
