//! Whether the kernel gives something here.

/// The answer, with what a person needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Support {
    /// It can be had.
    Possible,
    /// There is nothing that it would be needed for.
    Needless {
        /// Why not, in one line.
        reason: String,
    },
    /// It cannot be had.
    Impossible {
        /// Why not, in one line.
        reason: String,
        /// What would help, in one line.
        remedy: String,
    },
}

impl Support {
    pub(super) fn impossible(reason: impl Into<String>, remedy: impl Into<String>) -> Support {
        Support::Impossible {
            reason: reason.into(),
            remedy: remedy.into(),
        }
    }
}
