//! Small files of the system under a root, which tests replace.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::report::format;

/// `/proc/cpuinfo` of a machine with a thousand CPUs has about two million bytes.
const MAX_BYTES: u64 = 16 << 20;

/// Most characters of a fact.
const MAX_FACT: usize = 120;

/// The root of a file system.
#[derive(Clone, Debug)]
pub(super) struct Tree(PathBuf);

impl Tree {
    pub(super) fn new(root: &Path) -> Self {
        Self(root.to_owned())
    }

    /// A file's text, as far as it is text.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        let mut bytes = Vec::new();
        File::open(self.0.join(path)).ok()?.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The fact that a file consists of: one line, made safe to show; `None` where there is nothing in it.
    pub(super) fn fact(&self, path: &str) -> Option<String> {
        fact(&self.text(path)?)
    }

    /// The number that a file consists of.
    pub(super) fn number<T: std::str::FromStr>(&self, path: &str) -> Option<T> {
        self.text(path)?.trim().parse().ok()
    }

    /// The names in a folder that start so, sorted; empty where there is none.
    pub(super) fn names(&self, folder: &str, start: &str) -> Vec<String> {
        let entries = fs::read_dir(self.0.join(folder)).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| name.starts_with(start))
            .collect();
        names.sort();
        names
    }
}

/// A text as a fact.
pub(super) fn fact(text: &str) -> Option<String> {
    let text = text.trim().trim_end_matches('\0');
    (!text.is_empty()).then(|| format::cut(&format::printable(text), MAX_FACT))
}

/// The numbers of a list of CPUs, as the kernel writes it: `0-3,5`. Anything else in it is left out.
pub(super) fn cpu_list(text: &str) -> Vec<usize> {
    const MOST: usize = 1 << 16;
    let run = |run: &str| {
        let (first, last) = run.split_once('-').unwrap_or((run, run));
        let run = first.parse().ok()?..=last.parse::<usize>().ok()?;
        (*run.end() < MOST).then_some(run)
    };
    text.trim().split(',').filter_map(run).flatten().collect()
}
