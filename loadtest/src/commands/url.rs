//! A scenario made from a URL.

use crate::cli::UrlArgs;

/// Length of the warm-up, in seconds.
const WARM_UP_S: f64 = 2.0;

/// The scenario's text.
///
/// # Errors
/// A sentence, when the URL or a header is not well-formed.
pub fn scenario(args: &UrlArgs) -> Result<String, String> {
    let rest = args.url.strip_prefix("http://").ok_or_else(|| {
        format!(
            "\"{}\" is no URL for this; give http://ADDRESS:PORT/PATH",
            args.url
        )
    })?;
    let (authority, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, "/"),
    };
    let target = match authority.rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_ok() => authority.to_owned(),
        _ => format!("{authority}:80"),
    };
    let mut headers = toml::Table::new();
    for header in &args.header {
        let (name, value) = header
            .split_once(':')
            .ok_or_else(|| format!("\"{header}\" is no header; write \"NAME: VALUE\""))?;
        headers.insert(name.trim().to_owned(), value.trim().into());
    }
    let arrival = match args.rate {
        None => toml::toml! { process = "closed" },
        Some(rate) if args.constant => {
            table([("process", "constant".into()), ("rate", rate.into())])
        }
        Some(rate) => table([("process", "poisson".into()), ("rate", rate.into())]),
    };
    let mut request = table([
        ("method", args.method.clone().into()),
        ("path", path.into()),
        ("headers", headers.into()),
        (
            "expect",
            table([("status", i64::from(args.status).into())]).into(),
        ),
    ]);
    if let Some(bytes) = args.body_bytes {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        request.insert("body".to_owned(), table([("bytes", bytes.into())]).into());
    }
    let population = table([
        ("name", "requests".into()),
        (
            "hosts",
            vec![args.host.clone().unwrap_or_else(|| authority.to_owned())].into(),
        ),
        ("arrival", arrival.into()),
        (
            "connections",
            i64::try_from(args.connections).unwrap_or(i64::MAX).into(),
        ),
        ("request", vec![toml::Value::from(request)].into()),
    ]);
    let phases = vec![
        toml::Value::from(table([
            ("name", "warm-up".into()),
            ("kind", "warm-up".into()),
            ("seconds", WARM_UP_S.into()),
        ])),
        toml::Value::from(table([
            ("name", "measure".into()),
            ("seconds", args.seconds.into()),
        ])),
    ];
    let scenario = table([
        ("name", "url".into()),
        ("about", args.url.clone().into()),
        ("target", target.into()),
        ("population", vec![toml::Value::from(population)].into()),
        ("phase", phases.into()),
    ]);
    // A "$" in the URL is not a variable.
    Ok(toml::to_string(&scenario)
        .map_err(|error| error.to_string())?
        .replace("${", "$${"))
}

fn table<const N: usize>(entries: [(&str, toml::Value); N]) -> toml::Table {
    entries
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}
