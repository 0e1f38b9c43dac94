//! From connecting to the first byte, for a tenant that this worker has not served before.

fn main() {}
