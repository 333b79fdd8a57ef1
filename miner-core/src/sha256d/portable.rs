//! One lane of plain integers: runs everywhere.

use super::scalar::{ch, maj};

type V = u32;
const LANES: usize = 1;

#[inline(always)]
fn splat(x: u32) -> V {
    x
}

#[inline(always)]
fn add(x: V, y: V) -> V {
    x.wrapping_add(y)
}

// A rotated sum takes fewer copies of `x` than a sum of rotated ones, where a rotation overwrites its operand.

#[inline(always)]
fn big0(x: V) -> V {
    (((x.rotate_right(9) ^ x).rotate_right(11)) ^ x).rotate_right(2)
}

#[inline(always)]
fn big1(x: V) -> V {
    (((x.rotate_right(14) ^ x).rotate_right(5)) ^ x).rotate_right(6)
}

#[inline(always)]
fn small0(x: V) -> V {
    (x.rotate_right(11) ^ x).rotate_right(7) ^ (x >> 3)
}

#[inline(always)]
fn small1(x: V) -> V {
    (x.rotate_right(2) ^ x).rotate_right(17) ^ (x >> 10)
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
super::lanes::versions_kernel!(one: 0;);
