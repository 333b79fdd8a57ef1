//! Which logical CPUs share a physical core.

use std::collections::BTreeSet;
use std::path::Path;

/// The highest CPU number that is believed.
const MAX_CPU: usize = 8191;

/// The physical cores that this process may use, each with its logical CPUs. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    /// In order of their first CPU; no CPU is in two of them.
    cores: Vec<Vec<usize>>,
}

impl Topology {
    /// Of `allowed` logical CPUs, as the files below `root` (`/`) tell. Where they don't, each CPU is a core of its own.
    pub fn read(root: &Path, allowed: &[usize]) -> Self {
        let mut left: BTreeSet<usize> = allowed.iter().copied().collect();
        let mut cores = Vec::new();
        while let Some(first) = left.pop_first() {
            let siblings =
                siblings(root, first).filter(|siblings| siblings.contains(&first)).unwrap_or_default();
            let mut core = vec![first];
            core.extend(siblings.into_iter().filter(|cpu| left.remove(cpu)));
            cores.push(core);
        }
        if cores.is_empty() { Self { cores: vec![vec![0]] } } else { Self { cores } }
    }

    /// How many cores there are.
    pub fn cores(&self) -> usize {
        self.cores.len()
    }

    /// How many logical CPUs there are.
    pub fn cpus(&self) -> usize {
        self.cores.iter().map(Vec::len).sum()
    }

    /// The logical CPUs in the order in which threads are best put on them: the first of each core, then the second.
    pub fn in_order(&self) -> Vec<usize> {
        let most = self.cores.iter().map(Vec::len).max().unwrap_or(0);
        (0..most).flat_map(|nth| self.cores.iter().filter_map(move |core| core.get(nth).copied())).collect()
    }

    /// Two logical CPUs of one core, where a core has two.
    pub fn siblings(&self) -> Option<[usize; 2]> {
        self.cores.iter().find_map(|core| Some([*core.first()?, *core.get(1)?]))
    }

    /// The same without its last core, unless it has only one.
    pub fn without_a_core(mut self) -> Self {
        if self.cores.len() > 1 {
            self.cores.pop();
        }
        self
    }
}

/// The logical CPUs of the core that `cpu` is on. Newer kernels name the file `core_cpus_list`.
fn siblings(root: &Path, cpu: usize) -> Option<BTreeSet<usize>> {
    let folder = root.join(format!("sys/devices/system/cpu/cpu{cpu}/topology"));
    ["core_cpus_list", "thread_siblings_list"]
        .iter()
        .find_map(|file| cpu_list(&std::fs::read_to_string(folder.join(file)).ok()?))
}

/// A list like `0-3,8`; `None` where it isn't one.
fn cpu_list(text: &str) -> Option<BTreeSet<usize>> {
    let mut cpus = BTreeSet::new();
    for run in text.trim().split(',') {
        let (first, last) = run.split_once('-').unwrap_or((run, run));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if first > last || last > MAX_CPU {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine with these siblings of each CPU, as the kernel writes them.
    fn machine(file: &str, siblings: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (cpu, list) in siblings.iter().enumerate() {
            let folder = root.path().join(format!("sys/devices/system/cpu/cpu{cpu}/topology"));
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(file), format!("{list}\n")).unwrap();
        }
        root
    }

    #[test]
    fn cores_come_first_and_their_siblings_second() {
        // As Linux numbers Intel's, and as it numbers some of AMD's.
        let apart =
            machine("thread_siblings_list", &["0,4", "1,5", "2,6", "3,7", "0,4", "1,5", "2,6", "3,7"]);
        let topology = Topology::read(apart.path(), &[0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!((topology.cores(), topology.cpus()), (4, 8));
        assert_eq!(topology.in_order(), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(topology.siblings(), Some([0, 4]));
        let together = machine("core_cpus_list", &["0-1", "0-1", "2-3", "2-3"]);
        let topology = Topology::read(together.path(), &[0, 1, 2, 3]);
        assert_eq!(topology.in_order(), [0, 2, 1, 3]);
        assert_eq!(topology.clone().without_a_core().in_order(), [0, 1]);
    }

    #[test]
    fn only_cpus_that_may_be_used_count() {
        let root = machine("core_cpus_list", &["0-1", "0-1", "2-3", "2-3", "4", "5"]);
        let topology = Topology::read(root.path(), &[5, 1, 2, 3]);
        assert_eq!((topology.cores(), topology.in_order()), (3, vec![1, 2, 5, 3]));
        assert_eq!(Topology::read(root.path(), &[0, 2]).siblings(), None);
    }

    #[test]
    fn where_nothing_is_told_every_cpu_is_a_core() {
        for list in ["", "x", "3-1", "0-99999999", "-", "0,", "1,2"] {
            let root = machine("core_cpus_list", &[list, list]);
            let topology = Topology::read(root.path(), &[0, 1, 7]);
            assert_eq!((topology.cores(), topology.in_order()), (3, vec![0, 1, 7]), "{list:?}");
        }
        let nothing = Topology::read(Path::new("/nowhere"), &[]);
        assert_eq!((nothing.cores(), nothing.without_a_core().cpus()), (1, 1));
    }
}
