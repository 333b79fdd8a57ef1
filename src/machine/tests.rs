//! Facts from trees that other machines could have.

use std::fs;
use std::path::Path;

use super::tree::cpu_list;
use super::{Cache, MachineFacts, Sensors};

/// Files under a folder that goes away.
fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

const DESKTOP: [(&str, &str); 35] = [
    (
        "proc/cpuinfo",
        "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 97\nmodel name\t: AMD Ryzen 7\u{1b}[31m\n\
        stepping\t: 2\nmicrocode\t: 0xa601203\ncpu MHz\t\t: 400.000\nflags\t\t: fpu ssse3 sse4_1 avx avx2 sha_ni rdpid\n\n\
        processor\t: 1\nmodel name\t: another\n",
    ),
    ("proc/sys/kernel/osrelease", "6.1.0-18-amd64\n"),
    ("etc/os-release", "NAME=\"Debian\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n"),
    ("sys/devices/system/cpu/online", "0-3\n"),
    ("sys/devices/system/cpu/cpu0/topology/core_id", "0"),
    ("sys/devices/system/cpu/cpu1/topology/core_id", "0"),
    ("sys/devices/system/cpu/cpu2/topology/core_id", "1"),
    ("sys/devices/system/cpu/cpu3/topology/core_id", "1"),
    ("sys/devices/system/cpu/cpu0/topology/physical_package_id", "0"),
    ("sys/devices/system/cpu/cpu1/topology/physical_package_id", "0"),
    ("sys/devices/system/cpu/cpu2/topology/physical_package_id", "0"),
    ("sys/devices/system/cpu/cpu3/topology/physical_package_id", "0"),
    ("sys/devices/system/cpu/cpu0/cache/index0/level", "1\n"),
    ("sys/devices/system/cpu/cpu0/cache/index0/type", "Data\n"),
    ("sys/devices/system/cpu/cpu0/cache/index0/size", "32K\n"),
    ("sys/devices/system/cpu/cpu0/cache/index0/shared_cpu_list", "0-1\n"),
    ("sys/devices/system/cpu/cpu1/cache/index0/level", "1\n"),
    ("sys/devices/system/cpu/cpu1/cache/index0/type", "Data\n"),
    ("sys/devices/system/cpu/cpu1/cache/index0/size", "32K\n"),
    ("sys/devices/system/cpu/cpu1/cache/index0/shared_cpu_list", "0-1\n"),
    ("sys/devices/system/cpu/cpu2/cache/index0/level", "1\n"),
    ("sys/devices/system/cpu/cpu2/cache/index0/type", "Data\n"),
    ("sys/devices/system/cpu/cpu2/cache/index0/size", "32K\n"),
    ("sys/devices/system/cpu/cpu2/cache/index0/shared_cpu_list", "2-3\n"),
    ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n"),
    ("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "performance\n"),
    ("sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "4000000\n"),
    ("sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq", "5000000\n"),
    ("sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq", "5500000\n"),
    ("sys/class/hwmon/hwmon0/name", "nvme\n"),
    ("sys/class/hwmon/hwmon0/temp1_input", "99000\n"),
    ("sys/class/hwmon/hwmon1/name", "k10temp\n"),
    ("sys/class/hwmon/hwmon1/temp1_input", "71250\n"),
    ("sys/class/hwmon/hwmon1/temp2_input", "0\n"),
    ("sys/class/hwmon/hwmon1/temp1_label", "Tctl\n"),
];

#[test]
fn a_desktop_is_told_in_full() {
    let root = tree(&DESKTOP);
    let facts = MachineFacts::under(root.path());
    let cpu = facts.cpu;
    assert_eq!(cpu.name.as_deref(), Some("AMD Ryzen 7\\u{1b}[31m"), "what a terminal would obey is escaped");
    assert_eq!(cpu.vendor.as_deref(), Some("AuthenticAMD"));
    assert_eq!((cpu.family, cpu.model, cpu.stepping), (Some(25), Some(97), Some(2)));
    assert_eq!(cpu.microcode.as_deref(), Some("0xa601203"));
    assert_eq!((cpu.sockets, cpu.cores, cpu.logical), (Some(1), Some(2), Some(4)));
    assert_eq!(cpu.caches, Some(vec![Cache { level: 1, kind: "data".into(), bytes: 32 << 10, count: 2 }]));
    assert_eq!(cpu.flags.unwrap(), ["ssse3", "sse4_1", "avx", "avx2", "sha_ni"]);
    assert_eq!(cpu.governor.as_deref(), Some("performance, powersave"));
    assert_eq!((cpu.clock_mhz, cpu.max_clock_mhz), (Some(4500.0), Some(5500.0)));
    assert_eq!(facts.celsius, Some(71.25), "neither the disk's sensor nor one that is not connected");
    assert_eq!(facts.os.as_deref(), Some("Debian GNU/Linux 12 (bookworm)"));
    assert_eq!(facts.kernel.as_deref(), Some("Linux 6.1.0-18-amd64"));
    assert_eq!(facts.virtualisation.as_deref(), Some("none"));
}

#[test]
fn an_arm_board_is_told_by_its_own_words() {
    let root = tree(&[
        (
            "proc/cpuinfo",
            "processor\t: 0\nFeatures\t: fp asimd sha1 sha2\nCPU implementer\t: 0x41\nCPU architecture: 8\n\
            CPU part\t: 0xd0b\nCPU revision\t: 1\n",
        ),
        ("proc/device-tree/model", "Raspberry Pi 5 Model B Rev 1.0\0"),
        ("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n"),
        ("sys/class/thermal/thermal_zone0/temp", "48200\n"),
    ]);
    let facts = MachineFacts::under(root.path());
    assert_eq!(facts.cpu.name.as_deref(), Some("Raspberry Pi 5 Model B Rev 1.0"));
    assert_eq!(facts.cpu.vendor.as_deref(), Some("0x41"));
    assert_eq!((facts.cpu.family, facts.cpu.model, facts.cpu.stepping), (Some(8), Some(0xd0b), Some(1)));
    assert_eq!(facts.cpu.flags.unwrap(), ["asimd", "sha1", "sha2"]);
    assert_eq!(facts.celsius, Some(48.2));
    assert_eq!(facts.virtualisation, None, "ARM does not say");
}

#[test]
fn a_virtual_machine_is_named_as_far_as_it_is_told() {
    let cpuinfo = ("proc/cpuinfo", "flags : avx2 hypervisor\n");
    let named = |files: &[(&str, &str)]| MachineFacts::under(tree(files).path()).virtualisation.unwrap();
    assert_eq!(named(&[cpuinfo]), "hypervisor");
    assert_eq!(named(&[cpuinfo, ("sys/class/dmi/id/sys_vendor", "QEMU\n")]), "QEMU");
    assert_eq!(
        named(&[cpuinfo, ("sys/class/dmi/id/sys_vendor", "QEMU\n"), ("sys/hypervisor/type", "xen\n")]),
        "xen"
    );
}

#[test]
fn what_is_not_told_is_unknown_and_never_zero() {
    let nothing = MachineFacts { arch: Some(std::env::consts::ARCH.into()), ..MachineFacts::default() };
    let mut empty = MachineFacts::under(tree(&[]).path());
    empty.os = None;
    assert_eq!(empty, nothing);
    let mut odd = MachineFacts::under(
        tree(&[
            ("proc/cpuinfo", "model name\nmodel : many\n: :\n"),
            ("sys/devices/system/cpu/online", "x-,4-99999999,7-2\n"),
            ("sys/class/hwmon/hwmon0/name", "coretemp"),
            ("sys/class/hwmon/hwmon0/temp1_input", "-273000"),
            ("sys/class/hwmon/hwmon0/temp2_input", "hot"),
            ("sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "0"),
            ("etc/os-release", "PRETTY_NAME=\"\"\n"),
        ])
        .path(),
    );
    odd.os = None;
    assert_eq!(odd, nothing);
}

#[test]
fn a_list_of_cpus_is_read_as_the_kernel_writes_it() {
    assert_eq!(cpu_list("0-2,5\n"), [0, 1, 2, 5]);
    assert_eq!(cpu_list(""), [0; 0]);
}

#[test]
fn sensors_are_read_anew_each_time() {
    let root = tree(&DESKTOP);
    let sensors = Sensors::under(root.path());
    assert_eq!((sensors.celsius(), sensors.clock_mhz()), (Some(71.25), Some(4500.0)));
    fs::write(root.path().join("sys/class/hwmon/hwmon1/temp1_input"), "90000").unwrap();
    fs::remove_file(root.path().join("sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq")).unwrap();
    assert_eq!((sensors.celsius(), sensors.clock_mhz()), (Some(90.0), Some(5000.0)));
}

#[test]
#[cfg(target_os = "linux")]
fn this_machine_tells_how_many_cpus_it_has() {
    let facts = MachineFacts::under(Path::new("/"));
    assert!(facts.cpu.logical.is_some_and(|logical| logical > 0) && facts.kernel.is_some(), "{facts:?}");
}
