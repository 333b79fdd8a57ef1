//! Results as people read them.

use std::fmt;

use super::compare::{ComparedRow, Comparison};
use super::report::{BenchReport, BenchRow, Beside, GpuFigures, Key, LostKernel};
use super::spread::Spread;

impl fmt::Display for BenchReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.gpus.is_empty() {
            self.gpus(f)?;
            return self.remarks(f);
        }
        let width = width(self.rows.iter().map(BenchRow::key));
        writeln!(
            f,
            "{:width$} {:>7} {:>9} {:>17} {:>7} {:>12}",
            "kernel", "threads", "MH/s", "p10..p90", "x sha2", "cycles/hash"
        )?;
        let line =
            |f: &mut fmt::Formatter<'_>, name: &str, threads, rate: &Spread, ratio: f64, cycles: &str| {
                let (median, range) = (rate.median / 1e6, range(rate));
                writeln!(f, "{name:width$} {threads:>7} {median:>9.2} {range:>17} {ratio:>7.2} {cycles:>12}")
            };
        if let Some(baseline) = &self.baseline_hs {
            line(f, "sha2 crate", 1, baseline, 1.0, "-")?;
        }
        for row in &self.rows {
            let cycles =
                row.cycles_per_hash.map_or_else(|| "-".to_owned(), |cycles| format!("{:.1}", cycles.median));
            line(f, &row.key().form(), row.threads, &row.rate_hs, row.ratio.median, &cycles)?;
        }
        self.remarks(f)
    }
}

impl BenchReport {
    /// A table for each GPU, its fastest kernel first.
    fn gpus(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for gpu in &self.gpus {
            writeln!(f, "{}  {}, {} {}", gpu.device, gpu.name, gpu.api, gpu.driver)?;
            let mut rows: Vec<(&BenchRow, &GpuFigures)> =
                self.rows.iter().filter_map(|row| Some((row, row.gpu.as_ref()?))).collect();
            rows.retain(|(_, figures)| figures.device == gpu.device);
            rows.sort_by(|(a, _), (b, _)| b.rate_hs.median.total_cmp(&a.rate_hs.median));
            if !rows.is_empty() {
                writeln!(
                    f,
                    "{:7} {:3} {:6} {:>8} {:>9} {:>6} {:>8} {:>9} {:>17} {:>7} {:>11} {:>10}",
                    "rotate",
                    "ch",
                    "maj",
                    "versions",
                    "workgroup",
                    "nonces",
                    "ops/hash",
                    "MH/s",
                    "p10..p90",
                    "x sha2",
                    "dispatch ms",
                    "tuned MH/s"
                )?;
            }
            for (row, figures) in rows {
                let GpuFigures {
                    rotate,
                    ch,
                    maj,
                    workgroup,
                    nonces,
                    operations,
                    dispatch_ms,
                    tuned_hs,
                    chosen,
                    ..
                } = figures;
                let (median, range, ratio) =
                    (row.rate_hs.median / 1e6, range(&row.rate_hs), row.ratio.median);
                let (versions, length, tuned) = (row.versions, dispatch_ms.median, tuned_hs / 1e6);
                let mark = if *chosen { " chosen" } else { "" };
                writeln!(
                    f,
                    "{rotate:7} {ch:3} {maj:6} {versions:>8} {workgroup:>9} {nonces:>6} {operations:>8.1} {median:>9.2} \
                     {range:>17} {ratio:>7.2} {length:>11.1} {tuned:>10.2}{mark}"
                )?;
            }
            for LostKernel { kernel, versions, why } in &gpu.lost {
                writeln!(f, "lost: {kernel}, versions {versions}: {why}")?;
            }
            if let Some(Beside { threads, all_hs, fewer_hs, ratio }) = &gpu.beside {
                let (all, fewer) = (all_hs.median / 1e6, fewer_hs.median / 1e6);
                writeln!(
                    f,
                    "with {threads} CPU threads {all:.2} MH/s together, with {} {fewer:.2}: x {:.3} ({:.3}..{:.3})",
                    threads - 1,
                    ratio.median,
                    ratio.p10,
                    ratio.p90
                )?;
            }
            if let Some(problem) = &gpu.problem {
                writeln!(f, "not everything was measured: {problem}")?;
            }
        }
        if let Some(baseline) = &self.baseline_hs {
            let threads = self.baseline_threads;
            writeln!(
                f,
                "sha2 crate, {threads} threads: {:.2} MH/s ({})",
                baseline.median / 1e6,
                range(baseline)
            )?;
        }
        Ok(())
    }

    fn remarks(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(reason) = self.cycles.reason.as_ref().filter(|_| self.gpus.is_empty()) {
            writeln!(f, "no cycles: {reason}")?;
        }
        if let Some(percent) = self.percent_disturbed() {
            writeln!(f, "other programs took up to {percent:.0} % of the CPU time: rates may read low")?;
        }
        if self.build.profile == "debug" {
            writeln!(f, "debug build: these figures say nothing about speed")?;
        }
        if !self.complete {
            writeln!(f, "PARTIAL: stopped before everything was measured")?;
        }
        writeln!(f, "{}", self.machine_line())?;
        match &self.mismatch {
            None => write!(f, "all answers right, checksum {}", self.checksum),
            Some(wrong) => {
                let form = Key { kernel: wrong.kernel.clone(), versions: wrong.versions, threads: 1 }.form();
                write!(f, "WRONG ANSWER from {form}: {}", wrong.what)
            }
        }
    }

    /// The most CPU time that other programs took from a row, in per cent, if that is worth a word.
    pub(super) fn percent_disturbed(&self) -> Option<f64> {
        let shares = self.rows.iter().filter_map(|row| row.cpu_share);
        shares.min_by(f64::total_cmp).filter(|&share| share < 0.95).map(|share| 100.0 * (1.0 - share))
    }

    /// The machine in one line.
    pub(super) fn machine_line(&self) -> String {
        let cpu = &self.machine.cpu;
        let mut facts = vec![cpu.name.clone().unwrap_or_else(|| "unknown CPU".to_owned())];
        match (cpu.cores, cpu.logical) {
            (Some(cores), Some(logical)) => facts.push(format!("{cores} cores, {logical} logical CPUs")),
            (None, Some(logical)) => facts.push(format!("{logical} logical CPUs")),
            _ => {}
        }
        facts.extend(cpu.clock_mhz.map(|mhz| format!("{mhz:.0} MHz")));
        facts.extend(cpu.governor.as_ref().map(|governor| format!("governor {governor}")));
        facts.extend(self.machine.celsius.map(|celsius| format!("{celsius:.0} °C")));
        facts.extend(self.machine.virtualisation.clone().filter(|told| told != "none"));
        facts.extend(self.machine.kernel.clone());
        facts.join(", ")
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, side) in [("A", &self.a), ("B", &self.b)] {
            let cpu = side.cpu.as_deref().unwrap_or("unknown CPU");
            writeln!(f, "{name}  {}: lode {} on {cpu}, {}", side.file, side.build, side.ts)?;
        }
        let width = width(self.rows.iter().map(|row| row.key.clone()));
        writeln!(
            f,
            "{:width$} {:>7} {:>9} {:>9} {:>7} {:7} {:>10} kernel",
            "kernel", "threads", "A MH/s", "B MH/s", "B/A", "rate", "B/A x sha2"
        )?;
        for ComparedRow { key, a_hs, b_hs, rate, against_baseline } in &self.rows {
            let line = format!(
                "{:width$} {:>7} {:>9.2} {:>9.2} {:>7.3} {:7} {:>10.3} {:7}",
                key.form(),
                key.threads,
                a_hs.median / 1e6,
                b_hs.median / 1e6,
                rate.ratio,
                rate.verdict,
                against_baseline.ratio,
                against_baseline.verdict
            );
            writeln!(f, "{}", line.trim_end())?;
        }
        for (name, keys) in [("A", &self.only_a), ("B", &self.only_b)] {
            for key in keys {
                writeln!(f, "only in {name}: {} with {} threads", key.form(), key.threads)?;
            }
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        write!(f, "same: the ranges from p10 to p90 overlap, so no difference is shown")
    }
}

fn width(keys: impl Iterator<Item = Key>) -> usize {
    keys.map(|key| key.form().len()).max().unwrap_or(0).max("sha2 crate".len())
}

fn range(rate: &Spread) -> String {
    format!("{:.2}..{:.2}", rate.p10 / 1e6, rate.p90 / 1e6)
}
