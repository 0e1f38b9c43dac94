//! The findings as people see them.

use super::{Finding, Severity};

/// Two lines a finding: what was found, and below it what to do. One sentence when there is none.
pub fn table(findings: &[Finding]) -> String {
    if findings.is_empty() {
        return "nothing found that would spoil a measurement\n".to_owned();
    }
    let width = findings
        .iter()
        .map(|finding| finding.id.len())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    for finding in findings {
        let severity = match finding.severity {
            Severity::Warning => "warning",
            Severity::Refusal => "REFUSAL",
        };
        text += &format!(
            "{severity}  {:width$}  {}\n{:9}{:width$}  → {}\n",
            finding.id, finding.found, "", "", finding.remedy
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let findings = [
            Finding::refusal("io-uring", "it is off", "turn it on"),
            Finding::warning("smt", "it is on", "turn it off"),
        ];
        let expected = "\
REFUSAL  io-uring  it is off
                   → turn it on
warning  smt       it is on
                   → turn it off
";
        assert_eq!(table(&findings), expected);
    }
}
