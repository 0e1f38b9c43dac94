//! What changed between two sets of runs, and how sure that is.
pub(crate) const NAME: &str = "";
