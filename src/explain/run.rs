//! What can go wrong while starting and running.

use std::io::ErrorKind;

use miner_core::backend::BackendError;
use miner_core::cpu::CpuError;
use miner_core::sha256d::IsaError;
use practice_pool::PoolError;

use super::{Exit, Explain, Explanation, file_advice};
use crate::asic::{self, AsicProblem};
use crate::bench::{BenchError, ChartError, FileError};
use crate::cpu::SetupError as CpuSetupError;
use crate::cpu::choice::NoKernel;
use crate::gpu::GpuProblem;
use crate::logging::LogError;
use crate::mine::MineError;
use crate::pool_server::ServerError;
use crate::pools::SetupError;
use crate::report::ReportError;

const SYSTEM: &str = "check the limits (ulimit -a) and permissions of the user who runs lode";

impl Explain for BackendError {
    fn explain(&self) -> Explanation {
        let advice = match self {
            Self::SelfTest(_) => {
                "it computes wrongly and is not used: undo any overclocking, or try another kernel with --isa portable"
            }
            Self::DeviceLost(_) => "check its cable, power and driver, then start lode again",
            Self::Thermal(_) => "let it cool, clean its fans, or lower its load (-t, --cpu-limit)",
            Self::Os { .. } => {
                "check the limits and permissions of the user who runs lode; fewer threads (-t) may help"
            }
            Self::Panicked(_) => {
                "this is a fault in lode: please report it with this line and `lode --version`"
            }
        };
        Explanation::new(self, Exit::NoDevice, advice)
    }
}

impl Explain for MineError {
    fn explain(&self) -> Explanation {
        match self {
            Self::NoDevice => Explanation::new(
                self,
                Exit::NoDevice,
                "-t 0 switches the CPU off, --gpu none the GPUs, --asic none the ASICs; `lode devices` lists what there is",
            ),
            Self::Cpu(error) => error.explain(),
            Self::Gpu(error) => error.explain(),
            Self::Asic(error) => error.explain(),
            Self::Practice(error) => error.explain(),
            Self::Pool(error) => error.explain(),
            Self::Report(error) => error.explain(),
            Self::Os { source, .. } => Explanation::new(format!("{self}: {source}"), Exit::Failed, SYSTEM),
        }
    }
}

impl Explain for CpuSetupError {
    fn explain(&self) -> Explanation {
        match self {
            Self::Cpu(error) => error.explain(),
            Self::Isa(error) => error.explain(),
            Self::NoKernel(error) => error.explain(),
        }
    }
}

impl Explain for GpuProblem {
    fn explain(&self) -> Explanation {
        let advice = match self {
            Self::NotBuilt => "use a lode that was built with its feature gpu, or --gpu none",
            Self::NoGpu(_) => {
                "install the card's Vulkan driver and the loader (Debian: libvulkan1 mesa-vulkan-drivers; \
                 NVIDIA: its own driver), or give --gpu none"
            }
            Self::NoSuch(_) => "give --gpu numbers or names from `lode devices`",
            Self::NoSuchDevice(_) => {
                "give its `key` as `lode devices` shows it, or take the table out of the file"
            }
            Self::Disabled(_) => "leave it out of --gpu, or `enabled = false` out of the file",
            Self::NoSensor { .. } => {
                "only the card's own protection keeps it from overheating; NVIDIA's driver brings the library \
                 libnvidia-ml.so.1, AMD's cards are read by way of the kernel driver amdgpu"
            }
            Self::Software(_) => "--gpu-allow-cpu takes it all the same",
            Self::Unusable { .. } => "update its driver, or leave it out with --gpu",
        };
        Explanation::new(self, Exit::NoDevice, advice)
    }
}

impl Explain for AsicProblem {
    fn explain(&self) -> Explanation {
        let advice = match self {
            Self::NotBuilt => "use a lode that was built with its feature asic, or --asic none".to_owned(),
            Self::None => {
                "plug it in, or name it: --device DRIVER:PORT; `lode devices` lists what may be one"
                    .to_owned()
            }
            Self::Usb(_) => "name its port: --device DRIVER:PORT".to_owned(),
            Self::NoDriver { known, .. } => format!("drivers are {}", known.join(", ")),
            Self::Ports { wanted: 1, .. } => "give one port, like icarus:/dev/ttyUSB0".to_owned(),
            Self::Ports { .. } => {
                "give its serial number, or its ports, the management port first: /dev/ttyACM0,/dev/ttyACM1"
                    .to_owned()
            }
            Self::Settings(_) => {
                "leave the setting out, or give one within the bounds of docs/hardware.md".to_owned()
            }
            Self::Unusable { denied: true, .. } => {
                "install contrib/60-lode.rules, or add yourself to the group of the port and log in again"
                    .to_owned()
            }
            Self::Unusable { obstacle, .. } if obstacle.ends_with("is not there") => {
                "plug it in, or give the port that it has now; `lode devices` lists what there is".to_owned()
            }
            Self::Unusable { .. } => "docs/hardware.md says what is supported".to_owned(),
            Self::Twice(_) => "name it once".to_owned(),
            Self::NoEmulation if cfg!(target_os = "linux") => {
                "build it with its feature emulate: cargo run --release --features emulate -- mine --emulate KIND".to_owned()
            }
            Self::NoEmulation => "they need Linux, where pseudo-terminals stand in for serial ports".to_owned(),
            Self::NoKind(_) => {
                let kinds = asic::emulate::kinds().unwrap_or_default();
                let kinds: Vec<String> = kinds.iter().map(|(name, what)| format!("{name} ({what})")).collect();
                format!("there are {}", kinds.join(", "))
            }
            Self::Emulator(_) => SYSTEM.to_owned(),
            Self::TooMany { .. } => "start lode again".to_owned(),
        };
        let exit = match self {
            Self::NoDriver { .. }
            | Self::Ports { .. }
            | Self::Settings(_)
            | Self::Twice(_)
            | Self::NoEmulation
            | Self::NoKind(_) => Exit::Usage,
            Self::Emulator(_) => Exit::Failed,
            Self::NotBuilt | Self::None | Self::Usb(_) | Self::Unusable { .. } | Self::TooMany { .. } => {
                Exit::NoDevice
            }
        };
        Explanation::new(self, exit, advice)
    }
}

impl Explain for CpuError {
    fn explain(&self) -> Explanation {
        let advice = match self {
            Self::TooManyThreads(_) => "give -t a number of threads, by default one for each logical CPU",
            Self::Limit(_) => "give --cpu-limit a percentage, like 50%",
            Self::NoAffinity | Self::NotAllowed { .. } => {
                "give --cpu-affinity numbers from that list, like 0-3,5"
            }
            Self::NoPinning => "leave --cpu-affinity out",
        };
        Explanation::new(self, Exit::Usage, advice)
    }
}

impl Explain for IsaError {
    fn explain(&self) -> Explanation {
        let advice =
            "leave --isa and LODE_ISA out to have the fastest one chosen; `lode devices` lists what there is";
        Explanation::new(self, Exit::Usage, advice)
    }
}

impl Explain for NoKernel {
    fn explain(&self) -> Explanation {
        let advice = "this machine computes wrongly: undo any overclocking, or try another kernel with --isa";
        Explanation::new(self, Exit::NoDevice, advice)
    }
}

impl Explain for PoolError {
    fn explain(&self) -> Explanation {
        match self {
            Self::Config(_) => {
                Explanation::new(self, Exit::Usage, "see `lode pool --help` for what is possible")
            }
            Self::Bind { source, .. } if source.kind() == ErrorKind::AddrInUse => Explanation::new(
                self,
                Exit::Failed,
                "something listens there already: choose another port with --listen",
            ),
            Self::Bind { .. } => Explanation::new(
                self,
                Exit::Failed,
                "choose an address of this machine with --listen; ports below 1024 need root",
            ),
            Self::Ledger { .. } => {
                Explanation::new(self, Exit::Failed, "choose a file that can be written with --ledger")
            }
        }
    }
}

impl Explain for ServerError {
    fn explain(&self) -> Explanation {
        match self {
            Self::Pool(error) => error.explain(),
            Self::Os { .. } => Explanation::new(self, Exit::Failed, SYSTEM),
        }
    }
}

impl Explain for SetupError {
    fn explain(&self) -> Explanation {
        match self {
            Self::Trust(error) => error.explain(),
            Self::Login(_) => {
                Explanation::new(self, Exit::Usage, "check -u and -p: one line of ordinary text each")
            }
        }
    }
}

impl Explain for ReportError {
    fn explain(&self) -> Explanation {
        match self {
            Self::Log(error) => error.explain(),
            Self::Thread(source) => Explanation::new(format!("{self}: {source}"), Exit::Failed, SYSTEM),
        }
    }
}

impl Explain for LogError {
    fn explain(&self) -> Explanation {
        match self {
            Self::NoDirectory { .. } | Self::IsDirectory(_) => {
                Explanation::new(self, Exit::Usage, "give --log-file a file in a directory that exists")
            }
            Self::Open { source, .. } => {
                let advice = "give --log-file a file that this user may write";
                Explanation::new(format!("{self}: {source}"), Exit::Usage, advice)
            }
            Self::Thread(source) => Explanation::new(format!("{self}: {source}"), Exit::Failed, SYSTEM),
            Self::Twice => Explanation::without_advice(self, Exit::Failed),
        }
    }
}

impl Explain for FileError {
    fn explain(&self) -> Explanation {
        let advice = match self {
            Self::Read { source, .. } => file_advice(source),
            Self::NotAResult { .. } => "give files that `lode bench --save FILE` wrote",
            Self::Newer { .. } => "compare it with the lode that wrote it, or a newer one",
            Self::Occupied { .. } => "choose another name, or move that file away",
            Self::Write { .. } => "choose a folder that exists and that this user may write to",
        };
        Explanation::new(self, Exit::Usage, advice)
    }
}

impl Explain for ChartError {
    fn explain(&self) -> Explanation {
        match self {
            Self::File(error) => error.explain(),
            Self::Empty => {
                Explanation::new(self, Exit::Failed, "let the run go on until a kernel is measured")
            }
            Self::Draw(_) => Explanation::without_advice(self, Exit::Failed),
        }
    }
}

impl Explain for BenchError {
    fn explain(&self) -> Explanation {
        let advice = match self {
            Self::Nothing => "leave --isa and -t out to measure everything",
            Self::Thread { .. } => SYSTEM,
            Self::Gpu(_) => {
                return Explanation::new(
                    self,
                    Exit::NoDevice,
                    "let it cool down where it is too hot, else update its driver, or leave it out with --gpu",
                );
            }
        };
        Explanation::new(self, Exit::Failed, advice)
    }
}
