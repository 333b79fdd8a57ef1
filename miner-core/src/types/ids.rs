//! Identifiers: plain numbers that cannot be mixed up with each other.

macro_rules! id {
    ($(#[$meta:meta])* $name:ident($inner:ty)) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub $inner);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// One registered hashing backend (all CPU threads together, one GPU, one ASIC chain).
    BackendId(u16)
);
id!(
    /// One configured source of jobs; survives reconnects. A lower number is preferred.
    SourceId(u16)
);
id!(
    /// One connection of a source, counted up: job ids mean something only within their epoch.
    Epoch(u64)
);
id!(
    /// One leased unit of search space. Never reused within a process.
    WorkId(u64)
);
id!(
    /// One share. Never reused within a process.
    ShareId(u64)
);
id!(
    /// Grows whenever all outstanding work becomes worthless.
    Generation(u64)
);
