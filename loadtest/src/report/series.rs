//! Values along time, thinned out to what a screen shows.

/// What stands for the values that share a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// Their mean: rates, whose sum over time must stay.
    Mean,
    /// Their largest: latencies and queues, whose peaks must not vanish.
    Largest,
}

/// How many seconds share a place so that `seconds` have at most `places_max` of them.
pub(super) fn width_s(seconds: f64, places_max: usize) -> f64 {
    (seconds / places_max as f64).ceil().max(1.0)
}

/// Points in ascending time, one per `width_s` seconds at the middle of these. What is not finite
/// is left out, and so is the time in which there was nothing.
pub(super) fn thin(points: &[(f64, f64)], width_s: f64, keep: Keep) -> Vec<(f64, f64)> {
    let mut out: Vec<(f64, f64)> = Vec::new();
    let (mut place, mut many) = (f64::NAN, 0.0);
    for &(at, value) in points {
        if !at.is_finite() || !value.is_finite() {
            continue;
        }
        let own = (at / width_s).floor();
        match out.last_mut() {
            Some(last) if own == place => {
                many += 1.0;
                last.1 = match keep {
                    Keep::Mean => last.1 + (value - last.1) / many,
                    Keep::Largest => last.1.max(value),
                };
            }
            _ => {
                (place, many) = (own, 1.0);
                out.push(((own + 0.5) * width_s, value));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_run_is_left_as_it_is() {
        let points = [(0.5, 3.0), (1.5, 4.0), (2.5, f64::NAN), (3.5, 5.0)];
        let expected = [(0.5, 3.0), (1.5, 4.0), (3.5, 5.0)];
        assert_eq!(thin(&points, width_s(60.0, 600), Keep::Mean), expected);
    }

    #[test]
    fn a_long_run_keeps_its_sum_and_its_peaks() {
        let day: Vec<(f64, f64)> = (0..86_400)
            .map(|second| {
                let value = if second == 40_000 { 145.0 } else { 1.0 };
                (f64::from(second) + 0.5, value)
            })
            .collect();
        let width = width_s(86_400.0, 600);
        let mean = thin(&day, width, Keep::Mean);
        let largest = thin(&day, width, Keep::Largest);
        assert_eq!((width, mean.len(), largest.len()), (144.0, 600, 600));
        let sum: f64 = mean.iter().map(|point| point.1 * width).sum();
        assert!((sum - 86_544.0).abs() < 1e-6, "{sum}");
        assert!(largest.iter().any(|point| point.1 == 145.0));
    }

    #[test]
    fn any_length_has_at_most_that_many_places() {
        for seconds in [1.0, 599.5, 600.0, 601.0, 604_800.0] {
            assert!(seconds / width_s(seconds, 600) <= 600.0, "{seconds}");
        }
    }
}
