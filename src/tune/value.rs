//! What a file of the kernel holds, compared with what it should.
//!
//! ```text
//! words    "32768\t60999\n"                  space does not matter
//! choice   "always [madvise] never\n"        the word in brackets
//! list     "0-3,8\n"                         a set of CPUs
//! mask     "00000000,0000010f\n"             the same
//! ```

use super::rules::Want;
use super::settings::Format;
use crate::config::CpuSet;

/// The longest value that is shown whole, in characters.
const SHOWN_MAX: usize = 60;

/// What a content says, as it is shown and compared.
pub(super) fn current(text: &str, format: Format) -> String {
    match format {
        Format::Words => words(text),
        Format::Choice => chosen(text).unwrap_or_else(|| words(text)),
        Format::List | Format::Mask => match cpus(text, format) {
            Some(cpus) => shown_cpus(&cpus),
            None => words(text),
        },
    }
}

/// The word in brackets, where there is one.
pub(super) fn chosen(text: &str) -> Option<String> {
    let mut words = text.split_whitespace();
    words.find_map(|word| Some(word.strip_prefix('[')?.strip_suffix(']')?.to_owned()))
}

/// Whether a content is what is wanted.
///
/// # Errors
/// Why it cannot be told, or cannot be had here.
pub(super) fn holds(text: &str, format: Format, want: &Want) -> Result<bool, String> {
    let now = current(text, format);
    match want {
        Want::Cpus(wanted) => match cpus(text, format) {
            Some(cpus) => Ok(cpus == *wanted),
            None => Err(format!("holds {}, which is no set of CPUs", shorten(&now))),
        },
        Want::AtLeast { least, .. } => match now.parse::<u64>() {
            Ok(number) => Ok(number >= *least),
            // RLIM_INFINITY in words, as /proc/self/limits has it.
            Err(_) if now == "unlimited" => Ok(true),
            Err(_) => Err(format!("holds {}, which is no number", shorten(&now))),
        },
        Want::AnyOf(wanted) if wanted.iter().any(|word| words(word) == now) => Ok(true),
        Want::AnyOf(wanted) => match wanted.first() {
            Some(first) if !offers(text, format, first) => {
                Err(format!("offers only {}", shorten(&words(text))))
            }
            _ => Ok(false),
        },
    }
}

/// Whether a choice has this word; what is no choice is not known.
fn offers(text: &str, format: Format, wanted: &str) -> bool {
    let mut words = text.split_whitespace();
    format != Format::Choice
        || chosen(text).is_none()
        || words.any(|word| word.trim_matches(['[', ']']) == wanted)
}

/// What is written, without a line's end.
pub(super) fn written(want: &Want, format: Format) -> String {
    match want {
        Want::AnyOf(words) => words.first().cloned().unwrap_or_default(),
        Want::AtLeast { write, .. } => write.to_string(),
        Want::Cpus(cpus) if format == Format::Mask => cpus.mask(),
        Want::Cpus(cpus) => cpus.to_string(),
    }
}

/// What is wanted, in words.
pub(super) fn in_words(want: &Want) -> String {
    match want {
        Want::AnyOf(words) => words.join(" or "),
        Want::AtLeast { least, .. } => format!("at least {least}"),
        Want::Cpus(cpus) => shown_cpus(cpus),
    }
}

/// At most so many characters of a value.
pub(super) fn shorten(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

fn cpus(text: &str, format: Format) -> Option<CpuSet> {
    match format {
        Format::Mask => CpuSet::from_mask(text),
        _ => CpuSet::from_list(text),
    }
}

fn shown_cpus(cpus: &CpuSet) -> String {
    match cpus.is_empty() {
        true => "none".to_owned(),
        false => cpus.to_string(),
    }
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any(words: &[&str]) -> Want {
        Want::AnyOf(words.iter().map(|word| (*word).to_owned()).collect())
    }

    fn cpus(list: &str) -> Want {
        Want::Cpus(CpuSet::from_list(list).unwrap())
    }

    #[test]
    fn comparisons() {
        use Format::{Choice, List, Mask, Words};
        let more = Want::AtLeast {
            least: 4096,
            write: 8192,
        };
        let thp = "always [madvise] never\n";
        let cases: [(&str, Format, Want, Result<bool, &str>); 20] = [
            ("4096\n", Words, more.clone(), Ok(true)),
            ("4095\n", Words, more.clone(), Ok(false)),
            ("unlimited", Words, more.clone(), Ok(true)),
            ("n/a\n", Words, more, Err("holds n/a, which is no number")),
            ("1024\t65535\n", Words, any(&["1024 65535"]), Ok(true)),
            ("1024\t65534\n", Words, any(&["1024 65535"]), Ok(false)),
            (thp, Choice, any(&["madvise", "never"]), Ok(true)),
            (thp, Choice, any(&["never"]), Ok(false)),
            (
                thp,
                Choice,
                any(&["defer"]),
                Err("offers only always [madvise] never"),
            ),
            ("never", Choice, any(&["never"]), Ok(true)),
            ("never", Choice, any(&["defer"]), Ok(false)),
            ("off\n", Words, any(&["off", "notsupported"]), Ok(true)),
            ("0-3\n", List, cpus("0-3"), Ok(true)),
            ("3,0-2\n", List, cpus("0-3"), Ok(true)),
            ("0-3\n", List, cpus("0"), Ok(false)),
            ("\n", List, cpus(""), Ok(true)),
            ("00000000,0000000f\n", Mask, cpus("0-3"), Ok(true)),
            ("f\n", Mask, cpus("0-2"), Ok(false)),
            ("0\n", Mask, cpus(""), Ok(true)),
            (
                "f\n",
                List,
                cpus("0-3"),
                Err("holds f, which is no set of CPUs"),
            ),
        ];
        for (text, format, want, expected) in cases {
            let expected = expected.map_err(str::to_owned);
            assert_eq!(holds(text, format, &want), expected, "{text:?} {want:?}");
        }
    }

    #[test]
    fn what_is_written_holds() {
        let wants = [
            (any(&["madvise", "never"]), Format::Choice, "madvise"),
            (any(&["1024 65535"]), Format::Words, "1024 65535"),
            (Want::AtLeast { least: 3, write: 4 }, Format::Words, "4"),
            (cpus("0-3,32"), Format::List, "0-3,32"),
            (cpus("0-3,32"), Format::Mask, "1,0000000f"),
            (cpus(""), Format::Mask, "0"),
        ];
        for (want, format, text) in wants {
            assert_eq!(written(&want, format), text);
            assert_eq!(holds(text, format, &want), Ok(true));
        }
    }

    #[test]
    fn long_values_are_cut() {
        assert_eq!(shorten("a"), "a");
        assert_eq!(shorten(&"ä".repeat(60)), "ä".repeat(60));
        assert_eq!(shorten(&"ä".repeat(61)), format!("{}…", "ä".repeat(60)));
    }
}
