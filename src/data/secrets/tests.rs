//! Slots, files, and what errors say.

use super::*;
use crate::data::sealed::seal;

const OF_SHOP: Context<'static> = Context {
    tenant: "shop",
    name: "api-key",
};

fn text(value: Option<&[u8]>) -> Option<&str> {
    value.map(|value| std::str::from_utf8(value).unwrap())
}

fn value(text: &str) -> Plaintext {
    Plaintext::from(text.as_bytes().to_vec())
}

#[test]
fn the_slot_that_came_into_force_last_counts() {
    let mut secrets = Secrets::default();
    // Out of order, as a configuration may have them.
    secrets.put("api-key", 200, value("third"));
    secrets.put("api-key", 10, value("first"));
    secrets.put("api-key", 100, value("second"));
    secrets.put("other", 0, value("other"));
    for (at, expected) in [
        (0, None),
        (9, None),
        (10, Some("first")),
        (99, Some("first")),
        (100, Some("second")),
        (199, Some("second")),
        (200, Some("third")),
        (u64::MAX, Some("third")),
    ] {
        assert_eq!(text(secrets.get("api-key", at)), expected, "at {at}");
    }
    assert_eq!(text(secrets.get("other", 0)), Some("other"));
    assert_eq!(secrets.get("none", u64::MAX), None);
    assert_eq!(secrets.get("", u64::MAX), None);
}

#[test]
fn one_second_has_one_slot() {
    let mut secrets = Secrets::default();
    secrets.put("api-key", 10, value("before"));
    secrets.put("api-key", 10, value("after"));
    assert_eq!(text(secrets.get("api-key", 10)), Some("after"));
    assert_eq!(text(secrets.get("api-key", 9)), None);
}

#[test]
fn nothing_is_printed_of_values() {
    let mut secrets = Secrets::default();
    secrets.put("api-key", 10, value("hunter2"));
    let debug = format!("{secrets:?} {secrets:#?}");
    assert!(debug.contains("api-key") && debug.contains("(secret)"));
    assert!(!debug.contains("hunter2"), "{debug}");
    let bytes = format!("{:?}", b"hunter2");
    assert!(!debug.contains(bytes.trim_matches(['[', ']'])), "{debug}");
}

/// Reads a file with these bytes, and gives the value or the error as it is displayed.
fn read_bytes(bytes: &[u8], origin: Origin, key: Option<&Key>) -> Result<Vec<u8>, String> {
    let read = read(&mut &*bytes, origin, key, OF_SHOP);
    read.map(|value| value.to_vec())
        .map_err(|error| error.to_string())
}

#[test]
fn a_credential_may_be_plain() {
    let longest = vec![b'x'; SECRET_BYTES_MAX];
    let with_line_end = [&longest[..], b"\n"].concat();
    for (bytes, expected) in [
        (&b"hunter2"[..], &b"hunter2"[..]),
        (b"hunter2\n", b"hunter2"),
        (b"hunter2\n\n", b"hunter2\n"),
        (b"\nhunter2", b"\nhunter2"),
        (b"hunter2\r\n", b"hunter2\r"),
        (b"\xff\x00\n", b"\xff\x00"),
        (&longest, &longest),
        (&with_line_end, &longest),
    ] {
        let read = read_bytes(bytes, Origin::SystemdCredential, None);
        assert_eq!(read.as_deref(), Ok(expected));
    }
}

#[test]
fn a_sealed_file_opens_wherever_it_comes_from() {
    let key = Key::generate().unwrap();
    for secret in [&b"hunter2"[..], &vec![0; SECRET_BYTES_MAX]] {
        let sealed = seal(&key, OF_SHOP, secret).unwrap();
        for text in [sealed.clone(), sealed + "\n"] {
            for origin in [Origin::SystemdCredential, Origin::File] {
                let read = read_bytes(text.as_bytes(), origin, Some(&key));
                assert_eq!(read.as_deref(), Ok(secret));
            }
        }
    }
}

#[test]
fn errors_name_the_secret_and_what_would_be_right() {
    let key = Key::generate().unwrap();
    let sealed = seal(&key, OF_SHOP, b"hunter2").unwrap();
    let empty = seal(&key, OF_SHOP, b"").unwrap();
    let of_other = Context {
        tenant: "other",
        ..OF_SHOP
    };
    let of_other = seal(&key, of_other, b"hunter2").unwrap();
    let not_utf8 = [sealed.as_bytes(), b"\xff"].concat();
    let credential = Origin::SystemdCredential;
    let check = |bytes: &[u8], origin, key, expected: &str| {
        let error = read_bytes(bytes, origin, key).unwrap_err();
        assert_eq!(error, format!("secret api-key of tenant shop: {expected}"));
    };
    let plain = "the file is not sealed; seal it, or pass it as a systemd credential";
    check(b"hunter2\n", Origin::File, None, plain);
    check(b"hunter2\n", Origin::File, Some(&key), plain);
    let no_key = "the file is sealed and the host has no key; pass the key that it was sealed with";
    check(sealed.as_bytes(), Origin::File, None, no_key);
    check(sealed.as_bytes(), credential, None, no_key);
    let is_empty = "it is empty; a secret has 1 to 32768 bytes";
    check(b"", Origin::File, Some(&key), is_empty);
    check(b"\n", credential, None, is_empty);
    check(empty.as_bytes(), Origin::File, Some(&key), is_empty);
    let too_long = "it is too long; a secret has 1 to 32768 bytes";
    check(&[b'x'; SECRET_BYTES_MAX + 1], credential, None, too_long);
    check(&[b'x'; SECRET_FILE_BYTES_MAX], credential, None, too_long);
    check(
        &[b'x'; SECRET_FILE_BYTES_MAX + 1],
        credential,
        None,
        too_long,
    );
    check(&[b'x'; 1 << 20], credential, None, too_long);
    let damaged = "it is damaged: the line was cut or changed since it was sealed; seal it again";
    check(&not_utf8, Origin::File, Some(&key), damaged);
    check(&sealed.as_bytes()[..50], credential, Some(&key), damaged);
    let other = "it is sealed for another tenant or under another name, or forged; seal it for \
                 this one";
    check(of_other.as_bytes(), Origin::File, Some(&key), other);
}

/// A file whose next read says what is in it.
struct Scripted(Vec<io::Result<&'static [u8]>>);

impl Read for Scripted {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let bytes = match self.0.is_empty() {
            true => b"",
            false => self.0.remove(0)?,
        };
        buf[..bytes.len()].copy_from_slice(bytes);
        Ok(bytes.len())
    }
}

#[test]
fn a_file_is_read_to_its_end() {
    let again = || Err(ErrorKind::Interrupted.into());
    let mut file = Scripted(vec![Ok(b"hun"), again(), Ok(b"t"), Ok(b"er2\n")]);
    let read_value = read(&mut file, Origin::SystemdCredential, None, OF_SHOP).unwrap();
    assert_eq!(&*read_value, b"hunter2");

    let denied = Err(ErrorKind::PermissionDenied.into());
    let mut file = Scripted(vec![Ok(b"hun"), denied]);
    let error = read(&mut file, Origin::SystemdCredential, None, OF_SHOP).unwrap_err();
    assert_eq!(
        error.to_string(),
        "secret api-key of tenant shop: the file cannot be read: permission denied"
    );
}
