//! Lists of cores as the kernel and `--cores` spell them: `1` or `2-5,7`.

use std::str::FromStr;

use crate::limits::CORES_MAX;

/// A list of cores on a command line: sorted, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CoreList(pub Vec<usize>);

impl FromStr for CoreList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text).map(Self)
    }
}

/// Reads a list; the result is sorted and holds each core once. An empty text is an empty list.
///
/// # Errors
/// A sentence that quotes the part that is no core or range of cores below [`CORES_MAX`].
pub fn parse(text: &str) -> Result<Vec<usize>, String> {
    let mut cores = Vec::new();
    for part in text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        let (first, last) = range(part)
            .filter(|(first, last)| first <= last && *last < CORES_MAX)
            .ok_or_else(|| {
                format!(
                    "`{part}` is no core or range of cores below {CORES_MAX}, such as 1 or 2-5,7"
                )
            })?;
        cores.extend(first..=last);
    }
    cores.sort_unstable();
    cores.dedup();
    Ok(cores)
}

fn range(part: &str) -> Option<(usize, usize)> {
    let (first, last) = part.split_once('-').unwrap_or((part, part));
    Some((first.trim().parse().ok()?, last.trim().parse().ok()?))
}

/// Writes a sorted list in the same form: `2-5,7`.
pub fn format(cores: &[usize]) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut rest = cores;
    while let Some(&first) = rest.first() {
        let length = rest
            .iter()
            .enumerate()
            .take_while(|&(at, &core)| core == first + at)
            .count();
        parts.push(match length {
            1 => first.to_string(),
            _ => format!("{first}-{}", first + length - 1),
        });
        rest = &rest[length..];
    }
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_survive_both_ways() {
        for (text, cores, again) in [
            ("", vec![], ""),
            ("1", vec![1], "1"),
            ("2-5,7\n", vec![2, 3, 4, 5, 7], "2-5,7"),
            ("7, 3,3,4", vec![3, 4, 7], "3-4,7"),
        ] {
            assert_eq!(parse(text).unwrap(), cores, "{text}");
            assert_eq!(format(&cores), again);
        }
    }

    #[test]
    fn what_is_no_list_is_quoted() {
        for (text, part) in [
            ("a", "`a`"),
            ("1,5-2", "`5-2`"),
            ("0-9999999", "`0-9999999`"),
            ("-1", "`-1`"),
        ] {
            assert!(parse(text).unwrap_err().contains(part), "{text}");
        }
    }
}
