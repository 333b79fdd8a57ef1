use proptest::prelude::*;

use super::*;
use crate::vectors::{bytes, of_family, run};

/// A board and a clock.
struct Bench {
    board: Bitaxe,
    now: Instant,
}

impl Bench {
    fn new(protocol: Protocol) -> Self {
        let answers = Arc::new(KnownAnswers::published());
        Self { board: Bitaxe::new(ChipKind::Bm1370, 1, protocol, answers), now: Instant::now() }
    }

    fn wait(&mut self, seconds: f64) -> Vec<Vec<u8>> {
        let until = self.now + Duration::from_secs_f64(seconds);
        let sent = run(&mut self.board, self.now, until);
        self.now = until;
        sent.into_iter()
            .map(|(_, port, bytes)| {
                assert_eq!(port, CHIPS);
                bytes
            })
            .collect()
    }

    /// Sends a request to the firmware of a V0 board and returns the data of the answer.
    fn ask(&mut self, page: u8, command: u8, data: &[u8]) -> Vec<u8> {
        let mut request = vec![data.len() as u8 + 6, 0, 7, 0, page, command];
        request.extend_from_slice(data);
        self.board.handle_bytes(self.now, CONTROL, &request);
        let frame = self.board.poll_transmit(self.now).unwrap();
        assert_eq!(
            (frame.port, frame.bytes[2], usize::from(frame.bytes[0])),
            (CONTROL, 7, frame.bytes.len() - 3)
        );
        frame.bytes[3..].to_vec()
    }

    fn i2c_write(&mut self, address: u8, bytes: &[u8]) {
        let answer = self.ask(5, 0x20, &[&[address], bytes].concat());
        assert!(answer.is_empty(), "{answer:?}");
    }

    fn power_on(&mut self) {
        self.i2c_write(0x24, &[0x21, 0x4d, 0x02]);
        self.i2c_write(0x24, &[0x01, 0x80]);
        assert_eq!(self.ask(6, 0, &[1]), [1]);
    }

    fn chips(&mut self, frame: &str) -> Vec<Vec<u8>> {
        self.board.handle_bytes(self.now, CHIPS, &hex::decode(frame).unwrap());
        self.wait(0.0)
    }

    /// The commands that brought the recorded chip up, as far as they matter here, and its job.
    fn mine(&mut self) {
        for frame in [
            "55aa510900a49000ffff1c",
            "55aa51090018f000c10004",
            "55aa5305000003",
            "55aa400500001c",
            "55aa51090014000000ff08",
        ] {
            assert_eq!(self.chips(frame), [[0u8; 0]; 0]);
        }
        for content in
            [[0x3c, 0x80, 0, 0x82, 0xaa], [0x08, 0x50, 0xd2, 0x02, 0x40], [0x10, 0, 0x0c, 0x30, 0xc3]]
        {
            let frame = [&[0x51, 9, 0], &content[..]].concat();
            let crc = crate::crc::crc5(&frame, 64);
            let frame = [&[0x55, 0xaa], &frame[..], &[crc]].concat();
            assert_eq!(self.chips(&hex::encode(frame)), [[0u8; 0]; 0]);
        }
        let all = of_family("bm1370");
        let job = all.iter().find(|vector| vector["answers_with"].is_string()).unwrap();
        self.chips(job["tx"].as_str().unwrap());
    }
}

#[test]
fn recorded_exchanges_are_answered_byte_for_byte() {
    let mut bench = Bench::new(Protocol::V0);
    for vector in of_family("bitaxe-raw").iter().filter(|vector| vector["name"] == "session exchange") {
        bench.board.handle_bytes(bench.now, CONTROL, &bytes(&vector["tx"]));
        assert_eq!(bench.board.poll_transmit(bench.now).unwrap().bytes, bytes(&vector["rx"]));
    }
}

#[test]
fn chips_live_only_with_voltage_and_out_of_reset() {
    let mut bench = Bench::new(Protocol::V0);
    let id = "55aa520500000a";
    assert_eq!(bench.chips(id).len(), 0);
    bench.power_on();
    assert_eq!(bench.chips(id), [hex::decode("aa5513700000000006").unwrap()]);
    bench.chips("55aa510900a49000ffff1c");
    assert_eq!(bench.chips(id)[0].len(), 11);
    assert_eq!(bench.ask(6, 0, &[0]), [0]);
    assert_eq!(bench.chips(id).len(), 0, "in reset");
    bench.ask(6, 0, &[1]);
    assert_eq!(bench.chips(id)[0].len(), 9, "a reset forgets");
    bench.i2c_write(0x24, &[0x01, 0x00]);
    assert_eq!(bench.chips(id).len(), 0, "without power");
    let state = bench.board.state(bench.now);
    assert!(!state.powered && state.is_safe() && state.millivolts == 0);
}

#[test]
fn a_board_mines_warms_up_and_is_cooled() {
    let mut bench = Bench::new(Protocol::V0);
    bench.power_on();
    bench.i2c_write(0x4c, &[0x4c, 63]);
    bench.mine();
    assert_eq!(bench.wait(10.0).len(), 1);
    bench.wait(200.0);
    let state = bench.board.state(bench.now);
    assert!(state.hashing && !state.is_safe() && state.millivolts == 1150 && state.fan_percent == 100);
    assert!((50.0..70.0).contains(&state.celsius), "{}", state.celsius);
    let read = bench.ask(5, 0x40, &[0x4c, 0x01, 1]);
    assert_eq!(f64::from(read[0]), state.celsius.floor());
    let amperes = bench.ask(5, 0x40, &[0x24, 0x8c, 2]);
    assert!(u16::from_le_bytes([amperes[0], amperes[1]]) & 0x7ff > 0);

    bench.board.inject(bench.now, Fault::FanStuck(true));
    bench.wait(200.0);
    assert!(bench.board.state(bench.now).celsius > 110.0, "overheating follows");
    bench.ask(6, 0, &[0]);
    bench.wait(200.0);
    let state = bench.board.state(bench.now);
    assert!(state.celsius < 40.0 && state.is_safe(), "{}", state.celsius);
}

#[test]
fn a_regulator_that_trips_takes_the_chips_with_it() {
    let mut bench = Bench::new(Protocol::V0);
    bench.power_on();
    bench.mine();
    bench.board.inject(bench.now, Fault::RegulatorTrip);
    assert_eq!(bench.wait(60.0).len(), 0);
    assert!(!bench.board.state(bench.now).powered);
    assert_eq!(bench.ask(5, 0x40, &[0x24, 0x79, 2]), [0x50, 0x40]);
}

#[test]
fn what_the_firmware_does_not_know_is_refused() {
    let mut bench = Bench::new(Protocol::V0);
    assert_eq!(bench.ask(5, 0x40, &[0x4f, 0, 1]), [0xff, 0x10], "nobody at that address");
    assert_eq!(bench.ask(9, 0x10, &[50]), [0xff, 0x11]);
    assert_eq!(bench.ask(8, 0x10, &[1, 2, 3]), [0u8; 0]);
    assert_eq!(bench.ask(6, 3, &[]), [0]);
    let mut bench = Bench::new(Protocol::V1);
    bench.board.handle_bytes(bench.now, CONTROL, &[6, 0, 0x42, 0, 9, 0x20]);
    assert_eq!(bench.board.poll_transmit(bench.now).unwrap().bytes, [4, 0, 0x42, 0x11]);
}

#[test]
fn a_board_goes_on_when_its_usb_plug_is_pulled() {
    let mut bench = Bench::new(Protocol::V0);
    bench.power_on();
    bench.mine();
    bench.board.handle_bytes(bench.now, CONTROL, &[7, 0]);
    bench.board.set_plugged(bench.now, false);
    let state = bench.board.state(bench.now);
    assert!(!state.plugged && state.powered && state.hashing && !state.is_safe());
    bench.board.set_plugged(bench.now, true);
    assert_eq!(bench.ask(6, 0, &[0]), [0], "begun requests are forgotten");
    assert!(bench.board.state(bench.now).is_safe());
}

proptest! {
    /// Nothing a host sends makes a board panic, or find what is not in its work.
    #[test]
    fn any_bytes_are_survived_and_bring_no_nonce(
        chunks in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..120), 0u64..50), 0..40)
    ) {
        let mut bench = Bench::new(Protocol::V1);
        for (control, chunk, pause) in chunks {
            bench.board.handle_bytes(bench.now, if control { CONTROL } else { CHIPS }, &chunk);
            let until = bench.now + Duration::from_millis(pause);
            for (_, port, bytes) in run(&mut bench.board, bench.now, until) {
                prop_assert!(port == CONTROL || bytes.last().is_none_or(|last| last >> 5 != 4));
            }
            bench.now = until;
        }
        prop_assert_eq!(bench.board.state(bench.now).nonces, 0);
    }
}
