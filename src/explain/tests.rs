//! Explanations: the compiler sees to it that each error has one, these tests that each is of use.

use std::io::{Error, ErrorKind};
use std::time::Duration;

use miner_core::backend::BackendError;
use miner_core::cpu::CpuError;
use practice_pool::PoolError;
use stratum::ProtocolError;
use stratum::io::{ConnectError, ProxyError, SessionEnd, TlsError};

use super::{Exit, Explain};
use crate::mine::MineError;
use crate::pools::SessionError;

fn refused() -> Error {
    ErrorKind::ConnectionRefused.into()
}

fn on_the_way_to_a_pool() -> Vec<Box<dyn Explain>> {
    let address = ([127, 0, 0, 1], 3333).into();
    vec![
        Box::new(ConnectError::Resolve { host: "pool".into(), source: refused() }),
        Box::new(ConnectError::NoAddress { host: "pool".into() }),
        Box::new(ConnectError::Connect { address, tried: 2, source: refused() }),
        Box::new(ConnectError::Connect { address, tried: 1, source: ErrorKind::TimedOut.into() }),
        Box::new(ConnectError::Proxy(ProxyError::Login)),
        Box::new(ProxyError::NotSocks5("http".into())),
        Box::new(ProxyError::Pool("refused".into())),
        Box::new(ProxyError::Timeout),
        Box::new(ConnectError::Tls(TlsError::Expired)),
        Box::new(TlsError::WrongName("pool".into())),
        Box::new(TlsError::UnknownIssuer),
        Box::new(TlsError::NotTls),
        Box::new(SessionEnd::Closed),
        Box::new(SessionError::NoJob),
        Box::new(SessionError::Rejecting(9)),
        Box::new(ProtocolError::LineTooLong { limit: 9 }),
        Box::new(ProtocolError::Garbage { count: 9, last: "x".into() }),
        Box::new(ProtocolError::Refused { step: "mining.subscribe", why: "no".into() }),
        Box::new(ProtocolError::Unauthorized("no".into())),
        Box::new(ProtocolError::Timeout { what: "job", after: Duration::from_secs(9) }),
    ]
}

fn of_devices() -> Vec<Box<dyn Explain>> {
    vec![
        Box::new(MineError::NoDevice),
        Box::new(BackendError::SelfTest("x".into())),
        Box::new(BackendError::DeviceLost("x".into())),
        Box::new(BackendError::Thermal(99.0)),
        Box::new(BackendError::Os { context: "x", source: refused() }),
        Box::new(BackendError::Panicked("x".into())),
    ]
}

fn of_settings() -> Vec<Box<dyn Explain>> {
    vec![
        Box::new(MineError::Cpu(CpuError::NotAllowed { cpu: 9, allowed: vec![0] }.into())),
        Box::new(CpuError::TooManyThreads(9)),
        Box::new(CpuError::NoAffinity),
    ]
}

#[test]
fn every_explanation_says_what_and_what_to_do() {
    for (errors, exit) in
        [(on_the_way_to_a_pool(), Exit::Failed), (of_devices(), Exit::NoDevice), (of_settings(), Exit::Usage)]
    {
        for error in errors {
            let explanation = error.explain();
            let advice = explanation.advice.as_deref().unwrap_or_default();
            assert_eq!(explanation.exit, exit, "{explanation}");
            for text in [&explanation.what, advice] {
                assert!(text.len() > 9 && !text.ends_with('.') && !text.contains('\n'), "{explanation}");
            }
            assert!(!explanation.what.contains(advice), "{explanation}");
        }
    }
}

#[test]
fn a_wrapped_error_keeps_the_advice_of_what_it_wraps() {
    let advice = |error: &dyn Explain| error.explain().advice;
    let unauthorized = || ProtocolError::Unauthorized("no".into());
    let wrapped = SessionError::Ended(SessionEnd::Protocol(unauthorized()));
    assert_eq!(advice(&wrapped), advice(&unauthorized()));
    assert_eq!(advice(&ConnectError::Tls(TlsError::NotTls)), advice(&TlsError::NotTls));
}

#[test]
fn a_port_that_is_taken_is_told_from_one_that_is_forbidden() {
    let advice = |kind: ErrorKind| {
        let addr = ([127, 0, 0, 1], 3333).into();
        PoolError::Bind { addr, source: kind.into() }.explain().to_string()
    };
    assert!(advice(ErrorKind::AddrInUse).contains("another port"));
    assert!(advice(ErrorKind::PermissionDenied).contains("below 1024"));
}
