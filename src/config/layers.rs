//! Precedence: flag over environment over file over default, with the origin of what won.

use super::env::Surroundings;
use super::error::{ConfigError, Notice};
use super::file::Entries;
use super::origin::{Origin, shown, without_credentials};
use super::setting::{Secrecy, Section, Setting};
use super::value::ValueError;

/// A setting in force, as it may be shown.
#[derive(Clone, Debug)]
pub struct Fact {
    /// The part of the file it belongs to.
    pub section: Section,
    /// The place of its pool, or of its `[[device]]`, in their order, from 1; 0 for settings of neither.
    pub pool: usize,
    /// Its key.
    pub name: &'static str,
    /// Its value; `None` where it is not set.
    pub value: Option<String>,
    /// Where it comes from.
    pub origin: Origin,
}

/// Merges layers; collects what is in force, what is wrong and what is odd.
#[derive(Debug)]
pub(super) struct Layers<'a> {
    pub(super) around: &'a Surroundings,
    pub(super) facts: Vec<Fact>,
    pub(super) errors: Vec<ConfigError>,
    pub(super) notices: Vec<Notice>,
    pub(super) pool: usize,
}

impl<'a> Layers<'a> {
    pub(super) fn new(around: &'a Surroundings) -> Self {
        let notices = around.unknown();
        Self { around, facts: Vec::new(), errors: Vec::new(), notices, pool: 0 }
    }

    /// The text in force.
    pub(super) fn find(
        &mut self,
        setting: &'static Setting,
        flag: Option<&str>,
        file: Option<&Entries>,
    ) -> Option<(String, Origin)> {
        if let Some(text) = flag {
            return Some((text.to_owned(), Origin::Flag(setting.flag)));
        }
        if let Some(text) = self.env(setting) {
            return Some((text, Origin::Env(setting.env)));
        }
        let entry = file.and_then(|entries| entries.get(setting.name))?;
        Some((entry.text.clone(), Origin::File(entry.spot.clone())))
    }

    /// The setting's variable.
    pub(super) fn env(&mut self, setting: &'static Setting) -> Option<String> {
        match self.around.var(setting.env)? {
            Ok(text) => Some(text.to_owned()),
            Err(()) => {
                self.reject(setting, "", ValueError::NotUtf8, Origin::Env(setting.env));
                None
            }
        }
    }

    /// The value in force, read; `None` where there is none or it is wrong.
    pub(super) fn pick<T>(
        &mut self,
        setting: &'static Setting,
        flag: Option<&str>,
        file: Option<&Entries>,
        read: impl Fn(&str) -> Result<T, ValueError>,
    ) -> Option<(T, Origin)> {
        let found = self.find(setting, flag, file);
        let (text, origin) = match found {
            Some(found) => found,
            None if setting.default.is_empty() => {
                self.record(setting, None, Origin::Default);
                return None;
            }
            None => (setting.default.to_owned(), Origin::Default),
        };
        match read(&text) {
            Ok(value) => {
                self.record(setting, Some(&text), origin.clone());
                Some((value, origin))
            }
            Err(problem) => {
                self.reject(setting, &text, problem, origin);
                None
            }
        }
    }

    /// As [`pick`](Self::pick), for settings that have a default; in its stead after an error.
    pub(super) fn pick_or_default<T>(
        &mut self,
        setting: &'static Setting,
        flag: Option<&str>,
        file: Option<&Entries>,
        read: impl Fn(&str) -> Result<T, ValueError>,
    ) -> T {
        match self.pick(setting, flag, file, &read) {
            Some((value, _)) => value,
            None => read(setting.default).expect("every default is a value of its setting"),
        }
    }

    /// Notes what is in force.
    pub(super) fn record(&mut self, setting: &'static Setting, text: Option<&str>, origin: Origin) {
        let value = text.map(|text| showable(setting, text).unwrap_or_else(|| "***".to_owned()));
        let Setting { section, name, .. } = *setting;
        self.facts.push(Fact { section, pool: self.pool, name, value, origin });
    }

    /// Notes that what is in force for `general` is so for `setting`, which it beats.
    pub(super) fn record_beaten(&mut self, setting: &'static Setting, general: &'static Setting) {
        let of_general = |fact: &&Fact| fact.section == general.section && fact.name == general.name;
        if let Some(fact) = self.facts.iter().find(of_general).cloned() {
            let Setting { section, name, .. } = *setting;
            self.facts.push(Fact { section, pool: self.pool, name, ..fact });
        }
    }

    /// Notes what is wrong.
    pub(super) fn reject(&mut self, setting: &'static Setting, text: &str, problem: ValueError, at: Origin) {
        let given = showable(setting, text);
        self.errors.push(ConfigError::Invalid { setting, given, problem, at });
    }
}

/// As much of a value as may be shown; `None`: nothing.
fn showable(setting: &Setting, text: &str) -> Option<String> {
    match setting.secrecy {
        Secrecy::Open => Some(shown(text)),
        Secrecy::Credentials => Some(shown(&without_credentials(text))),
        Secrecy::Hidden => None,
    }
}
