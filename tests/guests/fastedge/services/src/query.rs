//! A request's query, percent-decoded.

use std::str::FromStr;

use anyhow::{anyhow, Result};

/// The parameters of a query, in their order.
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Takes apart what stands after the `?`.
    pub fn of(query: Option<&str>) -> Self {
        let pairs = query.unwrap_or_default().split('&');
        Self(
            pairs
                .filter_map(|pair| pair.split_once('='))
                .map(|(name, value)| (name.to_owned(), decode(value)))
                .collect(),
        )
    }

    /// Every value of a parameter.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.0.iter().filter(move |(key, _)| key == name);
        named.map(|(_, value)| value.as_str())
    }

    /// The first value of a parameter.
    pub fn value(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(key, _)| key == name)?;
        Some(value)
    }

    /// The first value of a parameter that has to be there.
    pub fn need(&self, name: &str) -> Result<&str> {
        self.value(name).ok_or(anyhow!("no parameter {name}"))
    }

    /// A parameter as a number, if it is there.
    pub fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>> {
        let number = |value: &str| value.parse().map_err(|_| anyhow!("{name} is no number"));
        self.value(name).map(number).transpose()
    }

    /// A parameter that has to be there and be a number.
    pub fn need_number<T: FromStr>(&self, name: &str) -> Result<T> {
        self.number(name)?.ok_or(anyhow!("no parameter {name}"))
    }
}

/// Undoes percent-encoding. What is not `%` and two digits stays as it is, `+` too.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escaped = match (first, after) {
            (b'%', [high, low, ..]) => digit(*high).zip(digit(*low)),
            _ => None,
        };
        match escaped {
            Some((high, low)) => {
                bytes.push(high << 4 | low);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn digit(byte: u8) -> Option<u8> {
    (byte as char).to_digit(16).map(|value| value as u8)
}
