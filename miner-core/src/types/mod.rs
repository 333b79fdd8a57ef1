//! Newtypes of the domain. Nothing here knows about pools, devices or threads.

mod compact;
mod hash;
mod ids;
mod rate;
mod target;
#[cfg(test)]
mod tests;

pub use compact::{CompactTarget, CompactTargetError};
pub use hash::{BlockHash, Header, MerkleRoot, double_sha256};
pub use ids::{BackendId, Epoch, Generation, ShareId, SourceId, WorkId};
pub use rate::{HashCount, HashRate};
pub use target::{Difficulty, Target};
