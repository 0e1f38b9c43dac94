//! How a host function ends: with a status that the guest gets, or by stopping the guest.

/// What a host function returns to the guest (proxy-wasm ABI 0.2.1, `proxy_status_t`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// There is no such thing.
    NotFound = 1,
    /// An argument makes no sense, or its value is not allowed here.
    BadArgument = 2,
    /// A pointer or a length lies outside the guest's memory.
    InvalidMemoryAccess = 6,
    /// The value was changed by somebody else meanwhile.
    CasMismatch = 8,
    /// The host cannot at the moment.
    InternalFailure = 10,
    /// The host has no such function.
    Unimplemented = 12,
}

/// Why a host function did not do what it was asked.
#[derive(Debug)]
pub(super) enum Stop {
    /// The guest is told.
    Status(Status),
    /// The guest is stopped.
    Trap(wasmtime::Error),
}

/// How a host function ends.
pub(super) type Answer<T = ()> = Result<T, Stop>;

/// More than the host keeps for a filter.
#[derive(Debug, thiserror::Error)]
#[error("{what} has more than the {max} {unit} that it may have")]
pub(crate) struct TooMuch {
    /// What it is.
    pub what: &'static str,
    /// What it may have.
    pub max: usize,
    /// Of what.
    pub unit: &'static str,
}

impl From<Status> for Stop {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl From<wasmtime::Error> for Stop {
    fn from(error: wasmtime::Error) -> Self {
        Self::Trap(error)
    }
}

impl From<TooMuch> for Stop {
    fn from(error: TooMuch) -> Self {
        Self::Trap(error.into())
    }
}

/// As the guest's caller wants it.
pub(super) fn code(answer: Answer) -> wasmtime::Result<u32> {
    match answer {
        Ok(()) => Ok(0),
        Err(Stop::Status(status)) => Ok(status as u32),
        Err(Stop::Trap(error)) => Err(error),
    }
}
