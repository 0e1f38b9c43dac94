//! Sets of CPUs, in the two forms that the kernel writes them.
//!
//! ```text
//! list    0-3,8,10-12            cpulist files, smp_affinity_list, isolcpus=
//! mask    00000001,0000ff0f      smp_affinity, rps_cpus: 32 CPUs a group, the highest group first
//! ```
//!
//! (Linux `lib/bitmap-str.c`: `bitmap_parselist`, `bitmap_parse`.)

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use super::limits::CPUS_MAX;

/// CPUs of one group of a mask.
const GROUP_CPUS: usize = 32;

/// A set of CPU numbers below [`CPUS_MAX`], in ascending order. Displayed as a list.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct CpuSet(BTreeSet<usize>);

impl CpuSet {
    /// Reads a list: `0-3,8`. Nothing at all is the empty set, as in
    /// `/sys/devices/system/cpu/isolated`. `None` when it is no list, or names a CPU above the limit.
    pub fn from_list(text: &str) -> Option<CpuSet> {
        let mut cpus = BTreeSet::new();
        let text = text.trim();
        for part in text.split(',').filter(|_| !text.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first)?, number(last)?);
            if first > last || last >= CPUS_MAX {
                return None;
            }
            cpus.extend(first..=last);
        }
        Some(CpuSet(cpus))
    }

    /// Reads a mask: `ff` or `00000001,0000ff0f`. `None` when it is none, or names a CPU above the
    /// limit.
    pub fn from_mask(text: &str) -> Option<CpuSet> {
        let mut cpus = BTreeSet::new();
        for (index, group) in text.trim().rsplit(',').enumerate() {
            let fits = (1..=GROUP_CPUS / 4).contains(&group.len());
            if !fits || !group.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return None;
            }
            let bits = u32::from_str_radix(group, 16).ok()?;
            let set = (0..GROUP_CPUS).filter(|bit| bits >> bit & 1 == 1);
            cpus.extend(set.map(|bit| index * GROUP_CPUS + bit));
        }
        let highest = cpus.last().copied().unwrap_or(0);
        (highest < CPUS_MAX).then_some(CpuSet(cpus))
    }

    /// As a mask; the empty set is `0`.
    pub fn mask(&self) -> String {
        let highest = self.0.last().copied().unwrap_or(0);
        let mut groups = vec![0_u32; highest / GROUP_CPUS + 1];
        for cpu in &self.0 {
            if let Some(group) = groups.get_mut(cpu / GROUP_CPUS) {
                *group |= 1 << (cpu % GROUP_CPUS);
            }
        }
        let mut text = String::new();
        for group in groups.iter().rev() {
            match text.is_empty() {
                true => text = format!("{group:x}"),
                false => text = format!("{text},{group:08x}"),
            }
        }
        text
    }

    /// The CPUs, ascending.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().copied()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `cpu` is one of them.
    pub fn has(&self, cpu: usize) -> bool {
        self.0.contains(&cpu)
    }

    /// The lowest.
    pub fn first(&self) -> Option<usize> {
        self.0.first().copied()
    }

    /// Whether the two have a CPU in common.
    pub fn meets(&self, other: &CpuSet) -> bool {
        !self.0.is_disjoint(&other.0)
    }

    /// Those that are not in `other`.
    pub fn without(&self, other: &CpuSet) -> CpuSet {
        CpuSet(self.0.difference(&other.0).copied().collect())
    }

    /// Those of either.
    pub fn and(&self, other: &CpuSet) -> CpuSet {
        CpuSet(self.0.union(&other.0).copied().collect())
    }
}

impl FromIterator<usize> for CpuSet {
    fn from_iter<I: IntoIterator<Item = usize>>(cpus: I) -> CpuSet {
        CpuSet(cpus.into_iter().collect())
    }
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut runs: Vec<(usize, usize)> = Vec::new();
        for cpu in self.iter() {
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == cpu => *last = cpu,
                _ => runs.push((cpu, cpu)),
            }
        }
        let runs = runs.iter().map(|(first, last)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        });
        f.write_str(&runs.collect::<Vec<_>>().join(","))
    }
}

/// Digits only: `str::parse` would take a sign.
fn number(text: &str) -> Option<usize> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(cpus: &[usize]) -> CpuSet {
        cpus.iter().copied().collect()
    }

    #[test]
    fn lists() {
        let cases: [(&str, Option<&[usize]>); 19] = [
            ("", Some(&[])),
            ("\n", Some(&[])),
            ("0", Some(&[0])),
            ("0-3\n", Some(&[0, 1, 2, 3])),
            ("0,2-3,8", Some(&[0, 2, 3, 8])),
            ("8,0", Some(&[0, 8])),
            ("3-3", Some(&[3])),
            ("0-1,1-2", Some(&[0, 1, 2])),
            ("8191", Some(&[8191])),
            ("8192", None),
            ("0-8192", None),
            ("0-18446744073709551615", None),
            ("3-1", None),
            ("a-b", None),
            ("0,", None),
            (",", None),
            ("-1", None),
            ("+1", None),
            ("0 1", None),
        ];
        for (text, expected) in cases {
            assert_eq!(CpuSet::from_list(text), expected.map(set), "{text:?}");
        }
    }

    #[test]
    fn masks() {
        let cases: [(&str, Option<&[usize]>); 14] = [
            ("0", Some(&[])),
            ("3\n", Some(&[0, 1])),
            ("00000000,0000000c", Some(&[2, 3])),
            ("1,00000000", Some(&[32])),
            ("80000000,00000000,00000001", Some(&[0, 95])),
            ("A", Some(&[1, 3])),
            ("1,1", Some(&[0, 32])),
            ("", None),
            (",1", None),
            ("1,", None),
            ("000000001", None),
            ("g", None),
            ("0x1", None),
            ("+1", None),
        ];
        for (text, expected) in cases {
            assert_eq!(CpuSet::from_mask(text), expected.map(set), "{text:?}");
        }
        let group = |count| format!("1{}", ",00000000".repeat(count));
        let last = CPUS_MAX / GROUP_CPUS - 1;
        assert_eq!(
            CpuSet::from_mask(&group(last)),
            Some(set(&[CPUS_MAX - GROUP_CPUS]))
        );
        assert_eq!(CpuSet::from_mask(&group(last + 1)), None);
    }

    #[test]
    fn written_as_the_kernel_reads_them() {
        let cases: [(&[usize], &str, &str); 6] = [
            (&[], "", "0"),
            (&[0], "0", "1"),
            (&[0, 1, 2, 3, 8], "0-3,8", "10f"),
            (&[31, 32], "31-32", "1,80000000"),
            (&[64], "64", "1,00000000,00000000"),
            (&[1, 3, 5], "1,3,5", "2a"),
        ];
        for (cpus, list, mask) in cases {
            assert_eq!(set(cpus).to_string(), list);
            assert_eq!(set(cpus).mask(), mask);
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        // Every set of ten CPUs around a group's edge, and some wide ones.
        let narrow = (0_usize..1024).map(|bits| (0..10).filter(move |b| bits >> b & 1 == 1));
        let narrow = narrow.map(|bits| bits.map(|bit| bit + 27).collect::<CpuSet>());
        let wide = (1..60).map(|step| (0..CPUS_MAX).step_by(step).collect::<CpuSet>());
        for cpus in narrow.chain(wide) {
            assert_eq!(CpuSet::from_list(&cpus.to_string()), Some(cpus.clone()));
            assert_eq!(CpuSet::from_mask(&cpus.mask()), Some(cpus));
        }
    }
}
