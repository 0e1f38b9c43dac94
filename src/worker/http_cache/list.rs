//! Lists in field values (RFC 9110 §5.6.1).

/// The members of a list that are not empty, without the white space around them. Commas in quotes do not
/// part members. `escapes`: whether a backslash in quotes takes the next byte with it, as in a quoted-string
/// and not in an entity tag.
pub(super) fn members(line: &[u8], escapes: bool) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        loop {
            let line = rest?;
            let end = member_end(line, escapes);
            rest = line.get(end + 1..);
            let member = line[..end].trim_ascii();
            if !member.is_empty() {
                return Some(member);
            }
        }
    })
}

/// Whether a quote in it does not end.
pub(super) fn is_open(member: &[u8]) -> bool {
    scan(member, true, false).1
}

fn member_end(line: &[u8], escapes: bool) -> usize {
    scan(line, escapes, true).0
}

/// Where the first comma outside quotes is, if it is to stop there, or the end; and whether that is in quotes.
fn scan(line: &[u8], escapes: bool, stops: bool) -> (usize, bool) {
    let (mut in_quotes, mut is_taken) = (false, false);
    for (at, byte) in line.iter().enumerate() {
        match byte {
            _ if is_taken => is_taken = false,
            b'\\' if in_quotes && escapes => is_taken = true,
            b'"' => in_quotes = !in_quotes,
            b',' if stops && !in_quotes => return (at, false),
            _ => {}
        }
    }
    (line.len(), in_quotes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_part_members_outside_quotes() {
        for (line, escapes, expected) in [
            ("", true, &[][..]),
            (" , ,", true, &[]),
            ("a,b , c", true, &["a", "b", "c"]),
            ("a=\"x,y\",b", true, &["a=\"x,y\"", "b"]),
            ("\"\\\",\",b", true, &["\"\\\",\"", "b"]),
            ("\"a\\\",\"b\"", false, &["\"a\\\"", "\"b\""]),
            ("\"a,b", true, &["\"a,b"]),
        ] {
            let found: Vec<_> = members(line.as_bytes(), escapes)
                .map(|member| std::str::from_utf8(member).unwrap())
                .collect();
            assert_eq!(found, expected, "{line}");
        }
    }

    #[test]
    fn quotes_that_do_not_end() {
        for (member, expected) in [
            ("", false),
            ("a=\"b\"", false),
            ("a=\"b", true),
            ("a=\"b\\\"", true),
            ("a=\"b\" c=\"d", true),
        ] {
            assert_eq!(is_open(member.as_bytes()), expected, "{member}");
        }
    }
}
