//! SHA-256d over block headers: one prepared job, many nonces.
//!
//! [`Prepared`] holds everything about a header that the nonce does not change; [`Isa::scan`] tries a run of nonces
//! with the kernel of one instruction set. A kernel compares only the most significant word of the hash; whoever
//! called it checks the rest with [`Prepared::hash`].
//!
//! `scalar` is FIPS 180-4 as it is written, `lanes` the kernel algorithm, once, for vectors of any width; `portable`
//! and the files in `x86` and `aarch64` are tables of operations for it, but for `x86::sha_ni` and `aarch64::sha2`,
//! whose instructions do four rounds of one hash at a time. `docs/kernels.md` explains the arithmetic.

#[cfg(target_arch = "aarch64")]
mod aarch64;
mod isa;
mod lanes;
mod portable;
mod prepared;
pub mod scalar;
mod selftest;
#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(test)]
mod tests;

pub use isa::{Isa, IsaChoice, IsaError};
pub use prepared::Prepared;
pub use selftest::{KnownBlock, SelfTestError, known_blocks, selftest};
