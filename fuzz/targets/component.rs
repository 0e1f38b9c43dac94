//! A component's file, as it is looked at before anything is compiled.

use skep::engine::inspect::flavour;

pub fn run(data: &[u8]) {
    if let Err(refused) = flavour(data) {
        let reason = refused.to_string();
        assert!(!reason.is_empty() && !reason.contains('\n'), "{reason:?}");
    }
}
