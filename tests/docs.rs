//! What the documents point to exists: files, headings, scripts, commands and flags.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag, TagEnd};

#[test]
fn links_lead_to_files_and_headings_that_exist() {
    let mut broken = Vec::new();
    for (file, text) in documents() {
        broken.extend(read(&text).links.iter().filter_map(|link| broken_link(&file, &text, link)));
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn scripts_that_are_named_exist() {
    let mut missing = Vec::new();
    for (file, text) in documents() {
        let named = read(&text).code.iter().flat_map(|code| script_paths(code)).collect::<Vec<_>>();
        missing.extend(
            named.iter().filter(|path| !root().join(path).exists()).map(|path| format!("{file}: {path}")),
        );
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn commands_and_flags_that_are_named_are_in_the_help() {
    let mut wrong = Vec::new();
    for (file, text) in documents() {
        for (words, flags) in read(&text).code.iter().flat_map(|code| lode_commands(code)) {
            let Some(mut text) = help(&words) else {
                wrong.push(format!("{file}: no command `lode {}`", words.join(" ")));
                continue;
            };
            if words.is_empty() {
                // Flags without a command are those of `mine`.
                text += &help(&["mine".to_owned()]).expect("lode mines");
            }
            let unknown =
                flags.iter().filter(|flag| !text.split([' ', ',', '\n', '=', '[']).any(|word| word == *flag));
            wrong.extend(
                unknown.map(|flag| format!("{file}: `lode {} --help` knows no {flag}", words.join(" "))),
            );
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What `lode WORDS --help` prints; `None` where there is no such command.
fn help(words: &[String]) -> Option<String> {
    let mut lode = Command::new(env!("CARGO_BIN_EXE_lode"));
    let help = lode.args(words).arg("--help").output().expect("lode starts");
    help.status.success().then(|| String::from_utf8_lossy(&help.stdout).into_owned())
}

#[test]
fn what_leads_nowhere_is_noticed() {
    let text = "# One thing\n[a](#one-thing) [b](#another) [c](Cargo.toml) [d](no-such-file) [e](https://x.invalid/y)";
    let broken: Vec<_> =
        read(text).links.iter().filter_map(|link| broken_link("README.md", text, link)).collect();
    assert_eq!(broken, ["README.md: #another", "README.md: no-such-file"]);
    assert_eq!(broken_link("docs/x.md", "", "../Cargo.toml"), None);
    assert!(broken_link("docs/x.md", "", "Cargo.toml").is_some());
}

#[test]
fn scripts_and_commands_are_read_out_of_code() {
    let text = "`scripts/test`, then:\n```sh\n$ bash .ci/run\nlode config check --config x.toml\n\
        cargo run --release -- mine -t 2 --shares=3 # --not-this\n```\n```text\nlode speaks --not-a-flag\n```";
    let code = read(text).code;
    assert_eq!(
        code.iter().flat_map(|code| script_paths(code)).collect::<Vec<_>>(),
        ["scripts/test", ".ci/run"]
    );
    let commands: Vec<_> = code.iter().flat_map(|code| lode_commands(code)).collect();
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        commands,
        [(owned(&["config", "check"]), owned(&["--config"])), (owned(&["mine"]), owned(&["--shares"]))]
    );
}

/// What a document says, as far as it can be checked.
struct Document {
    links: Vec<String>,
    headings: Vec<String>,
    /// Code in the text, and blocks of shell code.
    code: Vec<String>,
}

fn read(text: &str) -> Document {
    let mut document = Document { links: Vec::new(), headings: Vec::new(), code: Vec::new() };
    let (mut heading, mut shell) = (None::<String>, false);
    for event in Parser::new(text) {
        match event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                document.links.push(dest_url.into_string());
            }
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => {
                document.headings.extend(heading.take().map(|text| anchor(&text)))
            }
            Event::Start(Tag::CodeBlock(kind)) => {
                shell = matches!(kind, CodeBlockKind::Fenced(name) if ["sh", "bash", "console"].contains(&&*name));
            }
            Event::End(TagEnd::CodeBlock) => shell = false,
            Event::Text(text) if shell => document.code.push(text.into_string()),
            Event::Text(text) => heading.iter_mut().for_each(|heading| heading.push_str(&text)),
            Event::Code(text) => {
                heading.iter_mut().for_each(|heading| heading.push_str(&text));
                document.code.push(text.into_string());
            }
            _ => {}
        }
    }
    document
}

/// The complaint about a link in a file, if it leads nowhere. Links out of the project are not followed.
fn broken_link(file: &str, text: &str, link: &str) -> Option<String> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (path, heading) = link.split_once('#').unwrap_or((link, ""));
    let target = root().join(file).parent().expect("a file lies in a folder").join(path);
    let has_heading =
        |text: &str| heading.is_empty() || read(text).headings.iter().any(|other| other == heading);
    let found = match path {
        "" => has_heading(text),
        _ if path.ends_with(".md") => fs::read_to_string(&target).is_ok_and(|text| has_heading(&text)),
        _ => target.exists(),
    };
    (!found).then(|| format!("{file}: {link}"))
}

/// A heading's anchor, as forges make it.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn script_paths(code: &str) -> impl Iterator<Item = String> {
    let words = code.split(|c: char| c.is_whitespace() || "`'\"();".contains(c));
    let words = words.map(|word| word.trim_start_matches("./").trim_end_matches(['.', ',', ':']));
    words
        .filter(|word| [".ci/", "scripts/", ".githooks/"].iter().any(|folder| word.starts_with(folder)))
        .map(String::from)
}

/// The subcommands and long flags of each line of code that runs lode.
fn lode_commands(code: &str) -> Vec<(Vec<String>, Vec<String>)> {
    let mut commands = Vec::new();
    for line in code.lines() {
        let line = line.split(" #").next().unwrap_or(line).trim_start_matches("$ ");
        let starts = ["lode ", "./target/release/lode ", "target/release/lode ", "cargo run --release -- "];
        let Some(rest) = starts.iter().find_map(|start| line.strip_prefix(start)) else { continue };
        let subcommand =
            |word: &&str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
        let words = rest.split_whitespace().take_while(|word| !word.starts_with('-')).take_while(subcommand);
        let flags = rest.split_whitespace().filter(|word| word.starts_with("--") && word.len() > 2);
        let flags = flags.map(|flag| flag.split('=').next().unwrap_or(flag));
        commands.push((words.map(String::from).collect(), flags.map(String::from).collect()));
    }
    commands
}

/// The documents for people: path from the root, and text.
fn documents() -> Vec<(String, String)> {
    let mut open: Vec<PathBuf> =
        ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs"].map(PathBuf::from).into();
    let mut documents = Vec::new();
    while let Some(path) = open.pop() {
        let full = root().join(&path);
        if full.is_dir() {
            let entries = fs::read_dir(&full).expect("docs can be listed");
            open.extend(entries.map(|entry| path.join(entry.expect("docs can be listed").file_name())));
        } else if path.extension().is_some_and(|extension| extension == "md")
            && let Ok(text) = fs::read_to_string(&full)
        {
            documents.push((path.to_str().expect("plain ASCII names").to_owned(), text));
        }
    }
    assert!(documents.iter().any(|(path, _)| path.starts_with("docs")), "no document was found");
    documents
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
