//! How many threads hash, where, and for how much of the time.

use std::collections::BTreeSet;
use std::num::NonZero;

use miner_core::cpu::{CpuConfig, Priority};

use crate::machine::topology::Topology;
use crate::settings::CpuSettings;

/// What a second thread of a core must add to the first for both to be used: less is not worth the heat.
const WORTH_IT: f64 = 1.03;

/// CPUs' worth of time that hashing leaves to the rest of lode where a control group counts it all.
const RESERVE: f64 = 0.03;

/// What the machine and the system leave to hashing.
#[derive(Clone, Debug)]
pub struct Room {
    /// The cores that may be used.
    pub topology: Topology,
    /// CPUs' worth of time that control groups allow; `None`: all.
    pub quota: Option<f64>,
    /// What both threads of a core do together, the first alone being 1; `None` where it was not measured.
    pub siblings: Option<f64>,
    /// Whether other devices need a core for what drives them.
    pub others: bool,
}

/// How the CPU is used, and why so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How it is used.
    pub config: CpuConfig,
    /// Why, in a few words for people.
    pub why: String,
}

impl Plan {
    /// Makes the best of the room within the settings.
    pub fn new(settings: &CpuSettings, room: &Room) -> Self {
        let mut topology = room.topology.clone();
        let (mut threads, mut why) = match settings.threads {
            Some(threads) => (threads, vec!["as asked for".to_owned()]),
            None => default_threads(settings, room, &mut topology),
        };
        let mut limit = settings.limit;
        let mut cut = false;
        if let Some(quota) = room.quota {
            if settings.threads.is_none() && (threads as f64) > quota.ceil() {
                threads = quota.ceil() as usize;
                cut = true;
            }
            if threads as f64 > quota - RESERVE {
                let share = 100.0 * (quota - RESERVE) / threads.max(1) as f64;
                limit = limit.min(share.clamp(1.0, 100.0) as u8);
                why.push(format!("the control group allows {quota:.2} CPUs"));
            }
        }
        let threads = NonZero::new(threads).unwrap_or(NonZero::<usize>::MIN);
        let affinity = match &settings.affinity {
            Some(cpus) if settings.threads.is_none() => Some(distinct(cpus)),
            Some(cpus) => Some(cpus.clone()),
            // Whoever else has a part of this machine would be pinned to the same cores.
            None if cut => None,
            None => place(threads.get(), &topology),
        };
        let priority = settings.priority.map_or(CpuConfig::default().priority, priority);
        Self { config: CpuConfig { threads, affinity, priority, limit }, why: why.join("; ") }
    }
}

/// The CPUs of a list, each once, in its order.
fn distinct(cpus: &[usize]) -> Vec<usize> {
    let mut seen = BTreeSet::new();
    cpus.iter().copied().filter(|cpu| seen.insert(*cpu)).collect()
}

/// Where nobody says how many. Takes the core that is left to other devices out of `topology`.
fn default_threads(settings: &CpuSettings, room: &Room, topology: &mut Topology) -> (usize, Vec<String>) {
    if let Some(cpus) = &settings.affinity {
        return (distinct(cpus).len(), vec!["one for each CPU of the affinity".to_owned()]);
    }
    let mut why = Vec::new();
    if room.others && topology.cores() > 1 {
        *topology = topology.clone().without_a_core();
        why.push("one core is left to the other devices".to_owned());
    }
    let (cores, cpus) = (topology.cores(), topology.cpus());
    let (threads, reason) = match room.siblings {
        _ if cores == cpus => (cpus, "one for each CPU".to_owned()),
        Some(gain) if gain < WORTH_IT => {
            (cores, format!("one for each core: a second one there makes {gain:.2} of one"))
        }
        Some(gain) => (cpus, format!("one for each CPU: two on a core make {gain:.2} of one")),
        None => (cpus, "one for each CPU".to_owned()),
    };
    why.insert(0, reason);
    (threads, why)
}

/// Cores first, their second threads after them. Left to the system where every CPU has a thread or is a core.
fn place(threads: usize, topology: &Topology) -> Option<Vec<usize>> {
    let matters = topology.siblings().is_some() && threads < topology.cpus();
    matters.then(|| topology.in_order().into_iter().take(threads).collect())
}

/// `--cpu-priority` 0 to 5: from what gives way to everything to what shares evenly.
fn priority(level: u8) -> Priority {
    match level {
        0 => Priority::Idle,
        1 => Priority::Nice(15),
        2 => Priority::Nice(10),
        3 => Priority::Nice(5),
        4 => Priority::Nice(2),
        5.. => Priority::Nice(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine of cores with two threads each, numbered core by core, or with one.
    fn room(cores: usize, threads: usize) -> Room {
        let root = tempfile::tempdir().unwrap();
        for cpu in 0..cores * threads {
            let folder = root.path().join(format!("sys/devices/system/cpu/cpu{cpu}/topology"));
            std::fs::create_dir_all(&folder).unwrap();
            let first = cpu / threads * threads;
            std::fs::write(folder.join("core_cpus_list"), format!("{first}-{}", first + threads - 1))
                .unwrap();
        }
        let cpus: Vec<usize> = (0..cores * threads).collect();
        let topology = Topology::read(root.path(), &cpus);
        Room { topology, quota: None, siblings: None, others: false }
    }

    fn settings() -> CpuSettings {
        CpuSettings { limit: 100, ..CpuSettings::default() }
    }

    #[track_caller]
    fn assert_plan(
        settings: &CpuSettings,
        room: &Room,
        threads: usize,
        affinity: Option<&[usize]>,
        limit: u8,
    ) {
        let Plan { config, why } = Plan::new(settings, room);
        let got = (config.threads.get(), config.affinity.as_deref(), config.limit);
        assert_eq!(got, (threads, affinity, limit), "{why}");
    }

    #[test]
    fn without_a_word_every_cpu_hashes_where_the_system_puts_it() {
        assert_plan(&settings(), &room(4, 1), 4, None, 100);
        assert_plan(&settings(), &room(4, 2), 8, None, 100);
    }

    #[test]
    fn second_threads_hash_if_they_add_something() {
        let useful = Room { siblings: Some(1.2), ..room(4, 2) };
        assert_plan(&settings(), &useful, 8, None, 100);
        assert!(Plan::new(&settings(), &useful).why.contains("1.20"));
        let useless = Room { siblings: Some(1.01), ..room(4, 2) };
        assert_plan(&settings(), &useless, 4, Some(&[0, 2, 4, 6]), 100);
        assert!(Plan::new(&settings(), &useless).why.starts_with("one for each core"));
    }

    #[test]
    fn fewer_threads_than_cpus_get_a_core_each() {
        let asked = |threads| CpuSettings { threads: Some(threads), ..settings() };
        assert_plan(&asked(3), &room(4, 2), 3, Some(&[0, 2, 4]), 100);
        assert_plan(&asked(5), &room(4, 2), 5, Some(&[0, 2, 4, 6, 1]), 100);
        assert_plan(&asked(3), &room(4, 1), 3, None, 100);
        assert_plan(&asked(9), &room(4, 2), 9, None, 100);
    }

    #[test]
    fn an_affinity_is_taken_as_it_is() {
        let pinned = CpuSettings { affinity: Some(vec![3, 1, 3]), ..settings() };
        assert_plan(&pinned, &room(4, 1), 2, Some(&[3, 1]), 100);
        let asked = CpuSettings { threads: Some(6), ..pinned };
        assert_plan(&asked, &room(4, 1), 6, Some(&[3, 1, 3]), 100);
    }

    #[test]
    fn other_devices_get_a_core_where_there_are_several() {
        assert_plan(&settings(), &Room { others: true, ..room(4, 1) }, 3, None, 100);
        assert_plan(&settings(), &Room { others: true, ..room(4, 2) }, 6, None, 100);
        let single = Room { others: true, siblings: Some(1.0), ..room(4, 2) };
        assert_plan(&settings(), &single, 3, Some(&[0, 2, 4]), 100);
        assert_plan(&settings(), &Room { others: true, ..room(1, 1) }, 1, None, 100);
        let asked = CpuSettings { threads: Some(4), ..settings() };
        assert_plan(&asked, &Room { others: true, ..room(4, 1) }, 4, None, 100);
    }

    #[test]
    fn a_quota_bounds_threads_and_their_time() {
        let with = |quota| Room { quota: Some(quota), ..room(8, 1) };
        assert_plan(&settings(), &with(1.5), 2, None, 73);
        assert!(Plan::new(&settings(), &with(1.5)).why.contains("allows 1.50 CPUs"));
        assert_plan(&settings(), &with(2.0), 2, None, 98);
        assert_plan(&settings(), &Room { quota: Some(3.0), ..room(8, 2) }, 3, None, 99);
        assert_plan(&settings(), &with(0.25), 1, None, 22);
        assert_plan(&settings(), &with(0.001), 1, None, 1);
        assert_plan(&settings(), &with(100.0), 8, None, 100);
        let asked = CpuSettings { threads: Some(4), limit: 40, ..settings() };
        assert_plan(&asked, &with(2.03), 4, None, 40);
        assert_plan(&asked, &with(1.03), 4, None, 25);
    }

    #[test]
    fn priorities_run_from_idle_to_even() {
        let niceness = |level| match priority(level) {
            Priority::Idle => 99,
            Priority::Nice(niceness) => niceness,
        };
        assert_eq!([0, 1, 2, 3, 4, 5].map(niceness), [99, 15, 10, 5, 2, 0]);
        assert_eq!(Plan::new(&settings(), &room(1, 1)).config.priority, Priority::Nice(10));
    }
}
