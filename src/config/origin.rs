//! Where a setting was given, and the words to point there.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use super::setting::{ALL, Secrecy};

/// Most characters of a value or a line that are shown.
const SHOWN: usize = 100;

/// A configuration file in memory.
pub struct ConfigText {
    /// Its path as given.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

/// A place in a configuration file.
#[derive(Clone)]
pub struct Spot {
    file: Arc<ConfigText>,
    span: Range<usize>,
}

/// Where a setting was given.
#[derive(Clone, Debug)]
pub enum Origin {
    /// Nowhere.
    Default,
    /// On the command line.
    Flag(&'static str),
    /// In the environment.
    Env(&'static str),
    /// In the file.
    File(Spot),
}

impl Spot {
    /// The bytes `span` of `file`; a span that does not fit is cut.
    pub fn new(file: &Arc<ConfigText>, span: Range<usize>) -> Self {
        let floor = |at: usize| file.text.floor_char_boundary(at);
        let start = floor(span.start);
        Self { file: Arc::clone(file), span: start..floor(span.end).max(start) }
    }

    /// The file.
    pub fn file(&self) -> &ConfigText {
        &self.file
    }

    /// Line and column (in characters), both from 1.
    pub fn line_column(&self) -> (usize, usize) {
        let before = &self.file.text[..self.span.start];
        let line_start = self.line_start();
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    /// The line itself under its number, with carets below what is meant. Nothing that may be a password is shown.
    pub fn snippet(&self) -> String {
        let (line, _) = self.line_column();
        let start = self.line_start();
        let text = self.file.text[start..].lines().next().unwrap_or("");
        let margin = " ".repeat(line.to_string().len());
        let Some(text) = self.showable(text) else {
            return format!("{margin} |\n{line} | (not shown: it may hold a password)\n{margin} |");
        };
        let before = self.file.text[start..self.span.start].chars().count();
        let meant = self.file.text[self.span.clone()].lines().next().unwrap_or("").chars().count();
        let (shown, before) = window(&text, before);
        let carets = meant.min(shown.chars().count().saturating_sub(before)).max(1);
        format!("{margin} |\n{line} | {shown}\n{margin} | {}{}", " ".repeat(before), "^".repeat(carets))
    }

    fn line_start(&self) -> usize {
        self.file.text[..self.span.start].rfind('\n').map_or(0, |newline| newline + 1)
    }

    /// As much of the line as cannot hold a password: values of known keys that are no secret, keys, headers.
    fn showable(&self, line: &str) -> Option<String> {
        let before = &self.file.text[..self.line_start()];
        let within_text = ["\"\"\"", "'''"].iter().any(|quotes| before.matches(quotes).count() % 2 == 1);
        let Some((key, value)) = line.split_once('=') else {
            let plain = !line.contains(['"', '\'', '@']);
            return (plain && !within_text).then(|| line.to_owned());
        };
        if within_text {
            return None;
        }
        let name = key.rsplit('.').next().unwrap_or(key).trim().trim_matches(['"', '\'']);
        let harmless =
            !value.contains('@') && !value.replace("pass_file", "").to_lowercase().contains("pass");
        let open = ALL.iter().any(|setting| setting.name == name && setting.secrecy != Secrecy::Hidden);
        Some(if open && harmless { line.to_owned() } else { format!("{key}= …") })
    }
}

/// The part of a long line around column `at`, and where `at` stands in it; control characters become `?`.
fn window(line: &str, at: usize) -> (String, usize) {
    let at = at.min(line.chars().count());
    let skip = if at < SHOWN { 0 } else { at - SHOWN / 2 };
    let clean = |c: char| {
        if c == '\t' {
            ' '
        } else if c.is_control() {
            '?'
        } else {
            c
        }
    };
    (line.chars().skip(skip).take(SHOWN).map(clean).collect(), at - skip)
}

impl PartialEq for Spot {
    fn eq(&self, other: &Self) -> bool {
        self.span == other.span && Arc::ptr_eq(&self.file, &other.file)
    }
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.line_column();
        write!(f, "{}:{line}:{column}", self.file.path.display())
    }
}

impl fmt::Debug for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Spot({self})")
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Flag(flag) => f.write_str(flag),
            Self::Env(name) => f.write_str(name),
            Self::File(spot) => spot.fmt(f),
        }
    }
}

/// A value as it may be shown: cut, with everything unprintable escaped.
pub fn shown(value: &str) -> String {
    let escape = |c: char| match c {
        '"' | '\'' | '\\' => c.to_string(),
        _ => c.escape_debug().to_string(),
    };
    let mut cut: String = value.chars().take(SHOWN).map(escape).collect();
    if value.chars().nth(SHOWN).is_some() {
        cut.push('…');
    }
    cut
}

/// A URL as it may be shown: without what stands before its last `@`.
pub fn without_credentials(url: &str) -> String {
    let (scheme, rest) = url.find("://").map_or(("", url), |at| url.split_at(at + 3));
    match rest.rsplit_once('@') {
        Some((_, place)) => format!("{scheme}***@{place}"),
        None => url.to_owned(),
    }
}
