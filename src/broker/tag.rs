//! What makes an artifact this host's own: a keyed digest over its name, flavour and bytes.
//!
//! A compiled artifact is native code. Whoever could put one into the directory, cut one short or
//! swap two would run code in a worker; so each has a tag that only the holder of the key can make:
//!
//! ```text
//! NAME.cwasm   the bytes that are mapped
//! NAME.tag     skep-artifact-2 p2 <64 hex digits of BLAKE3(key, magic ‖ NAME ‖ p2 ‖ bytes)>
//! key          32 random bytes, readable by the owner only
//! ```

use std::io::{self, Read};

use crate::control::Flavour;

/// Marks the format of the tag and separates this use of the key from any other. Artifacts with this
/// number have been [scanned](super::scan).
const MAGIC: &str = "skep-artifact-2";

/// Bytes hashed at a time.
const CHUNK_BYTES: usize = 256 * 1024;

/// Longest tag file, in bytes; a longer one is no tag.
pub const TAG_BYTES_MAX: u64 = 128;

/// The key of one artifact directory.
pub type Key = [u8; 32];

/// Why an artifact is not handed out.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The bytes, the name or the flavour are not those that were signed, or the key is another.
    #[error("its tag does not match (changed, cut, renamed, or made with another key)")]
    Mismatch,
    /// The tag is not one.
    #[error("its tag is not `{MAGIC} FLAVOUR DIGEST`")]
    Malformed,
    /// There is no tag.
    #[error("it has no tag")]
    Untagged,
    /// The file is not as it was put there.
    #[error("{0}")]
    File(String),
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
}

/// The tag's text for the artifact that `bytes` yields to its end.
pub fn make_tag(key: &Key, name: &str, flavour: Flavour, bytes: impl Read) -> io::Result<String> {
    let digest = digest(key, name, flavour, bytes)?;
    Ok(format!("{MAGIC} {} {}\n", word(flavour), digest.to_hex()))
}

/// Checks the artifact `name` that `bytes` yields against its tag, and says its flavour.
pub fn verify_artifact(
    key: &Key,
    name: &str,
    tag: &str,
    bytes: impl Read,
) -> Result<Flavour, Refusal> {
    let mut words = tag.strip_suffix('\n').ok_or(Refusal::Malformed)?.split(' ');
    let mut next = || words.next().ok_or(Refusal::Malformed);
    let (magic, flavour, hex) = (next()?, next()?, next()?);
    let named = |it: &Flavour| word(*it) == flavour;
    let flavour = Flavour::ALL.into_iter().find(named);
    let flavour = flavour.ok_or(Refusal::Malformed)?;
    let claimed = blake3::Hash::from_hex(hex).map_err(|_| Refusal::Malformed)?;
    if magic != MAGIC || words.next().is_some() {
        return Err(Refusal::Malformed);
    }
    // `blake3::Hash` compares in constant time.
    if digest(key, name, flavour, bytes)? == claimed {
        Ok(flavour)
    } else {
        Err(Refusal::Mismatch)
    }
}

fn digest(
    key: &Key,
    name: &str,
    flavour: Flavour,
    mut bytes: impl Read,
) -> io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new_keyed(key);
    // Each field is as long as it says, so that no two inputs read the same.
    for field in [MAGIC, name, word(flavour)] {
        hasher.update(&(field.len() as u64).to_le_bytes());
        hasher.update(field.as_bytes());
    }
    copy(&mut bytes, |chunk| {
        hasher.update(chunk);
        Ok(())
    })?;
    Ok(hasher.finalize())
}

/// Gives `bytes` to `each`, a chunk at a time, to the end; says how many there were.
pub(super) fn copy(
    bytes: &mut impl Read,
    mut each: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<u64> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut total = 0;
    loop {
        match bytes.read(&mut chunk) {
            Ok(0) => return Ok(total),
            Ok(length) => {
                each(&chunk[..length])?;
                total += length as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn word(flavour: Flavour) -> &'static str {
    match flavour {
        Flavour::P2 => "p2",
        Flavour::P3 => "p3",
        Flavour::FuelP2 => "fuel-p2",
        Flavour::FuelP3 => "fuel-p3",
        Flavour::Filter => "filter",
        Flavour::FuelFilter => "fuel-filter",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = [7; 32];

    fn artifact() -> Vec<u8> {
        (0..600_000u32).map(|i| ((i * 31) >> 3) as u8).collect()
    }

    #[test]
    fn what_was_tagged_is_accepted() {
        for flavour in Flavour::ALL {
            let tag = make_tag(&KEY, "a", flavour, &artifact()[..]).unwrap();
            assert_eq!(
                verify_artifact(&KEY, "a", &tag, &artifact()[..]).unwrap(),
                flavour
            );
            assert!(tag.len() as u64 <= TAG_BYTES_MAX);
        }
    }

    #[test]
    fn anything_else_is_a_mismatch() {
        let bytes = artifact();
        let tag = make_tag(&KEY, "a", Flavour::P2, &bytes[..]).unwrap();
        let check = |key: &Key, name: &str, tag: &str, bytes: &[u8], what: &str| {
            let result = verify_artifact(key, name, tag, bytes);
            assert!(
                matches!(result, Err(Refusal::Mismatch)),
                "{what}: {result:?}"
            );
        };
        for position in [0, 1, 4096, CHUNK_BYTES - 1, CHUNK_BYTES, bytes.len() - 1] {
            for bit in [0, 7] {
                let mut bytes = bytes.clone();
                bytes[position] ^= 1 << bit;
                check(&KEY, "a", &tag, &bytes, "flipped bit");
            }
        }
        for length in [0, 1, CHUNK_BYTES, bytes.len() - 1] {
            check(&KEY, "a", &tag, &bytes[..length], "truncated");
        }
        check(&KEY, "a", &tag, &[&bytes[..], b"\0"].concat(), "extended");
        check(&[8; 32], "a", &tag, &bytes, "another key");
        check(&KEY, "b", &tag, &bytes, "another name");
        check(
            &KEY,
            "a",
            &tag.replace("p2", "p3"),
            &bytes,
            "another flavour",
        );
    }

    #[test]
    fn two_artifacts_cannot_be_swapped() {
        let [one, two] = ["one", "two"].map(|name| {
            (
                name,
                make_tag(&KEY, name, Flavour::P2, name.as_bytes()).unwrap(),
            )
        });
        for (name, tag, bytes) in [
            (one.0, &one.1, two.0),
            (one.0, &two.1, two.0),
            (one.0, &two.1, one.0),
        ] {
            let result = verify_artifact(&KEY, name, tag, bytes.as_bytes());
            assert!(matches!(result, Err(Refusal::Mismatch)), "{result:?}");
        }
    }

    #[test]
    fn a_tag_is_exactly_one_line_of_three_words() {
        let tag = make_tag(&KEY, "a", Flavour::P2, &b"x"[..]).unwrap();
        for bad in [
            String::new(),
            "\n".into(),
            tag.trim_end().into(),
            tag.replace("p2", "p4"),
            tag.replace("skep", "step"),
            tag.replace('\n', " more\n"),
            tag.replace(' ', "  "),
            tag[..tag.len() - 3].to_owned() + "\n",
        ] {
            let result = verify_artifact(&KEY, "a", &bad, &b"x"[..]);
            assert!(
                matches!(result, Err(Refusal::Malformed)),
                "{bad:?}: {result:?}"
            );
        }
    }
}
