//! Writes expressions over words that differ from invocation to invocation, and folds those that do not.

use std::collections::HashMap;
use std::fmt::Write;

use super::job::{Bits, Known, Program, Sigma};
use super::{Choose, Majority, Rotate, Variant};

/// A word in the middle of a hash.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Word {
    /// Known before a nonce is tried.
    Known(Known),
    /// A name in the kernel's text.
    Lane(String),
}

/// A sum not yet written: it may still grow.
#[derive(Clone, Debug, Default)]
pub(super) struct Sum {
    lanes: Vec<String>,
    known: Vec<Known>,
}

impl Sum {
    pub(super) fn plus(mut self, word: &Word) -> Self {
        match word {
            Word::Known(known) => self.known.push(*known),
            Word::Lane(name) => self.lanes.push(name.clone()),
        }
        self
    }

    pub(super) fn plus_constant(self, value: u32) -> Self {
        self.plus(&Word::Known(Known::Constant(value)))
    }

    pub(super) fn plus_sum(mut self, other: &Self) -> Self {
        self.lanes.extend(other.lanes.iter().cloned());
        self.known.extend(&other.known);
        self
    }

    /// Whether it costs nothing to repeat.
    pub(super) fn is_single(&self) -> bool {
        self.lanes.len() <= 1
    }
}

/// The text of a kernel's loop so far.
pub(super) struct Lanes {
    pub(super) text: String,
    pub(super) program: Program,
    variant: Variant,
    names: usize,
    /// Xors that were written already, for [`Majority::Shared`].
    xors: HashMap<(Word, Word), String>,
}

impl Lanes {
    pub(super) fn new(variant: Variant) -> Self {
        Self { text: String::new(), program: Program::default(), variant, names: 0, xors: HashMap::new() }
    }

    /// Writes a sum; `known` terms become one.
    pub(super) fn sum(&mut self, sum: Sum) -> Word {
        let known = self.program.sum(&sum.known);
        let mut terms = sum.lanes;
        if terms.is_empty() {
            return Word::Known(known);
        }
        if known != Known::Constant(0) {
            terms.push(self.known(known));
        }
        match &mut terms[..] {
            [only] => Word::Lane(std::mem::take(only)),
            _ => self.bind(&terms.join(" + ")),
        }
    }

    pub(super) fn sigma(&mut self, sigma: Sigma, x: &Word) -> Word {
        let x = match x {
            Word::Known(x) => return Word::Known(self.program.sigma(sigma, *x)),
            Word::Lane(x) => x,
        };
        let text = match sigma {
            Sigma::Big0 => [self.rotate(x, 2), self.rotate(x, 13), self.rotate(x, 22)],
            Sigma::Big1 => [self.rotate(x, 6), self.rotate(x, 11), self.rotate(x, 25)],
            Sigma::Small0 => [self.rotate(x, 7), self.rotate(x, 18), format!("({x} >> 3u)")],
            Sigma::Small1 => [self.rotate(x, 17), self.rotate(x, 19), format!("({x} >> 10u)")],
        };
        self.bind(&text.join(" ^ "))
    }

    pub(super) fn choose(&mut self, e: &Word, f: &Word, g: &Word) -> Word {
        let (f_xor_g, xor_form) = match (f, g) {
            (Word::Known(f), Word::Known(g)) => {
                (Some(Word::Known(self.program.bits(Bits::Xor, *f, *g))), true)
            }
            _ => (None, self.variant.choose == Choose::Xor),
        };
        if let (Word::Known(e), Some(Word::Known(x)), Word::Known(g)) = (e, &f_xor_g, g) {
            let chosen = self.program.bits(Bits::And, *e, *x);
            return Word::Known(self.program.bits(Bits::Xor, *g, chosen));
        }
        let (e, g) = (self.text(e), self.text(g));
        let f = self.text(f_xor_g.as_ref().unwrap_or(f));
        match (&f_xor_g, xor_form) {
            (Some(_), _) => self.bind(&format!("{g} ^ ({e} & {f})")),
            (None, true) => self.bind(&format!("{g} ^ ({e} & ({f} ^ {g}))")),
            (None, false) => self.bind(&format!("({e} & {f}) | (~{e} & {g})")),
        }
    }

    pub(super) fn majority(&mut self, a: &Word, b: &Word, c: &Word) -> Word {
        if let (Word::Known(b), Word::Known(c)) = (b, c) {
            let or = self.program.bits(Bits::Or, *b, *c);
            let and = self.program.bits(Bits::And, *b, *c);
            if let Word::Known(a) = a {
                let some = self.program.bits(Bits::And, *a, or);
                return Word::Known(self.program.bits(Bits::Or, some, and));
            }
            let (a, or, and) = (self.text(a), self.known(or), self.known(and));
            return self.bind(&format!("({a} & {or}) | {and}"));
        }
        let (at, bt, ct) = (self.text(a), self.text(b), self.text(c));
        match self.variant.majority {
            Majority::Plain => self.bind(&format!("({at} & {bt}) | ({ct} & ({at} | {bt}))")),
            Majority::Shared => {
                let (x, y) = (self.xor(a, b), self.xor(b, c));
                self.bind(&format!("{bt} ^ ({x} & {y})"))
            }
        }
    }

    /// The word as it stands in the text.
    pub(super) fn text(&mut self, word: &Word) -> String {
        match word {
            Word::Known(known) => self.known(*known),
            Word::Lane(name) => name.clone(),
        }
    }

    fn known(&mut self, known: Known) -> String {
        match known {
            Known::Constant(value) => format!("{value:#x}u"),
            Known::Job(place) => format!("j{}", self.program.slot(place)),
        }
    }

    fn xor(&mut self, x: &Word, y: &Word) -> String {
        let pair = (x.clone(), y.clone());
        if let Some(name) = self.xors.get(&pair) {
            return name.clone();
        }
        let text = format!("{} ^ {}", self.text(x), self.text(y));
        let name = self.name(&text);
        self.xors.insert(pair, name.clone());
        name
    }

    fn rotate(&self, x: &str, count: u32) -> String {
        match self.variant.rotate {
            Rotate::Constant => format!("(({x} >> {count}u) | ({x} << {}u))", 32 - count),
            Rotate::Uniform => format!("(({x} >> r{count}) | ({x} << l{count}))"),
        }
    }

    fn bind(&mut self, text: &str) -> Word {
        Word::Lane(self.name(text))
    }

    fn name(&mut self, text: &str) -> String {
        let name = format!("t{}", self.names);
        self.names += 1;
        writeln!(self.text, "        let {name} = {text};").expect("a string takes everything");
        name
    }
}
