//! Kernels for 64-bit ARM.

pub(super) mod neon;
pub(super) mod sha2;
