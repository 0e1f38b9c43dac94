//! An artifact and its tag: only what was signed is let through.
//!
//! The input is a tag's text, to its line end, and the artifact's bytes.

use skep::broker::tag::{Key, Refusal, make_tag, verify_artifact};
use skep::control::Flavour;

const KEY: Key = [7; 32];
const NAME: &str = "0123456789abcdef";

pub fn run(data: &[u8]) {
    let line = data.iter().position(|byte| *byte == b'\n');
    let (tag, bytes) = data.split_at(line.map_or(data.len(), |at| at + 1));
    let tag = String::from_utf8_lossy(tag);
    let signed = |flavour| make_tag(&KEY, NAME, flavour, bytes).expect("reading bytes");
    match verify_artifact(&KEY, NAME, &tag, bytes) {
        Ok(flavour) => assert_eq!(tag.to_lowercase(), signed(flavour)),
        Err(refusal) => assert!(matches!(refusal, Refusal::Mismatch | Refusal::Malformed)),
    }
    for flavour in [Flavour::P2, Flavour::P3] {
        let right = signed(flavour);
        let verified = verify_artifact(&KEY, NAME, &right, bytes);
        assert!(matches!(verified, Ok(it) if it == flavour));
        let longer = [bytes, b"\0"].concat();
        let shorter = &bytes[..bytes.len().saturating_sub(1)];
        for other in [&longer[..], shorter] {
            if other != bytes {
                assert!(verify_artifact(&KEY, NAME, &right, other).is_err());
            }
        }
        assert!(verify_artifact(&KEY, "other", &right, bytes).is_err());
        assert!(verify_artifact(&[8; 32], NAME, &right, bytes).is_err());
    }
}
