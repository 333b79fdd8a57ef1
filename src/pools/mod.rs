//! Pools: one supervisor task each, and the choice of which of them work comes from.

pub mod failover;
pub mod outbox;
