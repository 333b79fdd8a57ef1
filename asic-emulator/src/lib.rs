//! USB mining ASICs without hardware: models of real devices, byte for byte, on pseudo-terminals.
//!
//! An emulator that mirrors one driver's idea of a chip proves nothing. This one depends on no crate of this project, its
//! checksums are computed by their definition, and it is held to frames recorded from hardware and to what shipping drivers
//! send (`tests/data/asic-vectors.json`). It answers what it received, after the time that the line and the chip take:
//!
//! - A model ([`Device`]) does no I/O: bytes in at a time, bytes out at times. `Emulator` puts it on pseudo-terminals (Linux),
//!   [`Bench`] on cables in virtual time.
//! - It hashes honestly: a nonce is found only in work that really came, when the sweep passes it, and only if it hashes so.
//!   As no desktop computer tries 2^32 hashes in a second, what lies in some work is looked up in [`KnownAnswers`], each
//!   of which is hashed when it is put in and again before it is reported.
//! - What goes wrong is a [`Fault`], at a chosen step where the device is [`Armed`]; what is no ASIC at all is a [`Stranger`]; what a meter and a thermometer would show is its [`State`].
//!
//! ```no_run
//! # #[cfg(target_os = "linux")]
//! # mod example {
//! use std::sync::Arc;
//! use asic_emulator::{Emulator, Fault, Icarus, IcarusKind, KnownAnswers};
//!
//! # fn example() -> std::io::Result<()> {
//! let device = Icarus::new(IcarusKind::Erupter, Arc::new(KnownAnswers::published()), 1 << 17);
//! let emulator = Emulator::start(Box::new(device))?;
//! println!("{}", emulator.ports()[0].display());
//! emulator.inject(Fault::CorruptNext);
//! println!("{:?}", emulator.state());
//! # Ok(())
//! # }
//! # }
//! ```
//!
//! # What is modelled, and how sure it is
//!
//! *Captured* is what was recorded from hardware, *code* what shipping drivers send and take, *guess* where no source says.
//!
//! | model | captured | code | guess |
//! |---|---|---|---|
//! | [`Icarus`] | golden work and its nonce, the answers that tell 1, 2, 4 and 8 engines | 64-byte work, 4 and 5 byte answers, stop or go on after a nonce, rates, PLL of the U1 | work that pauses for 10 ms is forgotten; a U1's fifth byte is 0; reading its PLL goes unanswered |
//! | [`ChipKind::Bm1370`] | bring-up, a job and its nonce frame, fields of nonce frames | other registers, PLL limits, ticket mask, UART divider | no hashing before PLL, counting number and core enable are written; address assignment needs "chain inactive" first |
//! | [`ChipKind::Bm1366`], [`ChipKind::Bm1368`] | | frames, registers, job ids | all 128 core ids exist; the BM1368 shares nonces by address as the BM1366 |
//! | [`ChipKind::Bm1362`] | a nonce frame | the rest | as BM1366; the excess of that frame is odd, ours never is |
//! | [`ChipKind::Bm1397`] | a job and its nonce | frames, registers, which of six chips finds which nonce | the same for other numbers of chips |
//! | [`CompacA`] | | bridge latch, telemetry commands, scales of versions 1 and 2 | which version an A2 has, all heat figures, currents of 0, regulator off at the plug |
//! | [`CompacF`] | | reset by CBUS1 | its voltage |
//! | [`Bm1384`] | | commands, answers, work, address plan | clock at the plug; commands and work are told apart by 2 ms of silence, or by a right checksum where they run into each other |
//! | [`Bitaxe`] | requests and answers of format V0 | format V1, EMC2101, TPS546 | all heat figures; what state a board starts in |
//!
//! Chips that take headers pass 2 counters a clock in each core and roll on when the hash counting number is used up, as the
//! sources say; the rate that [`State`] shows is small cores times clock, as they say too. The two disagree by about 2.
//! Registers without a function here keep what was written, and read 0 before.

mod answers;
mod armed;
mod bench;
mod bitaxe;
mod bm1384;
mod bm13xx;
mod compac_a;
mod compac_f;
mod crc;
mod device;
mod hash;
mod icarus;
#[cfg(target_os = "linux")]
mod link;
mod outbox;
mod preset;
mod speed;
mod stranger;
mod sweep;
mod thermal;
#[cfg(test)]
mod vectors;

pub use answers::{AnswersError, KNOWN_ANSWERS, KnownAnswers};
pub use armed::Armed;
pub use bench::Bench;
pub use bitaxe::{Bitaxe, Protocol};
pub use bm13xx::ChipKind;
pub use bm1384::Bm1384;
pub use compac_a::CompacA;
pub use compac_f::CompacF;
pub use device::{Device, Fault, Frame, Line, State};
pub use icarus::{Icarus, IcarusKind};
#[cfg(target_os = "linux")]
pub use link::Emulator;
pub use preset::{PRESETS, preset};
pub use stranger::{Stranger, StrangerKind};
