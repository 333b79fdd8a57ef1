//! Counts a kernel's operations as a GPU has them, on naga's parse of its text.
//!
//! The rules: a rotate 1, a shift 1, a comparison 1, any bitwise function of at most three words 1, a sum of n terms
//! ⌈(n−1)/2⌉ (additions have three inputs), loads and constants 0. The loop's counter, which is the same for all
//! invocations and so lives on the scalar side, and the body of an `if`, entered for a hit only, do not count.

use std::collections::{BTreeMap, BTreeSet};

use naga::{Arena, BinaryOperator as Op, Block, Expression as E, Handle, Literal, Statement, UnaryOperator};

type Expr = Handle<E>;

/// Operations in one turn of the kernel's loop. Panics at a text that is no kernel of this crate.
pub(super) fn operations(source: &str) -> usize {
    let module = naga::front::wgsl::parse_str(source).unwrap_or_else(|error| panic!("{error}\n{source}"));
    let main = &module.entry_points[0].function;
    let body = main
        .body
        .iter()
        .find_map(|statement| match statement {
            Statement::Loop { body, .. } => Some(body),
            _ => None,
        })
        .expect("the kernel has a loop");
    let mut count = Count {
        expressions: &main.expressions,
        inside: BTreeSet::new(),
        uses: BTreeMap::new(),
        roots: Vec::new(),
    };
    count.block(body);
    count.total()
}

struct Count<'a> {
    expressions: &'a Arena<E>,
    /// Expressions evaluated in the loop.
    inside: BTreeSet<Expr>,
    /// How often expressions there use each other.
    uses: BTreeMap<Expr, usize>,
    /// Expressions that statements there use.
    roots: Vec<Expr>,
}

impl Count<'_> {
    fn block(&mut self, block: &Block) {
        for statement in block {
            match statement {
                Statement::Emit(range) => {
                    for expr in range.clone() {
                        self.inside.insert(expr);
                        for used in operands(&self.expressions[expr]) {
                            *self.uses.entry(used).or_default() += 1;
                        }
                    }
                }
                // The loop's own end.
                Statement::If { reject, .. } if matches!(reject[..], [Statement::Break]) => {}
                Statement::If { condition, .. } => self.roots.push(*condition),
                Statement::Block(inner) => self.block(inner),
                other => panic!("a statement that is not counted: {other:?}"),
            }
        }
    }

    /// Covers all that the statements use with operations.
    fn total(&self) -> usize {
        let (mut covered, mut open, mut total) = (BTreeSet::new(), self.roots.clone(), 0);
        while let Some(expr) = open.pop() {
            if self.inside.contains(&expr) && covered.insert(expr) {
                let (cost, inputs) = self.operation(expr);
                total += cost;
                open.extend(inputs);
            }
        }
        total
    }

    /// What the operation that ends in `expr` costs, and what it reads.
    fn operation(&self, expr: Expr) -> (usize, Vec<Expr>) {
        if let Some(rotated) = self.rotated(expr) {
            return (1, vec![rotated]);
        }
        match self.expressions[expr] {
            E::Binary { op: Op::Add, .. } => {
                let mut terms = Vec::new();
                self.terms(expr, &mut terms);
                ((terms.len() - 1).div_ceil(2), terms)
            }
            E::Binary { op: Op::ShiftLeft | Op::ShiftRight, left, right } => (1, vec![left, right]),
            E::Binary { op: Op::Equal | Op::NotEqual, left, right } => (1, vec![left, right]),
            E::Unary { op: UnaryOperator::LogicalNot, expr } => (0, vec![expr]),
            E::Load { .. } => (0, vec![]),
            _ if self.bitwise(expr).is_some() => (1, self.cone(expr)),
            ref other => panic!("an operation that is not counted: {other:?}"),
        }
    }

    /// The terms of a sum: sums that are used nowhere else are part of it.
    fn terms(&self, expr: Expr, terms: &mut Vec<Expr>) {
        let E::Binary { op: Op::Add, left, right } = self.expressions[expr] else { unreachable!("a sum") };
        for term in [left, right] {
            let sum = matches!(self.expressions[term], E::Binary { op: Op::Add, .. });
            if sum && self.inside.contains(&term) && self.uses.get(&term) == Some(&1) {
                self.terms(term, terms);
            } else {
                terms.push(term);
            }
        }
    }

    /// The at most three words that a bitwise function reads, as far back as three suffice.
    fn cone(&self, expr: Expr) -> Vec<Expr> {
        /// A function of three words written with two operands at a time has no more in between.
        const BETWEEN: usize = 5;
        let first: BTreeSet<Expr> = self.bitwise(expr).expect("asked before").into_iter().collect();
        let (mut seen, mut open) = (BTreeSet::from([first.clone()]), vec![first]);
        while let Some(leaves) = open.pop() {
            for leaf in &leaves {
                let Some(inner) = self.bitwise(*leaf) else { continue };
                let wider: BTreeSet<Expr> =
                    leaves.iter().filter(|other| *other != leaf).copied().chain(inner).collect();
                if wider.len() <= BETWEEN && seen.insert(wider.clone()) {
                    open.push(wider);
                }
            }
        }
        let fitting = seen.into_iter().filter(|leaves| leaves.len() <= 3);
        let open_ends =
            |leaves: &BTreeSet<Expr>| leaves.iter().filter(|&&leaf| self.bitwise(leaf).is_some()).count();
        fitting.min_by_key(open_ends).expect("two operands fit").into_iter().collect()
    }

    /// The operands of a bitwise operation in the loop.
    fn bitwise(&self, expr: Expr) -> Option<Vec<Expr>> {
        if !self.inside.contains(&expr) || self.rotated(expr).is_some() {
            return None;
        }
        let words = match self.expressions[expr] {
            E::Binary { op: Op::And | Op::ExclusiveOr | Op::InclusiveOr, left, right } => vec![left, right],
            E::Unary { op: UnaryOperator::BitwiseNot, expr } => vec![expr],
            _ => return None,
        };
        Some(words.into_iter().map(|word| self.named(word)).collect())
    }

    /// The first expression with the same literal: one constant is one word, however often it is written.
    fn named(&self, expr: Expr) -> Expr {
        let E::Literal(Literal::U32(value)) = self.expressions[expr] else { return expr };
        let same = |e: &E| matches!(e, E::Literal(Literal::U32(other)) if *other == value);
        self.expressions.iter().find(|(_, e)| same(e)).map_or(expr, |(first, _)| first)
    }

    /// The word of `(x >> n) | (x << (32 - n))`.
    fn rotated(&self, expr: Expr) -> Option<Expr> {
        let E::Binary { op: Op::InclusiveOr, left, right } = self.expressions[expr] else { return None };
        let E::Binary { op: Op::ShiftRight, left: x, right: n } = self.expressions[left] else { return None };
        let E::Binary { op: Op::ShiftLeft, left: y, right: m } = self.expressions[right] else { return None };
        (x == y && self.complement(n, m)).then_some(x)
    }

    fn complement(&self, n: Expr, m: Expr) -> bool {
        match (&self.expressions[n], &self.expressions[m]) {
            (E::Literal(Literal::U32(n)), E::Literal(Literal::U32(m))) => n + m == 32,
            (_, E::Binary { op: Op::Subtract, left, right }) => {
                *right == n && matches!(self.expressions[*left], E::Literal(Literal::U32(32)))
            }
            _ => false,
        }
    }
}

fn operands(expression: &E) -> Vec<Expr> {
    match *expression {
        E::Binary { left, right, .. } => vec![left, right],
        E::Unary { expr, .. } => vec![expr],
        E::Load { .. } => vec![],
        ref other => panic!("an expression that is not counted: {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Form, Kernel, Variant};
    use super::*;

    /// Operations in a turn of the loop, which tries one nonce with 1, 2 or 4 midstates: 2,442, 2,251.5 and 2,156.25 for
    /// each hash.
    const OPERATIONS: [(u32, usize); 3] = [(1, 2442), (2, 4503), (4, 8625)];

    fn form(variant: Variant, midstates: u32) -> Form {
        Form { variant, midstates, ..Form::DEFAULT }
    }

    #[test]
    fn no_kernel_has_an_operation_too_many() {
        for variant in Variant::all() {
            for (midstates, wanted) in OPERATIONS {
                let form = form(variant, midstates);
                assert_eq!(operations(Kernel::new(form).source()), wanted, "{form}");
            }
        }
    }

    #[test]
    fn one_operation_more_is_noticed() {
        let (midstates, operations_now) = OPERATIONS[0];
        let source = Kernel::new(form(Form::DEFAULT.variant, midstates)).source().to_owned();
        for more in ["next >> 1u", "next ^ mask", "(next >> 9u) | (next << 23u)", "next + mask + 1u"] {
            let more = format!("let next = start + step; let word = {more};");
            let changed = source.replacen("let word = start + step;", &more, 1);
            assert_ne!(changed, source);
            assert_eq!(operations(&changed), operations_now + 1, "{more}");
        }
    }
}
