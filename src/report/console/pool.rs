//! Lines about pools and jobs.

use std::io::Write;

use miner_core::event::MinerEvent;
use miner_core::job::JobTemplate;
use miner_core::types::{Difficulty, SourceId};

use super::{Console, Line, Tone, Topic, Weight};
use crate::event::PoolNotice;
use crate::report::format;

/// Characters of a job id that are shown: enough to tell one from the next.
const JOB_ID_SHOWN: usize = 16;

impl<W: Write + Send> Console<W> {
    pub(super) fn on_job(&mut self, job: &JobTemplate, restarted: bool) {
        let height = job.height().map_or_else(String::new, |height| format!("height {height}, "));
        let urgency = match (job.clean, restarted) {
            (true, _) => "clean",
            (false, true) => "not clean, but all work starts anew",
            (false, false) => "not clean",
        };
        let rest = format!(
            " {} from pool {}: {height}difficulty {}, network {}, {urgency}",
            format::cut(&job.id.0, JOB_ID_SHOWN),
            job.source,
            format::difficulty(Difficulty::of(job.share_target)),
            format::difficulty(Difficulty::of(job.nbits.target())),
        );
        let line = Line::new("job", Tone::Plain, "new job", rest);
        if self.least == Weight::Detail {
            self.say(Weight::Detail, &line);
        } else {
            self.say_often(Topic::Job, Weight::Normal, &line);
        }
    }

    pub(super) fn on_pool(&mut self, source: SourceId, notice: &PoolNotice) {
        let line = |tone, head: &str, rest: String| Line::new(format!("pool {source}"), tone, head, rest);
        let (topic, weight, line) = match notice {
            PoolNotice::Connecting { attempt } => {
                let url = self.names.url(source).map_or_else(String::new, |url| format!(" to {url}"));
                let again = if *attempt > 1 { format!(", attempt {attempt}") } else { String::new() };
                (Topic::Pool, Weight::Normal, line(Tone::Plain, "connecting", url + &again))
            }
            PoolNotice::Connected { peer, encrypted } => {
                let how = if *encrypted { "encrypted" } else { "not encrypted" };
                (Topic::Pool, Weight::Normal, line(Tone::Plain, "connected", format!(" to {peer}, {how}")))
            }
            PoolNotice::Ready { resumed } => {
                let rest =
                    if *resumed { ": the earlier session goes on" } else { ": subscribed and authorised" };
                (Topic::Pool, Weight::Normal, line(Tone::Good, "ready", rest.to_owned()))
            }
            PoolNotice::Failed { error, advice, retry_in } => {
                let advice = advice.as_ref().map_or_else(String::new, |advice| format!("; {advice}"));
                let next = retry_in.map_or_else(
                    || "it is not tried again".to_owned(),
                    |pause| format!("next attempt in {:.1} s", pause.as_secs_f64()),
                );
                let rest = format!(": {error}{advice}; {next}");
                (Topic::Pool, Weight::Important, line(Tone::Bad, "failed", rest))
            }
            PoolNotice::Difficulty(difficulty) => return self.on_difficulty(source, *difficulty),
            PoolNotice::Message(text) => {
                (Topic::Words, Weight::Normal, line(Tone::Plain, "says", format!(": \"{text}\"")))
            }
            PoolNotice::Warning(text) => {
                (Topic::Words, Weight::Important, line(Tone::Warning, "warning", format!(": {text}")))
            }
            PoolNotice::Reconnect { to } => {
                let to = to.as_ref().map_or_else(String::new, |to| format!(" to {to}"));
                (Topic::Words, Weight::Normal, line(Tone::Plain, "asks to reconnect", to))
            }
        };
        self.say_often(topic, weight, &line);
    }

    /// What the core says of sources.
    pub(super) fn on_source(&mut self, event: &MinerEvent) {
        if self.draining {
            return;
        }
        let pool = |source: &SourceId| format!("pool {source}");
        let (weight, line) = match event {
            MinerEvent::SourceActive(Some(source)) => {
                (Weight::Normal, Line::new(pool(source), Tone::Good, "active", ": work comes from here now"))
            }
            MinerEvent::SourceActive(None) => {
                let rest = ": no pool gives work; hashing waits";
                (Weight::Important, Line::new("pool", Tone::Warning, "idle", rest))
            }
            MinerEvent::SourceUp(source) => (Weight::Detail, Line::new(pool(source), Tone::Plain, "up", "")),
            MinerEvent::SourceSuspended(source) => {
                let rest = ": its last job is mined on for a while, shares wait for the next connection";
                (Weight::Normal, Line::new(pool(source), Tone::Warning, "suspended", rest))
            }
            MinerEvent::SourceDown(source) => (
                Weight::Important,
                Line::new(pool(source), Tone::Warning, "given up", ": its work is worthless now"),
            ),
            MinerEvent::WorkExhausted(source) => {
                let rest = ": the job's search space is used up before the next job came";
                (Weight::Important, Line::new(pool(source), Tone::Warning, "out of work", rest))
            }
            MinerEvent::Withholding { source, per_second } => {
                let rest = format!(
                    ": its difficulty would take {} shares a second; only the hardest are looked for",
                    format::amount(*per_second)
                );
                (Weight::Important, Line::new(pool(source), Tone::Warning, "withholding", rest))
            }
            _ => return,
        };
        self.say_often(Topic::Pool, weight, &line);
    }

    fn on_difficulty(&mut self, source: SourceId, difficulty: Difficulty) {
        let before = self.difficulties.insert(source, difficulty);
        if before == Some(difficulty) {
            return;
        }
        let was = before.map_or_else(String::new, |before| format!(" (was {})", format::difficulty(before)));
        let rest = format!(" {}{was}", format::difficulty(difficulty));
        let line = Line::new(format!("pool {source}"), Tone::Plain, "difficulty", rest);
        self.say_often(Topic::Difficulty, Weight::Normal, &line);
    }
}
