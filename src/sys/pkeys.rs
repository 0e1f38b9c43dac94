//! Memory protection keys (pkeys(7)): whether this processor and this kernel have them.

/// What the processor says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Processor {
    /// `GenuineIntel` and the like.
    vendor: String,
    /// It has protection keys (CPUID leaf 7, ECX bit 3).
    pku: bool,
    /// The kernel has turned them on (the bit after it).
    ospke: bool,
}

/// The only vendor on whose processors Wasmtime uses protection keys
/// (`wasmtime-internal-core-48.0.8/src/mpk.rs`).
const VENDOR: &str = "GenuineIntel";

/// Whether this process can have `wanted` keys of its own, and Wasmtime will use them.
///
/// Wasmtime itself would not say: without keys from the kernel it makes a pool without stripes.
///
/// # Errors
/// What is missing, in a part of a sentence.
pub fn check(wanted: u32) -> Result<(), String> {
    judge(processor().as_ref(), wanted, free)
}

fn judge(
    processor: Option<&Processor>,
    wanted: u32,
    free: impl Fn(u32) -> u32,
) -> Result<(), String> {
    let Some(processor) = processor else {
        return Err("only x86-64 processors have them".into());
    };
    if !processor.pku {
        return Err("this processor has none (no `pku` in /proc/cpuinfo)".into());
    }
    if processor.vendor != VENDOR {
        return Err(format!(
            "Wasmtime uses them on {VENDOR} processors only, and this one is {}",
            processor.vendor
        ));
    }
    if !processor.ospke {
        return Err("the kernel does not use them (no `ospke` in /proc/cpuinfo: `nopku`?)".into());
    }
    match free(wanted) {
        free if free < wanted => Err(format!("the kernel gives {free} to a process")),
        _ => Ok(()),
    }
}

/// Asks the processor; `None` for one that is not an x86-64.
#[cfg(target_arch = "x86_64")]
fn processor() -> Option<Processor> {
    use std::arch::x86_64::{__cpuid, __cpuid_count};

    const EXTENDED_FEATURES: u32 = 7;
    const PKU: u32 = 1 << 3;
    const OSPKE: u32 = 1 << 4;

    let basic = __cpuid(0);
    let vendor: Vec<u8> = [basic.ebx, basic.edx, basic.ecx]
        .iter()
        .flat_map(|register| register.to_le_bytes())
        .collect();
    let features = match basic.eax >= EXTENDED_FEATURES {
        true => __cpuid_count(EXTENDED_FEATURES, 0).ecx,
        false => 0,
    };
    Some(Processor {
        vendor: String::from_utf8_lossy(&vendor).into_owned(),
        pku: features & PKU != 0,
        ospke: features & OSPKE != 0,
    })
}

#[cfg(not(target_arch = "x86_64"))]
fn processor() -> Option<Processor> {
    None
}

/// How many keys this process could have, up to `wanted`: takes them and gives them back.
fn free(wanted: u32) -> u32 {
    let mut taken = Vec::new();
    while taken.len() < wanted as usize {
        // SAFETY: no flags and no rights taken away: a number is reserved, nothing else changes.
        match unsafe { libc::syscall(libc::SYS_pkey_alloc, 0, 0) } {
            key if key >= 0 => taken.push(key),
            _ => break,
        }
    }
    for key in &taken {
        // SAFETY: the key was allocated above and no page has it.
        unsafe { libc::syscall(libc::SYS_pkey_free, *key) };
    }
    taken.len() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said() {
        let processor = |vendor: &str, pku, ospke| Processor {
            vendor: vendor.into(),
            pku,
            ospke,
        };
        let cases = [
            (None, 15, "only x86-64 processors have them"),
            (Some(processor(VENDOR, false, false)), 15, "no `pku`"),
            (
                Some(processor("AuthenticAMD", true, true)),
                15,
                "GenuineIntel processors only, and this one is AuthenticAMD",
            ),
            (Some(processor(VENDOR, true, false)), 15, "no `ospke`"),
            (
                Some(processor(VENDOR, true, true)),
                14,
                "the kernel gives 14 to a process",
            ),
            (Some(processor(VENDOR, true, true)), 15, ""),
        ];
        for (processor, free, expected) in cases {
            let judged = judge(processor.as_ref(), 15, |_| free);
            match judged {
                Ok(()) => assert_eq!(expected, "", "{processor:?}"),
                Err(missing) => {
                    assert!(
                        !expected.is_empty() && missing.contains(expected),
                        "{missing}"
                    );
                }
            }
        }
    }

    #[test]
    fn keys_are_given_back() {
        assert_eq!(free(15), free(15));
    }
}
