//! `skep tune search`, in terms of `tune::search`.

use super::{Failure, Result, failed};
use crate::cli::SearchArgs;
use crate::tune::search::session::Stop;
use crate::tune::search::{self, Request};

/// Searches, and says on standard output how it goes.
pub(super) fn search(args: &SearchArgs) -> Result {
    let request = Request {
        scenario: args.scenario.clone(),
        objective: args.objective.clone(),
        output: args.output.clone(),
        overwrite: args.overwrite,
        base: args.base.clone(),
        space: args.space.clone(),
        load_cores: args.load_cores.clone(),
        server_cores: args.server_cores.clone(),
        set: args.set.clone(),
        seed: args.seed,
        candidates: args.candidates,
        quick: args.quick,
        force: args.force,
        load_tool: args.load_tool.clone(),
        command: std::env::args().collect(),
    };
    // Who only waits for the profile may have closed standard output.
    let mut say = |text: &str| drop(super::print(&format!("{text}\n")));
    match search::run(&request, &mut say) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::Told),
        Err(Stop::Wrong(line)) => Err(Failure::Wrong(line)),
        Err(Stop::Failed(line)) => Err(failed(line)),
        Err(Stop::Interrupted) => Err(failed("interrupted".to_owned())),
    }
}
