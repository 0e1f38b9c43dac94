//! The commands that `apply` stands for, as a script that can be read, kept and pasted.

use std::fmt::Write;

use super::check::{Checked, Finding, Verdict};

/// Where sysctl(8) has its names from.
const SYSCTL_DIR: &str = "/proc/sys/";

/// The whole script; `title` is its first comment. Paths are the host's, whatever its root here.
pub fn script(title: &str, checked: &[Checked<'_>]) -> String {
    let mut out = format!("#!/bin/sh\n# {title}\n");
    let mut commands = 0;
    for it in checked {
        let differing = it.findings.iter();
        let differing: Vec<_> = differing
            .filter(|finding| finding.change.is_some())
            .collect();
        if differing.is_empty() {
            continue;
        }
        line(
            &mut out,
            format_args!("\n# {}: {}", it.setting.id, it.setting.why),
        );
        for finding in differing {
            commands += 1;
            line(&mut out, format_args!("{}", command(finding)));
        }
    }
    if commands == 0 {
        line(&mut out, format_args!("\n# Nothing to change."));
    }
    let advice: Vec<_> = checked
        .iter()
        .filter(|it| it.verdict() == Verdict::Advice)
        .collect();
    if !advice.is_empty() {
        line(&mut out, format_args!("\n# Not done by any command:"));
    }
    for it in advice {
        for finding in &it.findings {
            line(
                &mut out,
                format_args!("#   {}: {}", it.setting.id, finding.note),
            );
        }
    }
    out
}

/// Writing to a `String` cannot fail; this keeps the results out of sight.
fn line(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(arguments);
    out.push('\n');
}

/// One command.
fn command(finding: &Finding) -> String {
    let value = finding.change.as_ref().map(|change| change.value.as_str());
    let value = quoted(value.unwrap_or_default());
    let name = finding.place.strip_prefix(SYSCTL_DIR);
    // A dot in a name, as in a VLAN's, would be taken for a slash.
    match name.filter(|name| !name.contains('.')) {
        Some(name) => format!("sysctl -w {}={value}", name.replace('/', ".")),
        None => format!("echo {value} > {}", quoted(&finding.place)),
    }
}

/// As one word of a shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/_.,:+-@".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Change;
    use super::*;

    #[test]
    fn commands() {
        let cases = [
            (
                "/proc/sys/net/core/somaxconn",
                "4096",
                "sysctl -w net.core.somaxconn=4096",
            ),
            (
                "/proc/sys/net/ipv4/ip_local_port_range",
                "1 2",
                "sysctl -w net.ipv4.ip_local_port_range='1 2'",
            ),
            (
                "/proc/sys/net/ipv4/conf/eth0.7/x",
                "1",
                "echo 1 > /proc/sys/net/ipv4/conf/eth0.7/x",
            ),
            (
                "/proc/irq/4/smp_affinity_list",
                "0-3",
                "echo 0-3 > /proc/irq/4/smp_affinity_list",
            ),
            ("/sys/a b", "", "echo '' > '/sys/a b'"),
            ("/sys/a", "$(x)'", r"echo '$(x)'\''' > /sys/a"),
        ];
        for (place, value, expected) in cases {
            let finding = Finding {
                place: place.to_owned(),
                current: None,
                wanted: None,
                verdict: Verdict::Differs,
                note: String::new(),
                change: Some(Change {
                    before: String::new(),
                    value: value.to_owned(),
                }),
            };
            assert_eq!(command(&finding), expected);
        }
    }
}
