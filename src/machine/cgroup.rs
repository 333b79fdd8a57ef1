//! The CPU time that Linux control groups leave to this process.

use std::fs::read_to_string;
use std::path::{Component, Path, PathBuf};

/// The CPUs' worth of time that the control groups of this process allow, those above them included; `None`: all.
///
/// Reads `/proc/self/cgroup` and, for version 2, `cpu.max`, for version 1 `cpu.cfs_quota_us`, all below `root` (`/`).
/// In a container whose root is the group itself the path that the kernel tells may not be there: its ancestors count.
pub fn quota(root: &Path) -> Option<f64> {
    let groups = read_to_string(root.join("proc/self/cgroup")).ok()?;
    groups.lines().filter_map(|line| quota_of(root, line)).min_by(f64::total_cmp)
}

/// Of one line, `ID:CONTROLLERS:PATH`; version 2 has ID 0 and no controllers.
fn quota_of(root: &Path, line: &str) -> Option<f64> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, path) = (parts.next()?, parts.next()?);
    let mounts = root.join("sys/fs/cgroup");
    type Read = fn(&Path) -> Option<f64>;
    let (roots, read): (Vec<PathBuf>, Read) = match controllers {
        "" => (vec![mounts.clone(), mounts.join("unified")], version_2),
        _ if controllers.split(',').any(|name| name == "cpu") => {
            (vec![mounts.join(controllers), mounts.join("cpu")], version_1)
        }
        _ => return None,
    };
    let folders = roots.iter().flat_map(|root| ancestors(root, path));
    folders.filter_map(|folder| read(&folder)).min_by(f64::total_cmp)
}

/// The folder of a group below `root` and those of the groups above it.
fn ancestors(root: &Path, path: &str) -> Vec<PathBuf> {
    let plain = Path::new(path).components().filter(|part| matches!(part, Component::Normal(_)));
    let mut folders = vec![root.to_owned()];
    for part in plain {
        let deeper = folders.last().expect("it begins with one").join(part);
        folders.push(deeper);
    }
    folders
}

fn version_2(folder: &Path) -> Option<f64> {
    let text = read_to_string(folder.join("cpu.max")).ok()?;
    let (quota, period) = text.trim().split_once(' ')?;
    ratio(quota, period)
}

fn version_1(folder: &Path) -> Option<f64> {
    let read = |file| read_to_string(folder.join(file)).ok();
    ratio(read("cpu.cfs_quota_us")?.trim(), read("cpu.cfs_period_us")?.trim())
}

/// A quota of `max`, or of -1, is none.
fn ratio(quota: &str, period: &str) -> Option<f64> {
    let (quota, period): (u64, u64) = (quota.parse().ok()?, period.parse().ok()?);
    (quota > 0 && period > 0).then(|| quota as f64 / period as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files below the root, each with what it says.
    type Files<'a> = &'a [(&'a str, &'a str)];

    fn machine(files: Files<'_>) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn quotas_of_both_versions_are_read() {
        let v1 = "3:cpuset:/\n2:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n0::/\n";
        let cases: &[(Files<'_>, Option<f64>)] = &[
            (&[], None),
            (&[("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/cpu.max", "150000 100000\n")], Some(1.5)),
            (&[("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/cpu.max", "max 100000\n")], None),
            (
                &[
                    ("proc/self/cgroup", "0::/a.slice/b.scope\n"),
                    ("sys/fs/cgroup/a.slice/cpu.max", "50000 100000\n"),
                    ("sys/fs/cgroup/a.slice/b.scope/cpu.max", "200000 100000\n"),
                ],
                Some(0.5),
            ),
            // A container sees its own group as the root of the tree.
            (
                &[("proc/self/cgroup", "0::/../../x:y\n"), ("sys/fs/cgroup/cpu.max", "300000 100000\n")],
                Some(3.0),
            ),
            (
                &[
                    ("proc/self/cgroup", v1),
                    ("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us", "25000\n"),
                    ("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us", "50000\n"),
                    ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n"),
                    ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
                ],
                Some(0.5),
            ),
            (
                &[
                    ("proc/self/cgroup", v1),
                    ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "400000\n"),
                    ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
                ],
                Some(4.0),
            ),
        ];
        for (files, wanted) in cases {
            assert_eq!(quota(machine(files).path()), *wanted, "{files:?}");
        }
    }

    #[test]
    fn nonsense_is_no_quota() {
        for max in ["", "max", "x 100000", "0 100000", "5 0", "-1 100000", "1 2 3", "99999999999999999999 1"]
        {
            let root =
                machine(&[("proc/self/cgroup", "0::/\nnonsense\n:\n"), ("sys/fs/cgroup/cpu.max", max)]);
            assert_eq!(quota(root.path()), None, "{max:?}");
        }
    }
}
