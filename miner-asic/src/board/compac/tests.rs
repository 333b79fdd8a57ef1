use std::sync::Mutex;

use super::*;
use crate::transport::mock::{Done, MockLink};
use crate::usb::{Control, VendorRequest};

/// What happened, in order.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    Line(u16, Vec<u8>),
    Wait(u64),
    Told(String),
}

type Steps = Arc<Mutex<Vec<Step>>>;

struct Noted(Steps);

impl Control for Noted {
    fn send(&mut self, request: &VendorRequest) -> Result<(), UsbError> {
        self.0.lock().unwrap().push(Step::Line(request.value, request.data.clone()));
        Ok(())
    }
}

fn sleep(steps: &Steps) -> Sleep {
    let steps = Arc::clone(steps);
    Arc::new(move |time| steps.lock().unwrap().push(Step::Wait(time.as_millis() as u64)))
}

fn take(steps: &Steps) -> Vec<Step> {
    std::mem::take(&mut steps.lock().unwrap())
}

#[test]
fn a_compac_f_is_reset_by_cbus_for_a_second_and_left_in_reset() {
    let steps = Steps::default();
    let link = Arc::new(MockLink::new(|_| Vec::new()));
    let line = Box::new(FtdiCbus(Noted(Arc::clone(&steps))));
    let mut keeper = FKeeper { line, link: Arc::clone(&link) as _, sleep: sleep(&steps), released: false };
    keeper.power_up().unwrap();
    let line = |value| Step::Line(value, Vec::new());
    let wanted =
        [line(0x20f2), Step::Wait(30), line(0x20f0), Step::Wait(1000), line(0x20f2), Step::Wait(200)];
    assert_eq!(take(&steps), wanted);
    assert_eq!(link.done(), [Done::Baud(115_200)]);
    assert_eq!(keeper.check(), Checkup::default());
    assert_eq!(keeper.make_safe(), Ok(()));
    assert_eq!(take(&steps), [line(0x20f0)]);
}

/// A Compac A1 whose controller reads these temperatures.
fn a1(version: u8, temperature: &Arc<Mutex<u8>>, steps: &Steps) -> A1Keeper {
    let (celsius, told) = (Arc::clone(temperature), Arc::clone(steps));
    let telemetry = MockLink::new(move |command| {
        told.lock().unwrap().push(Step::Told(hex::encode(command)));
        match command {
            b"?v" => vec![version],
            b"G." => vec![0xd5, 0, 0x6e, 0, *celsius.lock().unwrap(), 0, 40],
            other => vec![other[0]],
        }
    });
    A1Keeper {
        line: Box::new(Cp2105Latch(Noted(Arc::clone(steps)))),
        link: Arc::new(MockLink::new(|_| Vec::new())),
        controller: Controller::new(Arc::new(telemetry), Arc::new(|_| {})),
        sleep: sleep(steps),
        millivolts: 300,
        released: false,
        bad: 0,
    }
}

#[test]
fn a_compac_a1_has_its_fan_and_its_temperature_before_it_has_its_voltage() {
    let (steps, temperature) = (Steps::default(), Arc::new(Mutex::new(0x78)));
    let mut keeper = a1(0x10, &temperature, &steps);
    keeper.power_up().unwrap();
    let told = |text: &str| Step::Told(text.to_owned());
    let line = |state| Step::Line(0x37e1, vec![7, state]);
    let wanted = [
        line(7),
        told("3f76"),
        told("4664"),
        told("472e"),
        told("563c"),
        told("424f"),
        line(0),
        Step::Wait(30),
        line(7),
        Step::Wait(1000),
        line(0),
        Step::Wait(200),
    ];
    assert_eq!(take(&steps), wanted);
    let Checkup { telemetry, danger } = keeper.check();
    assert_eq!(danger, None);
    assert_eq!(telemetry.celsius.map(f32::round), Some(46.0));
    assert_eq!((telemetry.millivolts.map(f32::round), telemetry.fan_rpm), (Some(442.0), Some(1200.0)));
    take(&steps);
    assert_eq!(keeper.make_safe(), Ok(()));
    assert_eq!(take(&steps), [line(7), told("422d"), told("5614")]);
}

/// A line that is lost, in this way.
struct Lost(fn() -> UsbError);

impl ResetLine for Lost {
    fn set(&mut self, _: bool) -> Result<(), UsbError> {
        Err((self.0)())
    }
}

#[test]
fn a_stick_that_is_not_held_in_reset_is_off_only_where_it_is_gone() {
    let steps = Steps::default();
    let link = Arc::new(MockLink::new(|_| Vec::new()));
    let refused = || UsbError::Request("stall".to_owned());
    let mut keeper = FKeeper { line: Box::new(Lost(refused)), link, sleep: sleep(&steps), released: false };
    assert!(keeper.power_up().is_err());
    assert_eq!(keeper.make_safe(), Ok(()), "it was never let out of reset");
    keeper.released = true;
    let problem = "USB request refused: stall".to_owned();
    assert_eq!(keeper.make_safe(), Err(NotSafe::Failed { part: "reset line", problem }));
    keeper.line = Box::new(Lost(|| UsbError::Gone));
    assert_eq!(keeper.make_safe(), Ok(()));
}

#[test]
fn a_compac_a1_is_off_by_its_line_or_by_its_regulator() {
    let (steps, temperature) = (Steps::default(), Arc::new(Mutex::new(0x78)));
    let mut keeper = a1(0x10, &temperature, &steps);
    keeper.power_up().unwrap();
    keeper.line = Box::new(Lost(|| UsbError::Request("stall".to_owned())));
    assert_eq!(keeper.make_safe(), Ok(()), "by its regulator");
    keeper.controller = Controller::new(Arc::new(MockLink::new(|_| vec![b'?'])), Arc::new(|_| {}));
    assert!(keeper.make_safe().is_err());
    keeper.line = Box::new(Cp2105Latch(Noted(Arc::clone(&steps))));
    assert_eq!(keeper.make_safe(), Ok(()), "by its line");
}

#[test]
fn a_compac_a2_gets_the_lower_voltage_of_its_chip() {
    let place = Place::Named(Vec::new());
    let board = Compac::new(CompacKind::A2, "k", place, BoardSettings::default()).unwrap();
    let (steps, temperature) = (Steps::default(), Arc::new(Mutex::new(0x78)));
    let mut keeper = A1Keeper { millivolts: board.millivolts, ..a1(0x20, &temperature, &steps) };
    keeper.power_up().unwrap();
    let told = |text: &str| Step::Told(text.to_owned());
    assert_eq!(take(&steps)[1..6], ["3f76", "4664", "472e", "5636", "424f"].map(told), "270 mV");
}

#[test]
fn heat_and_blindness_end_a_compac_a1() {
    let (steps, temperature) = (Steps::default(), Arc::new(Mutex::new(0x78)));
    let mut keeper = a1(0x10, &temperature, &steps);
    keeper.power_up().unwrap();
    // 90.1 °C.
    *temperature.lock().unwrap() = 175;
    let dangers: Vec<_> = (0..3).map(|_| keeper.check().danger.is_some()).collect();
    assert_eq!(dangers, [false, false, true]);
    assert!(matches!(keeper.power_up(), Err(BoardError::Danger(Danger::Hot(_)))), "it is still hot");
    *temperature.lock().unwrap() = 0;
    assert!(matches!(keeper.power_up(), Err(BoardError::Danger(Danger::Blind(_)))));
    take(&steps);
    assert!(matches!(a1(0x40, &temperature, &steps).power_up(), Err(BoardError::Unsupported { .. })));
    assert!(!take(&steps).contains(&Step::Told("424f".to_owned())), "it is not switched on");
}

#[test]
fn settings_are_held_to_their_bounds() {
    let new = |kind, mhz, millivolts| {
        let board = Compac::new(kind, "k", Place::Named(Vec::new()), BoardSettings { mhz, millivolts });
        board.map(|board| board.info().expected.0.round()).map_err(|error| error.to_string())
    };
    assert_eq!(new(CompacKind::F, None, None), Ok(134.4e9));
    assert_eq!(new(CompacKind::R909, None, None), Ok(806.4e9));
    assert_eq!(new(CompacKind::A1, None, Some(320)), Ok(153.6e9));
    assert_eq!(new(CompacKind::A2, None, None), Ok(612e9));
    for (kind, mhz, millivolts, refused) in [
        (CompacKind::F, None, Some(300), "GekkoScience Compac F has no core voltage to set"),
        (
            CompacKind::A1,
            None,
            Some(405),
            "core voltage of 405 mV is refused: GekkoScience Compac A1 takes 200 to 400 mV",
        ),
        (CompacKind::R909, None, Some(300), "GekkoScience R909 has no core voltage to set"),
        (
            CompacKind::A2,
            None,
            Some(305),
            "core voltage of 305 mV is refused: GekkoScience Compac A2 takes 200 to 300 mV",
        ),
        (
            CompacKind::F,
            Some(900.0),
            None,
            "clock of 900 MHz is refused: GekkoScience Compac F takes 56.25 to 450 MHz",
        ),
    ] {
        assert_eq!(new(kind, mhz, millivolts), Err(refused.to_owned()));
    }
}

#[test]
fn a_port_that_belongs_to_no_usb_device_has_no_reset_line() {
    let error = bridge_of(&Place::Named(Vec::new()), Path::new("/dev/null")).unwrap_err();
    assert_eq!(error.to_string(), "reset line: it is not on USB any more");
    let missing = bridge_of(&Place::Named(Vec::new()), Path::new("/dev/ttyNOWHERE")).unwrap_err();
    assert!(matches!(missing, BoardError::Link(error) if error.is_absence()));
}
