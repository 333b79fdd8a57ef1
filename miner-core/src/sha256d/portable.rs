//! One lane of plain integers: runs everywhere.

use super::scalar::{big0, big1, ch, maj, small0, small1};

type V = u32;
const LANES: u64 = 1;

#[inline(always)]
fn splat(x: u32) -> V {
    x
}

#[inline(always)]
fn add(x: V, y: V) -> V {
    x.wrapping_add(y)
}

#[inline(always)]
fn swap_bytes(x: V) -> V {
    x.swap_bytes()
}

#[inline(always)]
fn iota() -> V {
    0
}

#[inline(always)]
fn lanes_clear(x: V, mask: V) -> u32 {
    u32::from(x & mask == 0)
}

#[inline(always)]
fn lanes_at_most(x: V, limit: u32) -> u32 {
    u32::from(x <= limit)
}

super::lanes::lanes_kernel!();
