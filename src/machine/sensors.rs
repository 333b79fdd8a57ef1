//! What changes while a machine works: temperature and clock.

use std::path::Path;

use super::tree::{Tree, cpu_list};

/// Drivers whose sensors sit in the processor.
const CPU_SENSORS: [&str; 7] =
    ["coretemp", "k10temp", "zenpower", "k8temp", "cpu_thermal", "soc_thermal", "via_cputemp"];

/// Thermal zones of the processor, where no such driver is there.
const CPU_ZONES: [&str; 5] = ["x86_pkg_temp", "cpu-thermal", "cpu_thermal", "soc-thermal", "soc_thermal"];

/// Reads temperature and clock again and again.
#[derive(Clone, Debug)]
pub struct Sensors {
    tree: Tree,
    /// Files with a temperature in thousandths of a degree.
    temperatures: Vec<String>,
    /// Files with a clock in kHz.
    clocks: Vec<String>,
}

impl Sensors {
    /// Those of this machine.
    pub fn of_this_machine() -> Self {
        Self::under(Path::new("/"))
    }

    /// Those whose files lie under `root`.
    pub fn under(root: &Path) -> Self {
        let tree = Tree::new(root);
        let mut temperatures = sensors(&tree);
        if temperatures.is_empty() {
            temperatures = zones(&tree);
        }
        let online = tree.text("sys/devices/system/cpu/online").unwrap_or_default();
        let clock = |cpu| format!("sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_cur_freq");
        let clocks = cpu_list(&online).into_iter().map(clock).collect();
        Self { tree, temperatures, clocks }
    }

    /// The hottest of the processor's sensors, in °C.
    pub fn celsius(&self) -> Option<f64> {
        let told = self.temperatures.iter().filter_map(|path| self.tree.number::<f64>(path));
        // A sensor that is not connected says 0, -273 or some thousands.
        let degrees = told.map(|milli| milli / 1000.0).filter(|&degrees| degrees != 0.0);
        degrees.filter(|degrees| (-50.0..150.0).contains(degrees)).max_by(f64::total_cmp)
    }

    /// The mean clock of the CPUs that are on, in MHz.
    pub fn clock_mhz(&self) -> Option<f64> {
        let told = self.clocks.iter().filter_map(|path| self.tree.number::<f64>(path));
        let clocks: Vec<f64> = told.map(|khz| khz / 1000.0).filter(|&mhz| mhz > 0.0).collect();
        (!clocks.is_empty()).then(|| clocks.iter().sum::<f64>() / clocks.len() as f64)
    }
}

fn sensors(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for chip in tree.names("sys/class/hwmon", "hwmon") {
        let folder = format!("sys/class/hwmon/{chip}");
        let name = tree.fact(&format!("{folder}/name")).unwrap_or_default();
        if CPU_SENSORS.contains(&name.as_str()) {
            let inputs = tree.names(&folder, "temp").into_iter().filter(|file| file.ends_with("_input"));
            found.extend(inputs.map(|file| format!("{folder}/{file}")));
        }
    }
    found
}

fn zones(tree: &Tree) -> Vec<String> {
    let zones = tree.names("sys/class/thermal", "thermal_zone").into_iter();
    let folders = zones.map(|zone| format!("sys/class/thermal/{zone}"));
    let of_cpu = |folder: &String| {
        tree.fact(&format!("{folder}/type")).is_some_and(|kind| CPU_ZONES.contains(&kind.as_str()))
    };
    folders.filter(of_cpu).map(|folder| format!("{folder}/temp")).collect()
}
