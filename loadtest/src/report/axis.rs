//! Scales and their ticks: where a value stands between 0 and 1, and which values are named.

use super::text::tick;

/// How values become places.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scale {
    /// Equal differences are equal distances.
    Linear {
        /// The value at 0.
        from: f64,
        /// The value at 1.
        to: f64,
    },
    /// Equal ratios are equal distances; `from` is above 0.
    Log {
        /// The value at 0.
        from: f64,
        /// The value at 1.
        to: f64,
    },
}

impl Scale {
    /// Where a value stands, 0 to 1; what lies outside stands on the border.
    pub(super) fn at(self, value: f64) -> f64 {
        let place = match self {
            Self::Linear { from, to } => (value - from) / (to - from),
            Self::Log { from, to } => (value.max(from) / from).ln() / (to / from).ln(),
        };
        // Not a number is at the border too: a place is always drawable.
        if place > 0.0 { place.min(1.0) } else { 0.0 }
    }

    /// The scale as the page's script reads it, to turn places back into values.
    pub(super) fn attribute(self) -> String {
        match self {
            Self::Linear { from, to } => format!("lin {from} {to}"),
            Self::Log { from, to } => format!("log {from} {to}"),
        }
    }
}

/// A named place of an axis; one without a name is only a thin line.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tick {
    /// Where, 0 to 1.
    pub(super) at: f64,
    /// Its name.
    pub(super) label: String,
}

/// A scale with its ticks.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Axis {
    /// The scale.
    pub(super) scale: Scale,
    /// The ticks, ascending.
    pub(super) ticks: Vec<Tick>,
}

impl Axis {
    /// From 0 to a round number not below `max`, with three to six ticks.
    pub(super) fn linear(max: f64) -> Self {
        let max = if max.is_finite() && max > 0.0 {
            max
        } else {
            1.0
        };
        let step = round_up(max / 4.0);
        let steps = (max / step).ceil().max(1.0);
        Self::named(
            Scale::Linear {
                from: 0.0,
                to: step * steps,
            },
            (0..=steps as usize).map(|index| {
                let value = step * index as f64;
                (value, tick(value))
            }),
        )
    }

    /// From a round number not above `min` to one not below `max`, at least a decade apart.
    ///
    /// Up to two decades are named at 1, 2 and 5; more at each power of ten; more than seven at
    /// every other one.
    pub(super) fn log(min: f64, max: f64) -> Self {
        let min = if min.is_finite() && min > 0.0 {
            min.max(1e-6)
        } else {
            0.1
        };
        let max = if max.is_finite() { max.max(min) } else { min };
        let mut from = round_down(min);
        let mut to = round_up(max);
        if to / from < 9.9 {
            (from, to) = (power(from), power(from) * 10.0);
            if to < max {
                to *= 10.0;
            }
        }
        let decades = (to / from).log10();
        let first = from.log10().floor() as i32;
        let last = to.log10().ceil() as i32;
        let values = (first..=last)
            .flat_map(|exponent| [1.0, 2.0, 5.0].map(|digit| (exponent, digit)))
            .map(|(exponent, digit)| (exponent, digit, digit * 10_f64.powi(exponent)))
            .filter(|(_, _, value)| *value >= from * 0.999 && *value <= to * 1.001);
        Self::named(
            Scale::Log { from, to },
            values.map(|(exponent, digit, value)| {
                let named = decades <= 2.05 || digit == 1.0;
                let dense = decades > 7.0 && (exponent - first) % 2 != 0;
                let label = if named && !dense {
                    tick(value)
                } else {
                    String::new()
                };
                (value, label)
            }),
        )
    }

    /// Seconds from 0, named in units that suit the length.
    pub(super) fn time(seconds: f64) -> Self {
        const STEPS_S: [f64; 17] = [
            0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0,
            7200.0, 21_600.0, 86_400.0,
        ];
        let seconds = if seconds.is_finite() {
            seconds.max(0.1)
        } else {
            0.1
        };
        let step = STEPS_S
            .into_iter()
            .find(|step| seconds / step <= 7.0)
            .unwrap_or(172_800.0);
        let count = ((seconds / step) as usize).min(50);
        Self::named(
            Scale::Linear {
                from: 0.0,
                to: seconds,
            },
            (0..=count).map(|index| {
                let at = step * index as f64;
                (at, clock(at, seconds))
            }),
        )
    }

    /// Percentiles 0 to 99.99 over `1 / (1 - p)`: each further nine is as wide as the one before.
    pub(super) fn percentiles() -> Self {
        let names = [
            (0.0, "0"),
            (50.0, "50"),
            (90.0, "90"),
            (99.0, "99"),
            (99.9, "99.9"),
            (99.99, "99.99"),
        ];
        Self::named(
            Scale::Log {
                from: 1.0,
                to: 10_000.0,
            },
            names
                .into_iter()
                .map(|(percentile, name)| (100.0 / (100.0 - percentile), name.to_owned())),
        )
    }

    fn named(scale: Scale, ticks: impl Iterator<Item = (f64, String)>) -> Self {
        let ticks = ticks
            .map(|(value, label)| Tick {
                at: scale.at(value),
                label,
            })
            .collect();
        Self { scale, ticks }
    }
}

/// A moment of a run of `total` seconds: `40 s`, `2:30`, `1:05 h`.
fn clock(at: f64, total: f64) -> String {
    if total <= 120.0 {
        return format!("{} s", tick((at * 10.0).round() / 10.0));
    }
    let at = at.round() as u64;
    if total <= 7200.0 {
        format!("{}:{:02}", at / 60, at % 60)
    } else {
        format!("{}:{:02} h", at / 3600, at / 60 % 60)
    }
}

/// The power of ten at or below a value.
fn power(value: f64) -> f64 {
    10_f64.powf((value.log10() + 1e-9).floor())
}

/// The smallest of 1, 2, 5 × 10ⁿ that is not below a value.
fn round_up(value: f64) -> f64 {
    let power = power(value);
    [1.0, 2.0, 5.0]
        .into_iter()
        .map(|digit| digit * power)
        .find(|round| *round >= value * 0.999_999)
        .unwrap_or(power * 10.0)
}

/// The largest of 1, 2, 5 × 10ⁿ that is not above a value.
fn round_down(value: f64) -> f64 {
    let power = power(value);
    [5.0, 2.0]
        .into_iter()
        .map(|digit| digit * power)
        .find(|round| *round <= value * 1.000_001)
        .unwrap_or(power)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        let named = axis.ticks.iter().map(|tick| tick.label.as_str());
        named.filter(|label| !label.is_empty()).collect()
    }

    #[test]
    fn linear_axes_begin_at_zero_and_hold_the_largest_value() {
        for (max, expected) in [
            (0.0, vec!["0", "0.5", "1"]),
            (1.0, vec!["0", "0.5", "1"]),
            (7.3, vec!["0", "2", "4", "6", "8"]),
            (2_050.0, vec!["0", "1,000", "2,000", "3,000"]),
            (0.03, vec!["0", "0.01", "0.02", "0.03"]),
        ] {
            let axis = Axis::linear(max);
            assert_eq!(labels(&axis), expected, "{max}");
            assert!(axis.scale.at(max) <= 1.0);
            assert_eq!(axis.ticks.first().map(|tick| tick.at), Some(0.0));
            assert_eq!(axis.ticks.last().map(|tick| tick.at), Some(1.0));
        }
    }

    #[test]
    fn log_axes_name_round_numbers_only() {
        for (min, max, expected) in [
            (0.23, 18.0, vec!["0.2", "0.5", "1", "2", "5", "10", "20"]),
            (0.1, 900.0, vec!["0.1", "1", "10", "100", "1,000"]),
            (3.0, 4.0, vec!["1", "2", "5", "10"]),
            (8.0, 12.0, vec!["1", "2", "5", "10", "20", "50", "100"]),
            (0.0, 0.0, vec!["0.1", "0.2", "0.5", "1"]),
        ] {
            let axis = Axis::log(min, max);
            assert_eq!(labels(&axis), expected, "{min} to {max}");
        }
        let (low, high) = (Axis::log(1e-4, 1e6), Axis::log(f64::NAN, f64::INFINITY));
        assert!(labels(&low).len() <= 6);
        assert!(labels(&high).len() >= 2);
    }

    #[test]
    fn places_stay_inside_whatever_the_value() {
        for scale in [
            Scale::Linear { from: 0.0, to: 5.0 },
            Scale::Log { from: 0.1, to: 5.0 },
        ] {
            for value in [-1.0, 0.0, 2.0, 9.0, f64::NAN, f64::INFINITY] {
                let at = scale.at(value);
                assert!((0.0..=1.0).contains(&at), "{scale:?} {value} {at}");
            }
        }
        let scale = Scale::Log {
            from: 0.1,
            to: 10.0,
        };
        assert!((scale.at(1.0) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn time_is_named_in_units_that_suit_it() {
        for (seconds, expected) in [
            (5.0, vec!["0 s", "1 s", "2 s", "3 s", "4 s", "5 s"]),
            (
                60.0,
                vec!["0 s", "10 s", "20 s", "30 s", "40 s", "50 s", "60 s"],
            ),
            (600.0, vec!["0:00", "2:00", "4:00", "6:00", "8:00", "10:00"]),
            (
                20_000.0,
                vec!["0:00 h", "1:00 h", "2:00 h", "3:00 h", "4:00 h", "5:00 h"],
            ),
        ] {
            assert_eq!(labels(&Axis::time(seconds)), expected, "{seconds}");
        }
        assert!(Axis::time(604_800.0).ticks.len() <= 8);
    }

    #[test]
    fn every_nine_is_equally_wide() {
        let axis = Axis::percentiles();
        let at: Vec<f64> = axis.ticks.iter().map(|tick| tick.at).collect();
        for (place, expected) in at.iter().zip([0.0, 0.0753, 0.25, 0.5, 0.75, 1.0]) {
            assert!((place - expected).abs() < 1e-3, "{at:?}");
        }
    }
}
