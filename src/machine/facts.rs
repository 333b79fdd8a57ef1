//! What a result needs to be understood elsewhere: the processor, its state, the system.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::sensors::Sensors;
use super::tree::{Tree, cpu_list, fact};

const CPU: &str = "sys/devices/system/cpu";

/// The flags that decide which kernels can run, or how fast. ARM's are named as Linux names them.
const FLAGS: [&str; 15] = [
    "ssse3", "sse4_1", "avx", "avx2", "bmi2", "sha_ni", "avx512f", "avx512bw", "avx512vl", "asimd", "sha1",
    "sha2", "sha3", "sve", "sve2",
];

/// A machine; what its system does not tell is `None`, never 0.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MachineFacts {
    /// The processor.
    pub cpu: CpuFacts,
    /// The hottest of the processor's sensors, in °C.
    pub celsius: Option<f64>,
    /// The architecture that lode was built for, as Rust calls it.
    pub arch: Option<String>,
    /// The operating system's name and version.
    pub os: Option<String>,
    /// The kernel's name and release.
    pub kernel: Option<String>,
    /// The hypervisor as far as it is told, `none` where there is none.
    pub virtualisation: Option<String>,
}

/// A processor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CpuFacts {
    /// Its name.
    pub name: Option<String>,
    /// Its maker: x86's vendor string, or ARM's number of the implementer.
    pub vendor: Option<String>,
    /// Its family; ARM's architecture version.
    pub family: Option<u32>,
    /// Its model; ARM's part.
    pub model: Option<u32>,
    /// Its stepping; ARM's revision.
    pub stepping: Option<u32>,
    /// The microcode's revision.
    pub microcode: Option<String>,
    /// Sockets with CPUs that are on.
    pub sockets: Option<usize>,
    /// Cores that are on.
    pub cores: Option<usize>,
    /// Logical CPUs that are on.
    pub logical: Option<usize>,
    /// Its caches.
    pub caches: Option<Vec<Cache>>,
    /// Those of its flags that matter to kernels.
    pub flags: Option<Vec<String>>,
    /// The governors of its clock, with commas between where CPUs differ.
    pub governor: Option<String>,
    /// The mean clock of the CPUs that are on, in MHz.
    pub clock_mhz: Option<f64>,
    /// The highest clock, in MHz.
    pub max_clock_mhz: Option<f64>,
}

/// Caches of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cache {
    /// The level, from 1.
    pub level: u32,
    /// `data`, `instruction` or `unified`.
    pub kind: String,
    /// Size of each, in bytes.
    pub bytes: u64,
    /// How many of them there are.
    pub count: usize,
}

impl MachineFacts {
    /// This machine.
    pub fn of_this_machine() -> Self {
        Self::under(Path::new("/"))
    }

    /// The machine whose `/proc`, `/sys` and `/etc` lie under `root`.
    pub fn under(root: &Path) -> Self {
        let (tree, sensors) = (Tree::new(root), Sensors::under(root));
        let info = CpuInfo::of(&tree.text("proc/cpuinfo").unwrap_or_default());
        let online = tree.text(&format!("{CPU}/online")).map(|text| cpu_list(&text)).unwrap_or_default();
        Self {
            virtualisation: virtualisation(&tree, &info),
            cpu: cpu(&tree, &info, &online, &sensors),
            celsius: sensors.celsius(),
            arch: Some(std::env::consts::ARCH.to_owned()),
            os: os(&tree),
            kernel: kernel(&tree),
        }
    }
}

fn cpu(tree: &Tree, info: &CpuInfo, online: &[usize], sensors: &Sensors) -> CpuFacts {
    let cores = cores(tree, online);
    let sockets =
        cores.as_ref().map(|cores| cores.iter().map(|(socket, _)| socket).collect::<BTreeSet<_>>().len());
    CpuFacts {
        name: info.text(&["model name"]).or_else(|| tree.fact("proc/device-tree/model")),
        vendor: info.text(&["vendor_id", "CPU implementer"]),
        family: info.number(&["cpu family", "CPU architecture"]),
        model: info.number(&["model", "CPU part"]),
        stepping: info.number(&["stepping", "CPU revision"]),
        microcode: info.text(&["microcode"]),
        sockets,
        cores: cores.map(|cores| cores.len()),
        logical: (!online.is_empty()).then_some(online.len()),
        caches: caches(tree, online),
        flags: info
            .flags()
            .map(|flags| FLAGS.into_iter().filter(|f| flags.contains(f)).map(String::from).collect()),
        governor: governor(tree, online),
        clock_mhz: sensors.clock_mhz(),
        max_clock_mhz: max_clock(tree, online),
    }
}

/// The first processor of `/proc/cpuinfo`.
struct CpuInfo(BTreeMap<String, String>);

impl CpuInfo {
    fn of(text: &str) -> Self {
        let pairs = text.lines().filter_map(|line| line.split_once(':'));
        let mut facts = BTreeMap::new();
        for (name, value) in pairs {
            facts.entry(name.trim().to_owned()).or_insert_with(|| value.trim().to_owned());
        }
        Self(facts)
    }

    /// The value of the first of `names` that is told.
    fn text(&self, names: &[&str]) -> Option<String> {
        fact(names.iter().find_map(|name| self.0.get(*name))?)
    }

    fn number(&self, names: &[&str]) -> Option<u32> {
        let text = self.text(names)?;
        text.strip_prefix("0x").map_or_else(|| text.parse().ok(), |hex| u32::from_str_radix(hex, 16).ok())
    }

    fn flags(&self) -> Option<BTreeSet<&str>> {
        let flags = self.0.get("flags").or_else(|| self.0.get("Features"))?;
        Some(flags.split_whitespace().collect())
    }
}

/// Socket and number of every core that is on.
fn cores(tree: &Tree, online: &[usize]) -> Option<BTreeSet<(u32, u32)>> {
    let number = |cpu: &usize, name: &str| tree.number(&format!("{CPU}/cpu{cpu}/topology/{name}"));
    let core = |cpu| Some((number(cpu, "physical_package_id")?, number(cpu, "core_id")?));
    let cores: Option<BTreeSet<_>> = online.iter().map(core).collect();
    cores.filter(|cores| !cores.is_empty())
}

fn caches(tree: &Tree, online: &[usize]) -> Option<Vec<Cache>> {
    let mut found: BTreeMap<(u32, String, u64), BTreeSet<String>> = BTreeMap::new();
    for cpu in online {
        let folder = format!("{CPU}/cpu{cpu}/cache");
        for index in tree.names(&folder, "index") {
            let file = |name: &str| format!("{folder}/{index}/{name}");
            let size = tree.text(&file("size")).and_then(|size| bytes(size.trim()));
            let (Some(level), Some(kind), Some(size)) =
                (tree.number(&file("level")), tree.fact(&file("type")), size)
            else {
                continue;
            };
            let shared = tree.fact(&file("shared_cpu_list")).unwrap_or_else(|| cpu.to_string());
            found.entry((level, kind.to_lowercase(), size)).or_default().insert(shared);
        }
    }
    let caches =
        found.into_iter().map(|((level, kind, bytes), of)| Cache { level, kind, bytes, count: of.len() });
    Some(caches.collect::<Vec<_>>()).filter(|caches| !caches.is_empty())
}

/// A size as the kernel writes it: `32K`.
fn bytes(text: &str) -> Option<u64> {
    let unit = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit);
    let shift = match unit {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift).filter(|&bytes| bytes > 0)
}

fn governor(tree: &Tree, online: &[usize]) -> Option<String> {
    let governors =
        online.iter().filter_map(|cpu| tree.fact(&format!("{CPU}/cpu{cpu}/cpufreq/scaling_governor")));
    let governors: Vec<String> = governors.collect::<BTreeSet<_>>().into_iter().collect();
    fact(&governors.join(", "))
}

fn max_clock(tree: &Tree, online: &[usize]) -> Option<f64> {
    let clocks =
        online.iter().filter_map(|cpu| tree.number(&format!("{CPU}/cpu{cpu}/cpufreq/cpuinfo_max_freq")));
    clocks.max().filter(|&khz: &u32| khz > 0).map(|khz| f64::from(khz) / 1000.0)
}

fn os(tree: &Tree) -> Option<String> {
    let Some(release) = tree.text("etc/os-release") else {
        return (!cfg!(target_os = "linux")).then(|| std::env::consts::OS.to_owned());
    };
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    fact(name.trim().trim_matches(['"', '\'']))
}

fn kernel(tree: &Tree) -> Option<String> {
    Some(format!("Linux {}", tree.fact("proc/sys/kernel/osrelease")?))
}

/// The CPU says that there is a hypervisor; the firmware may say which.
fn virtualisation(tree: &Tree, info: &CpuInfo) -> Option<String> {
    let flags = info.flags()?;
    let firmware = || {
        let facts = ["sys_vendor", "product_name"].map(|name| tree.fact(&format!("sys/class/dmi/id/{name}")));
        fact(&facts.into_iter().flatten().collect::<Vec<_>>().join(" "))
    };
    if flags.contains("hypervisor") {
        let told = tree.fact("sys/hypervisor/type").or_else(firmware);
        return Some(told.unwrap_or_else(|| "hypervisor".to_owned()));
    }
    // ARM has no such flag.
    info.0.contains_key("flags").then(|| "none".to_owned())
}
