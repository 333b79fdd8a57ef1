use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::peripheral::pmbus::to_slinear11;
use crate::peripheral::{emc2101 as fan, tps546 as regulator};
use crate::transport::mock::MockLink;

/// What happened on the board, in order.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    Reset(bool),
    Fan(u8),
    Power(bool),
    Wait(u64),
}

/// A board behind its management port, as its firmware answers for it.
struct Hardware {
    registers: BTreeMap<(u8, u8), Vec<u8>>,
    steps: Vec<Step>,
    /// Parts that don't acknowledge.
    absent: Vec<u8>,
}

impl Hardware {
    fn new() -> Arc<Mutex<Self>> {
        let mut registers: BTreeMap<(u8, u8), Vec<u8>> = BTreeMap::new();
        for (register, value) in [(0xfe, 0x5d), (0xfd, 0x28), (0x03, 0), (0x01, 45), (0x10, 0x20)] {
            registers.insert((fan::ADDRESS, register), vec![value]);
        }
        registers.insert((fan::ADDRESS, 0x46), vec![0x20]);
        registers.insert((fan::ADDRESS, 0x47), vec![0x05]);
        registers.insert((regulator::ADDRESS, 0xad), vec![6, 0x54, 0x49, 0x54, 0x6b, 0x24, 0x41]);
        registers.insert((regulator::ADDRESS, 0x20), vec![0x17]);
        let mut words = |register, value: u16| {
            registers.insert((regulator::ADDRESS, register), value.to_le_bytes().to_vec())
        };
        words(0x79, 0);
        words(0x8b, 0x024d);
        words(0x8c, to_slinear11(12.0));
        words(0x8d, to_slinear11(50.0));
        Arc::new(Mutex::new(Self { registers, steps: Vec::new(), absent: Vec::new() }))
    }

    fn answer(&mut self, request: &[u8]) -> Vec<u8> {
        let (id, page, command, data) = (request[2], request[4], request[5], &request[6..]);
        let body = match (page, command) {
            (0x06, RESET) => {
                self.steps.push(Step::Reset(data[0] == 1));
                data.to_vec()
            }
            (0x05, 0x10) => Vec::new(),
            (0x05, _) if self.absent.contains(&data[0]) => vec![0xff, 0x10],
            (0x05, 0x20) => {
                self.write(data[0], data[1], &data[2..]);
                Vec::new()
            }
            (0x05, 0x40) => self.registers[&(data[0], data[1])].clone(),
            _ => panic!("nobody asked for that: {request:02x?}"),
        };
        [&(body.len() as u16).to_le_bytes()[..], &[id], &body].concat()
    }

    fn write(&mut self, address: u8, register: u8, value: &[u8]) {
        match (address, register) {
            (fan::ADDRESS, 0x4c) => self.steps.push(Step::Fan(value[0])),
            (regulator::ADDRESS, 0x01) => self.steps.push(Step::Power(value[0] == 0x80)),
            _ => {}
        }
        self.registers.insert((address, register), value.to_vec());
    }
}

/// A board whose USB cable can be pulled: what it hangs on, and whether it is found again.
struct Cable {
    control: Arc<MockLink>,
    back: Arc<AtomicBool>,
}

fn keeper(hardware: &Arc<Mutex<Hardware>>) -> Box<dyn Keeper> {
    keeper_on_cable(hardware).0
}

fn keeper_on_cable(hardware: &Arc<Mutex<Hardware>>) -> (Box<dyn Keeper>, Cable) {
    let board = Bitaxe::new(GAMMA, "asic:bitaxe-gamma:x", Place::Named(Vec::new()), BoardSettings::default());
    let control = |hardware: &Arc<Mutex<Hardware>>| {
        let behind = Arc::clone(hardware);
        Arc::new(MockLink::new(move |request| behind.lock().unwrap().answer(request)))
    };
    let cable = Cable { control: control(hardware), back: Arc::default() };
    let (behind, back) = (Arc::clone(hardware), Arc::clone(&cable.back));
    let reopen = move || -> Result<Arc<dyn Link>, LinkError> {
        let missing = LinkError::NotFound { path: "mock".into() };
        if back.load(Ordering::Relaxed) { Ok(control(&behind)) } else { Err(missing) }
    };
    let watched = Arc::clone(hardware);
    let data = Arc::new(MockLink::new(|_| Vec::new()));
    let sleep: Sleep =
        Arc::new(move |time| watched.lock().unwrap().steps.push(Step::Wait(time.as_millis() as u64)));
    let opened = board.unwrap().assemble(Arc::clone(&cable.control) as _, data, Box::new(reopen), sleep);
    (opened.keeper, cable)
}

fn steps(hardware: &Arc<Mutex<Hardware>>) -> Vec<Step> {
    std::mem::take(&mut hardware.lock().unwrap().steps)
}

fn set_celsius(hardware: &Arc<Mutex<Hardware>>, celsius: u8) {
    hardware.lock().unwrap().registers.insert((fan::ADDRESS, 0x01), vec![celsius]);
}

/// A keeper whose board is on, and whose temperature diode has settled.
fn running(hardware: &Arc<Mutex<Hardware>>) -> Box<dyn Keeper> {
    let mut keeper = keeper(hardware);
    keeper.power_up().unwrap();
    std::thread::sleep(DIODE_SETTLES);
    steps(hardware);
    keeper
}

#[test]
fn the_fan_runs_before_there_is_power_and_power_is_steady_before_the_reset_ends() {
    let hardware = Hardware::new();
    let mut keeper = keeper(&hardware);
    keeper.power_up().unwrap();
    let wanted = [
        Step::Reset(false),
        Step::Fan(63),
        Step::Power(false),
        Step::Power(true),
        Step::Wait(500),
        Step::Reset(true),
        Step::Wait(200),
    ];
    assert_eq!(steps(&hardware), wanted);
    assert_eq!(keeper.make_safe(), Ok(()));
    assert_eq!(steps(&hardware), [Step::Reset(false), Step::Power(false), Step::Fan(15)]);
}

#[test]
fn readings_are_told_and_the_fan_follows_the_temperature() {
    let hardware = Hardware::new();
    let mut keeper = running(&hardware);
    let Checkup { telemetry, danger } = keeper.check();
    assert_eq!(danger, None);
    assert_eq!(telemetry.celsius, Some(45.125));
    assert_eq!(telemetry.fan_rpm.map(f32::floor), Some(4115.0));
    assert_eq!(telemetry.millivolts.map(f32::round), Some(1150.0));
    assert_eq!(telemetry.watts.map(f32::round), Some(14.0));
    assert_eq!(telemetry.fan_percent, Some(52.0));
    set_celsius(&hardware, 70);
    assert_eq!(keeper.check().telemetry.fan_percent, Some(100.0));
    assert_eq!(steps(&hardware), [Step::Fan(32), Step::Fan(63)]);
}

#[test]
fn three_hot_readings_in_a_row_are_a_danger_and_the_fan_stays_on() {
    let hardware = Hardware::new();
    let mut keeper = running(&hardware);
    set_celsius(&hardware, 80);
    assert_eq!((keeper.check().danger, keeper.check().danger), (None, None));
    set_celsius(&hardware, 79);
    assert_eq!(keeper.check().danger, None, "not in a row");
    set_celsius(&hardware, 85);
    let dangers: Vec<_> = (0..3).map(|_| keeper.check().danger).collect();
    assert_eq!(dangers, [None, None, Some(Danger::Hot(85.125))]);
    steps(&hardware);
    assert_eq!(keeper.make_safe(), Ok(()));
    assert_eq!(steps(&hardware), [Step::Reset(false), Step::Power(false), Step::Fan(63)]);
    assert!(matches!(keeper.power_up(), Err(BoardError::Danger(Danger::Hot(_)))), "it is still hot");
    assert!(!steps(&hardware).contains(&Step::Power(true)));
}

#[test]
fn readings_that_cannot_be_are_no_readings() {
    for (high, text) in [(121, "121.125 °C can't be"), (0x7f, "the chip's temperature diode is open")] {
        let hardware = Hardware::new();
        let mut keeper = running(&hardware);
        hardware.lock().unwrap().registers.insert((fan::ADDRESS, 0x01), vec![high]);
        if high == 0x7f {
            hardware.lock().unwrap().registers.insert((fan::ADDRESS, 0x10), vec![0]);
        }
        let dangers: Vec<_> = (0..3).map(|_| keeper.check().danger).collect();
        assert_eq!(dangers, [None, None, Some(Danger::Blind(text.to_owned()))]);
    }
}

#[test]
fn faults_of_the_regulator_are_a_danger_at_once() {
    let fault = |register: u8, value: u16| {
        let hardware = Hardware::new();
        let mut keeper = running(&hardware);
        let bytes = value.to_le_bytes().to_vec();
        hardware.lock().unwrap().registers.insert((regulator::ADDRESS, register), bytes);
        keeper.check().danger
    };
    assert_eq!(fault(0x79, 0x4010), Some(Danger::Regulator("too much current".to_owned())));
    assert_eq!(fault(0x8b, 0x0290), Some(Danger::Regulator("1281 mV in place of 1150 mV".to_owned())));
    assert_eq!(fault(0x8d, to_slinear11(106.0)), Some(Danger::RegulatorHot(106.0)));
    assert_eq!(fault(0x8d, to_slinear11(60.0)), None);
}

#[test]
fn chips_stay_in_reset_where_the_voltage_is_not_as_set() {
    let hardware = Hardware::new();
    hardware.lock().unwrap().registers.insert((regulator::ADDRESS, 0x8b), vec![0, 0]);
    let mut keeper = keeper(&hardware);
    assert!(matches!(keeper.power_up(), Err(BoardError::Danger(Danger::Regulator(_)))));
    assert!(!steps(&hardware).contains(&Step::Reset(true)));
}

#[test]
fn another_board_is_refused_power_and_said_why() {
    for (part, text) in [
        (
            fan::ADDRESS,
            "it has no fan controller EMC2101 that lode knows, so it is not switched on: refused with code 0x10",
        ),
        (
            regulator::ADDRESS,
            "it has no voltage regulator TPS546D24A that lode knows, so it is not switched on: refused with code 0x10",
        ),
    ] {
        let hardware = Hardware::new();
        hardware.lock().unwrap().absent.push(part);
        let error = keeper(&hardware).power_up().unwrap_err();
        assert_eq!(error.to_string(), text);
        let steps = steps(&hardware);
        assert!(!steps.contains(&Step::Power(true)) && !steps.contains(&Step::Reset(true)), "{steps:?}");
    }
}

#[test]
fn a_board_is_off_only_when_its_regulator_says_so() {
    let hardware = Hardware::new();
    let mut keeper = running(&hardware);
    hardware.lock().unwrap().absent.push(regulator::ADDRESS);
    let refused = NotSafe::Failed { part: "voltage regulator", problem: "refused with code 0x10".to_owned() };
    assert_eq!(keeper.make_safe(), Err(refused));
    assert_eq!(steps(&hardware), [Step::Reset(false), Step::Fan(63)], "what can be done is done");
    hardware.lock().unwrap().absent.clear();
    assert_eq!(keeper.make_safe(), Ok(()));
    assert_eq!(steps(&hardware), [Step::Reset(false), Step::Power(false), Step::Fan(15)]);
}

#[test]
fn an_unplugged_board_is_switched_off_when_it_is_found_again() {
    let hardware = Hardware::new();
    let (mut keeper, cable) = keeper_on_cable(&hardware);
    keeper.power_up().unwrap();
    steps(&hardware);
    cable.control.set_gone(true);
    assert_eq!(keeper.make_safe(), Err(NotSafe::Absent));
    assert_eq!(keeper.make_safe(), Err(NotSafe::Absent));
    assert!(keeper.power_up().is_err() && steps(&hardware).is_empty());
    cable.back.store(true, Ordering::Relaxed);
    assert_eq!(keeper.make_safe(), Ok(()));
    assert_eq!(steps(&hardware), [Step::Reset(false), Step::Power(false), Step::Fan(15)]);
}

#[test]
fn a_port_that_failed_and_is_still_there_does_not_make_a_board_absent() {
    let hardware = Hardware::new();
    let (mut keeper, cable) = keeper_on_cable(&hardware);
    keeper.power_up().unwrap();
    cable.control.set_gone(true);
    cable.back.store(true, Ordering::Relaxed);
    steps(&hardware);
    assert_eq!(keeper.make_safe(), Ok(()));
    assert!(steps(&hardware).contains(&Step::Power(false)));
}

#[test]
fn a_board_that_never_answered_owes_nothing() {
    let hardware = Hardware::new();
    let (mut keeper, cable) = keeper_on_cable(&hardware);
    cable.control.set_gone(true);
    assert!(keeper.power_up().is_err());
    assert_eq!(keeper.make_safe(), Ok(()));
}

#[test]
fn another_board_is_held_in_reset_and_that_is_all_there_is() {
    let hardware = Hardware::new();
    hardware.lock().unwrap().absent.push(regulator::ADDRESS);
    let mut keeper = keeper(&hardware);
    assert!(keeper.power_up().is_err());
    steps(&hardware);
    assert_eq!(keeper.make_safe(), Ok(()));
    assert_eq!(steps(&hardware), [Step::Reset(false), Step::Fan(63)]);
}

#[test]
fn settings_are_held_to_their_bounds() {
    let new = |model, mhz, millivolts| {
        let board = Bitaxe::new(model, "k", Place::Named(Vec::new()), BoardSettings { mhz, millivolts });
        board.map(|board| board.info().expected.0.round()).map_err(|error| error.to_string())
    };
    assert_eq!(new(GAMMA, None, None), Ok(1_071e9));
    assert_eq!(new(SUPRA, Some(500.0), Some(1160)), Ok(638e9));
    let cases = [
        (GAMMA, None, Some(1251), "core voltage of 1251 mV is refused: Bitaxe Gamma takes 1000 to 1250 mV"),
        (GAMMA, Some(700.0), None, "clock of 700 MHz is refused: Bitaxe Gamma takes 56.25 to 600 MHz"),
        (GAMMA, Some(f32::NAN), None, "clock of NaN MHz is refused: Bitaxe Gamma takes 56.25 to 600 MHz"),
        (ULTRA, Some(500.0), None, "Bitaxe Ultra needs mv= to be given: no source names a default"),
        (SUPRA, None, Some(1160), "Bitaxe Supra needs freq= to be given: no source names a default"),
    ];
    for (model, mhz, millivolts, refused) in cases {
        assert_eq!(new(model, mhz, millivolts), Err(refused.to_owned()));
    }
}
