//! The file: a copy-on-write B-tree ([redb](https://docs.rs/redb)), as the embedded key-value store is.
//!
//! | table | key | value |
//! |---|---|---|
//! | `objects` | tenant, number | the answer |
//! | `variants` | tenant, URL, number | for which requests, its tags, what it counts |
//! | `tags` | tenant, tag, number | nothing |
//! | `ages` | tenant, number | its URL: in the order in which they came |
//! | `owners` | tenant | its origin, and what its answers count |
//! | `whole` | nothing | whether the process that had it open ended well |

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use redb::backends::FileBackend;
use redb::{Database, Durability, ReadableTable, TableDefinition, WriteTransaction};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::{Found, Object, Selection, Which};
use crate::config::limits;

const FILE: &str = "http_cache.redb";

const OBJECTS: TableDefinition<(&str, u64), &[u8]> = TableDefinition::new("objects");
const VARIANTS: TableDefinition<(&str, &str, u64), &[u8]> = TableDefinition::new("variants");
const TAGS: TableDefinition<(&str, &str, u64), ()> = TableDefinition::new("tags");
const AGES: TableDefinition<(&str, u64), &str> = TableDefinition::new("ages");
const OWNERS: TableDefinition<&str, (u64, u64)> = TableDefinition::new("owners");

const WHOLE: TableDefinition<(), bool> = TableDefinition::new("whole");

type Result<T> = std::result::Result<T, redb::Error>;

/// What is known of an answer without reading it.
#[derive(Serialize, Deserialize)]
struct Variant {
    selection: Selection,
    tags: Vec<String>,
    bytes: u64,
}

/// The file, open.
pub(super) struct Cache {
    database: Database,
    /// Of all tenants together.
    bytes_max: u64,
    /// What each tenant has, and what it may have.
    tenants: FxHashMap<String, Owned>,
    /// Of all tenants.
    bytes: u64,
    next_number: u64,
}

#[derive(Clone, Copy, Default)]
struct Owned {
    bytes: u64,
    bytes_max: u64,
}

/// Removes what was kept there: nobody says any more what of it is to be forgotten.
pub(super) fn remove_file(dir: &Path) {
    // Mostly there is none.
    let _ = std::fs::remove_file(dir.join(FILE));
}

/// Opens `dir/http_cache.redb` for its owner alone, or makes it.
pub(super) fn open_file(dir: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(dir.join(FILE))
}

impl Cache {
    /// With what is in the file; with nothing, if whoever had it open did not end well: what was to be
    /// forgotten last may not have been.
    pub(super) fn open(file: &File, bytes_max: u64) -> Result<Self> {
        let backend = FileBackend::new(file.try_clone()?)?;
        let database = Database::builder()
            .set_cache_size(limits::HTTP_CACHE_DISK_MEMORY_BYTES)
            .create_with_backend(backend)?;
        let (mut tenants, mut next_number) = (FxHashMap::default(), 0);
        let transaction = begin(&database)?;
        let was_whole = {
            let mut whole = transaction.open_table(WHOLE)?;
            let was_whole = whole.insert((), false)?;
            was_whole.is_none_or(|it| it.value())
        };
        if !was_whole {
            transaction.delete_table(OBJECTS)?;
            transaction.delete_table(VARIANTS)?;
            transaction.delete_table(TAGS)?;
            transaction.delete_table(AGES)?;
            transaction.delete_table(OWNERS)?;
        }
        {
            transaction.open_table(OBJECTS)?;
            transaction.open_table(VARIANTS)?;
            transaction.open_table(TAGS)?;
            for owner in transaction.open_table(OWNERS)?.iter()? {
                let (name, value) = owner?;
                let owned = Owned {
                    bytes: value.value().1,
                    bytes_max: u64::MAX,
                };
                tenants.insert(name.value().to_owned(), owned);
            }
            for age in transaction.open_table(AGES)?.iter()? {
                next_number = next_number.max(age?.0.value().1 + 1);
            }
        }
        transaction.commit()?;
        Ok(Self {
            database,
            bytes_max,
            bytes: tenants.values().map(|it: &Owned| it.bytes).sum(),
            tenants,
            next_number,
        })
    }

    /// A transaction, on disk when its commit returns.
    pub(super) fn begin(&self) -> Result<WriteTransaction> {
        begin(&self.database)
    }

    /// Nothing more is changed: what is there may be used by the next process.
    pub(super) fn set_whole(&self, at: &WriteTransaction) -> Result<()> {
        at.open_table(WHOLE)?.insert((), true)?;
        Ok(())
    }

    /// A tenant's origin and bytes are these from now on.
    pub(super) fn own(
        &mut self,
        at: &WriteTransaction,
        tenant: &str,
        site: u64,
        bytes_max: u64,
    ) -> Result<()> {
        let known = at.open_table(OWNERS)?.get(tenant)?.map(|it| it.value().0);
        if known.is_some_and(|known| known != site) {
            self.forget(at, tenant, &Which::All)?;
        }
        let owned = self.tenants.entry(tenant.to_owned()).or_default();
        owned.bytes_max = bytes_max;
        let bytes = owned.bytes;
        at.open_table(OWNERS)?.insert(tenant, (site, bytes))?;
        self.make_room(at, tenant, 0).map(|_| ())
    }

    /// The answers for a URL.
    pub(super) fn find(&self, at: &WriteTransaction, tenant: &str, url: &str) -> Result<Found> {
        let mut found = Found::default();
        for (number, variant) in variants(at, tenant, url)? {
            found.variants.push((number, variant.selection));
        }
        found.variants.reverse();
        if let [(number, _)] = &found.variants[..] {
            found.only = object(at, tenant, *number)?;
        }
        Ok(found)
    }

    /// One answer for a URL.
    pub(super) fn fetch(
        &self,
        at: &WriteTransaction,
        tenant: &str,
        url: &str,
        number: u64,
    ) -> Result<Option<Box<Object>>> {
        let is_there = at
            .open_table(VARIANTS)?
            .get((tenant, url, number))?
            .is_some();
        match is_there {
            true => object(at, tenant, number),
            false => Ok(None),
        }
    }

    /// Keeps an answer instead of the one for the same requests.
    pub(super) fn keep(
        &mut self,
        at: &WriteTransaction,
        tenant: &str,
        url: &str,
        object: &Object,
    ) -> Result<()> {
        let known = variants(at, tenant, url)?;
        let same = |variant: &Variant| variant.selection == object.selection;
        let is_full = known.len() >= limits::HTTP_CACHE_VARIANTS_MAX;
        for (place, (number, variant)) in known.iter().enumerate() {
            if same(variant) || (place == 0 && is_full) {
                self.remove(at, tenant, url, *number)?;
            }
        }
        let Ok(encoded) = postcard::to_stdvec(object) else {
            return Ok(()); // it was decoded a moment ago
        };
        // The tags and the selection are in it; each is in a row of its own besides, and the URL in two.
        let tags = object.tags.iter();
        let tags: u64 = tags
            .map(|tag| tag.len() as u64 + limits::HTTP_CACHE_DISK_OVERHEAD_BYTES)
            .sum();
        let variant = Variant {
            selection: object.selection.clone(),
            tags: object.tags.clone(),
            bytes: 2 * (encoded.len() as u64 - object.bytes())
                + object.bytes()
                + 2 * url.len() as u64
                + tags
                + limits::HTTP_CACHE_DISK_OVERHEAD_BYTES,
        };
        let Ok(described) = postcard::to_stdvec(&variant) else {
            return Ok(());
        };
        if !self.make_room(at, tenant, variant.bytes)? {
            return Ok(());
        }
        let number = self.next_number;
        self.next_number += 1;
        at.open_table(OBJECTS)?
            .insert((tenant, number), &encoded[..])?;
        at.open_table(VARIANTS)?
            .insert((tenant, url, number), &described[..])?;
        at.open_table(AGES)?.insert((tenant, number), url)?;
        let mut tags = at.open_table(TAGS)?;
        for tag in &object.tags {
            tags.insert((tenant, tag.as_str(), number), ())?;
        }
        drop(tags);
        self.count(at, tenant, |bytes| bytes + variant.bytes)
    }

    /// Forgets answers.
    pub(super) fn forget(
        &mut self,
        at: &WriteTransaction,
        tenant: &str,
        which: &Which,
    ) -> Result<()> {
        let mut meant: Vec<(String, u64)> = Vec::new();
        match which {
            Which::Url(url) => {
                let known = variants(at, tenant, url)?;
                meant.extend(known.into_iter().map(|(number, _)| (url.clone(), number)));
            }
            Which::Prefix(prefix) => {
                let table = at.open_table(VARIANTS)?;
                for entry in table.range((tenant, prefix.as_str(), 0)..)? {
                    let (key, _) = entry?;
                    let (of, url, number) = key.value();
                    if of != tenant || !url.starts_with(prefix.as_str()) {
                        break;
                    }
                    meant.push((url.to_owned(), number));
                }
            }
            Which::Tag(tag) => {
                let (table, ages) = (at.open_table(TAGS)?, at.open_table(AGES)?);
                let tag = tag.as_str();
                for entry in table.range((tenant, tag, 0)..=(tenant, tag, u64::MAX))? {
                    let number = entry?.0.value().2;
                    if let Some(url) = ages.get((tenant, number))? {
                        meant.push((url.value().to_owned(), number));
                    }
                }
            }
            Which::All => {
                let table = at.open_table(AGES)?;
                for entry in table.range((tenant, 0)..=(tenant, u64::MAX))? {
                    let (key, url) = entry?;
                    meant.push((url.value().to_owned(), key.value().1));
                }
            }
        }
        for (url, number) in meant {
            self.remove(at, tenant, &url, number)?;
        }
        Ok(())
    }

    fn remove(
        &mut self,
        at: &WriteTransaction,
        tenant: &str,
        url: &str,
        number: u64,
    ) -> Result<()> {
        at.open_table(OBJECTS)?.remove((tenant, number))?;
        at.open_table(AGES)?.remove((tenant, number))?;
        let mut table = at.open_table(VARIANTS)?;
        let variant = table.remove((tenant, url, number))?;
        let variant = variant.and_then(|it| postcard::from_bytes::<Variant>(it.value()).ok());
        drop(table);
        let Some(variant) = variant else {
            return Ok(());
        };
        let mut tags = at.open_table(TAGS)?;
        for tag in &variant.tags {
            tags.remove((tenant, tag.as_str(), number))?;
        }
        drop(tags);
        self.count(at, tenant, |bytes| bytes.saturating_sub(variant.bytes))
    }

    /// Lets the oldest answers go until so many more bytes fit; whether they do.
    fn make_room(&mut self, at: &WriteTransaction, tenant: &str, bytes: u64) -> Result<bool> {
        let allowed = self.tenants.get(tenant).map_or(0, |it| it.bytes_max);
        if bytes > allowed.min(self.bytes_max) {
            return Ok(false); // for what never fits nothing has to go
        }
        loop {
            let owned = self.tenants.get(tenant).copied().unwrap_or_default();
            if owned.bytes + bytes <= owned.bytes_max {
                break;
            }
            if !self.evict(at, tenant)? {
                return Ok(false);
            }
        }
        while self.bytes + bytes > self.bytes_max {
            // The one that has most gives an eighth.
            let largest = self.tenants.iter().max_by_key(|(_, it)| it.bytes);
            let largest = largest.map(|(name, it)| (name.clone(), it.bytes));
            let (name, had) = largest.unwrap_or_default();
            let left = |cache: &Self| cache.tenants.get(&name).map_or(0, |it| it.bytes);
            while self.bytes + bytes > self.bytes_max && left(self) > had - had.div_ceil(8) {
                if !self.evict(at, &name)? {
                    return Ok(false);
                }
            }
            if had == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Lets a tenant's oldest answer go; whether there was one.
    fn evict(&mut self, at: &WriteTransaction, tenant: &str) -> Result<bool> {
        let oldest = {
            let ages = at.open_table(AGES)?;
            let mut range = ages.range((tenant, 0)..=(tenant, u64::MAX))?;
            range
                .next()
                .transpose()?
                .map(|(key, url)| (key.value().1, url.value().to_owned()))
        };
        let Some((number, url)) = oldest else {
            return Ok(false);
        };
        self.remove(at, tenant, &url, number)?;
        Ok(true)
    }

    fn count(
        &mut self,
        at: &WriteTransaction,
        tenant: &str,
        change: impl Fn(u64) -> u64,
    ) -> Result<()> {
        let owned = self.tenants.entry(tenant.to_owned()).or_default();
        let before = owned.bytes;
        owned.bytes = change(before);
        let bytes = owned.bytes;
        self.bytes = (self.bytes + bytes).saturating_sub(before);
        let mut owners = at.open_table(OWNERS)?;
        let site = owners.get(tenant)?.map_or(0, |it| it.value().0);
        owners.insert(tenant, (site, bytes))?;
        Ok(())
    }

    /// What a tenant's answers count.
    #[cfg(test)]
    pub(super) fn bytes(&self, tenant: &str) -> u64 {
        self.tenants.get(tenant).map_or(0, |it| it.bytes)
    }

    /// Rows of all tables but `owners`.
    #[cfg(test)]
    pub(super) fn rows(&self) -> Result<[u64; 4]> {
        use redb::{ReadableDatabase, ReadableTableMetadata};
        let read = self.database.begin_read()?;
        Ok([
            read.open_table(OBJECTS)?.len()?,
            read.open_table(VARIANTS)?.len()?,
            read.open_table(TAGS)?.len()?,
            read.open_table(AGES)?.len()?,
        ])
    }
}

/// As in the embedded store: synced twice, so that recovery reads what the last commit noted and believes no
/// checksum of pages that tenants fill.
fn begin(database: &Database) -> Result<WriteTransaction> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    transaction.set_quick_repair(true);
    Ok(transaction)
}

fn object(at: &WriteTransaction, tenant: &str, number: u64) -> Result<Option<Box<Object>>> {
    let objects = at.open_table(OBJECTS)?;
    let object = objects.get((tenant, number))?;
    Ok(object.and_then(|object| postcard::from_bytes(object.value()).ok()))
}

/// What is known of the answers for a URL, from the oldest on.
fn variants(at: &WriteTransaction, tenant: &str, url: &str) -> Result<Vec<(u64, Variant)>> {
    let table = at.open_table(VARIANTS)?;
    let mut variants = Vec::new();
    for entry in table.range((tenant, url, 0)..=(tenant, url, u64::MAX))? {
        let (key, value) = entry?;
        if let Ok(variant) = postcard::from_bytes(value.value()) {
            variants.push((key.value().2, variant));
        }
    }
    Ok(variants)
}
