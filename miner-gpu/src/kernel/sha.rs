//! The double SHA-256 of a header as a kernel's text.

use std::fmt::Write;

use miner_core::sha256d::scalar::{DIGEST_BITS, HEADER_BITS, IV, K, PAD};

use super::job::{Known, Program, Sigma};
use super::lane::{Lanes, Sum, Word};
use super::{Form, HITS, ROTATES, Rotate};

/// Rounds of the first hash.
const FIRST_ROUNDS: usize = 64;

/// Rounds of the second hash: its last word is `h` of round 64, which is `e` of round 61.
const SECOND_ROUNDS: usize = 61;

/// From this round of the second hash on, `a` comes too late to reach that word.
const LAST_A: usize = 57;

type State = [Word; 8];

/// The text of a kernel and the program of its job's words.
pub(super) fn write(form: &Form) -> (String, Program) {
    let mut lanes = Lanes::new(form.variant);
    let states = first_hash(&mut lanes, form.midstates as usize);
    for (index, state) in states.into_iter().enumerate() {
        let last = second_hash(&mut lanes, state);
        let last = lanes.text(&last);
        writeln!(lanes.text, "        if ({last} & mask) == 0u {{ report({last}, word, {index}u); }}")
            .expect("a string takes everything");
    }
    (frame(form, &lanes), lanes.program)
}

/// The digests of the first hash, one for each midstate; the schedule is the same for all.
fn first_hash(lanes: &mut Lanes, midstates: usize) -> Vec<State> {
    let inputs: Vec<State> = (0..midstates)
        .map(|i| std::array::from_fn(|j| Word::Known(lanes.program.input(8 * i + j))))
        .collect();
    let tail = (0..3).map(|i| Word::Known(lanes.program.input(8 * midstates + i)));
    let mut block: Vec<Word> = tail.collect();
    block.push(Word::Lane("word".to_owned()));
    pad(&mut block, HEADER_BITS);
    hash(lanes, &inputs, block)
}

fn hash(lanes: &mut Lanes, inputs: &[State], mut w: Vec<Word>) -> Vec<State> {
    let mut states = inputs.to_vec();
    for t in 0..FIRST_ROUNDS - 1 {
        let term = schedule(lanes, &mut w, t);
        for state in &mut states {
            let (e, a) = round(lanes, state, t, &term, true);
            step(lanes, state, e, a.expect("asked for"));
        }
    }
    let t = FIRST_ROUNDS - 1;
    let term = schedule(lanes, &mut w, t);
    let ends = states.iter_mut().zip(inputs).map(|(state, input)| {
        // What the last round makes is only wanted with the input added: one sum each.
        let (e, a) = round(lanes, state, t, &term, true);
        let [a_in, .., e_in, _, _, _] = input;
        let (e, a) = (e.plus(e_in), a.expect("asked for").plus(a_in));
        step(lanes, state, e, a);
        std::array::from_fn(|i| match i {
            0 | 4 => state[i].clone(),
            _ => lanes.sum(Sum::default().plus(&state[i]).plus(&input[i])),
        })
    });
    ends.collect()
}

/// The last word of the second hash, bytes as the rounds have them.
fn second_hash(lanes: &mut Lanes, digest: State) -> Word {
    let mut w = digest.to_vec();
    pad(&mut w, DIGEST_BITS);
    let mut state = IV.map(|word| Word::Known(Known::Constant(word)));
    for t in 0..SECOND_ROUNDS - 2 {
        let term = schedule(lanes, &mut w, t);
        let (e, a) = round(lanes, &state, t, &term, t < LAST_A);
        step(lanes, &mut state, e, a.unwrap_or_default());
    }
    // Nothing else reads the last two words of the schedule: they are no sums of their own.
    let t = SECOND_ROUNDS - 2;
    let (before_last, last) = (next_word(lanes, &w, t), next_word(lanes, &w, t + 1));
    let (e, _) = round(lanes, &state, t, &before_last, false);
    step(lanes, &mut state, e, Sum::default());
    let (e, _) = round(lanes, &state, t + 1, &last, false);
    lanes.sum(e.plus_constant(IV[7]))
}

/// Completes a block: the padding bit, zeros, the message's length in bits.
fn pad(block: &mut Vec<Word>, bits: u32) {
    let constant = |value| Word::Known(Known::Constant(value));
    block.push(constant(PAD));
    block.resize(15, constant(0));
    block.push(constant(bits));
}

/// Word `t` of the schedule as a term of its round.
fn schedule(lanes: &mut Lanes, w: &mut Vec<Word>, t: usize) -> Sum {
    if t >= 16 {
        let sum = next_word(lanes, w, t);
        w.push(lanes.sum(sum));
    }
    Sum::default().plus(&w[t])
}

/// Word `t` of the schedule, not yet summed.
fn next_word(lanes: &mut Lanes, w: &[Word], t: usize) -> Sum {
    let x = lanes.sigma(Sigma::Small1, &w[t - 2]);
    let y = lanes.sigma(Sigma::Small0, &w[t - 15]);
    Sum::default().plus(&x).plus(&w[t - 7]).plus(&y).plus(&w[t - 16])
}

/// The new `e` and, if it is wanted, the new `a` of round `t`.
fn round(lanes: &mut Lanes, state: &State, t: usize, w: &Sum, want_a: bool) -> (Sum, Option<Sum>) {
    let [a, b, c, d, e, f, g, h] = state;
    let mixed = lanes.sigma(Sigma::Big1, e);
    let chosen = lanes.choose(e, f, g);
    let mut t1 = Sum::default().plus(h).plus(&mixed).plus(&chosen).plus_sum(w).plus_constant(K[t]);
    if want_a && !t1.is_single() {
        t1 = Sum::default().plus(&lanes.sum(t1));
    }
    let new_e = t1.clone().plus(d);
    let new_a = want_a.then(|| {
        let mixed = lanes.sigma(Sigma::Big0, a);
        let most = lanes.majority(a, b, c);
        t1.plus(&mixed).plus(&most)
    });
    (new_e, new_a)
}

/// Moves the state on by one round.
fn step(lanes: &mut Lanes, state: &mut State, e: Sum, a: Sum) {
    let (e, a) = (lanes.sum(e), lanes.sum(a));
    let [a0, b, c, _, e0, f, g, _] = state.clone();
    *state = [a, a0, b, c, e, e0, f, g];
}

/// The kernel around the loop's text.
fn frame(form: &Form, lanes: &Lanes) -> String {
    let Form { workgroup, nonces, .. } = form;
    let slots = lanes.program.slots();
    let quads = slots.div_ceil(4);
    let component = |i: usize| ["x", "y", "z", "w"][i % 4];
    let mut lets = String::new();
    for i in 0..slots {
        writeln!(lets, "    let j{i} = job.words[{}].{};", i / 4, component(i))
            .expect("a string takes everything");
    }
    if form.variant.rotate == Rotate::Uniform {
        for (i, count) in ROTATES.into_iter().enumerate() {
            let read = format!("job.rotates[{}].{}", i / 4, component(i));
            writeln!(lets, "    let r{count} = {read};\n    let l{count} = 32u - r{count};")
                .expect("a string takes everything");
        }
    }
    // Consecutive nonces differ in the header's last byte but three, which is the first of the hashed word: the loop's
    // counter is the same for all invocations.
    let end = nonces << 24;
    let text = &lanes.text;
    format!(
        "struct Job {{ first: u32, row: u32, mask: u32, limit: u32, rotates: array<vec4<u32>, 3>, \
         words: array<vec4<u32>, {quads}> }}
struct Hits {{ count: atomic<u32>, spare: u32, items: array<vec2<u32>, {HITS}> }}
@group(0) @binding(0) var<uniform> job: Job;
@group(0) @binding(1) var<storage, read_write> hits: Hits;

fn swap(x: u32) -> u32 {{
    return (x >> 24u) | ((x >> 8u) & 0xff00u) | ((x << 8u) & 0xff0000u) | (x << 24u);
}}

fn report(last: u32, word: u32, midstate: u32) {{
    if swap(last) <= job.limit {{
        let place = atomicAdd(&hits.count, 1u);
        if place < {HITS}u {{ hits.items[place] = vec2<u32>(word, midstate); }}
    }}
}}

@compute @workgroup_size({workgroup})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {{
    let mask = job.mask;
{lets}    let start = swap(job.first + (id.y * job.row + id.x) * {nonces}u);
    for (var step = 0u; step != {end:#x}u; step += 0x1000000u) {{
        let word = start + step;
{text}    }}
}}
"
    )
}
