//! How sure a ratio is: means of logarithms, their spread, and Student's t.
//!
//! Scores are compared as ratios, so everything is done with logarithms: twice as good and half as
//! good are equally far from equal.
//!
//! ```text
//!                  control's own scores, as log-ratios to their mean
//!           ────────•───•──┼─•────•────────
//!   worse ◄──┤    within the noise     ├──► better          one measurement of a candidate
//!           mean ± t · s · √(1 + 1/n)                       (prediction interval)
//!
//!           ──────────┼──├──•──┤──────────►                 mean of paired log-ratios
//!                     0  mean ± t · s / √n                  (confidence interval)
//! ```

use serde::Serialize;

/// The 97.5 % quantile of Student's t distribution for 1, 2, 3, … degrees of freedom (Fisher &
/// Yates 1938, table III): two-sided 95 %.
const T_975: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
    2.052, 2.048, 2.045, 2.042,
];

/// Two-sided 95 % quantile for `freedom` degrees of freedom; above 30 that of 30, which is larger
/// than the true one, and infinite for none.
pub fn student_t(freedom: usize) -> f64 {
    match freedom {
        0 => f64::INFINITY,
        _ => T_975[freedom.min(T_975.len()) - 1],
    }
}

/// The arithmetic mean; 0 for nothing.
pub fn mean(values: &[f64]) -> f64 {
    match values.len() {
        0 => 0.0,
        count => values.iter().sum::<f64>() / count as f64,
    }
}

/// The sample's standard deviation; 0 for fewer than two values.
pub fn deviation(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / (values.len() - 1) as f64).sqrt()
}

/// The control of one round.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Control {
    /// The geometric mean of its scores.
    pub score: f64,
    /// The farthest that the logarithm of one more of its scores is from that of the mean, with 95 %
    /// confidence; infinite for a single score.
    pub noise: f64,
}

impl Control {
    /// Of scores above 0.
    pub fn of(scores: &[f64]) -> Control {
        let logs: Vec<f64> = scores.iter().map(|score| score.ln()).collect();
        let count = logs.len() as f64;
        let wider = (1.0 + 1.0 / count).sqrt();
        let noise = match logs.len() {
            0 | 1 => f64::INFINITY,
            many => student_t(many - 1) * deviation(&logs) * wider,
        };
        Control {
            score: mean(&logs).exp(),
            noise,
        }
    }

    /// The noise in percent.
    pub fn noise_percent(&self) -> f64 {
        (self.noise.exp() - 1.0) * 100.0
    }
}

/// A mean ratio with its 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// The geometric mean.
    pub ratio: f64,
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

impl Interval {
    /// Of paired log-ratios.
    pub fn of(log_ratios: &[f64]) -> Interval {
        let mean = mean(log_ratios);
        let half = match log_ratios.len() {
            0 | 1 => f64::INFINITY,
            many => student_t(many - 1) * deviation(log_ratios) / (many as f64).sqrt(),
        };
        Interval {
            ratio: mean.exp(),
            low: (mean - half).exp(),
            high: (mean + half).exp(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-4, "{found}, not {expected}");
    }

    #[test]
    fn quantiles() {
        for (freedom, expected) in [
            (1, 12.706),
            (4, 2.776),
            (9, 2.262),
            (30, 2.042),
            (99, 2.042),
        ] {
            near(student_t(freedom), expected);
        }
        assert!(student_t(0).is_infinite());
    }

    #[test]
    fn intervals_against_known_values() {
        // The ten differences in sleep of "Student" (1908): mean 1.58, s 1.23, 95 % 0.70 to 2.46.
        let sleep = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4];
        near(mean(&sleep), 1.58);
        near(deviation(&sleep), 1.229_995);
        let interval = Interval::of(&sleep);
        near(interval.ratio.ln(), 1.58);
        near(interval.low.ln(), 0.700_18);
        near(interval.high.ln(), 2.459_82);
    }

    #[test]
    fn one_pair_says_nothing() {
        let interval = Interval::of(&[0.5]);
        assert!(interval.low == 0.0 && interval.high.is_infinite());
    }

    #[test]
    fn noise_is_how_far_one_more_score_may_be() {
        let control = Control::of(&[1.0, 1.0, 1.0]);
        assert_eq!((control.score, control.noise), (1.0, 0.0));
        // Logarithms -0.01, 0, 0.01: s = 0.01, t = 4.303, √(4/3).
        let scores = [-0.01_f64, 0.0, 0.01].map(f64::exp);
        near(
            Control::of(&scores).noise,
            4.303 * 0.01 * (4.0_f64 / 3.0).sqrt(),
        );
        assert!(Control::of(&[5.0]).noise.is_infinite());
    }
}
