//! The pools: which user and password belong to which URL.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use stratum::Secret;
use stratum::io::TlsTrust;
use stratum::url::PoolAddress;
use stratum::v1::LoginError;

use super::error::{ConfigError, Notice, PassFileError};
use super::file::{ConfigFile, Entries};
use super::layers::Layers;
use super::origin::{Origin, shown, without_credentials};
use super::setting::{
    ALLOW_RECONNECT, PASS, PASS_FILE, PROXY, RETRY_PAUSE, SUGGEST_DIFFICULTY, Setting, TLS_CA, URL, USER,
};
use super::value::{self, ValueError};
use crate::cli::PoolFlags;
use crate::settings::PoolSettings;

/// As much of a password file as is read: its first line must end before.
const MAX_PASS_FILE: u64 = 4096;
/// Most pools: each costs a look now and then.
const MAX_POOLS: usize = 64;

/// `-u`, `-p` and `-O`, taken apart.
struct Credentials {
    users: Vec<String>,
    passes: Vec<String>,
    user_flag: &'static str,
    pass_flag: &'static str,
}

/// A pool before its parts are known.
struct Draft<'a> {
    index: usize,
    url: String,
    origin: Origin,
    entries: Option<&'a Entries>,
}

/// One way to set a value: its text, where it was given, and whether it was meant for this pool alone.
struct Candidate {
    text: String,
    origin: Origin,
    own: bool,
}

/// The pools in force, in order.
pub(super) fn pools(layers: &mut Layers<'_>, flags: &PoolFlags, file: &ConfigFile) -> Vec<PoolSettings> {
    let credentials = credentials(layers, flags);
    let drafts = drafts(layers, flags, file);
    if drafts.len() > MAX_POOLS {
        layers.errors.push(ConfigError::TooManyPools { given: drafts.len(), limit: MAX_POOLS });
        return Vec::new();
    }
    if drafts.is_empty() {
        complain_about_no_pool(layers, flags, &credentials);
        return Vec::new();
    }
    let mut counts = vec![
        (credentials.user_flag, credentials.users.len()),
        (credentials.pass_flag, credentials.passes.len()),
    ];
    counts.dedup();
    for (flag, given) in counts.into_iter().filter(|(_, given)| *given > drafts.len()) {
        layers.errors.push(ConfigError::TooMany { flag, given, pools: drafts.len() });
    }
    let pools = drafts.iter().filter_map(|draft| pool(layers, flags, &credentials, draft)).collect();
    layers.pool = 0;
    pools
}

fn credentials(layers: &mut Layers<'_>, flags: &PoolFlags) -> Credentials {
    if flags.userpass.is_empty() {
        let (users, passes) = (flags.user.clone(), flags.pass.clone());
        return Credentials { users, passes, user_flag: USER.flag, pass_flag: PASS.flag };
    }
    let (mut users, mut passes) = (Vec::new(), Vec::new());
    for userpass in &flags.userpass {
        match userpass.split_once(':') {
            Some((user, pass)) => {
                users.push(user.to_owned());
                passes.push(pass.to_owned());
            }
            None => layers.reject(&PASS, "", ValueError::NoColon, Origin::Flag("--userpass")),
        }
    }
    Credentials { users, passes, user_flag: "--userpass", pass_flag: "--userpass" }
}

/// The pools of the strongest layer that names any.
fn drafts<'a>(layers: &mut Layers<'_>, flags: &PoolFlags, file: &'a ConfigFile) -> Vec<Draft<'a>> {
    let given = |urls: Vec<String>, origin: Origin| {
        let draft = |(index, url)| Draft { index, url, origin: origin.clone(), entries: None };
        urls.into_iter().enumerate().map(draft).collect::<Vec<_>>()
    };
    if !flags.url.is_empty() {
        return given(flags.url.clone(), Origin::Flag(URL.flag));
    }
    if let Some(urls) = layers.env(&URL) {
        return given(urls.split_whitespace().map(str::to_owned).collect(), Origin::Env(URL.env));
    }
    let mut drafts = Vec::new();
    for (index, (entries, header)) in file.pools.iter().enumerate() {
        match (entries.get(URL.name), header) {
            (Some(url), _) => drafts.push(Draft {
                index,
                url: url.text.clone(),
                origin: Origin::File(url.spot.clone()),
                entries: Some(entries),
            }),
            (None, header) => layers.errors.push(ConfigError::NoUrl { at: header.clone() }),
        }
    }
    drafts
}

/// Without a pool, lode would practise: what was given for a pool shows that something else was meant.
fn complain_about_no_pool(layers: &mut Layers<'_>, flags: &PoolFlags, credentials: &Credentials) {
    let single: [(&'static Setting, bool); 7] = [
        (&USER, !credentials.users.is_empty()),
        (&PASS, !credentials.passes.is_empty()),
        (&PASS_FILE, flags.pass_file.is_some()),
        (&TLS_CA, flags.tls_ca.is_some()),
        (&PROXY, flags.proxy.is_some()),
        (&ALLOW_RECONNECT, !flags.allow_reconnect.is_empty()),
        (&SUGGEST_DIFFICULTY, flags.suggest_difficulty.is_some()),
    ];
    let at = single.into_iter().find_map(|(setting, by_flag)| {
        if by_flag {
            return Some(Origin::Flag(setting.flag));
        }
        layers.env(setting).map(|_| Origin::Env(setting.env))
    });
    if let Some(at) = at
        && layers.errors.is_empty()
    {
        layers.errors.push(ConfigError::NeedsPool { at });
    }
}

fn pool(
    layers: &mut Layers<'_>,
    flags: &PoolFlags,
    credentials: &Credentials,
    draft: &Draft<'_>,
) -> Option<PoolSettings> {
    layers.pool = draft.index + 1;
    let address = match value::pool_url(&draft.url) {
        Ok(address) => address,
        Err(problem) => {
            layers.reject(&URL, &draft.url, problem, draft.origin.clone());
            return None;
        }
    };
    layers.record(&URL, Some(&without_user(&draft.url)), draft.origin.clone());
    if address.pass.is_some() && matches!(draft.origin, Origin::Flag(_)) {
        layers.notices.push(Notice::PasswordInProcessList { flag: URL.flag });
    }
    let user = user(layers, credentials, draft, &address);
    let pass = pass(layers, flags, credentials, draft, &address);
    let file = draft.entries;
    let tls_ca = layers.pick(&TLS_CA, flags.tls_ca.as_deref(), file, value::path);
    let tls_ca = tls_ca.map(|(path, origin)| checked_authorities(layers, &origin, path));
    let proxy = layers.pick(&PROXY, flags.proxy.as_deref(), file, value::proxy);
    let allowed = (!flags.allow_reconnect.is_empty()).then(|| flags.allow_reconnect.join(","));
    let allow_reconnect = layers.pick(&ALLOW_RECONNECT, allowed.as_deref(), file, value::hosts);
    let suggested = flags.suggest_difficulty.as_deref();
    let suggest_difficulty = layers.pick(&SUGGEST_DIFFICULTY, suggested, file, value::difficulty);
    let pause = flags.retry_pause.as_deref();
    Some(PoolSettings {
        url: address.url,
        user: user?,
        pass: pass?,
        tls_ca,
        proxy: proxy.map(|(proxy, _)| proxy),
        allow_reconnect: allow_reconnect.map(|(hosts, _)| hosts).unwrap_or_default(),
        suggest_difficulty: suggest_difficulty.map(|(difficulty, _)| difficulty),
        retry_pause: layers.pick_or_default(&RETRY_PAUSE, pause, file, value::retry_pause),
    })
}

fn user(
    layers: &mut Layers<'_>,
    credentials: &Credentials,
    draft: &Draft<'_>,
    address: &PoolAddress,
) -> Option<String> {
    let flag = by_flag(&credentials.users, draft.index, credentials.user_flag);
    let candidates = candidates(layers, &[&USER], flag, address.user.clone(), draft);
    let chosen = choose(layers, "users", draft.index, candidates);
    let Some(Candidate { text, origin, .. }) = chosen else {
        let (number, url) = (draft.index + 1, shown(&without_user(&draft.url)));
        layers.errors.push(ConfigError::NoUser { number, url, at: draft.origin.clone() });
        return None;
    };
    match value::user(&text) {
        Ok(user) => {
            layers.record(&USER, Some(&user), origin);
            Some(user)
        }
        Err(problem) => {
            layers.reject(&USER, &text, problem, origin);
            None
        }
    }
}

fn pass(
    layers: &mut Layers<'_>,
    flags: &PoolFlags,
    credentials: &Credentials,
    draft: &Draft<'_>,
    address: &PoolAddress,
) -> Option<Secret> {
    let by_flag = by_flag(&credentials.passes, draft.index, credentials.pass_flag).or_else(|| {
        let text = flags.pass_file.clone()?;
        Some(Candidate { text, origin: Origin::Flag(PASS_FILE.flag), own: false })
    });
    let by_url = address.pass.as_ref().map(|pass| pass.reveal().to_owned());
    let candidates = candidates(layers, &[&PASS, &PASS_FILE], by_flag, by_url, draft);
    let Candidate { text, origin, .. } = choose(layers, "passwords", draft.index, candidates)
        .unwrap_or_else(|| Candidate { text: PASS.default.to_owned(), origin: Origin::Default, own: false });
    if is_pass_file(&origin, draft) {
        layers.record(&PASS_FILE, Some(&text), origin.clone());
        let path = relative_to_file(&origin, text.into());
        return read_pass_file(layers, path);
    }
    if let Origin::Flag(flag) = origin
        && text != PASS.default
        && flag != URL.flag
    {
        layers.notices.push(Notice::PasswordInProcessList { flag });
    }
    match value::password(&text) {
        Ok(pass) => {
            layers.record(&PASS, Some(&text), origin);
            Some(pass)
        }
        Err(problem) => {
            layers.reject(&PASS, &text, problem, origin);
            None
        }
    }
}

/// The value of a paired flag for a pool: its own, or the last one given.
fn by_flag(list: &[String], index: usize, flag: &'static str) -> Option<Candidate> {
    let text = list.get(index).or(list.last())?.clone();
    Some(Candidate { text, origin: Origin::Flag(flag), own: index < list.len() })
}

/// Everything that sets a value for a pool, strongest first. In one layer, what was given for this pool alone beats
/// what serves them all.
fn candidates(
    layers: &mut Layers<'_>,
    settings: &[&'static Setting],
    flag: Option<Candidate>,
    by_url: Option<String>,
    draft: &Draft<'_>,
) -> Vec<Candidate> {
    let mut found: Vec<Candidate> = flag.into_iter().collect();
    for &setting in settings {
        let text = layers.env(setting);
        found.extend(text.map(|text| Candidate { text, origin: Origin::Env(setting.env), own: false }));
        let entry = draft.entries.and_then(|entries| entries.get(setting.name));
        found.extend(entry.map(|entry| Candidate {
            text: entry.text.clone(),
            origin: Origin::File(entry.spot.clone()),
            own: true,
        }));
    }
    found.extend(by_url.map(|text| Candidate { text, origin: draft.origin.clone(), own: true }));
    found.sort_by_key(|candidate| (rank(&candidate.origin), !candidate.own));
    found
}

fn rank(origin: &Origin) -> u8 {
    match origin {
        Origin::Flag(_) => 0,
        Origin::Env(_) => 1,
        Origin::File(_) => 2,
        Origin::Default => 3,
    }
}

/// The strongest, unless another is just as strong.
fn choose(
    layers: &mut Layers<'_>,
    what: &'static str,
    index: usize,
    candidates: Vec<Candidate>,
) -> Option<Candidate> {
    let mut candidates = candidates.into_iter();
    let first = candidates.next()?;
    if let Some(second) = candidates.next()
        && rank(&first.origin) == rank(&second.origin)
        && first.own == second.own
    {
        let (first, second) = (first.origin.clone(), second.origin);
        layers.errors.push(ConfigError::Both { number: index + 1, what, first, second });
    }
    Some(first)
}

/// Whether a password candidate is the name of a file.
fn is_pass_file(origin: &Origin, draft: &Draft<'_>) -> bool {
    match origin {
        Origin::Flag(flag) => *flag == PASS_FILE.flag,
        Origin::Env(name) => *name == PASS_FILE.env,
        Origin::File(spot) => {
            let entry = draft.entries.and_then(|entries| entries.get(PASS_FILE.name));
            entry.is_some_and(|entry| entry.spot == *spot)
        }
        Origin::Default => false,
    }
}

fn read_pass_file(layers: &mut Layers<'_>, path: PathBuf) -> Option<Secret> {
    let fail = |layers: &mut Layers<'_>, error| {
        layers.errors.push(error);
        None
    };
    let mut bytes = Vec::new();
    let read = File::open(&path).and_then(|file| {
        let metadata = file.metadata()?;
        file.take(MAX_PASS_FILE).read_to_end(&mut bytes)?;
        Ok(metadata)
    });
    let metadata = match read {
        Ok(metadata) => metadata,
        Err(source) => return fail(layers, ConfigError::Unreadable { what: "password file", path, source }),
    };
    if is_world_readable(&metadata) {
        let notice = Notice::WorldReadable { path: path.clone() };
        if !layers.notices.contains(&notice) {
            layers.notices.push(notice);
        }
    }
    match first_line(&bytes) {
        Ok(pass) => Some(pass),
        Err(problem) => fail(layers, ConfigError::PassFile { path, problem }),
    }
}

fn first_line(bytes: &[u8]) -> Result<Secret, PassFileError> {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() {
        return Err(PassFileError::Empty);
    }
    let text = std::str::from_utf8(line).map_err(|_| PassFileError::NotText)?;
    value::password(text).map_err(|problem| match problem {
        ValueError::Login(LoginError::TooLong(_)) => PassFileError::TooLong,
        _ => PassFileError::NotText,
    })
}

#[cfg(unix)]
pub(super) fn is_world_readable(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    metadata.is_file() && metadata.mode() & 0o004 != 0
}

#[cfg(not(unix))]
pub(super) fn is_world_readable(_: &std::fs::Metadata) -> bool {
    false
}

/// Reads now what would otherwise fail at every attempt to connect.
fn checked_authorities(layers: &mut Layers<'_>, origin: &Origin, path: PathBuf) -> PathBuf {
    let path = relative_to_file(origin, path);
    if let Err(problem) = TlsTrust::from_pem_file(&path) {
        layers.errors.push(ConfigError::Authorities(problem));
    }
    path
}

/// A path that stands in a file starts at that file's folder.
pub(super) fn relative_to_file(origin: &Origin, path: PathBuf) -> PathBuf {
    match origin {
        Origin::File(spot) => spot.file().path.parent().map_or(path.clone(), |folder| folder.join(&path)),
        Origin::Default | Origin::Flag(_) | Origin::Env(_) => path,
    }
}

fn without_user(url: &str) -> String {
    without_credentials(url).replacen("***@", "", 1)
}
