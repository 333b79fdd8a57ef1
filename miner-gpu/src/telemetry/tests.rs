//! Sensors of cards that other machines could have.

use std::fs;
use std::path::Path;

use super::*;

const AMD: u32 = 0x1002;
const INTEL: u32 = 0x8086;

fn gpu(vendor: u32, pci: Option<&str>) -> GpuFacts {
    GpuFacts {
        key: "gpu:0".to_owned(),
        name: "A card".to_owned(),
        pci: pci.map(str::to_owned),
        vendor,
        device: 1,
        api: "Vulkan",
        driver: String::new(),
        driver_info: String::new(),
        is_software: false,
        unusable: None,
    }
}

/// Files under a folder that goes away.
fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    files.iter().for_each(|(path, text)| write(root.path(), path, text));
    root
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join("sys/bus/pci/devices").join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn telemetry(root: &tempfile::TempDir) -> Telemetry {
    Telemetry::under(root.path().to_owned(), "no-such-library.so".into())
}

/// An RX 6800 as amdgpu shows it, and another card beside it.
const AMDGPU: [(&str, &str); 15] = [
    ("0000:03:00.0/gpu_busy_percent", "99\n"),
    ("0000:03:00.0/hwmon/hwmon4/name", "amdgpu\n"),
    ("0000:03:00.0/hwmon/hwmon4/temp1_input", "92000\n"),
    ("0000:03:00.0/hwmon/hwmon4/temp1_label", "junction\n"),
    ("0000:03:00.0/hwmon/hwmon4/temp2_input", "71000\n"),
    ("0000:03:00.0/hwmon/hwmon4/temp2_label", "edge\n"),
    ("0000:03:00.0/hwmon/hwmon4/power1_average", "203000000\n"),
    ("0000:03:00.0/hwmon/hwmon4/in0_input", "1025\n"),
    ("0000:03:00.0/hwmon/hwmon4/fan1_input", "1480\n"),
    ("0000:03:00.0/hwmon/hwmon4/pwm1", "102\n"),
    ("0000:03:00.0/hwmon/hwmon4/freq1_input", "2105000000\n"),
    ("0000:03:00.0/hwmon/hwmon4/freq2_input", "1000000000\n"),
    ("0000:0c:00.0/hwmon/hwmon1/name", "amdgpu\n"),
    ("0000:0c:00.0/hwmon/hwmon1/temp1_input", "40000\n"),
    ("0000:0c:00.0/hwmon/hwmon1/power1_input", "9000000\n"),
];

#[test]
fn an_amd_card_is_found_by_its_place_and_read() {
    let root = tree(&AMDGPU);
    let telemetry = telemetry(&root);
    let sensor = telemetry.sensor(&gpu(AMD, Some("0000:03:00.0"))).unwrap();
    assert_eq!(sensor.source(), "amdgpu");
    let reading = sensor.read().unwrap();
    let wanted = Reading {
        celsius: Some(71.0),
        watts: Some(203.0),
        millivolts: Some(1025.0),
        fan_rpm: Some(1480.0),
        fan_percent: Some(40.0),
        clock_mhz: Some(2105.0),
        utilisation: Some(99.0),
        throttle: None,
    };
    assert_eq!(reading, wanted, "the edge, which limits are given for, and this card's");
    write(root.path(), "0000:03:00.0/hwmon/hwmon4/temp2_input", "72500");
    assert_eq!(sensor.read().unwrap().celsius, Some(72.5), "it is read anew each time");
    let other = telemetry.sensor(&gpu(AMD, Some("0000:0C:00.0"))).unwrap().read().unwrap();
    assert_eq!((other.celsius, other.watts, other.fan_rpm), (Some(40.0), Some(9.0), None));
}

#[test]
fn what_a_sensor_cannot_mean_is_unknown() {
    let root = tree(&AMDGPU);
    let sensor = telemetry(&root).sensor(&gpu(AMD, Some("0000:0c:00.0"))).unwrap();
    for odd in ["0", "-273000", "9999000", "hot", "", "nan", "inf", &"9".repeat(100)] {
        write(root.path(), "0000:0c:00.0/hwmon/hwmon1/temp1_input", odd);
        let reading = sensor.read().unwrap();
        assert_eq!((reading.celsius, reading.watts), (None, Some(9.0)), "{odd}");
    }
    write(root.path(), "0000:0c:00.0/hwmon/hwmon1/power1_input", "-1");
    assert!(matches!(sensor.read(), Err(TelemetryError::Silent(_))));
    fs::remove_dir_all(root.path().join("sys")).unwrap();
    assert!(matches!(sensor.read(), Err(TelemetryError::Silent(_))), "the card fell off the bus");
}

#[test]
fn a_card_without_sensors_says_why() {
    let root =
        tree(&[("0000:04:00.0/hwmon/hwmon2/name", "i915\n"), ("0000:04:00.0/hwmon/hwmon2/in0_input", "1")]);
    let telemetry = telemetry(&root);
    let why = |vendor, place| telemetry.sensor(&gpu(vendor, place)).err().expect("it has none");
    assert_eq!(why(AMD, None), TelemetryError::NoPlace);
    for place in ["", "../../../etc", "0000:03:00.0/..", "0000:03:00.0\n", ".."] {
        assert_eq!(why(AMD, Some(place)), TelemetryError::NoPlace, "{place}");
    }
    assert!(matches!(why(NVIDIA, Some("0000:03:00.0")), TelemetryError::Library(_)));
    if cfg!(target_os = "linux") {
        assert_eq!(why(AMD, Some("0000:03:00.0")), TelemetryError::NoHwmon);
        assert_eq!(why(INTEL, Some("0000:04:00.0")), TelemetryError::NoHwmon, "no temperature");
    }
}

/// Builds a library that answers as NVIDIA's does.
#[cfg(unix)]
fn fake_nvml(folder: &Path) -> PathBuf {
    let source = folder.join("fake_nvml.c");
    fs::write(&source, include_str!("fake_nvml.c")).unwrap();
    let library = folder.join("libnvidia-ml.so.1");
    let mut compiler = std::process::Command::new("cc");
    let built = compiler.args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status();
    assert!(built.expect("a C compiler").success());
    library
}

#[cfg(unix)]
#[test]
fn an_nvidia_card_is_found_by_its_place_and_read() {
    let root = tree(&[]);
    let telemetry = Telemetry::under(root.path().to_owned(), fake_nvml(root.path()));
    let sensor = |place| telemetry.sensor(&gpu(NVIDIA, Some(place))).unwrap();
    assert_eq!(sensor("0000:01:00.0").source(), "NVML");
    let wanted = Reading {
        celsius: Some(83.0),
        watts: Some(431.5),
        millivolts: None,
        fan_rpm: None,
        fan_percent: Some(61.0),
        clock_mhz: Some(2520.0),
        utilisation: Some(98.0),
        throttle: Some("its driver keeps it cool".into()),
    };
    assert_eq!(sensor("0000:01:00.0").read(), Ok(wanted), "and the gravest reason of three");
    for place in ["0000:02:00.0", "0000:03:00.0"] {
        assert!(matches!(sensor(place).read(), Err(TelemetryError::Silent(_))), "{place}");
    }
}

#[cfg(unix)]
#[test]
fn a_library_that_is_none_is_no_trouble() {
    let root = tree(&[]);
    let library = root.path().join("libnvidia-ml.so.1");
    fs::write(&library, "no library").unwrap();
    let telemetry = Telemetry::under(root.path().to_owned(), library);
    let error = telemetry.sensor(&gpu(NVIDIA, Some("0000:01:00.0"))).err();
    assert!(matches!(error, Some(TelemetryError::Library(_))), "{error:?}");
}
