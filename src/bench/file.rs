//! Result files: written whole or not at all, read with care.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use super::report::{BenchReport, FORM, TYPE};
use crate::report::format;

/// More than any result has.
const MAX_BYTES: u64 = 1 << 20;

/// More rows than any result has.
const MAX_ROWS: usize = 1_000;

/// The most that is shown of a text in a result.
const MAX_TEXT: usize = 200;

/// What is wrong with a result file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is no result of `lode bench`.
    #[error("{} is no result of `lode bench`: {why}", path.display())]
    NotAResult {
        /// The file.
        path: PathBuf,
        /// What gave it away.
        why: String,
    },
    /// It has a form that this lode does not know.
    #[error("{} has form {v}; this lode knows {FORM}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its form.
        v: u64,
    },
    /// Something else is there, and would be lost.
    #[error("{} exists and is {what}: it is left alone", path.display())]
    Occupied {
        /// The place.
        path: PathBuf,
        /// What it is not.
        what: &'static str,
    },
    /// It cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What became of a result that was to be saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saved {
    /// It is in its file.
    Whole,
    /// It has no rows: nothing was written.
    Nothing,
    /// It is partial, and its file holds a complete one, which was left alone.
    Kept,
}

/// Whether a result could be saved at `path`: nothing is there, or another result, and the folder takes files.
///
/// # Errors
/// Why not.
pub fn check_place(path: &Path) -> Result<(), FileError> {
    check_result(path).map(drop)
}

/// Where a result for `path` goes.
fn check_result(path: &Path) -> Result<PathBuf, FileError> {
    check_free(path, "no result file", |path| match load(path) {
        // One that a newer lode wrote is a result all the same.
        Ok(_) | Err(FileError::Newer { .. }) => true,
        Err(_) => false,
    })
}

/// Saves a result at `path`, in place of another one, in one step; a partial one never takes a complete one's place.
///
/// # Errors
/// As [`check_place`], or the system refuses.
pub fn save(path: &Path, report: &BenchReport) -> Result<Saved, FileError> {
    let place = check_result(path)?;
    if report.rows.is_empty() {
        return Ok(Saved::Nothing);
    }
    // One that a newer lode wrote counts as complete.
    let is_complete =
        |old| matches!(old, Ok(BenchReport { complete: true, .. }) | Err(FileError::Newer { .. }));
    if !report.complete && is_complete(load(&place)) {
        return Ok(Saved::Kept);
    }
    let mut text = serde_json::to_string_pretty(report).expect("plain data can be written as JSON");
    text.push('\n');
    write_whole(&place, &text)?;
    Ok(Saved::Whole)
}

/// Reads a result.
///
/// # Errors
/// It cannot be read, or is no sound result.
pub fn load(path: &Path) -> Result<BenchReport, FileError> {
    let no_result = |why: String| FileError::NotAResult { path: path.to_owned(), why };
    let text = read(path)?;
    let value: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| no_result(error.to_string()))?;
    if value.get("type").and_then(|kind| kind.as_str()) != Some(TYPE) {
        return Err(no_result(format!("its type is not {TYPE}")));
    }
    match value.get("v").and_then(serde_json::Value::as_u64) {
        Some(v) if v == u64::from(FORM) => {}
        Some(v) if v > u64::from(FORM) => return Err(FileError::Newer { path: path.to_owned(), v }),
        _ => return Err(no_result("its form is not a number from 1 up".to_owned())),
    }
    let mut report: BenchReport =
        serde_json::from_value(value).map_err(|error| no_result(error.to_string()))?;
    check_figures(&report).map_err(no_result)?;
    make_printable(&mut report);
    Ok(report)
}

fn read(path: &Path) -> Result<String, FileError> {
    let failed = |source| FileError::Read { path: path.to_owned(), source };
    let no_result = |why: &str| FileError::NotAResult { path: path.to_owned(), why: why.to_owned() };
    // Asked before it is opened: to open a pipe is to wait for its other end.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(no_result("not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes)).map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(no_result(&format!("larger than {MAX_BYTES} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| no_result("not UTF-8"))
}

/// What no run can have found.
fn check_figures(report: &BenchReport) -> Result<(), String> {
    if report.rows.len() > MAX_ROWS {
        return Err(format!("more than {MAX_ROWS} rows"));
    }
    if report.gpus.len() > MAX_ROWS || report.gpus.iter().any(|gpu| gpu.lost.len() > MAX_ROWS) {
        return Err(format!("more than {MAX_ROWS} GPUs or lost kernels"));
    }
    if !report.gpus.iter().filter_map(|gpu| gpu.beside).all(|beside| beside.is_sound()) {
        return Err("its rates beside the CPU are none".to_owned());
    }
    if !(report.row_s >= 0.0 && report.row_s.is_finite()) {
        return Err("its row_s is no time".to_owned());
    }
    if !report.baseline_hs.is_none_or(|baseline| baseline.is_sound()) {
        return Err("its baseline_hs is no spread of rates".to_owned());
    }
    let mut keys = BTreeSet::new();
    for (number, row) in report.rows.iter().enumerate() {
        let is_share = |share: f64| (0.0..=2.0).contains(&share);
        let dispatch = row.gpu.as_ref().map(|gpu| gpu.dispatch_ms);
        let spreads = [Some(row.rate_hs), Some(row.ratio), row.cycles_per_hash, dispatch];
        let problem = if row.kernel.is_empty() || row.threads == 0 || row.versions == 0 || row.windows == 0 {
            "lacks a kernel, threads, versions or windows"
        } else if !spreads.iter().flatten().all(|spread| spread.is_sound()) {
            "has figures that are not above 0, p10 first and p90 last"
        } else if !row.cpu_share.is_none_or(is_share) {
            "has a cpu_share that is none"
        } else if !keys.insert(row.key()) {
            "is there twice"
        } else {
            continue;
        };
        return Err(format!("row {number} {problem}"));
    }
    Ok(())
}

/// What a terminal would obey is escaped, and what would fill it is cut.
fn make_printable(report: &mut BenchReport) {
    let BenchReport { ts, build, machine, gpus, rows, mismatch, .. } = report;
    let super::Build { version, commit, target, profile, compiler } = build;
    let of_cpu = [&mut machine.cpu.name, &mut machine.cpu.microcode, &mut machine.cpu.governor];
    let of_machine = [&mut machine.kernel, &mut machine.virtualisation, &mut machine.os];
    let facts = of_cpu.into_iter().chain(of_machine).flatten();
    let texts = [ts, version, commit, target, profile, compiler].into_iter().chain(facts);
    let kernels = rows.iter_mut().flat_map(|row| {
        let gpu =
            row.gpu.iter_mut().flat_map(|gpu| [&mut gpu.device, &mut gpu.rotate, &mut gpu.ch, &mut gpu.maj]);
        gpu.chain([&mut row.kernel])
    });
    let gpus = gpus.iter_mut().flat_map(|gpu| {
        let lost = gpu.lost.iter_mut().flat_map(|lost| [&mut lost.kernel, &mut lost.why]);
        let facts = [&mut gpu.device, &mut gpu.name, &mut gpu.api, &mut gpu.driver];
        facts.into_iter().chain(&mut gpu.problem).chain(lost)
    });
    let wrong = mismatch.iter_mut().flat_map(|wrong| [&mut wrong.kernel, &mut wrong.what]);
    for text in texts.chain(kernels).chain(gpus).chain(wrong) {
        *text = format::cut(&format::printable(text), MAX_TEXT);
    }
}

/// Whether `path` may be written: free, or what `is_ours` knows, in a folder that takes files. A link stays one: the
/// place for [`write_whole`] is what it leads to.
pub(super) fn check_free(
    path: &Path,
    what: &'static str,
    is_ours: impl FnOnce(&Path) -> bool,
) -> Result<PathBuf, FileError> {
    let place = match fs::canonicalize(path) {
        Ok(place) if is_ours(&place) => place,
        Ok(_) => return Err(FileError::Occupied { path: path.to_owned(), what }),
        Err(error) if error.kind() == ErrorKind::NotFound => path.to_owned(),
        Err(source) => return Err(FileError::Read { path: path.to_owned(), source }),
    };
    let failed = |source| FileError::Write { path: path.to_owned(), source };
    scratch(&place).map_err(failed)?;
    Ok(place)
}

/// Puts a file at `place` in one step: whoever reads it sees the old one or the whole new one.
pub(super) fn write_whole(place: &Path, text: &str) -> Result<(), FileError> {
    let failed = |source| FileError::Write { path: place.to_owned(), source };
    let mut file = scratch(place).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
    file.persist(place).map_err(|error| failed(error.error))?;
    Ok(())
}

/// A new file beside `path`, gone unless it is kept.
fn scratch(path: &Path) -> io::Result<tempfile::NamedTempFile> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".lode-bench-");
    // As any file of this user, not as the secrets that temporary files may be.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}
