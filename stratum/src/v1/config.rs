//! What a session is told, and what is remembered from one to the next.

use std::time::Duration;

use miner_core::types::{Difficulty, Epoch, SourceId};

use crate::Secret;

/// Longest user name or password, in bytes as JSON writes them: keeps every request below 1,024 bytes (ckpool).
const MAX_CREDENTIAL: usize = 300;
/// Longest agent, in bytes.
const MAX_AGENT: usize = 100;
/// Bounds of a configurable line cap, in bytes.
const LINE_CAPS: (usize, usize) = (4 * 1024, 1024 * 1024);

/// Everything that a [`V1Client`](super::V1Client) is told about its pool.
#[derive(Clone, Debug)]
pub struct V1Config {
    /// The source that its jobs name.
    pub source: SourceId,
    /// The connection that its jobs name.
    pub epoch: Epoch,
    /// User and password.
    pub login: Login,
    /// What `mining.subscribe` and `client.get_version` say of us; cut to 100 bytes.
    pub agent: String,
    /// The share difficulty to ask for once, after authorisation.
    pub suggest_difficulty: Option<Difficulty>,
    /// The host that was connected to: where `client.reconnect` may always lead back to.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Other places that `client.reconnect` may lead to: a host, on one port or on any.
    pub allow_reconnect: Vec<(String, Option<u16>)>,
    /// Longest line read, in bytes; taken into 4 KiB..=1 MiB.
    pub line_cap: usize,
}

impl V1Config {
    /// Longest line read unless told otherwise: ten times the largest job in the field.
    pub const LINE_CAP: usize = 64 * 1024;

    /// A configuration with the usual limits and nothing allowed beyond the need.
    pub fn new(source: SourceId, epoch: Epoch, login: Login, host: &str, port: u16) -> Self {
        Self {
            source,
            epoch,
            login,
            agent: concat!("lode/", env!("CARGO_PKG_VERSION")).to_owned(),
            suggest_difficulty: None,
            host: host.to_owned(),
            port,
            allow_reconnect: Vec::new(),
            line_cap: Self::LINE_CAP,
        }
    }

    pub(crate) fn bounded_line_cap(&self) -> usize {
        self.line_cap.clamp(LINE_CAPS.0, LINE_CAPS.1)
    }

    pub(crate) fn bounded_agent(&self) -> &str {
        &self.agent[..self.agent.floor_char_boundary(MAX_AGENT)]
    }
}

/// A user (or worker) name and a password that fit into a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    user: String,
    pass: Secret,
}

/// Why a user or a password cannot be used. Never quotes a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// No user.
    #[error("the user name is empty")]
    NoUser,
    /// Too long for a request of 1,024 bytes.
    #[error("the {0} is longer than {MAX_CREDENTIAL} bytes")]
    TooLong(&'static str),
    /// Has line feeds or the like.
    #[error("the {0} has control characters")]
    Control(&'static str),
}

impl Login {
    /// Checks that both can be sent: at most 300 bytes each as JSON writes them, no control characters.
    pub fn new(user: &str, pass: Secret) -> Result<Self, LoginError> {
        if user.is_empty() {
            return Err(LoginError::NoUser);
        }
        for (name, text) in [("user name", user), ("password", pass.reveal())] {
            if text.chars().any(char::is_control) {
                return Err(LoginError::Control(name));
            }
            // Without control characters JSON escapes only these two, each by one byte more.
            if text.len() + text.matches(['"', '\\']).count() > MAX_CREDENTIAL {
                return Err(LoginError::TooLong(name));
            }
        }
        Ok(Self { user: user.to_owned(), pass })
    }

    /// The user name.
    pub fn user(&self) -> &str {
        &self.user
    }

    pub(crate) fn pass(&self) -> &Secret {
        &self.pass
    }
}

/// What must outlive a connection; one for each pool, handed from session to session.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct V1Memory {
    /// What to resume.
    pub(crate) session: Option<RememberedSession>,
    /// How this pool reads version bits where the base version has bits inside the mask.
    pub(crate) convention: Option<VersionConvention>,
    /// `mining.configure` made this pool hang up (ckpool of 2017).
    pub(crate) skip_configure: bool,
    /// Connections in a row that ended without a line.
    pub(crate) mute_connections: u8,
    /// The longest usual time between two jobs.
    pub(crate) notify_gap: Option<Duration>,
}

/// A session that the pool may take up again.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RememberedSession {
    pub(crate) id: String,
    pub(crate) extranonce: super::params::Extranonce,
}

/// How a pool turns submitted version bits into a header's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionConvention {
    /// The bits replace those of the base inside the mask (BIP 310); adding them to the base (ckpool) is the same to
    /// us, who never clear a base bit.
    Bip310,
    /// The bits are XORed onto the base (public-pool).
    Xor,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_checked_when_it_is_made() {
        let quotes = "\"".repeat(151);
        let table = [
            ("", "x", Err(LoginError::NoUser)),
            ("user.worker", "", Ok(())),
            (&"u".repeat(300), "x", Ok(())),
            (&"u".repeat(301), "x", Err(LoginError::TooLong("user name"))),
            ("u", &quotes, Err(LoginError::TooLong("password"))),
            ("u\n", "x", Err(LoginError::Control("user name"))),
            ("u", "x\u{85}", Err(LoginError::Control("password"))),
        ];
        for (user, pass, expected) in table {
            assert_eq!(Login::new(user, Secret::new(pass)).map(drop), expected, "{user}");
        }
    }

    #[test]
    fn debug_shows_no_password() {
        let login = Login::new("alice", Secret::new("hunter2")).unwrap();
        let config = V1Config::new(SourceId(0), Epoch(0), login, "pool", 3333);
        let shown = format!("{config:?}");
        assert!(shown.contains("alice") && !shown.contains("hunter2"), "{shown}");
    }
}
