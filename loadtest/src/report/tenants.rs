//! The tenants that one would ask about: the busiest, the slowest, those with most errors.

use super::text::{count, escape, number};
use crate::limits::REPORT_TENANTS_MAX;
use crate::results::{Population, Results, Tenant};

/// Lists of tenants for every population that has more than one.
pub(super) fn section(results: &Results) -> String {
    let groups: String = results
        .populations
        .iter()
        .enumerate()
        .filter(|(_, population)| !population.tenants.is_empty())
        .map(|(index, population)| group(index, population))
        .collect();
    if groups.is_empty() {
        return groups;
    }
    format!(
        "<section id=\"tenants\"><h2>Tenants</h2><p>Over every phase but warm-up. Fairness is Jain's index of \
         the share of its requests that each tenant got answered: 1 when all fared alike, 1/n when one of n \
         got everything.</p>{groups}</section>\n"
    )
}

fn group(index: usize, population: &Population) -> String {
    let tenants = &population.tenants;
    let fairness = population
        .fairness
        .map_or("not measured".to_owned(), |index| format!("{index:.4}"));
    let slowest = top(tenants, |tenant| tenant.p99_ms);
    let failing = top(tenants, |tenant| tenant.errors as f64);
    let lists = [
        list("Busiest", tenants.iter().take(REPORT_TENANTS_MAX)),
        list("Largest p99", slowest.into_iter()),
        list("Most errors", failing.into_iter()),
    ];
    let listed = if population.tenants_total > tenants.len() {
        format!(
            ", {} of them recorded one by one",
            count(tenants.len() as u64)
        )
    } else {
        String::new()
    };
    format!(
        "<div class=\"p{index}\"><h3><i class=\"key p{index}\"></i>{}</h3><p class=\"tight\">{} tenants{listed}; \
         fairness <b>{fairness}</b></p><div class=\"lists\">{}</div></div>\n",
        escape(&population.name),
        count(population.tenants_total as u64),
        lists.concat()
    )
}

/// The tenants with the largest of something, without those that have none of it.
fn top(tenants: &[Tenant], of: fn(&Tenant) -> f64) -> Vec<&Tenant> {
    let mut all: Vec<&Tenant> = tenants.iter().filter(|tenant| of(tenant) > 0.0).collect();
    all.sort_by(|one, other| of(other).total_cmp(&of(one)));
    all.truncate(REPORT_TENANTS_MAX);
    all
}

fn list<'a>(title: &str, tenants: impl Iterator<Item = &'a Tenant>) -> String {
    let rows: String = tenants
        .map(|tenant| {
            let class = if tenant.errors > 0 { "n bad" } else { "n" };
            format!(
                "<tr><td class=\"host\" title=\"{host}\">{host}</td><td class=\"n\">{}</td>\
                 <td class=\"{class}\">{}</td><td class=\"n\">{}</td></tr>",
                count(tenant.intended),
                count(tenant.errors),
                number(tenant.p99_ms),
                host = escape(&tenant.host),
            )
        })
        .collect();
    let rows = if rows.is_empty() {
        "<tr><td colspan=\"4\" class=\"none\">none</td></tr>".to_owned()
    } else {
        rows
    };
    format!(
        "<table><caption>{title}</caption><thead><tr><th>Host</th><th class=\"n\">Requests</th>\
         <th class=\"n\">Errors</th><th class=\"n\">p99 ms</th></tr></thead><tbody>{rows}</tbody></table>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_the_largest_and_not_those_with_none() {
        let tenants: Vec<Tenant> = (0..30)
            .map(|index| Tenant {
                host: format!("t{index}"),
                intended: 10,
                succeeded: 10,
                errors: if index % 5 == 0 { index } else { 0 },
                p50_ms: 1.0,
                p99_ms: index as f64,
                max_ms: 1.0,
            })
            .collect();
        let hosts = |of| -> Vec<&str> {
            let top = top(&tenants, of);
            top.iter().map(|tenant| tenant.host.as_str()).collect()
        };
        assert_eq!(
            hosts(|tenant| tenant.errors as f64),
            ["t25", "t20", "t15", "t10", "t5"]
        );
        assert_eq!(hosts(|tenant| tenant.p99_ms).len(), REPORT_TENANTS_MAX);
    }
}
