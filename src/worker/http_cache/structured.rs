//! Dictionaries of Structured Fields (RFC 9651), as far as CDN-Cache-Control needs them: numbers and flags
//! are read, everything else is checked and passed over.

/// The value of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item {
    Boolean(bool),
    Integer(i64),
    /// A decimal, string, token, date, byte sequence or inner list.
    Other,
}

/// The members of a dictionary, each name once, with its last value. `None`: it is not valid.
pub(super) fn dictionary(text: &[u8]) -> Option<Vec<(Vec<u8>, Item)>> {
    let mut input = Input(text.trim_ascii());
    let mut found: Vec<(Vec<u8>, Item)> = Vec::new();
    while !input.0.is_empty() {
        let name = input.key()?;
        let item = match input.eat(b'=') {
            true => input.item_or_list()?,
            false => Item::Boolean(true),
        };
        input.parameters()?;
        found.retain(|(before, _)| *before != name);
        found.push((name, item));
        input.skip(|byte| matches!(byte, b' ' | b'\t'));
        if input.0.is_empty() {
            break;
        }
        if !input.eat(b',') {
            return None;
        }
        input.skip(|byte| matches!(byte, b' ' | b'\t'));
        if input.0.is_empty() {
            return None; // a comma and nothing after it
        }
    }
    Some(found)
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn eat(&mut self, byte: u8) -> bool {
        match self.0.split_first() {
            Some((first, rest)) if *first == byte => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }

    fn skip(&mut self, of: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.0.iter().position(|byte| !of(*byte));
        let (taken, rest) = self.0.split_at(end.unwrap_or(self.0.len()));
        self.0 = rest;
        taken
    }

    fn key(&mut self) -> Option<Vec<u8>> {
        let first = *self.0.first()?;
        if !first.is_ascii_lowercase() && first != b'*' {
            return None;
        }
        let key = self.skip(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.*".contains(&byte)
        });
        Some(key.to_vec())
    }

    fn parameters(&mut self) -> Option<()> {
        while self.eat(b';') {
            self.skip(|byte| byte == b' ');
            self.key()?;
            if self.eat(b'=') {
                self.item()?;
            }
        }
        Some(())
    }

    fn item_or_list(&mut self) -> Option<Item> {
        if !self.eat(b'(') {
            return self.item();
        }
        loop {
            self.skip(|byte| byte == b' ');
            if self.eat(b')') {
                return Some(Item::Other);
            }
            self.item()?;
            self.parameters()?;
            if !matches!(self.0.first(), Some(b' ' | b')')) {
                return None;
            }
        }
    }

    fn item(&mut self) -> Option<Item> {
        match *self.0.first()? {
            b'-' | b'0'..=b'9' => self.number(),
            b'"' => self.string(),
            b'?' => {
                self.0 = &self.0[1..];
                let value = self.eat(b'1');
                (value || self.eat(b'0')).then_some(Item::Boolean(value))
            }
            b':' => {
                self.0 = &self.0[1..];
                self.skip(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte));
                self.eat(b':').then_some(Item::Other)
            }
            b'@' => {
                self.0 = &self.0[1..];
                matches!(self.number()?, Item::Integer(_)).then_some(Item::Other)
            }
            byte if byte.is_ascii_alphabetic() || byte == b'*' => {
                self.skip(|byte| {
                    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&byte)
                });
                Some(Item::Other)
            }
            _ => None,
        }
    }

    fn number(&mut self) -> Option<Item> {
        let sign = if self.eat(b'-') { -1 } else { 1 };
        let digits = self.skip(|byte| byte.is_ascii_digit());
        if digits.is_empty() || digits.len() > 15 {
            return None;
        }
        if self.eat(b'.') {
            let fraction = self.skip(|byte| byte.is_ascii_digit());
            let fits = digits.len() <= 12 && (1..=3).contains(&fraction.len());
            return fits.then_some(Item::Other);
        }
        let digits = digits.iter().map(|digit| i64::from(digit - b'0'));
        Some(Item::Integer(
            sign * digits.fold(0, |value, digit| value * 10 + digit),
        ))
    }

    fn string(&mut self) -> Option<Item> {
        self.eat(b'"');
        loop {
            self.skip(|byte| (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\');
            if self.eat(b'"') {
                return Some(Item::Other);
            }
            if !self.eat(b'\\') || !(self.eat(b'"') || self.eat(b'\\')) {
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<&[(&str, Item)]>) {
        let expected = expected.map(|members| {
            let owned = members
                .iter()
                .map(|(name, item)| (name.as_bytes().to_vec(), *item));
            owned.collect::<Vec<_>>()
        });
        assert_eq!(dictionary(text.as_bytes()), expected, "{text}");
    }

    #[test]
    fn what_is_a_dictionary() {
        use Item::{Boolean, Integer, Other};
        check("", Some(&[]));
        check("  ", Some(&[]));
        check("a", Some(&[("a", Boolean(true))]));
        check(
            "a=?0, b=?1",
            Some(&[("a", Boolean(false)), ("b", Boolean(true))]),
        );
        check(
            "a=1,\tb=-2 ",
            Some(&[("a", Integer(1)), ("b", Integer(-2))]),
        );
        check(
            "a=1, b, a=2",
            Some(&[("b", Boolean(true)), ("a", Integer(2))]),
        );
        check(
            "a;x=1; y, *b.c_d-e=9",
            Some(&[("a", Boolean(true)), ("*b.c_d-e", Integer(9))]),
        );
        check("a=1.25", Some(&[("a", Other)]));
        check("a=\"x, \\\"y\\\\\"", Some(&[("a", Other)]));
        check(
            "a=Tok/en:1, b=:aGk=:, c=@99",
            Some(&[("a", Other), ("b", Other), ("c", Other)]),
        );
        check(
            "a=(), b=(1 tok;q=1 \")\");z",
            Some(&[("a", Other), ("b", Other)]),
        );
        check(
            "a=999999999999999",
            Some(&[("a", Integer(999_999_999_999_999))]),
        );
        for bad in [
            "A",
            "1",
            "a=",
            "a=1,",
            ",a",
            "a b",
            "a=1;",
            "a=?2",
            "a=1.",
            "a=1.2345",
            "a=\"x",
            "a=\"\\x\"",
            "a=:x",
            "a=(1",
            "a=(1\"x\")",
            "a==1",
            "a=1000000000000000",
            "a=@1.5",
            "é",
            "a=é",
            "a=\"é\"",
            "a;B=1",
        ] {
            check(bad, None);
        }
    }
}
