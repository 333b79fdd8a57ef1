//! What a kernel can be told of its job: words computed once for each piece of work, on the host.

use std::collections::HashMap;

use miner_core::sha256d::scalar::{big0, big1, small0, small1};

/// A word that does not depend on the nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Known {
    /// The same for every job.
    Constant(u32),
    /// A word of the [`Program`], by its place.
    Job(usize),
}

/// The four functions that mix rotations of one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Sigma {
    Big0,
    Big1,
    Small0,
    Small1,
}

impl Sigma {
    pub(super) fn of(self, x: u32) -> u32 {
        match self {
            Self::Big0 => big0(x),
            Self::Big1 => big1(x),
            Self::Small0 => small0(x),
            Self::Small1 => small1(x),
        }
    }
}

/// Bitwise operations of two words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Bits {
    And,
    Or,
    Xor,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Op {
    Input(usize),
    Sum(Vec<Known>),
    Sigma(Sigma, Known),
    Bits(Bits, Known, Known),
}

/// Computes the words of a job from its midstates and the tail of its header.
#[derive(Clone, Debug, Default)]
pub(super) struct Program {
    /// Each refers to earlier ones only.
    ops: Vec<Op>,
    places: HashMap<Op, usize>,
    /// The words that the kernel reads, in its order.
    slots: Vec<usize>,
}

impl Program {
    pub(super) fn input(&mut self, index: usize) -> Known {
        self.place(Op::Input(index))
    }

    pub(super) fn sum(&mut self, terms: &[Known]) -> Known {
        let constant = terms.iter().fold(0u32, |sum, term| match term {
            Known::Constant(value) => sum.wrapping_add(*value),
            Known::Job(_) => sum,
        });
        let mut jobs: Vec<Known> =
            terms.iter().copied().filter(|term| matches!(term, Known::Job(_))).collect();
        match jobs[..] {
            [] => Known::Constant(constant),
            [only] if constant == 0 => only,
            _ => {
                jobs.push(Known::Constant(constant));
                self.place(Op::Sum(jobs))
            }
        }
    }

    pub(super) fn sigma(&mut self, sigma: Sigma, x: Known) -> Known {
        match x {
            Known::Constant(x) => Known::Constant(sigma.of(x)),
            Known::Job(_) => self.place(Op::Sigma(sigma, x)),
        }
    }

    pub(super) fn bits(&mut self, bits: Bits, x: Known, y: Known) -> Known {
        match (x, y) {
            (Known::Constant(x), Known::Constant(y)) => Known::Constant(apply(bits, x, y)),
            _ => self.place(Op::Bits(bits, x, y)),
        }
    }

    /// The number under which the kernel reads the word in `place`.
    pub(super) fn slot(&mut self, place: usize) -> usize {
        self.slots.iter().position(|&slot| slot == place).unwrap_or_else(|| {
            self.slots.push(place);
            self.slots.len() - 1
        })
    }

    /// How many words the kernel reads.
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// The words that the kernel reads, for a job with these inputs.
    pub(super) fn run(&self, inputs: &[u32]) -> Box<[u32]> {
        let mut words: Vec<u32> = Vec::with_capacity(self.ops.len());
        for op in &self.ops {
            let word = |known: Known| match known {
                Known::Constant(value) => value,
                Known::Job(place) => words[place],
            };
            let value = match op {
                Op::Input(index) => inputs[*index],
                Op::Sum(terms) => terms.iter().fold(0u32, |sum, &term| sum.wrapping_add(word(term))),
                Op::Sigma(sigma, x) => sigma.of(word(*x)),
                Op::Bits(bits, x, y) => apply(*bits, word(*x), word(*y)),
            };
            words.push(value);
        }
        self.slots.iter().map(|&place| words[place]).collect()
    }

    fn place(&mut self, op: Op) -> Known {
        let next = self.ops.len();
        let place = *self.places.entry(op.clone()).or_insert(next);
        if place == next {
            self.ops.push(op);
        }
        Known::Job(place)
    }
}

fn apply(bits: Bits, x: u32, y: u32) -> u32 {
    match bits {
        Bits::And => x & y,
        Bits::Or => x | y,
        Bits::Xor => x ^ y,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_fold_and_equal_words_are_computed_once() {
        let mut program = Program::default();
        let (x, y) = (program.input(0), program.input(1));
        assert_eq!(program.sum(&[Known::Constant(3), Known::Constant(u32::MAX)]), Known::Constant(2));
        assert_eq!(program.sum(&[x, Known::Constant(0)]), x);
        assert_eq!(program.sigma(Sigma::Big1, Known::Constant(1)), Known::Constant(big1(1)));
        let sum = program.sum(&[x, Known::Constant(5), y]);
        assert_eq!(program.sum(&[x, y, Known::Constant(5)]), sum);
        let mixed = program.bits(Bits::Xor, sum, y);
        let Known::Job(place) = mixed else { panic!("{mixed:?}") };
        assert_eq!((program.slot(place), program.slot(place), program.slots()), (0, 0, 1));
        assert_eq!(program.run(&[u32::MAX, 7])[..], [11 ^ 7]);
    }
}
