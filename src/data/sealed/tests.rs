//! What opens, and what each line that does not is refused with.

use super::*;

const SECRET: &[u8] = b"correct horse battery staple";
const OF_SHOP: Context<'static> = Context {
    tenant: "shop",
    name: "api-key",
};

fn key(byte: u8) -> Key {
    Key(Zeroizing::new([byte; KEY_BYTES]))
}

fn check_refused(text: &str, context: Context<'_>, expected: &SealedError) {
    let error = open(&key(7), context, text).unwrap_err();
    assert_eq!(&error, expected, "{text}");
    assert!(!error.to_string().contains('\n'), "{error}");
}

#[test]
fn what_was_sealed_opens() {
    let key = Key::generate().unwrap();
    let all_bytes: Vec<u8> = (0..=u8::MAX).collect();
    let longest = vec![b'x'; SECRET_BYTES_MAX];
    for secret in [&b""[..], b"x", SECRET, &all_bytes, &longest] {
        let text = seal(&key, OF_SHOP, secret).unwrap();
        assert!(is_sealed(text.as_bytes()));
        assert!(text.len() <= SEALED_BYTES_MAX);
        assert!(text.bytes().all(|byte| byte.is_ascii_graphic()));
        assert_eq!(&*open(&key, OF_SHOP, &text).unwrap(), secret);
    }
    let text = seal(&key, OF_SHOP, &longest).unwrap();
    assert_eq!(text.len(), SEALED_BYTES_MAX);
    let again = seal(&key, OF_SHOP, &longest).unwrap();
    assert_ne!(text, again, "a nonce came twice");
}

#[test]
fn a_secret_has_a_longest_length() {
    let error = seal(&key(7), OF_SHOP, &[0; SECRET_BYTES_MAX + 1]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "it has 32769 bytes; a secret has at most 32768"
    );
}

/// Lines that were sealed by an earlier version have to open for ever.
#[test]
fn the_format_is_as_it_was() {
    let text = "skep-sealed-v1:1d6351a6:CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJ3R2Q-BnJDUKcfXpPDVNlil6H0ug5Qe6Vx_10OVDtYcvLTbTVUKDjRYU2Npj80uIV";
    let sealed = seal_with_nonce(&key(7), OF_SHOP, SECRET, [9; NONCE_BYTES]).unwrap();
    assert_eq!(sealed, text);
    assert_eq!(&*open(&key(7), OF_SHOP, text).unwrap(), SECRET);
}

/// The vector of draft-irtf-cfrg-xchacha-03, appendix A; the tag depends on all of it.
#[test]
fn the_cipher_is_the_one_of_the_draft() {
    let key: Vec<u8> = (0x80..0xa0).collect();
    let key = Key(Zeroizing::new(key.try_into().unwrap()));
    let nonce: Vec<u8> = (0x40..0x58).collect();
    let nonce: [u8; NONCE_BYTES] = nonce.try_into().unwrap();
    let payload = Payload {
        msg: b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for \
               the future, sunscreen would be it.",
        aad: &[
            0x50, 0x51, 0x52, 0x53, 0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7,
        ],
    };
    let sealed = key.cipher().encrypt(&nonce.into(), payload).unwrap();
    let tag = &sealed[sealed.len() - TAG_BYTES..];
    assert_eq!(
        data_encoding::HEXLOWER.encode(tag),
        "c0875924c1c7987947deafd8780acf49"
    );
}

#[test]
fn a_line_with_any_byte_changed_does_not_open() {
    let key = key(7);
    let text = seal(&key, OF_SHOP, SECRET).unwrap();
    for place in 0..text.len() {
        for byte in (0..0x80).filter(|byte| *byte != text.as_bytes()[place]) {
            let mut bytes = text.clone().into_bytes();
            bytes[place] = byte;
            let changed = String::from_utf8(bytes).unwrap();
            let error = open(&key, OF_SHOP, &changed).unwrap_err();
            let expected = match place {
                0..12 => SealedError::NotSealed,
                12..15 => SealedError::UnknownFormat,
                _ => SealedError::Damaged,
            };
            assert_eq!(error, expected, "{changed}");
        }
    }
}

#[test]
fn a_line_that_is_cut_or_longer_does_not_open() {
    let text = seal(&key(7), OF_SHOP, SECRET).unwrap();
    for length in PREFIX.len()..text.len() {
        check_refused(&text[..length], OF_SHOP, &SealedError::Damaged);
    }
    for more in ["A", "AAAA", "=", "\n", " "] {
        check_refused(&format!("{text}{more}"), OF_SHOP, &SealedError::Damaged);
    }
}

/// Whoever makes the check match still has no tag.
#[test]
fn a_line_with_its_check_made_anew_does_not_open() {
    let key = key(7);
    let text = seal(&key, OF_SHOP, SECRET).unwrap();
    let (head, encoded) = text.split_at(PREFIX.len() + KEY_ID_CHARS + 1);
    let inner = intact(head, encoded).unwrap();
    for bit in 0..inner.len() * 8 {
        let mut forged = inner.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        forged.extend(check(head, &forged));
        let forged = format!("{head}{}", BASE64URL_NOPAD.encode(&forged));
        check_refused(&forged, OF_SHOP, &SealedError::WrongContext);
    }
    for length in 0..NONCE_BYTES + TAG_BYTES {
        let mut cut = inner[..length].to_vec();
        cut.extend(check(head, &cut));
        let cut = format!("{head}{}", BASE64URL_NOPAD.encode(&cut));
        assert!(open(&key, OF_SHOP, &cut).is_err(), "{length} bytes");
    }
}

#[test]
fn a_line_opens_for_one_tenant_and_name_only() {
    let text = seal(&key(7), OF_SHOP, SECRET).unwrap();
    for (tenant, name) in [
        ("shop2", "api-key"),
        ("shop", "api-key2"),
        ("api-key", "shop"),
        // The same characters, cut elsewhere.
        ("shopapi", "-key"),
        ("shopapi-key", ""),
        ("", "shopapi-key"),
    ] {
        let context = Context { tenant, name };
        check_refused(&text, context, &SealedError::WrongContext);
    }
}

#[test]
fn another_key_is_told_by_its_id() {
    let text = seal(&key(8), OF_SHOP, SECRET).unwrap();
    let expected = SealedError::WrongKey {
        sealed_with: key(8).id(),
        key: key(7).id(),
    };
    check_refused(&text, OF_SHOP, &expected);
    // It opens with none, whatever id it says.
    let (head, encoded) = text.split_at(PREFIX.len() + KEY_ID_CHARS + 1);
    let mut inner = intact(head, encoded).unwrap();
    let head = format!("{PREFIX}{}:", key(7).id());
    inner.extend(check(&head, &inner));
    let text = format!("{head}{}", BASE64URL_NOPAD.encode(&inner));
    check_refused(&text, OF_SHOP, &SealedError::WrongContext);
}

#[test]
fn what_is_not_sealed_is_said_to_be_so() {
    for text in [
        "",
        "secret",
        "Skep-sealed-v1:",
        "skep-seale",
        " skep-sealed-v1:",
    ] {
        check_refused(text, OF_SHOP, &SealedError::NotSealed);
    }
    for text in ["skep-sealed-", "skep-sealed-v2:a:b", "skep-sealed-v1"] {
        check_refused(text, OF_SHOP, &SealedError::UnknownFormat);
    }
}

#[test]
fn a_key_is_read_as_it_was_written() {
    let key = Key::generate().unwrap();
    let text = key.to_text();
    assert!(text.starts_with("skep-key-v1:") && text.ends_with('\n'));
    assert_eq!(text.capacity(), text.len(), "it grew");
    let read = Key::parse(&text).unwrap();
    assert_eq!((*read.0, read.id()), (*key.0, key.id()));
    assert_eq!(*Key::parse(text.trim_end()).unwrap().0, *key.0);
    assert_ne!(*Key::generate().unwrap().0, *key.0);
}

#[test]
fn what_is_no_key_is_refused() {
    let text = key(7).to_text();
    let line = text.trim_end();
    for wrong in [
        "",
        "skep-key-v1:",
        &line[1..],
        &line[..line.len() - 1],
        &format!("{line}A"),
        &format!("{line}\n\n"),
        &format!("{line}\r\n"),
        &line.replace("v1", "v2"),
        // The last character has two bits that belong to no byte.
        &format!("{}-", &line[..line.len() - 1]),
        &format!("{}é", &line[..line.len() - 2]),
    ] {
        let error = Key::parse(wrong).unwrap_err().to_string();
        assert_eq!(
            error,
            "it is not a key; `skep-key-v1:` and 43 characters of base64url would be one"
        );
    }
}

#[test]
fn nothing_is_printed_of_keys_and_secrets() {
    let debug = format!("{:?} {:?}", key(7), Plaintext::from(SECRET.to_vec()));
    assert_eq!(debug, "Key (secret)");
}
