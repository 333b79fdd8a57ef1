//! Rules that hold between modules, read off the tokens of their sources. Test code is left out.

use std::collections::BTreeSet;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Modules of the same crate that no file below a folder may name.
const MODULES: [(&str, &[&str]); 5] = [
    ("miner-core/src/types/", &["job", "work", "share", "backend", "sched", "stats", "sha256d", "cpu"]),
    ("miner-core/src/work/", &["backend", "sched", "stats", "sha256d", "cpu"]),
    ("miner-core/src/sched/", &["cpu", "sha256d"]),
    ("miner-core/src/sha256d/", &["job", "work", "share", "backend", "sched", "stats", "cpu"]),
    ("miner-core/src/cpu/", &["job", "sched", "event", "snapshot"]),
];

/// Words that occur in the files of a folder nowhere but below the listed ones.
const WORDS: [(&str, &str, &[&str]); 6] = [
    ("miner-core/src/", "unsafe", &["miner-core/src/sha256d/", "miner-core/src/cpu/"]),
    ("miner-core/src/", "disallowed_methods", &["miner-core/src/cpu/"]),
    ("stratum/src/", "unsafe", &[]),
    ("stratum/src/", "disallowed_methods", &["stratum/src/io/"]),
    ("stratum/src/", "tokio", &["stratum/src/io/"]),
    ("practice-pool/src/", "unsafe", &[]),
];

/// What the files (path and text) do against [`MODULES`] and [`WORDS`].
pub(crate) fn violations(files: &[(String, String)]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (path, text) in files.iter().filter(|(path, _)| !is_test_file(path)) {
        let words = match text.parse::<TokenStream>() {
            Ok(tokens) => words(tokens),
            Err(error) => {
                wrong.push(format!("{path}: {error}"));
                continue;
            }
        };
        let named = modules_named(&words);
        for (_, forbidden) in MODULES.iter().filter(|(folder, _)| in_module(path, folder)) {
            let forbidden = forbidden.iter().filter(|module| named.contains(**module));
            wrong.extend(forbidden.map(|module| format!("{path} names {module}")));
        }
        for (folder, word, except) in WORDS {
            let excepted = except.iter().any(|shell| in_module(path, shell));
            if path.starts_with(folder) && !excepted && words.iter().any(|found| found == word) {
                wrong.push(format!("{path}: `{word}` has no place here"));
            }
        }
    }
    wrong
}

/// A module is a folder or a file of its name.
fn in_module(path: &str, folder: &str) -> bool {
    path.starts_with(folder) || path.strip_suffix(".rs") == folder.strip_suffix('/')
}

fn is_test_file(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.ends_with("_tests.rs") || path.contains("/tests/")
}

/// Identifiers and punctuation in order, groups flattened with their brackets; without comments, literals and what is
/// compiled for tests only.
fn words(tokens: TokenStream) -> Vec<String> {
    let mut out = Vec::new();
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Punct(mark) if mark.as_char() == '#' => {
                // An attribute: `#` or `#!` and a bracket.
                tokens.next_if(|next| matches!(next, TokenTree::Punct(mark) if mark.as_char() == '!'));
                let Some(TokenTree::Group(attribute)) = tokens.next() else { continue };
                let attribute = words(attribute.stream());
                let text = attribute.concat();
                if ["cfg(test", "cfg(all(test,", "cfg(any(test,"].iter().any(|cfg| text.starts_with(cfg)) {
                    skip_item(&mut tokens);
                } else if !text.starts_with("cfg_attr(test,") {
                    out.extend(attribute);
                }
            }
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                out.push(open.to_owned());
                out.extend(words(group.stream()));
                out.push(close.to_owned());
            }
            TokenTree::Ident(name) => out.push(name.to_string()),
            TokenTree::Punct(mark) => out.push(mark.to_string()),
            TokenTree::Literal(_) => {}
        }
    }
    out
}

/// Skips to the end of an item: its braces, or its semicolon.
fn skip_item(tokens: &mut impl Iterator<Item = TokenTree>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => return,
            TokenTree::Punct(mark) if mark.as_char() == ';' => return,
            _ => {}
        }
    }
}

/// The modules named right after `crate::` or `super::`, alone or in a list of `use`.
fn modules_named(words: &[String]) -> BTreeSet<&str> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut named = BTreeSet::new();
    for (at, window) in words.windows(4).enumerate() {
        match window {
            ["crate" | "super", ":", ":", "{"] => named.extend(first_names(&words[at + 4..])),
            ["crate" | "super", ":", ":", module] => {
                named.insert(*module);
            }
            _ => {}
        }
    }
    named
}

/// The first name of each entry of a use list, up to its closing brace.
fn first_names<'a>(list: &[&'a str]) -> Vec<&'a str> {
    let (mut names, mut depth, mut first) = (Vec::new(), 0, true);
    for word in list {
        match *word {
            "{" => depth += 1,
            "}" if depth == 0 => break,
            "}" => depth -= 1,
            "," if depth == 0 => first = true,
            name if first => {
                names.push(name);
                first = false;
            }
            _ => {}
        }
    }
    names
}

#[test]
fn a_forbidden_module_is_noticed_in_every_spelling() {
    for text in [
        "use crate::cpu::Threads;",
        "use crate::{work::Unit, cpu};",
        "use crate::{work::{Unit, Space}, cpu::{self}};",
        "fn f() { crate::cpu::start() }",
        "use super::super::cpu;",
        "fn f() { if x { #[inline] fn g() -> crate::sha256d::Isa {} } }",
    ] {
        assert_eq!(complaints("miner-core/src/sched/slicer.rs", text), 1, "{text}");
    }
}

#[test]
fn comments_literals_tests_and_other_modules_are_free() {
    for text in [
        "// use crate::cpu;\n/// crate::cpu\nfn f() {}",
        "const TEXT: &str = \"crate::cpu\";",
        "#[cfg(test)]\nmod tests { use crate::cpu; }",
        "#[cfg(test)]\nuse crate::cpu;\nuse crate::work;",
        "#[cfg(any(test, feature = \"contract\"))]\n#[expect(x)]\npub mod contract { use crate::cpu; }",
        "use crate::work::{cpu, sha256d};",
        "fn f(cpu: u32) -> u32 { cpu }",
    ] {
        assert_eq!(complaints("miner-core/src/sched/mod.rs", text), 0, "{text}");
    }
    assert_eq!(complaints("miner-core/src/sched/tests.rs", "use crate::cpu;"), 0);
    assert_eq!(complaints("miner-core/src/stats/mod.rs", "use crate::cpu;"), 0);
}

#[test]
fn unsafe_clock_and_runtime_stay_in_their_shells() {
    let clock = "#[expect(clippy::disallowed_methods, reason = \"a shell\")] fn f() {}";
    for (path, text, expected) in [
        ("miner-core/src/work/space.rs", "fn f() { unsafe { g() } }", 1),
        ("miner-core/src/sha256d/x86.rs", "fn f() { unsafe { g() } }", 0),
        ("miner-core/src/stats/mod.rs", clock, 1),
        ("miner-core/src/cpu/worker.rs", clock, 0),
        ("miner-core/src/lib.rs", "#![cfg_attr(test, allow(clippy::disallowed_methods))]", 0),
        ("stratum/src/v1/session.rs", "use tokio::time;", 1),
        ("stratum/src/io.rs", "use tokio::time;", 0),
        ("stratum/src/v1/session.rs", "fn f( {", 1),
    ] {
        assert_eq!(complaints(path, text), expected, "{path}: {text}");
    }
}

#[cfg(test)]
fn complaints(path: &str, text: &str) -> usize {
    violations(&[(path.to_owned(), text.to_owned())]).len()
}
