//! What can go wrong on the way to a pool.

use std::io::{self, ErrorKind};

use stratum::ProtocolError;
use stratum::io::{ConnectError, ProxyError, SessionEnd, TlsError, TrustError};

use super::{Exit, Explain, Explanation, file_advice};
use crate::pools::SessionError;

impl Explain for SessionError {
    fn explain(&self) -> Explanation {
        let advice = match self {
            Self::Connect(error) => return error.explain(),
            Self::Ended(end) => return end.explain(),
            Self::NoJob => {
                "the pool accepts this worker and gives it no work: ask the pool, or add a second -o"
            }
            Self::Panicked(_) => "this is a bug: please report it; the pool will be tried again",
            Self::Rejecting(_) => {
                "the reasons stand with the rejected shares; if they are not clear, try another pool with a second -o"
            }
        };
        Explanation::new(self, Exit::Failed, advice)
    }
}

impl Explain for SessionEnd {
    fn explain(&self) -> Explanation {
        let advice = match self {
            Self::Protocol(error) => return error.explain(),
            Self::Closed => {
                "pools close what they do not like: if this stays, check the user, the port and TLS"
            }
            Self::Io(_) | Self::WriteTimeout => {
                "if this stays, check this machine's connection to the internet"
            }
            Self::Released => "nothing is wrong: this connection is not needed any more",
        };
        Explanation::new(self, Exit::Failed, advice)
    }
}

impl Explain for ProtocolError {
    fn explain(&self) -> Explanation {
        let advice = match self {
            Self::LineTooLong { .. } | Self::Garbage { .. } => {
                "check that the port is the pool's Stratum port and whether it wants TLS (stratum+ssl://)"
            }
            Self::Refused { .. } => {
                "the pool will be tried again; if this stays, ask its operator or try another port"
            }
            Self::Unauthorized(_) => {
                "check -u and -p against the pool's web page: account.worker, or your Bitcoin address, without blanks"
            }
            Self::Timeout { .. } => {
                "the connection stands but the pool is silent: check the port and whether it wants TLS (stratum+ssl://)"
            }
            _ => "the pool will be tried again",
        };
        Explanation::new(self, Exit::Failed, advice)
    }
}

impl Explain for ConnectError {
    fn explain(&self) -> Explanation {
        let advice = match self {
            Self::Resolve { .. } | Self::NoAddress { .. } => {
                "check the host's spelling and this machine's connection to the internet and its name server"
            }
            Self::Connect { source, .. } => socket_advice(source),
            Self::Proxy(error) => return error.explain(),
            Self::Tls(error) => return error.explain(),
            _ => "check host and port against the pool's web page",
        };
        Explanation::new(self, Exit::Failed, advice)
    }
}

fn socket_advice(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::ConnectionRefused => {
            "the machine is there, but nobody listens on this port: check the port"
        }
        ErrorKind::TimedOut => "the pool may be down, or a firewall in between: many block all ports but 443",
        ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable => {
            "check this machine's connection to the internet"
        }
        ErrorKind::PermissionDenied => "a firewall on this machine forbids it: allow lode to connect",
        _ => "check host and port against the pool's web page",
    }
}

impl Explain for ProxyError {
    fn explain(&self) -> Explanation {
        let advice = match self {
            Self::Login => "check the user and password in --proxy socks5://USER:PASS@HOST:PORT",
            Self::NotSocks5(_) => "check the port of --proxy: it must be a SOCKS5 proxy, not an HTTP one",
            Self::Pool(_) => {
                "the proxy works: check the pool's host and port, and whether the proxy may go there"
            }
            Self::Broken(_) | Self::Timeout => "check that the proxy runs, and the host and port of --proxy",
            _ => "check --proxy",
        };
        Explanation::new(self, Exit::Failed, advice)
    }
}

impl Explain for TlsError {
    fn explain(&self) -> Explanation {
        let advice = match self {
            Self::Expired => "check this machine's clock; if it is right, tell the pool's operator",
            Self::NotYetValid => "check this machine's clock: it seems to be behind",
            Self::WrongName(_) => {
                "check the host's spelling, and use the name that the pool publishes, not an address; if it is right, \
                 somebody may be in between"
            }
            Self::UnknownIssuer => {
                "if it is your own pool, give its certificate with --tls-ca; otherwise somebody may be in between"
            }
            Self::Certificate(_) => "tell the pool's operator, or use another of its ports",
            Self::NotTls => "check the port: without TLS the URL begins with stratum+tcp://",
            Self::BadName(_) => "write the host as a name or a plain IP address",
            Self::Closed | Self::Timeout => {
                "check that this is the pool's TLS port; without TLS use stratum+tcp://"
            }
            Self::Other(_) => "check that this is the pool's TLS port, or try another pool",
            _ => "check that this is the pool's TLS port",
        };
        Explanation::new(self, Exit::Failed, advice)
    }
}

impl Explain for TrustError {
    fn explain(&self) -> Explanation {
        Explanation::new(self, Exit::Usage, trust_advice(self))
    }
}

pub(super) fn trust_advice(error: &TrustError) -> &'static str {
    match error {
        TrustError::Read { source, .. } => file_advice(source),
        TrustError::TooLarge(_) | TrustError::NoCertificate(_) | TrustError::BadCertificate { .. } => {
            "give a PEM file: one or more blocks from BEGIN CERTIFICATE to END CERTIFICATE"
        }
    }
}
