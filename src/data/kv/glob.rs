//! Glob patterns over bytes, as `KEYS` and `ZSCAN` of Redis have them.
//!
//! ```text
//! *       any bytes, or none           [a-c]  one of these bytes
//! ?       one byte                     [^x]   one byte, but none of these
//! \*      the byte after the backslash
//! ```
//!
//! What Redis makes of odd ones holds here too (`stringmatchlen`, src/util.c): a class without its `]`
//! ends where the pattern ends; a `]` that comes first closes an empty class, which nothing matches;
//! `[a-]` is a range whose end is `]`; a range is of signed bytes and may stand the wrong way round; a
//! backslash at the very end stands for itself. The one difference: since CVE-2024-31228 Redis finds
//! nothing by a pattern with more than 1,000 stars.
//!
//! A star takes as little as it can, and only the last one is ever given more: what an earlier one
//! would leave to match is a later part of what the last one has been through. So a match takes at most
//! pattern × text steps.

#![forbid(unsafe_code)]

#[cfg(test)]
mod tests;

/// A pattern that is ready to match.
#[derive(Debug)]
pub struct Glob {
    pieces: Vec<Piece>,
    /// It is `*`, which Redis never looks at: it alone matches no bytes at all.
    is_star: bool,
}

/// What one part of a pattern takes of the text.
#[derive(Debug)]
enum Piece {
    Byte(u8),
    One,
    Of(Class),
    Star,
}

/// Bytes, one bit each.
#[derive(Debug, Default)]
struct Class([u64; 4]);

/// The steps that a match may take are used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfSteps;

impl Glob {
    /// Reads a pattern; every text is one.
    pub fn new(pattern: &[u8]) -> Self {
        let mut pieces = Vec::new();
        let mut rest = pattern;
        while let Some((&first, after)) = rest.split_first() {
            rest = after;
            pieces.push(match first {
                b'*' => Piece::Star,
                b'?' => Piece::One,
                b'[' => Piece::Of(Class::read(&mut rest)),
                b'\\' => Piece::Byte(take(&mut rest).unwrap_or(b'\\')),
                byte => Piece::Byte(byte),
            });
        }
        pieces.dedup_by(|piece, before| piece.is_star() && before.is_star());
        Self {
            pieces,
            is_star: pattern == b"*",
        }
    }

    /// The bytes with which everything that matches begins.
    pub fn prefix(&self) -> Vec<u8> {
        let byte = |piece: &Piece| match piece {
            Piece::Byte(byte) => Some(*byte),
            _ => None,
        };
        self.pieces.iter().map_while(byte).collect()
    }

    /// Whether nothing but its [prefix](Self::prefix) matches.
    pub fn is_literal(&self) -> bool {
        let is_byte = |piece: &Piece| matches!(piece, Piece::Byte(_));
        self.pieces.iter().all(is_byte)
    }

    /// Whether the whole text matches. Every step is taken off `steps`.
    ///
    /// # Errors
    /// When there are not enough.
    pub fn matches(&self, text: &[u8], steps: &mut u64) -> Result<bool, OutOfSteps> {
        if text.is_empty() {
            return Ok(self.is_star || self.pieces.is_empty());
        }
        let (mut piece, mut at) = (0, 0);
        // After the last star, and where the text goes on that it has not taken.
        let mut retry = None;
        loop {
            *steps = steps.checked_sub(1).ok_or(OutOfSteps)?;
            match (self.pieces.get(piece), text.get(at)) {
                (Some(Piece::Star), _) => {
                    piece += 1;
                    retry = Some((piece, at));
                    if piece == self.pieces.len() {
                        return Ok(true);
                    }
                }
                (Some(one), Some(&byte)) if one.takes(byte) => {
                    piece += 1;
                    at += 1;
                }
                (None, None) => return Ok(true),
                // The star would have to take more than there is.
                (Some(_), None) => return Ok(false),
                _ => match retry {
                    Some((after, from)) => {
                        retry = Some((after, from + 1));
                        (piece, at) = (after, from + 1);
                    }
                    None => return Ok(false),
                },
            }
        }
    }
}

impl Piece {
    fn is_star(&self) -> bool {
        matches!(self, Self::Star)
    }

    /// Whether it is a piece of one byte, and that is one of its.
    fn takes(&self, byte: u8) -> bool {
        match self {
            Self::Byte(own) => *own == byte,
            Self::One => true,
            Self::Of(class) => class.has(byte),
            Self::Star => false,
        }
    }
}

impl Class {
    /// Takes a class off the pattern that goes on after its `[`.
    fn read(rest: &mut &[u8]) -> Self {
        let mut class = Self::default();
        let is_inverted = rest.first() == Some(&b'^');
        if is_inverted {
            take(rest);
        }
        while let Some(first) = take(rest) {
            match (first, &**rest) {
                (b'\\', [escaped, ..]) => {
                    class.add(*escaped);
                    take(rest);
                }
                (b']', _) => break,
                (_, [b'-', last, after @ ..]) => {
                    class.add_range(first, *last);
                    *rest = after;
                }
                _ => class.add(first),
            }
        }
        if is_inverted {
            class.0 = class.0.map(|bits| !bits);
        }
        class
    }

    fn add(&mut self, byte: u8) {
        self.0[usize::from(byte / 64)] |= 1 << (byte % 64);
    }

    /// Redis compares `char`, which is signed where it mostly runs.
    fn add_range(&mut self, one: u8, other: u8) {
        let (one, other) = (one.cast_signed(), other.cast_signed());
        for byte in one.min(other)..=one.max(other) {
            self.add(byte.cast_unsigned());
        }
    }

    fn has(&self, byte: u8) -> bool {
        self.0[usize::from(byte / 64)] >> (byte % 64) & 1 == 1
    }
}

/// Takes the first byte off.
fn take(rest: &mut &[u8]) -> Option<u8> {
    let (first, after) = rest.split_first()?;
    *rest = after;
    Some(*first)
}
