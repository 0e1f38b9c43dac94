//! A disk in memory, which can fail, and can lose its power.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use redb::{Database, StorageBackend};

use super::super::file::lay_out;
use super::super::{Embedded, OpenError, Opener};
use super::*;

/// Shared by all that open it.
#[derive(Clone, Debug)]
pub struct Disk(Arc<Mutex<Sectors>>);

#[derive(Debug, Default)]
struct Sectors {
    /// What is read.
    now: Vec<u8>,
    /// What is certainly kept.
    synced: Vec<u8>,
    /// What was done since, in its order.
    unsynced: Vec<Unsynced>,
    /// How many more writes there are before there is no space.
    writes_left: Option<usize>,
}

#[derive(Clone, Debug)]
enum Unsynced {
    Length(usize),
    Sector(usize, Vec<u8>),
}

/// What the database reads as a whole.
const PAGE: usize = 4_096;

/// What a disk writes as a whole.
const SECTOR: usize = 512;

impl Disk {
    /// One with a file that has no keys.
    pub fn new() -> Self {
        let disk = Self(Arc::default());
        lay_out(&disk.database().unwrap()).unwrap();
        disk
    }

    /// Opens the file.
    pub fn open(&self) -> Result<Embedded, OpenError> {
        let disk = self.clone();
        Embedded::with(Opener::of(move || disk.database()), Path::new("disk"))
    }

    /// Lets so many writes happen, and no more; `None` for all.
    pub fn fill(&self, writes_left: Option<usize>) {
        self.0.lock().unwrap().writes_left = writes_left;
    }

    /// What may be left when the power goes now: of what was not synced, that for which `is_kept`.
    pub fn without_power(&self, mut is_kept: impl FnMut() -> bool) -> Self {
        let sectors = self.0.lock().unwrap();
        let mut kept = sectors.synced.clone();
        for unsynced in &sectors.unsynced {
            if is_kept() {
                unsynced.happen(&mut kept);
            }
        }
        Self(Arc::new(Mutex::new(Sectors {
            now: kept.clone(),
            synced: kept,
            ..Sectors::default()
        })))
    }

    /// Damages the page that has these bytes in it.
    pub fn damage(&self, bytes: &[u8]) {
        let mut sectors = self.0.lock().unwrap();
        let is_there = |at: &usize| sectors.now[*at..].starts_with(bytes);
        let all: Vec<_> = (0..sectors.now.len()).filter(is_there).collect();
        assert!(!all.is_empty());
        for at in all {
            let page = at - at % PAGE;
            // How many rows there are, and where they end.
            sectors.now[page + 2..page + 64].fill(0xff);
        }
    }

    fn database(&self) -> Result<Database, redb::DatabaseError> {
        Database::builder().create_with_backend(self.clone())
    }

    fn happen(&self, unsynced: Vec<Unsynced>) -> io::Result<()> {
        let mut sectors = self.0.lock().unwrap();
        sectors.take_write()?;
        for unsynced in unsynced {
            unsynced.happen(&mut sectors.now);
            sectors.unsynced.push(unsynced);
        }
        Ok(())
    }
}

impl Sectors {
    fn take_write(&mut self) -> io::Result<()> {
        match &mut self.writes_left {
            Some(0) => Err(io::ErrorKind::StorageFull.into()),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Unsynced {
    fn happen(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Length(length) => bytes.resize(*length, 0),
            Self::Sector(at, data) => {
                let end = at + data.len();
                bytes.resize(bytes.len().max(end), 0);
                bytes[*at..end].copy_from_slice(data);
            }
        }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let sectors = self.0.lock().unwrap();
        let from = sectors.now.get(offset as usize..).unwrap_or_default();
        let from = from.get(..out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(from);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.happen(vec![Unsynced::Length(len as usize)])
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut sectors = self.0.lock().unwrap();
        sectors.take_write()?;
        sectors.synced = sectors.now.clone();
        sectors.unsynced.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let (mut at, mut rest, mut sectors) = (offset as usize, data, Vec::new());
        while !rest.is_empty() {
            let length = rest.len().min(SECTOR - at % SECTOR);
            let (sector, after) = rest.split_at(length);
            sectors.push(Unsynced::Sector(at, sector.to_vec()));
            (at, rest) = (at + length, after);
        }
        self.happen(sectors)
    }
}

#[test]
fn a_disk_that_is_full_is_used_again_when_there_is_space() {
    for writes in 0..40 {
        let (store, disk) = new();
        change(&store, set("k", "0")).unwrap();
        disk.fill(Some(writes));
        let mut acknowledged = 0;
        let why = loop {
            let next = set("k", (acknowledged + 1).to_string());
            match store.apply(&[("a/b", PLENTY, &next)]) {
                Ok(_) => acknowledged += 1,
                Err(error) => break error.to_string(),
            }
        };
        assert!(why.contains("no storage space"), "{why}");
        disk.fill(None);
        // Nothing is tried for a while.
        let error = store.query("a/b", &get("k")).unwrap_err();
        assert_eq!(error.to_string(), why);
        store.fail_long_ago();
        // What was acknowledged is there; of the change that failed it is not known.
        let held = store.query("a/b", &get("k"));
        let may_be = [acknowledged, acknowledged + 1].map(|number| value(&number.to_string()));
        assert!(may_be.contains(&held), "{held:?} after {acknowledged}");
        change(&store, set("k", "on")).unwrap();
        assert_eq!(query(&store, get("k")), value("on"));
        check_whole(&store);
    }
}

#[test]
fn a_damaged_page_is_an_error_of_who_needs_it() {
    let (store, disk) = new();
    for number in 0..500 {
        change(
            &store,
            set(&format!("k{number:03}"), format!("value {number:03}")),
        )
        .unwrap();
    }
    drop(store);
    disk.damage(b"value 250");
    let store = disk.open().unwrap();
    let damaged = query(&store, get("k250")).unwrap_err().to_string();
    assert!(damaged.contains("a page is damaged"), "{damaged}");
    for _ in 0..3 {
        let (bad, good) = (set("k250", "new"), set("k499", "new"));
        let apply = |change| store.apply(&[("a/b", PLENTY, change)]);
        assert_eq!(apply(&bad).unwrap_err().to_string(), damaged);
        assert_eq!(apply(&good), Ok(vec![DONE]));
        assert_eq!(query(&store, get("k499")), value("new"));
        assert_eq!(query(&store, get("k000")), value("value 000"));
        assert_eq!(query(&store, exists("k250")), Ok(Answer::Bool(true)));
    }
}

impl Embedded {
    /// As if the pause were over.
    fn fail_long_ago(&self) {
        if let State::Failed { at, .. } = &mut *self.state.write().unwrap() {
            *at -= PAUSE;
        }
    }
}
