//! Keeps a fast device or a hostile pool from flooding the screen.

use std::time::Duration;

use jiff::Timestamp;

use crate::report::pace::Flood;

/// What is limited, each apart, so that many accepted shares hide no refused one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topic {
    Found,
    Accepted,
    Rejected,
    Lost,
    Late,
    Discard,
    Job,
    Difficulty,
    Pool,
    Words,
    Device,
}

impl Topic {
    const ALL: [Self; 11] = [
        Self::Found,
        Self::Accepted,
        Self::Rejected,
        Self::Lost,
        Self::Late,
        Self::Discard,
        Self::Job,
        Self::Difficulty,
        Self::Pool,
        Self::Words,
        Self::Device,
    ];

    fn flood(self) -> Flood {
        match self {
            Self::Job => Flood::new(1, Duration::from_secs(5)),
            Self::Difficulty => Flood::new(2, Duration::from_secs(1)),
            _ => Flood::new(10, Duration::from_secs(1)),
        }
    }

    fn tag(self) -> &'static str {
        match self {
            Self::Found | Self::Accepted | Self::Rejected | Self::Lost | Self::Late => "share",
            Self::Job => "job",
            Self::Difficulty | Self::Pool | Self::Words => "pool",
            Self::Discard | Self::Device => "device",
        }
    }

    /// What was hidden, after its number.
    fn what(self) -> &'static str {
        match self {
            Self::Found => "shares found",
            Self::Accepted => "shares accepted",
            Self::Rejected => "shares REJECTED",
            Self::Lost => "shares lost",
            Self::Late => "late answers",
            Self::Discard => "candidates discarded",
            Self::Job => "new jobs",
            Self::Difficulty => "changes of difficulty",
            Self::Pool => "changes of pools",
            Self::Words => "messages of pools",
            Self::Device => "changes of devices",
        }
    }
}

/// One limit for each topic.
#[derive(Debug)]
pub(super) struct Floods([(Topic, Flood); Topic::ALL.len()]);

impl Floods {
    pub(super) fn new() -> Self {
        Self(Topic::ALL.map(|topic| (topic, topic.flood())))
    }

    /// Whether a line of this topic may be shown now.
    pub(super) fn admit(&mut self, topic: Topic, at: Timestamp) -> bool {
        self.0.iter_mut().find(|(known, _)| *known == topic).is_none_or(|(_, flood)| flood.admit(at))
    }

    /// What was hidden in windows that are over by now, as tag and text; all windows, when `at` is `None`.
    pub(super) fn settle(&mut self, at: Option<Timestamp>) -> Vec<(&'static str, String)> {
        let hidden = |(topic, flood): &mut (Topic, Flood)| {
            let count = match at {
                Some(at) => flood.settle(at),
                None => flood.close(),
            };
            (count > 0).then(|| (topic.tag(), format!("and {count} more {}", topic.what())))
        };
        self.0.iter_mut().filter_map(hidden).collect()
    }
}
