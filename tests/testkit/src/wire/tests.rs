use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream as Socket;
use std::thread;

use super::*;
use crate::script;

const SOON: Duration = Duration::from_secs(20);

/// A pool that says every line back.
fn echo() -> SocketAddr {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap());
            thread::spawn(move || {
                let mut line = String::new();
                while lines.read_line(&mut line).is_ok_and(|count| count > 0) {
                    if stream.write_all(line.as_bytes()).is_err() {
                        break;
                    }
                    line.clear();
                }
            });
        }
    });
    addr
}

struct Miner(BufReader<Socket>);

impl Miner {
    fn at(wire: &Wire) -> Self {
        let socket = Socket::connect(wire.addr()).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        Self(BufReader::new(socket))
    }

    fn say(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line
    }
}

/// Lines of the pool meet these fates, in order, then pass.
fn fates(wire: &Wire, fates: Vec<Fate>) {
    let mut fates = fates.into_iter();
    wire.tamper(move |way, _| match way {
        Way::ToPool => Fate::Pass,
        Way::ToMiner => fates.next().unwrap_or(Fate::Pass),
    });
}

#[test]
fn lines_pass_or_meet_their_fate() {
    let wire = Wire::to(echo());
    let mut miner = Miner::at(&wire);
    miner.say("one\n");
    assert_eq!(miner.hear(), "one\n");
    let late = Fate::Late(Duration::from_millis(50));
    fates(&wire, vec![Fate::Drop, Fate::Twice, Fate::Replace(b"x\n".to_vec()), Fate::Bytewise, late]);
    miner.say("a\nb\nc\nd\ne\nf\n");
    let heard: Vec<String> = (0..6).map(|_| miner.hear()).collect();
    assert_eq!(heard, ["b\n", "b\n", "x\n", "d\n", "f\n", "e\n"]);
    wire.inject("news\n");
    assert_eq!(miner.hear(), "news\n");
    assert_eq!(wire.heard(), ["one", "a", "b", "c", "d", "e", "f"]);
    assert_eq!(wire.routes(), [Some(1)]);
}

#[test]
fn connections_end_in_every_way() {
    let wire = Wire::to(echo());
    fates(&wire, vec![Fate::CutAfter(2), Fate::Reset]);
    let mut miner = Miner::at(&wire);
    miner.say("half\n");
    assert_eq!(miner.hear(), "ha", "cut in the middle of the line");
    let mut miner = Miner::at(&wire);
    miner.say("line\n");
    assert_eq!(miner.0.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    let mut miner = Miner::at(&wire);
    miner.say("fine\n");
    assert_eq!(miner.hear(), "fine\n");
    wire.die();
    assert_eq!(miner.hear(), "");
    assert_eq!(wire.routes(), [Some(1), Some(2), Some(3)]);
    while Socket::connect(wire.addr()).is_ok() {
        thread::yield_now();
    }
}

#[test]
fn a_half_open_connection_is_silent() {
    let wire = Wire::to(echo());
    fates(&wire, vec![Fate::HalfOpen]);
    let mut miner = Miner::at(&wire);
    miner.say("one\n");
    miner.0.get_mut().set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    miner.say("two\n");
    assert_eq!(miner.0.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn scripts_are_played_one_a_connection() {
    let wire = Wire::to(echo());
    let line = |text: &str| Step::line(text);
    wire.greet(vec![Step::Await("b"), Step::result("true"), line("x"), Step::Close]);
    wire.greet(vec![Step::Await("a"), Step::error("[20,\"no\"]"), Step::Reset]);
    let mut miner = Miner::at(&wire);
    miner.say("{\"id\":1,\"method\":\"a\"}\nnonsense\n{\"id\":7,\"method\":\"b\"}\n");
    assert_eq!(miner.hear(), "{\"id\":7,\"result\":true,\"error\":null}\n");
    assert_eq!((miner.hear(), miner.hear()), ("x\n".into(), String::new()));
    let mut miner = Miner::at(&wire);
    miner.say("{\"id\":\"s\",\"method\":\"a\"}\n");
    assert_eq!(miner.hear(), "{\"id\":\"s\",\"result\":null,\"error\":[20,\"no\"]}\n");
    let mut miner = Miner::at(&wire);
    miner.say("echo\n");
    assert_eq!(miner.hear(), "echo\n");
    assert_eq!(wire.routes(), [None, None, Some(1)]);
    assert_eq!(wire.heard().len(), 5);
}

#[test]
fn the_scripted_job_is_one() {
    let notify: serde_json::Value = serde_json::from_str(&script::notify("j", true)).unwrap();
    assert_eq!(notify["params"].as_array().unwrap().len(), 9);
}
