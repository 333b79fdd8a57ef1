//! How each model is brought up: frames and pauses, first to count the chips, then to set them to work.
//!
//! The order and the pauses are those of shipping firmware; where two disagree, of the one that was captured.

use std::time::Duration;

use super::Bm13xxConfig;
use super::frame::{Command, To};
use super::model::Chip;
use super::pll::Pll;
use crate::chip::TicketMask;
use crate::chip::outbox::Step;

pub(super) const CHIP_ID: u8 = 0x00;
const PLL: u8 = 0x08;
const HASH_COUNTING_NUMBER: u8 = 0x10;
const TICKET_MASK: u8 = 0x14;
const MISC_CONTROL: u8 = 0x18;
const CLOCK_ENABLE: u8 = 0x20;
const UART: u8 = 0x28;
const UART_RELAY: u8 = 0x2c;
const CORE_MAILBOX: u8 = 0x3c;
const ANALOG_MUX: u8 = 0x54;
const IO_STRENGTH: u8 = 0x58;
const PLL3: u8 = 0x68;
const PLL_DIVIDER: u8 = 0x70;
const MIDSTATE_CONFIG: u8 = 0xa4;
const SOFT_RESET: u8 = 0xa8;
const ADC: u8 = 0xb9;

/// Clock at which a ramp begins, and its steps.
const RAMP_START_MHZ: f64 = 56.25;
const RAMP_STEP_MHZ: f64 = 6.25;
const RAMP_PAUSE: Duration = Duration::from_millis(100);
/// How long chips are given to say who they are.
const COUNTING: Duration = Duration::from_millis(500);
const TICKS_A_SECOND: u32 = 25_000_000;
/// Ticks that a sweep ends early, so that no chip goes on into its neighbour's part.
const GUARD_TICKS: u64 = 200;

fn send(command: Command) -> Step {
    Step::Send(command.encode())
}

fn all(register: u8, value: u32) -> Step {
    send(Command::Write(To::All, register, value))
}

fn one(address: u8, register: u8, value: u32) -> Step {
    send(Command::Write(To::Chip(address), register, value))
}

fn pause(millis: u64) -> Step {
    Step::Pause(Duration::from_millis(millis))
}

fn repeat(times: usize, steps: &[Step]) -> Vec<Step> {
    std::iter::repeat_n(steps, times).flatten().cloned().collect()
}

/// Enables the rolling of these version bits, given as the roll field spells them.
pub(super) fn rolling(bits: u16) -> Command {
    Command::Write(To::All, MIDSTATE_CONFIG, 0x9000_0000 | u32::from(bits))
}

pub(super) fn ticket(mask: TicketMask) -> Command {
    Command::Write(To::All, TICKET_MASK, mask.register())
}

/// Halts the sweep and has nothing reported: what a chip that hashes is told to stop it.
pub(super) fn halt(chip: Chip) -> Vec<Command> {
    if chip.rolls() {
        let stop = |register, value| Command::Write(To::All, register, value);
        vec![stop(HASH_COUNTING_NUMBER, 0), stop(MISC_CONTROL, 0x0000_c100)]
    } else {
        // It has no such register: the slowest clock is as near to a halt as frames bring it.
        clock(chip, RAMP_START_MHZ)
    }
}

/// The address of a chip: evenly spaced, so that they part the nonces evenly too.
pub(super) fn interval(chips: u16) -> u16 {
    256 / chips.max(1)
}

pub(super) fn addresses(chips: u16) -> impl Iterator<Item = u8> {
    (0..chips).map(move |index| (index * interval(chips)) as u8)
}

/// Until the chips have been counted.
pub(super) fn counting(chip: Chip) -> Vec<Step> {
    let read = send(Command::Read(To::All, CHIP_ID));
    let enabled = match chip {
        Chip::Bm1397 => 0,
        Chip::Bm1362 => 1,
        Chip::Bm1368 => 4,
        Chip::Bm1366 | Chip::Bm1370 => 3,
    };
    let mut steps = repeat(enabled, &[send(rolling(0xffff)), pause(5)]);
    steps.extend([read, Step::Pause(COUNTING)]);
    steps
}

/// From the count on, until jobs can be sent.
pub(super) fn setup(config: &Bm13xxConfig, chips: u16) -> Vec<Step> {
    let chip = config.chip;
    let mut steps = match chip {
        Chip::Bm1370 => setup_1370(chips),
        Chip::Bm1366 => setup_1366(chips),
        Chip::Bm1368 => setup_1368(chips),
        Chip::Bm1362 => setup_1362(chips),
        Chip::Bm1397 => setup_1397(config, chips),
    };
    if chip == Chip::Bm1397 {
        // Its link is switched before its clock is raised, within its own setup.
        steps.extend(ramp(config));
        return steps;
    }
    steps.extend(ramp(config));
    steps.push(all(HASH_COUNTING_NUMBER, sweep_ticks(config, chips)));
    steps.extend(fast_link(config, 50));
    steps.push(send(rolling(0xffff)));
    steps
}

fn set_addresses(chips: u16, millis: u64) -> Vec<Step> {
    let each = addresses(chips).map(|address| [send(Command::SetAddress(address)), pause(millis)]);
    each.flatten().filter(|step| *step != pause(0)).collect()
}

/// Captured on a Bitaxe Gamma.
fn setup_1370(chips: u16) -> Vec<Step> {
    let mut steps = vec![send(rolling(0xffff)), all(SOFT_RESET, 0x0007_0000), all(MISC_CONTROL, 0xf000_c100)];
    steps.push(send(Command::ChainInactive));
    steps.extend(set_addresses(chips, 0));
    steps.extend([all(CORE_MAILBOX, 0x8000_8b00), all(CORE_MAILBOX, 0x8000_800c)]);
    steps.extend([send(ticket(TicketMask::EASIEST)), all(IO_STRENGTH, 0x0001_1111)]);
    for address in addresses(chips) {
        steps.extend(wake_cores(address, 0xf000_c100, [0x8000_8b00, 0x8000_800c]));
    }
    steps.extend([all(ADC, 0x4480), all(ANALOG_MUX, 2), all(ADC, 0x4480), all(CORE_MAILBOX, 0x8000_8dee)]);
    steps
}

fn setup_1366(chips: u16) -> Vec<Step> {
    let mut steps = vec![send(rolling(0xffff)), all(SOFT_RESET, 0x0007_0000), all(MISC_CONTROL, 0xff0f_c100)];
    steps.push(send(Command::ChainInactive));
    steps.extend(set_addresses(chips, 0));
    steps.extend([all(CORE_MAILBOX, 0x8000_8540), all(CORE_MAILBOX, 0x8000_8020)]);
    steps.extend([send(ticket(TicketMask::EASIEST)), all(ANALOG_MUX, 3), all(IO_STRENGTH, 0x0211_1111)]);
    steps.push(one(0, UART_RELAY, 0x007c_0003));
    for address in addresses(chips) {
        steps.extend(wake_cores(address, 0xf000_c100, [0x8000_8540, 0x8000_8020]));
        steps.push(pause(500));
    }
    steps
}

fn setup_1368(chips: u16) -> Vec<Step> {
    let mut steps = vec![send(rolling(0xffff)), all(SOFT_RESET, 0x0007_0000), all(MISC_CONTROL, 0xff0f_c100)];
    steps.push(send(Command::ChainInactive));
    steps.extend(set_addresses(chips, 0));
    steps.extend([all(CORE_MAILBOX, 0x8000_8b00), all(CORE_MAILBOX, 0x8000_8018)]);
    steps.extend([send(ticket(TicketMask::EASIEST)), all(IO_STRENGTH, 0x0211_1111)]);
    for address in addresses(chips) {
        steps.extend(wake_cores(address, 0xf000_c100, [0x8000_8b00, 0x8000_8018]));
        steps.push(pause(500));
    }
    steps.extend([all(ADC, 0x4480), all(ANALOG_MUX, 3), all(ADC, 0x4480)]);
    steps
}

/// A chip's cores are reset, its reports enabled, its clock delay set, its cores enabled.
fn wake_cores(address: u8, misc: u32, mailbox: [u32; 2]) -> Vec<Step> {
    let mut steps = vec![one(address, SOFT_RESET, 0x0007_01f0), one(address, MISC_CONTROL, misc)];
    steps.extend([mailbox[0], mailbox[1], 0x8000_82aa].map(|value| one(address, CORE_MAILBOX, value)));
    steps
}

fn setup_1362(chips: u16) -> Vec<Step> {
    let mut steps = vec![send(Command::ChainInactive), pause(100)];
    steps.extend(set_addresses(chips, 10));
    steps.extend([all(CORE_MAILBOX, 0x8000_8540), all(CORE_MAILBOX, 0x8000_8008), pause(100)]);
    steps.push(send(ticket(TicketMask::EASIEST)));
    steps.extend([all(ANALOG_MUX, 3), pause(50), all(IO_STRENGTH, 0x0001_1111), pause(100)]);
    for address in addresses(chips) {
        steps.extend([one(address, SOFT_RESET, 2), one(address, MISC_CONTROL, 0xb000_c100)]);
        let mailbox = [0x8000_8540, 0x8000_8008, 0x8000_82aa];
        steps.extend(mailbox.map(|value| one(address, CORE_MAILBOX, value)));
    }
    steps
}

fn setup_1397(config: &Bm13xxConfig, chips: u16) -> Vec<Step> {
    let mut steps = repeat(3, &[send(Command::ChainInactive), pause(100)]);
    steps.extend(set_addresses(chips, 10));
    steps.extend([all(0x80, 0), pause(10), all(0x84, 0), pause(100)]);
    steps.extend([all(CLOCK_ENABLE, 1), pause(50), all(CORE_MAILBOX, 0x8000_8074), pause(100)]);
    steps.extend([send(ticket(TicketMask::EASIEST)), pause(20)]);
    steps.extend(repeat(2, &[all(PLL3, 0xc070_0111), pause(50)]));
    steps.extend([all(UART, 0x0600_000f), pause(100)]);
    if config.baud.is_none() {
        steps.extend([all(MISC_CONTROL, 0x0000_7a31), pause(10)]);
    }
    steps.extend(fast_link(config, 10));
    steps
}

/// Switches both ends of the link, first the chips'.
fn fast_link(config: &Bm13xxConfig, millis: u64) -> Vec<Step> {
    let settings = config.chip.model().bauds.iter().find(|(host, ..)| Some(*host) == config.baud);
    settings.map_or_else(Vec::new, |&(host, register, value)| {
        vec![all(register, value), pause(millis), Step::Baud(host), pause(millis)]
    })
}

/// Clocks from the start of the ramp up to the one asked for.
pub(super) fn ramp_clocks(mhz: f64) -> impl Iterator<Item = f64> {
    let between = (0..).map(|step| RAMP_START_MHZ + RAMP_STEP_MHZ * f64::from(step));
    between.take_while(move |clock| *clock < mhz).chain([mhz])
}

fn ramp(config: &Bm13xxConfig) -> Vec<Step> {
    // An older chip may miss a write: shipping software repeats each of these.
    let steps = |command: Command| match config.chip {
        Chip::Bm1397 => repeat(2, &[send(command), pause(10)]),
        _ => vec![send(command)],
    };
    let rise = |mhz| clock(config.chip, mhz).into_iter().flat_map(steps).chain([Step::Pause(RAMP_PAUSE)]);
    ramp_clocks(config.mhz).flat_map(rise).collect()
}

fn clock(chip: Chip, mhz: f64) -> Vec<Command> {
    let model = chip.model();
    let write = |register, value| Command::Write(To::All, register, value);
    let prewrite = model.prewrite.then(|| write(PLL_DIVIDER, 0x0f0f_0f00));
    let set = write(PLL, Pll::nearest(mhz, &model.pll).register(&model.pll));
    prewrite.into_iter().chain([set]).collect()
}

/// The sweep of one chip over its part of the nonces, in ticks of 25 MHz, less the guard.
///
/// Every model has up to 128 cores, and each takes an equal part; so does each chip of the next power of two.
pub(super) fn sweep_ticks(config: &Bm13xxConfig, chips: u16) -> u32 {
    let pll = Pll::nearest(config.mhz, &config.chip.model().pll);
    let part = (1u64 << 32) / 128 / u64::from(chips.max(1).next_power_of_two());
    u32::try_from(pll.ticks_for(part).saturating_sub(GUARD_TICKS)).unwrap_or(u32::MAX)
}

/// How long chips that roll so many versions need until they begin anew with the first.
pub(super) fn epoch(sweep_ticks: u32, versions: u32, subcores: u32) -> Duration {
    let sweep = Duration::from_secs(sweep_ticks.into()) / TICKS_A_SECOND;
    sweep * versions.div_ceil(subcores)
}
