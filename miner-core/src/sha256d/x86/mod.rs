//! Kernels for x86-64.

pub(super) mod avx2;
pub(super) mod avx512;
pub(super) mod avx512_sha;
pub(super) mod sha_ni;
pub(super) mod sse2;
