//! Values in messages, as bytes and not as lists of numbers: a megabyte takes microseconds.

use serde::Deserialize;
use serde::de::Deserializer;
use serde::ser::Serializer;
use serde_bytes::{ByteBuf, Bytes};

/// For `#[serde(with)]`: a list of values, each of which there may be none of.
pub(super) mod options {
    use super::*;

    pub(in super::super) fn serialize<S: Serializer>(
        values: &[Option<Vec<u8>>],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(values.iter().map(|value| value.as_deref().map(Bytes::new)))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Option<Vec<u8>>>, D::Error> {
        let values = Vec::<Option<ByteBuf>>::deserialize(deserializer)?;
        Ok(values
            .into_iter()
            .map(|value| value.map(ByteBuf::into_vec))
            .collect())
    }
}

/// For `#[serde(with)]`: keys and values.
pub(super) mod pairs {
    use super::*;

    pub(in super::super) fn serialize<S: Serializer>(
        pairs: &[(String, Vec<u8>)],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(pairs.iter().map(|(key, value)| (key, Bytes::new(value))))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<(String, Vec<u8>)>, D::Error> {
        let pairs = Vec::<(String, ByteBuf)>::deserialize(deserializer)?;
        Ok(pairs
            .into_iter()
            .map(|(key, value)| (key, value.into_vec()))
            .collect())
    }
}

/// For `#[serde(with)]`: members and scores.
pub(super) mod scored {
    use super::*;

    pub(in super::super) fn serialize<S: Serializer>(
        members: &[(Vec<u8>, f64)],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(
            members
                .iter()
                .map(|(member, score)| (Bytes::new(member), score)),
        )
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<(Vec<u8>, f64)>, D::Error> {
        let members = Vec::<(ByteBuf, f64)>::deserialize(deserializer)?;
        Ok(members
            .into_iter()
            .map(|(member, score)| (member.into_vec(), score))
            .collect())
    }
}
