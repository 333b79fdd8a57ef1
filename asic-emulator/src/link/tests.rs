use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;

use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

use super::*;
use crate::answers::KnownAnswers;
use crate::bitaxe::{Bitaxe, Protocol};
use crate::bm13xx::ChipKind;
use crate::icarus::{Icarus, IcarusKind};

const GOLDEN: &str = "4679ba4ec99876bf4bfe086082b400254df6c356451471139a3afa71e48f544a000000000000000000000000000000000000000087320b1a1426674f2fa722ce";
/// How long anything may take here on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

fn erupter() -> Emulator {
    let answers = Arc::new(KnownAnswers::published());
    Emulator::start(Box::new(Icarus::new(IcarusKind::Erupter, answers, 0))).unwrap()
}

fn open(emulator: &Emulator) -> File {
    open_port(emulator, 0)
}

fn open_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(rustix::fs::OFlags::NOCTTY.bits() as i32);
    options
}

fn open_port(emulator: &Emulator, number: usize) -> File {
    let port = open_options().open(&emulator.ports()[number]).unwrap();
    rustix::io::ioctl_fionbio(&port, true).unwrap();
    port
}

/// Reads until it is `done` or the port hangs up.
fn read_until(port: &mut File, done: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let (mut got, begin) = (Vec::new(), Instant::now());
    while !done(&got) {
        assert!(begin.elapsed() < PATIENCE, "only {got:x?} came");
        let mut wake = [PollFd::new(port, PollFlags::IN)];
        let wait = Timespec { tv_sec: 1, tv_nsec: 0 };
        poll(&mut wake, Some(&wait)).unwrap();
        let mut buffer = [0; 256];
        match port.read(&mut buffer) {
            Ok(0) => break,
            Ok(len) => got.extend_from_slice(&buffer[..len]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
    got
}

fn wait_until(done: impl Fn() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < PATIENCE, "it never happens");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn set_speed(port: &File, baud: u32) {
    let mut settings = tcgetattr(port).unwrap();
    settings.set_speed(baud).unwrap();
    tcsetattr(port, OptionalActions::Now, &settings).unwrap();
}

#[test]
fn work_written_to_the_terminal_is_answered_after_its_time_on_the_wire() {
    let emulator = erupter();
    let mut port = open(&emulator);
    let begin = Instant::now();
    port.write_all(&hex::decode(GOLDEN).unwrap()).unwrap();
    assert_eq!(read_until(&mut port, |got| got.len() >= 4), [0, 1, 0x87, 0xa2]);
    // 68 bytes of 86.8 µs and 0.3 ms of hashing.
    assert!(begin.elapsed() >= Duration::from_micros(6200), "{:?}", begin.elapsed());
    let state = emulator.state();
    assert!(state.plugged && state.hashing && state.works == 1 && state.nonces == 1);
}

#[test]
fn a_host_at_the_wrong_speed_gets_nowhere() {
    let emulator = erupter();
    let mut port = open(&emulator);
    set_speed(&port, 57_600);
    // Bytes that come with a change of speed are taken to have been sent before it.
    std::thread::sleep(Duration::from_millis(300));
    port.write_all(&hex::decode(GOLDEN).unwrap()).unwrap();
    wait_until(|| emulator.state().works == 1);
    assert_eq!((emulator.state().works, emulator.state().nonces), (1, 0), "garbled work holds no nonce");
    set_speed(&port, 115_200);
    port.write_all(&hex::decode(GOLDEN).unwrap()).unwrap();
    assert_eq!(read_until(&mut port, |got| got.len() >= 4), [0, 1, 0x87, 0xa2]);
}

#[test]
fn a_bitaxe_answers_on_both_ports_and_changes_its_speed() {
    let answers = Arc::new(KnownAnswers::published());
    let emulator =
        Emulator::start(Box::new(Bitaxe::new(ChipKind::Bm1370, 1, Protocol::V0, answers))).unwrap();
    let (mut control, mut chips) = (open_port(&emulator, 0), open_port(&emulator, 1));
    let ask = |control: &mut File, request: &str, answer: &str| {
        control.write_all(&hex::decode(request).unwrap()).unwrap();
        let answer = hex::decode(answer).unwrap();
        assert_eq!(read_until(control, |got| got.len() >= answer.len()), answer);
    };
    ask(&mut control, "0a000100052024214d02", "000001");
    ask(&mut control, "090002000520240180", "000002");
    ask(&mut control, "07000300060001", "01000301");
    assert!(emulator.state().powered && !emulator.state().in_reset);
    let id = hex::decode("55aa520500000a").unwrap();
    let answer = hex::decode("aa5513700000000006").unwrap();
    chips.write_all(&id).unwrap();
    assert_eq!(read_until(&mut chips, |got| got.len() >= 9), answer);
    chips.write_all(&hex::decode("55aa510900281130020003").unwrap()).unwrap();
    // At 115,200 Bd the write takes a millisecond: it must be over before the speed is changed.
    std::thread::sleep(Duration::from_millis(200));
    set_speed(&chips, 1_000_000);
    chips.write_all(&id).unwrap();
    assert_eq!(read_until(&mut chips, |got| got.len() >= 9), answer);
}

#[test]
fn an_unplugged_device_hangs_up_and_works_again_when_replugged() {
    let emulator = erupter();
    let mut port = open(&emulator);
    emulator.unplug();
    assert_eq!(emulator.ports(), [""; 0].map(PathBuf::from));
    assert!(!emulator.state().plugged && !emulator.state().powered);
    assert!(read_until(&mut port, |_| false).is_empty());
    drop(port);
    emulator.replug().unwrap();
    let mut port = open(&emulator);
    port.write_all(&hex::decode(GOLDEN).unwrap()).unwrap();
    assert_eq!(read_until(&mut port, |got| got.len() >= 4), [0, 1, 0x87, 0xa2]);
}

#[test]
fn a_plug_pulled_in_mid_frame_leaves_half_a_frame() {
    let emulator = erupter();
    let mut port = open(&emulator);
    emulator.inject(Fault::UnplugNext);
    port.write_all(&hex::decode(GOLDEN).unwrap()).unwrap();
    let got = read_until(&mut port, |_| false);
    assert!(got.is_empty() || got == [0, 1], "{got:?}: a terminal that hangs up may lose the rest");
    assert!(!emulator.state().plugged);
}

#[test]
fn what_nobody_reads_is_lost() {
    let emulator = erupter();
    let mut port = open(&emulator);
    port.write_all(&hex::decode(GOLDEN).unwrap()).unwrap();
    let mut wake = [PollFd::new(&port, PollFlags::IN)];
    poll(&mut wake, Some(&Timespec { tv_sec: 20, tv_nsec: 0 })).unwrap();
    assert!(wake[0].revents().contains(PollFlags::IN));
    drop(port);
    wait_until(|| emulator.lock().nobody_listens());
    let mut port = open(&emulator);
    emulator.inject(Fault::Garbage(3));
    assert_eq!(read_until(&mut port, |got| got.len() >= 3).len(), 3);
}

#[test]
fn no_terminal_leaks_when_plugs_are_pulled_a_thousand_times() {
    let emulator = erupter();
    let before = std::fs::read_dir("/proc/self/fd").map(Iterator::count);
    for _ in 0..1000 {
        emulator.replug().unwrap();
    }
    let after = std::fs::read_dir("/proc/self/fd").map(Iterator::count);
    if let (Ok(before), Ok(after)) = (before, after) {
        // Other tests of this process open some meanwhile.
        assert!(after < before + 100, "{before} to {after}");
    }
}
