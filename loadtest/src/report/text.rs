//! Text as the page shows it: escaped, and numbers as people read them.

/// A text from outside (a host name, an error, a file) as it may stand in HTML and in an attribute.
///
/// Characters that XML forbids, and those that reorder what is read, become U+FFFD.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(character),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffe}' | '\u{ffff}' => {
                out.push('\u{fffd}');
            }
            _ if character.is_control() => out.push('\u{fffd}'),
            _ => out.push(character),
        }
    }
    out
}

/// The first `bytes_max` bytes, cut at a character, and whether something is missing.
pub(super) fn first(text: &str, bytes_max: usize) -> (&str, bool) {
    let end = text.floor_char_boundary(bytes_max);
    (&text[..end], end < text.len())
}

/// A whole number in groups of three: `12,345`.
pub(super) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Three significant digits: `0.123`, `1.23`, `12.3`, `1,234`; a dash for what is no number.
pub(super) fn number(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let sign = if value < 0.0 { "−" } else { "" };
    let size = value.abs();
    // The borders are where rounding would add a digit: 9.996 is 10.0.
    let digits = if size >= 99.95 {
        count(size.round() as u64)
    } else if size >= 9.995 {
        format!("{size:.1}")
    } else if size >= 0.9995 {
        format!("{size:.2}")
    } else if size >= 0.000_5 {
        format!("{size:.3}")
    } else if size > 0.0 {
        format!("{size:.0e}")
    } else {
        "0".to_owned()
    };
    format!("{sign}{digits}")
}

/// A tick of an axis: as few digits as the round number has.
pub(super) fn tick(value: f64) -> String {
    if value >= 1000.0 {
        return count(value.round() as u64);
    }
    let text = format!("{value:.6}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    text.to_owned()
}

/// A share of one, in percent: `0.02 %`.
pub(super) fn percent(share: f64) -> String {
    match share * 100.0 {
        percent if percent > 0.0 && percent < 0.005 => "≈ 0 %".to_owned(),
        percent if percent == 0.0 || percent >= 99.995 => format!("{percent:.0} %"),
        percent if percent >= 10.0 => format!("{percent:.1} %"),
        percent => format!("{percent:.2} %"),
    }
}

/// A length of time: `850 ms`, `60 s`, `5 min 30 s`, `2 h 5 min`.
pub(super) fn length(seconds: f64) -> String {
    if seconds < 1.0 {
        return format!("{:.0} ms", seconds.max(0.0) * 1e3);
    }
    if seconds < 120.0 {
        return format!("{} s", tick((seconds * 10.0).round() / 10.0));
    }
    let whole = seconds.round() as u64;
    let (hours, minutes, rest) = (whole / 3600, whole / 60 % 60, whole % 60);
    match (hours, minutes, rest) {
        (0, minutes, 0) => format!("{minutes} min"),
        (0, minutes, rest) => format!("{minutes} min {rest} s"),
        (hours, 0, _) => format!("{} h", count(hours)),
        (hours, minutes, _) => format!("{} h {minutes} min", count(hours)),
    }
}

/// Bytes in binary units: `512 B`, `1.50 MiB`.
pub(super) fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    if value < 1024.0 {
        return format!("{bytes} B");
    }
    for unit in ["KiB", "MiB", "GiB"] {
        value /= 1024.0;
        if value < 1024.0 {
            return format!("{} {unit}", number(value));
        }
    }
    format!("{} TiB", number(value / 1024.0))
}

/// A moment in UTC: `2026-03-01 12:34:56 UTC`.
pub(super) fn utc(unix_s: u64) -> String {
    // Days to a date of the proleptic Gregorian calendar in eras of 400 years that begin in March
    // (Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days).
    let days = unix_s / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let second = unix_s % 86_400;
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_is_markup() {
        for (text, expected) in [
            (
                "<script>alert('x')</script>",
                "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;",
            ),
            ("a\" onload=\"b & c", "a&quot; onload=&quot;b &amp; c"),
            (
                "nul\0 bell\u{7} esc\u{1b}",
                "nul\u{fffd} bell\u{fffd} esc\u{fffd}",
            ),
            ("evil\u{202e}moc.", "evil\u{fffd}moc."),
            ("zwei\nZeilen\tü 🐝", "zwei\nZeilen\tü 🐝"),
        ] {
            assert_eq!(escape(text), expected);
        }
    }

    #[test]
    fn numbers_keep_three_digits() {
        for (value, expected) in [
            (0.0, "0"),
            (0.000_1, "1e-4"),
            (0.123_4, "0.123"),
            (0.999_9, "1.00"),
            (1.234, "1.23"),
            (9.999, "10.0"),
            (12.34, "12.3"),
            (99.99, "100"),
            (1234.5, "1,235"),
            (-2.5, "−2.50"),
            (f64::NAN, "–"),
            (f64::INFINITY, "–"),
        ] {
            assert_eq!(number(value), expected, "{value}");
        }
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(tick(0.05), "0.05");
        assert_eq!(tick(20_000.0), "20,000");
    }

    #[test]
    fn units_are_those_people_read() {
        assert_eq!(length(0.85), "850 ms");
        assert_eq!(length(60.0), "60 s");
        assert_eq!(length(330.0), "5 min 30 s");
        assert_eq!(length(7500.0), "2 h 5 min");
        assert_eq!(bytes(512), "512 B");
        assert_eq!(bytes(3 << 29), "1.50 GiB");
        assert_eq!(percent(0.000_2), "0.02 %");
        assert_eq!(percent(0.000_001), "≈ 0 %");
        assert_eq!(percent(1.0), "100 %");
    }

    #[test]
    fn dates_are_right_around_leap_days() {
        for (unix_s, expected) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_772_368_496, "2026-03-01 12:34:56 UTC"),
            (4_107_542_399, "2100-02-28 23:59:59 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
        ] {
            assert_eq!(utc(unix_s), expected);
        }
    }

    #[test]
    fn a_cut_falls_between_characters() {
        assert_eq!(first("aü", 2), ("a", true));
        assert_eq!(first("aü", 3), ("aü", false));
    }
}
