//! One line for people: the time, a tag, a striking word, the rest.

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::report::format::printable;

/// What a line is about; printed at a fixed width.
const TAG_WIDTH: usize = 7;

/// How much a line matters: what is left of it when the operator asks for less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weight {
    /// For those who look for something.
    Detail,
    /// The normal course of mining.
    Normal,
    /// Trouble, blocks, the final account.
    Important,
}

impl Weight {
    /// The least that is shown at a verbosity.
    pub(super) fn shown_at(verbosity: i8) -> Self {
        match verbosity {
            ..0 => Self::Important,
            0 => Self::Normal,
            1.. => Self::Detail,
        }
    }
}

/// What kind of news a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Good,
    Warning,
    Bad,
    Block,
}

impl Tone {
    fn style(self) -> Style {
        match self {
            Self::Plain => Style::new().bold(),
            Self::Good => AnsiColor::Green.on_default(),
            Self::Warning => AnsiColor::Yellow.on_default(),
            Self::Bad => AnsiColor::Red.on_default().bold(),
            Self::Block => AnsiColor::Black.on(AnsiColor::BrightGreen).bold(),
        }
    }
}

/// How the time stands before each line.
#[derive(Clone, Debug)]
pub(super) enum Clock {
    /// Local time of day, for a screen.
    TimeOfDay(TimeZone),
    /// Local date, time and offset, for a file.
    Date(TimeZone),
}

impl Clock {
    fn show(&self, at: Timestamp) -> String {
        let (zone, form) = match self {
            Self::TimeOfDay(zone) => (zone, "%H:%M:%S"),
            Self::Date(zone) => (zone, "%Y-%m-%d %H:%M:%S%:z"),
        };
        at.to_zoned(zone.clone()).strftime(form).to_string()
    }
}

/// A line before it is laid out.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) tag: String,
    pub(super) tone: Tone,
    pub(super) head: String,
    pub(super) rest: String,
}

impl Line {
    pub(super) fn new(
        tag: impl Into<String>,
        tone: Tone,
        head: impl Into<String>,
        rest: impl Into<String>,
    ) -> Self {
        Self { tag: tag.into(), tone, head: head.into(), rest: rest.into() }
    }

    /// The line as it is printed. Whatever came from a pool, a device or the operator is made safe here.
    pub(super) fn layout(&self, at: Timestamp, clock: &Clock, color: bool) -> String {
        let [tag, head, rest] = [&self.tag, &self.head, &self.rest].map(|text| printable(text));
        let time = paint(&clock.show(at), Style::new().dimmed(), color);
        let tag = paint(&format!("{tag:TAG_WIDTH$}"), AnsiColor::Cyan.on_default(), color);
        let line = format!("{time}  {tag} {}{rest}", paint(&head, self.tone.style(), color));
        line.trim_end().to_owned()
    }
}

fn paint(text: &str, style: Style, color: bool) -> String {
    if color && !text.is_empty() { format!("{style}{text}{style:#}") } else { text.to_owned() }
}
