//! What the host keeps for a tenant, as its guests' interfaces reach it.

use std::pin::Pin;

use super::State;
use crate::data::{Ask, Given, Refused};

/// Answers what one tenant's guests ask.
pub trait Services {
    /// Asks; dropping the future forgets the answer, and a change may happen all the same.
    fn ask(&self, ask: Ask) -> Pin<Box<dyn Future<Output = Result<Given, Refused>>>>;
}

impl State {
    pub(super) async fn ask(&mut self, ask: Ask) -> Result<Given, Refused> {
        let services = self.services.as_ref().ok_or(Refused::NotGranted)?;
        ask.check()?;
        let answer = services.ask(ask);
        send_wrapper::SendWrapper::new(answer).await
    }
}
