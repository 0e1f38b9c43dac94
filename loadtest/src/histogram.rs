//! Latency histograms: HdrHistogram of nanoseconds at three significant digits, in JSON as the
//! compressed V2 encoding that every public HdrHistogram tool reads.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};
use serde::{Deserialize, Serialize, de, ser};

use crate::limits::LATENCY_NS_MAX;

/// Significant digits kept of every value.
const DIGITS: u8 = 3;

/// Latencies in nanoseconds, 1 µs to an hour; smaller ones count as 1 µs, larger ones as an hour.
#[derive(Clone, Debug, PartialEq)]
pub struct Latency(Histogram<u64>);

impl Latency {
    /// An empty histogram. Its memory grows with the largest value recorded, to 264 KiB.
    pub fn new() -> Self {
        // The bounds are constants within the crate's rules, checked by a test: the small
        // histogram that stands in for the impossible error is never reached.
        // The lower bound is what values are counted in: three digits of a microsecond are nanoseconds.
        let mut histogram = Histogram::new_with_bounds(1, 1_000_000, DIGITS)
            .unwrap_or_else(|_| unreachable_bounds());
        histogram.auto(true);
        Self(histogram)
    }

    /// Counts one latency.
    pub fn record(&mut self, nanoseconds: u64) {
        // Cannot fail: the histogram grows up to the clamp. `saturating_record` would not grow it.
        let _ = self.0.record(nanoseconds.clamp(1_000, LATENCY_NS_MAX));
    }

    /// Adds everything that `other` counted.
    pub fn add(&mut self, other: &Self) {
        // Cannot fail: this histogram resizes itself and both have the same lower bound.
        let _ = self.0.add(&other.0);
    }

    /// Empties it and keeps its memory.
    pub fn clear(&mut self) {
        self.0.reset();
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The value at a percentile (0 to 100), in milliseconds; 0 when empty.
    pub fn percentile_ms(&self, percentile: f64) -> f64 {
        if self.0.is_empty() {
            return 0.0;
        }
        self.0.value_at_percentile(percentile) as f64 / 1e6
    }

    /// The largest, in milliseconds; 0 when empty.
    pub fn max_ms(&self) -> f64 {
        if self.0.is_empty() {
            0.0
        } else {
            self.0.max() as f64 / 1e6
        }
    }

    /// The mean, in milliseconds; 0 when empty.
    pub fn mean_ms(&self) -> f64 {
        if self.0.is_empty() {
            0.0
        } else {
            self.0.mean() / 1e6
        }
    }

    /// The histogram itself, in nanoseconds.
    pub fn inner(&self) -> &Histogram<u64> {
        &self.0
    }

    /// The V2 deflate encoding, in base64: a line of an HdrHistogram log holds it as is.
    pub fn encode(&self) -> String {
        let mut bytes = Vec::new();
        // Writing to memory fails only when memory does.
        let _ = V2DeflateSerializer::new().serialize(&self.0, &mut bytes);
        BASE64.encode(bytes)
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// A sentence, when the text is not base64 of a V2 histogram.
    pub fn decode(text: &str) -> Result<Self, String> {
        let bytes = BASE64
            .decode(text)
            .map_err(|error| format!("a histogram is not base64: {error}"))?;
        let mut histogram: Histogram<u64> = Deserializer::new()
            .deserialize(&mut bytes.as_slice())
            .map_err(|error| format!("a histogram does not decode: {error}"))?;
        histogram.auto(true);
        Ok(Self(histogram))
    }
}

impl Default for Latency {
    fn default() -> Self {
        Self::new()
    }
}

fn unreachable_bounds() -> Histogram<u64> {
    unreachable!("the bounds are constants that the crate accepts")
}

/// The summary that people and scripts read, beside the histogram that tools read.
#[derive(Serialize, Deserialize)]
struct Document {
    count: u64,
    mean_ms: f64,
    p50_ms: f64,
    p90_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    max_ms: f64,
    hdr: String,
}

impl Serialize for Latency {
    fn serialize<S: ser::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Document {
            count: self.count(),
            mean_ms: self.mean_ms(),
            p50_ms: self.percentile_ms(50.0),
            p90_ms: self.percentile_ms(90.0),
            p99_ms: self.percentile_ms(99.0),
            p999_ms: self.percentile_ms(99.9),
            max_ms: self.max_ms(),
            hdr: self.encode(),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Latency {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let document = Document::deserialize(deserializer)?;
        Self::decode(&document.hdr).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_are_kept_through_json() {
        let mut latency = Latency::new();
        for value in [0, 1_000, 123_456, 87_654_321, 3_600_000_000_000, u64::MAX] {
            latency.record(value);
        }
        let text = serde_json::to_string(&latency).unwrap();
        let back: Latency = serde_json::from_str(&text).unwrap();
        assert_eq!(back.count(), 6);
        let middle = back.percentile_ms(50.0);
        assert!((middle / 0.123_456 - 1.0).abs() < 1e-3, "{middle}");
        assert!((back.max_ms() / 3.6e6 - 1.0).abs() < 1e-3);
    }

    #[test]
    fn sums_count_everything_once() {
        let (mut one, mut other) = (Latency::new(), Latency::new());
        one.record(5_000);
        other.record(7_000_000_000);
        one.add(&other);
        assert_eq!((one.count(), one.max_ms().round()), (2, 7000.0));
        one.clear();
        assert_eq!(
            (
                one.count(),
                one.max_ms(),
                one.mean_ms(),
                one.percentile_ms(99.0)
            ),
            (0, 0.0, 0.0, 0.0)
        );
    }

    #[test]
    fn damaged_text_is_named() {
        assert!(Latency::decode("***").unwrap_err().contains("base64"));
        assert!(Latency::decode("AAAA").unwrap_err().contains("decode"));
    }
}
