//! What a test has go wrong in the real program. Only builds with debug assertions know of it: no release does.
//!
//! `LODE_TEST_FAULT=driver-hang:FILE` in the environment has the driver, the task that owns the scheduler, hang for ever
//! as soon as there is a `FILE`; `driver-panic` has it panic; `device-hang` and `device-panic` do that to the thread that
//! drives each USB ASIC.

use std::path::PathBuf;
use std::sync::OnceLock;

/// Where it strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Driver,
    Device,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Panic,
    Hang,
}

#[derive(Debug, PartialEq, Eq)]
struct Planned {
    place: Place,
    what: What,
    /// It strikes once this is there.
    trigger: PathBuf,
}

/// What goes wrong at a place now.
pub(crate) fn due(place: Place) -> Option<What> {
    static PLANNED: OnceLock<Option<Planned>> = OnceLock::new();
    let planned = PLANNED.get_or_init(|| parse(&std::env::var("LODE_TEST_FAULT").ok()?));
    planned.as_ref().filter(|planned| planned.place == place && planned.trigger.exists()).map(|it| it.what)
}

/// Strikes the task that calls it, if it is due.
pub(crate) fn strike(place: Place) {
    match due(place) {
        None => {}
        Some(What::Panic) => panic!("a test asked for it"),
        Some(What::Hang) => loop {
            std::thread::park();
        },
    }
}

fn parse(text: &str) -> Option<Planned> {
    let (fault, trigger) = text.split_once(':')?;
    let (place, what) = match fault {
        "driver-panic" => (Place::Driver, What::Panic),
        "driver-hang" => (Place::Driver, What::Hang),
        "device-panic" => (Place::Device, What::Panic),
        "device-hang" => (Place::Device, What::Hang),
        _ => return None,
    };
    Some(Planned { place, what, trigger: trigger.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_names_its_place_and_what_sets_it_off() {
        let planned = Planned { place: Place::Device, what: What::Hang, trigger: "/tmp/a:b".into() };
        assert_eq!(parse("device-hang:/tmp/a:b"), Some(planned));
        assert_eq!(parse("device-hang"), None);
        assert_eq!(parse("pool-hang:/tmp/x"), None);
        strike(Place::Driver);
    }
}
