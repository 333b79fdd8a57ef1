//! What surrounds the process: its environment and its terminal.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::error::Notice;
use super::setting::{ALL, nearest};

/// What surrounds the process.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    vars: BTreeMap<String, OsString>,
    /// Whether standard output is a terminal.
    pub stdout_is_terminal: bool,
    /// Logical CPUs that this process may use.
    pub cpus: Option<usize>,
}

impl Surroundings {
    /// Takes what concerns lode from all the variables of the environment. An empty variable is as good as none.
    pub fn new(vars: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let ours = |name: &str| name.starts_with("LODE_") || name == "NO_COLOR" || name == "TERM";
        let vars = vars
            .into_iter()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .filter(|(name, value)| ours(name) && !value.is_empty())
            .collect();
        Self { vars, stdout_is_terminal: false, cpus: None }
    }

    /// The surroundings of this process.
    pub fn of_process() -> Self {
        Self {
            stdout_is_terminal: std::io::IsTerminal::is_terminal(&std::io::stdout()),
            cpus: std::thread::available_parallelism().ok().map(Into::into),
            ..Self::new(std::env::vars_os())
        }
    }

    /// The value of a variable; `Err` where it is not UTF-8.
    pub(super) fn var(&self, name: &str) -> Option<Result<&str, ()>> {
        self.vars.get(name).map(|value| value.to_str().ok_or(()))
    }

    /// Whether the environment wants no colour: see <https://no-color.org>.
    pub(super) fn refuses_color(&self) -> bool {
        self.vars.contains_key("NO_COLOR")
    }

    /// Whether standard output can show colour.
    pub(super) fn can_color(&self) -> bool {
        self.stdout_is_terminal && self.vars.get("TERM").is_none_or(|term| term != "dumb")
    }

    /// Variables that look like ours and are not.
    pub(super) fn unknown(&self) -> Vec<Notice> {
        let known = |name: &str| ALL.iter().any(|setting| setting.env == name);
        let near = |name: &str| nearest(name, ALL.iter().map(|setting| setting.env));
        let names = self.vars.keys().filter(|name| name.starts_with("LODE_") && !known(name));
        names.map(|name| Notice::UnknownVariable { name: name.clone(), near: near(name) }).collect()
    }
}
