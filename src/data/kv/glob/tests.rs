//! Tests of globs: a table, and every short pattern against another way to match.

use super::*;

fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let mut steps = 1_000_000;
    Glob::new(pattern).matches(text, &mut steps).unwrap()
}

#[test]
fn what_matches() {
    let cases: &[(&[u8], &[u8], bool)] = &[
        (b"", b"", true),
        (b"", b"a", false),
        (b"abc", b"abc", true),
        (b"abc", b"abcd", false),
        (b"abc", b"ab", false),
        (b"abc", b"aBc", false),
        // Stars.
        (b"*", b"abc", true),
        (b"*", b"", true),
        (b"**", b"abc", true),
        (b"a*", b"a", true),
        (b"a**", b"a", true),
        (b"a*c", b"ac", true),
        (b"a*c", b"abbc", true),
        (b"a*c", b"abbcd", false),
        (b"*a*", b"xxaxx", true),
        (b"*a*", b"xxx", false),
        (b"a*b*c", b"axxbxxbxxc", true),
        (b"a*b*c", b"axxcxxb", false),
        (b"*abc", b"ababc", true),
        (b"*.*.*", b"a.b", false),
        // Only the pattern that is nothing but a star is taken without a look.
        (b"**", b"", false),
        (b"?", b"", false),
        // One byte.
        (b"a?c", b"abc", true),
        (b"a?c", b"ac", false),
        ("?".as_bytes(), "é".as_bytes(), false),
        ("??".as_bytes(), "é".as_bytes(), true),
        // Classes.
        (b"[abc]", b"b", true),
        (b"[abc]", b"d", false),
        (b"[abc]", b"", false),
        (b"[a-c]x", b"bx", true),
        (b"[a-c]", b"d", false),
        (b"[c-a]", b"b", true),
        (b"[^a-c]", b"d", true),
        (b"[^a-c]", b"b", false),
        (b"[a^]", b"^", true),
        (b"[-a]", b"-", true),
        (b"[a-c-e]", b"-", true),
        (b"[a-c-e]", b"d", false),
        (b"[*]", b"*", true),
        (b"[*]", b"a", false),
        (b"[?]", b"a", false),
        (b"[\\]]", b"]", true),
        (b"[\\]]", b"\\", false),
        (b"[a\\-c]", b"b", false),
        (b"[a\\-c]", b"-", true),
        (b"[^\\^]", b"^", false),
        // A `]` closes even where it comes first.
        (b"[]", b"a", false),
        (b"[]", b"]", false),
        (b"[]a]", b"a", false),
        (b"[^]", b"a", true),
        (b"[^]a]", b"xa]", true),
        // Without an end: it is where the pattern's is.
        (b"[", b"a", false),
        (b"[", b"[", false),
        (b"[^", b"a", true),
        (b"[abc", b"c", true),
        (b"[abc", b"d", false),
        (b"[a-", b"-", true),
        (b"[a-", b"b", false),
        (b"[a-]", b"]", true),
        (b"[a-]", b"_", true),
        (b"[a-]", b"-", false),
        (b"x[a-c", b"xb", true),
        (b"[\\", b"\\", true),
        // A range may end with a backslash, which escapes nothing there.
        (b"[a-\\]", b"]", true),
        (b"[Z-\\a]", b"a", true),
        (b"[Z-\\a]", b"[", true),
        // Bytes are signed: 0xc3 is below `a`.
        (b"[a-\xc3]", b"b", false),
        (b"[a-\xc3]", b"\xd0", true),
        (b"[a-\xc3]", b"0", true),
        (b"[\x80-\x90]", b"\x88", true),
        // Escapes.
        (b"\\*", b"*", true),
        (b"\\*", b"a", false),
        (b"\\a", b"a", true),
        (b"\\\\", b"\\", true),
        (b"a\\", b"a\\", true),
        (b"\\[a]", b"[a]", true),
        // Bytes that are no text.
        (b"\xff*\x00", b"\xff\xfe\x00", true),
        (b"a\x00*", b"a\x00b", true),
    ];
    for &(pattern, text, expected) in cases {
        let (shown, of) = (pattern.escape_ascii(), text.escape_ascii());
        assert_eq!(matches(pattern, text), expected, "{shown} on {of}");
    }
}

#[test]
fn prefixes() {
    let cases: &[(&[u8], &[u8], bool)] = &[
        (b"", b"", true),
        (b"user:*", b"user:", false),
        (b"*", b"", false),
        (b"a?", b"a", false),
        (b"a[b]", b"a", false),
        (b"a\\*b*", b"a*b", false),
        (b"a\\*b", b"a*b", true),
        (b"whole", b"whole", true),
        (b"end\\", b"end\\", true),
    ];
    for &(pattern, prefix, is_literal) in cases {
        let (glob, shown) = (Glob::new(pattern), pattern.escape_ascii());
        assert_eq!(glob.prefix(), prefix, "{shown}");
        assert_eq!(glob.is_literal(), is_literal, "{shown}");
    }
}

/// A matcher that tries everything, on the pattern's own bytes.
fn matches_slowly(pattern: &[u8], text: &[u8]) -> bool {
    if pattern == b"*" {
        return true;
    }
    if text.is_empty() {
        return pattern.is_empty();
    }
    rest_matches(pattern, text)
}

fn rest_matches(pattern: &[u8], text: &[u8]) -> bool {
    let Some((&first, pattern)) = pattern.split_first() else {
        return text.is_empty();
    };
    let one = |is_one: bool, pattern: &[u8]| {
        is_one && !text.is_empty() && rest_matches(pattern, &text[1..])
    };
    let byte = text.first().copied();
    match first {
        b'*' => (0..=text.len()).any(|taken| rest_matches(pattern, &text[taken..])),
        b'?' => one(true, pattern),
        b'[' => {
            let mut at = usize::from(pattern.first() == Some(&b'^'));
            let (is_inverted, mut is_one) = (at == 1, false);
            loop {
                match &pattern[at..] {
                    [] => break,
                    [b'\\', it, ..] => {
                        is_one |= byte == Some(*it);
                        at += 2;
                    }
                    [b']', ..] => {
                        at += 1;
                        break;
                    }
                    [low, b'-', high, ..] => {
                        let signed = |byte: u8| byte as i8;
                        let ends = [signed(*low), signed(*high)];
                        let (low, high) = (ends.iter().min(), ends.iter().max());
                        is_one |= byte.is_some_and(|it| {
                            low <= Some(&signed(it)) && Some(&signed(it)) <= high
                        });
                        at += 3;
                    }
                    [it, ..] => {
                        is_one |= byte == Some(*it);
                        at += 1;
                    }
                }
            }
            one(is_one != is_inverted, &pattern[at..])
        }
        b'\\' if !pattern.is_empty() => one(byte == Some(pattern[0]), &pattern[1..]),
        _ => one(byte == Some(first), pattern),
    }
}

/// Every text of up to `len_max` of these bytes.
fn texts(bytes: &[u8], len_max: usize) -> Vec<Vec<u8>> {
    let mut all = vec![vec![]];
    let mut longest = all.clone();
    for _ in 0..len_max {
        longest = longest
            .iter()
            .flat_map(|text| bytes.iter().map(|byte| [text, &[*byte][..]].concat()))
            .collect();
        all.extend_from_slice(&longest);
    }
    all
}

#[test]
fn every_short_pattern_is_as_one_that_tries_everything() {
    let texts_tried = texts(b"ab]", 4);
    for pattern in texts(b"ab*?[]^-\\", 5) {
        let glob = Glob::new(&pattern);
        let prefix = glob.prefix();
        for text in &texts_tried {
            let matched = glob.matches(text, &mut 1_000).unwrap();
            let (shown, of) = (pattern.escape_ascii(), text.escape_ascii());
            assert_eq!(matched, matches_slowly(&pattern, text), "{shown} on {of}");
            assert!(!matched || text.starts_with(&prefix), "{shown} on {of}");
            assert!(
                !glob.is_literal() || matched == (*text == prefix),
                "{shown} on {of}"
            );
        }
    }
}

#[test]
fn long_stars_are_as_one_that_tries_everything() {
    let texts_tried = texts(b"ab", 7);
    for pattern in texts(b"a*?b", 7) {
        let glob = Glob::new(&pattern);
        for text in texts_tried.iter().filter(|text| text.len() > 4) {
            let matched = glob.matches(text, &mut 1_000).unwrap();
            let (shown, of) = (pattern.escape_ascii(), text.escape_ascii());
            assert_eq!(matched, matches_slowly(&pattern, text), "{shown} on {of}");
        }
    }
}

#[test]
fn a_match_takes_at_most_pattern_times_text_steps() {
    let text = vec![b'a'; 4_096];
    for pattern in [
        "*a".repeat(16) + "b",
        format!("*{}b", "a".repeat(512)),
        "*?[a]".repeat(100) + "b",
    ] {
        let most = (pattern.len() * text.len()) as u64;
        let mut steps = most;
        let matched = Glob::new(pattern.as_bytes()).matches(&text, &mut steps);
        assert_eq!(matched, Ok(false), "{pattern}");
    }
}

#[test]
fn steps_end() {
    let glob = Glob::new(b"*ab");
    let mut steps = 9;
    assert_eq!(glob.matches(b"xab", &mut steps), Ok(true));
    assert_eq!(steps, 4);
    assert_eq!(glob.matches(b"xab", &mut steps), Err(OutOfSteps));
    assert_eq!(steps, 0);
}
