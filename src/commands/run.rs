//! `skep run`: one component, for the person who writes it.

mod dotenv;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::Context;

use self::dotenv::Dotenv;
use self::watch::Watch;
use super::{Failure, Result};
use crate::cli::{RunArgs, StoreFlag};
use crate::config::{GeoPlaces, HOOKS, Host, Origin, OriginFilter, OriginHost, Secret};
use crate::worker::{self, Added, Reloader};

/// `skep run`
pub fn run(args: &RunArgs) -> Result {
    let said = match &args.dotenv {
        Some(dir) => Dotenv::read(dir)?,
        None => Dotenv::default(),
    };
    let watch = watched(args)?;
    let env = over(said.env.clone(), &args.env);
    let (budget, egress) = (args.budget(), args.egress());
    let component = args.component();
    let mut host = Host::single(component.into(), args.address(), env, budget, egress)?;
    host.network.ca_file = args.ca_file.clone();
    pass_on(&mut host, args);
    if let Some(facts) = &args.geo {
        host.geo = GeoPlaces {
            databases: Vec::new(),
            pop: facts.clone(),
            client: Some(facts.clone()),
        };
    }
    let added = Added::new(
        over(said.request_fields.clone(), &args.headers),
        over(said.response_fields.clone(), &args.rsp_headers),
    );
    let added = added.map_err(Failure::Wrong)?;
    let _kept = services(&mut host, args, &said)?;
    let name = component.display().to_string();
    let watch = watch.map(|watch| move |reloader: Reloader| watch.run(&reloader));
    worker::run_app(host, added, watch, |address| {
        eprintln!("skep: serving {name} on http://{address}");
    })?;
    Ok(())
}

/// With an origin, the component is a filter on the way there.
fn pass_on(host: &mut Host, args: &RunArgs) {
    let tenants = host.tenants.iter_mut().filter(|_| !args.origin.is_empty());
    for tenant in tenants {
        let filters = tenant.component.take().map(|component| OriginFilter {
            component,
            on: [true; HOOKS.len()],
        });
        tenant.origin = Some(Origin {
            servers: args.origin.clone(),
            host: OriginHost::Server,
            filters: filters.into_iter().collect(),
        });
    }
}

/// What is watched. The component is built once before it is served; where that fails, an older one is.
fn watched(args: &RunArgs) -> std::result::Result<Option<Watch>, Failure> {
    if !args.watch {
        return Ok(None);
    }
    let watch = Watch {
        component: std::path::absolute(args.component())?,
        build: args.build.clone(),
    };
    if !watch.build() && !watch.component.exists() {
        return Err(Failure::Told);
    }
    Ok(Some(watch))
}

/// What the files say, and flags instead where they say something of the same name.
fn over(
    mut said: BTreeMap<String, String>,
    flags: &[(String, String)],
) -> BTreeMap<String, String> {
    said.extend(flags.iter().cloned());
    said
}

/// Gives the tenant what the flags and files say. The files of its secrets are open as long as what this
/// returns.
fn services(
    host: &mut Host,
    args: &RunArgs,
    said: &Dotenv,
) -> std::result::Result<Vec<OwnedFd>, Failure> {
    let stores = stores(args, said)?;
    if let Some(dir) = directory(&stores)? {
        host.data.dir = dir.to_owned();
        host.data.is_lasting = true;
    }
    let mut files = Vec::new();
    let Some(tenant) = host.tenants.first_mut() else {
        return Ok(files);
    };
    tenant.compat = args.compat();
    tenant.config = args.config.iter().cloned().collect();
    tenant.stores = stores.iter().map(|flag| flag.store.clone()).collect();
    let is_flag = |name: &str| args.secret.iter().any(|(flag, _)| flag == name);
    let of_files = said.secrets.iter().filter(|(name, _)| !is_flag(name));
    let of_flags = args.secret.iter().map(|(name, value)| (name, value));
    for (name, value) in of_flags.chain(of_files) {
        let (file, secret) = Secret::in_memory(name, value.as_bytes())
            .with_context(|| format!("keeping the secret {name}"))?;
        files.push(file);
        tenant.secrets.push(secret);
    }
    Ok(files)
}

/// The stores of the flags, and those of the files that no flag names.
fn stores(args: &RunArgs, said: &Dotenv) -> std::result::Result<Vec<StoreFlag>, Failure> {
    let mut stores = args.kv.clone();
    let names: BTreeSet<String> = stores.iter().map(|flag| flag.store.name.clone()).collect();
    if names.len() < stores.len() {
        let wrong = "--kv: a name is used twice: each name once is right";
        return Err(Failure::Failed(anyhow::Error::msg(wrong)));
    }
    for (name, place) in said
        .stores
        .iter()
        .filter(|(name, _)| !names.contains(*name))
    {
        let store = StoreFlag::at(name, place);
        let store =
            store.map_err(|right| Failure::Wrong(format!("--dotenv: store {name}: {right}")))?;
        stores.push(store);
    }
    Ok(stores)
}

/// The directory of the stores that this host keeps, where it keeps some in one.
fn directory(stores: &[StoreFlag]) -> std::result::Result<Option<&Path>, Failure> {
    let own = stores.iter().filter(|flag| flag.store.server().is_none());
    let dirs: BTreeSet<_> = own.map(|flag| flag.dir.as_deref()).collect();
    if dirs.len() > 1 {
        let wrong = "--kv: stores of this host in several places: one directory, or all in memory, is right";
        return Err(Failure::Failed(anyhow::Error::msg(wrong)));
    }
    Ok(dirs.first().copied().flatten())
}
