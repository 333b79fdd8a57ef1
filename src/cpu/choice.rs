//! Which kernels to hash with: the fastest here, by measurement, and only those that get through it.

use std::fmt;

use miner_core::cpu::{KernelRates, Kernels, measure};
use miner_core::sha256d::{Isa, selftest};

use super::cache::{Cache, Known};
use super::probe::{ProbeError, Prober};

/// Kernels, and why it is these.
#[derive(Debug)]
pub struct Choice {
    /// The kernels to hash with.
    pub kernels: Kernels,
    /// What each candidate does that may be used.
    pub rates: Vec<KernelRates>,
    /// Those that may not.
    pub failed: Vec<Failure>,
    /// How fast both threads of a core are together with the plain kernel, one alone being 1; `None`: not measured.
    pub siblings: Option<f64>,
    /// Where the rates come from.
    pub basis: Basis,
}

/// Where rates come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// There was nothing to choose from.
    Only,
    /// They were measured just now.
    Measured,
    /// They were measured by an earlier run.
    Known,
}

/// A kernel that cannot be used.
#[derive(Debug)]
pub struct Failure {
    /// The kernel.
    pub isa: Isa,
    /// What it does instead.
    pub error: ProbeError,
}

/// No candidate can be used.
#[derive(Debug, thiserror::Error)]
#[error("no kernel can be used: {}", .0.iter().map(Failure::to_string).collect::<Vec<_>>().join("; "))]
pub struct NoKernel(pub Vec<Failure>);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.isa, self.error)
    }
}

impl Choice {
    /// Chooses among candidates (at least one), of which each is measured unless the cache knows it; `pair`: two logical
    /// CPUs of one core, where it matters what they do together.
    ///
    /// Takes about 60 ms for each candidate that is not known, and never more than some seconds.
    pub fn make(
        candidates: &[Isa],
        pair: Option<[usize; 2]>,
        prober: &Prober,
        cache: Option<&Cache>,
    ) -> Result<Self, NoKernel> {
        let known = cache.map(Cache::load).unwrap_or_default();
        let of = |isa: &Isa| known.rates.iter().find(|rates| rates.isa == *isa).copied();
        let rates: Option<Vec<KernelRates>> = candidates.iter().map(of).collect();
        let (rates, failed, basis) = match (rates, candidates) {
            (Some(rates), _) => (rates, Vec::new(), Basis::Known),
            // The backend tests it; if it fails there is nothing else to take.
            (None, [only]) => (measure(&[*only]), Vec::new(), Basis::Only),
            _ => {
                let (rates, failed) = probe(candidates, prober);
                (rates, failed, Basis::Measured)
            }
        };
        let Some(kernels) = Kernels::fastest(&rates) else { return Err(NoKernel(failed)) };
        let basis = if candidates.len() == 1 { Basis::Only } else { basis };
        let plain = kernels.plain.isa;
        let known_gain = known.siblings.filter(|(isa, _)| *isa == plain).map(|(_, gain)| gain);
        let pair = pair.filter(|_| known_gain.is_none() && basis != Basis::Only);
        let measured_gain = pair.and_then(|pair| siblings(plain, pair, prober));
        let siblings = known_gain.or(measured_gain);
        let fresh = basis == Basis::Measured || measured_gain.is_some();
        // What failed shall be tried again, and named again.
        if let Some(cache) = cache.filter(|_| fresh && failed.is_empty()) {
            let mut all = rates.clone();
            all.extend(known.rates.iter().filter(|rates| !candidates.contains(&rates.isa)));
            cache.store(&Known { rates: all, siblings: siblings.map(|gain| (plain, gain)) });
        }
        Ok(Self { kernels, rates, failed, siblings, basis })
    }

    /// Says which kernels, and why.
    pub fn describe(&self) -> String {
        let Kernels { plain, rolled } = &self.kernels;
        let rolled = match rolled {
            Some(rolled) if rolled.isa != plain.isa => {
                format!(", {} where versions may be rolled", rolled.isa)
            }
            _ => String::new(),
        };
        let count = self.rates.len();
        let why = match self.basis {
            Basis::Only => "the only one left to choose".to_owned(),
            Basis::Measured if count == 1 => "the only one that can be used".to_owned(),
            Basis::Measured => format!("the fastest of {count}, measured just now"),
            Basis::Known => format!("the fastest of {count}, measured by an earlier run"),
        };
        format!("{}{rolled}: {why}", plain.isa)
    }
}

/// Measures each candidate in a child; in this process where no child can be started.
fn probe(candidates: &[Isa], prober: &Prober) -> (Vec<KernelRates>, Vec<Failure>) {
    let (mut rates, mut failed) = (Vec::new(), Vec::new());
    for &isa in candidates {
        match prober.rates(isa) {
            Ok(measured) => rates.push(measured),
            Err(error @ ProbeError::Start { .. }) => {
                tracing::debug!(%error, "kernels are measured in this process");
                return measure_here(candidates);
            }
            Err(error) => failed.push(Failure { isa, error }),
        }
    }
    let starved = |failure: &Failure| matches!(failure.error, ProbeError::Hangs(_));
    if rates.is_empty() && failed.iter().all(starved) {
        // No CPU has only kernels that hang: there is too little time for children. The simplest one is taken as it is.
        let (rates, wrong) = measure_here(&candidates[..1]);
        failed.retain(|failure| failure.isa != candidates[0]);
        failed.extend(wrong);
        return (rates, failed);
    }
    (rates, failed)
}

fn measure_here(candidates: &[Isa]) -> (Vec<KernelRates>, Vec<Failure>) {
    let (mut sound, mut failed) = (Vec::new(), Vec::new());
    for &isa in candidates {
        match selftest(isa) {
            Ok(()) => sound.push(isa),
            Err(error) => failed.push(Failure { isa, error: ProbeError::Wrong(error.to_string()) }),
        }
    }
    (measure(&sound), failed)
}

/// A core whose threads can't be measured together counts as one whose threads were not.
fn siblings(isa: Isa, pair: [usize; 2], prober: &Prober) -> Option<f64> {
    prober
        .siblings(isa, pair)
        .inspect_err(
            |error| tracing::debug!(%isa, %error, "whether a core's second thread helps is not known"),
        )
        .ok()
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use super::*;

    /// A shell script in the place of lode's probe: `$2` is the kernel, `$3` and `$4` two CPUs. It notes each call.
    struct Script(tempfile::TempDir);

    impl Script {
        fn new(body: &str) -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("lode");
            fs::write(&path, format!("#!/bin/sh\necho \"$@\" >> \"$0.calls\"\n{body}\n")).expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
            Self(folder)
        }

        fn prober(&self) -> Prober {
            Prober { program: self.0.path().join("lode"), patience: Duration::from_secs(60) }
        }

        fn calls(&self) -> usize {
            fs::read_to_string(self.0.path().join("lode.calls")).map_or(0, |calls| calls.lines().count())
        }

        fn cache(&self) -> Cache {
            Cache::new(self.0.path(), "cpu", "build")
        }
    }

    /// The answer of a kernel with a rate, in the form that suits it.
    fn answer(isa: Isa, rate: f64) -> String {
        let rolled = if isa.versions() > 1 { format!("{}", rate * 1.1) } else { "null".to_owned() };
        format!(r#"echo '{{"rates":{{"isa":"{isa}","plain_hs":{rate},"rolled_hs":{rolled}}}}}'"#)
    }

    /// A script in which the n-th kernel has the rate n+1 MH/s, unless `instead` says something else for it.
    fn script(instead: &[(Isa, &str)]) -> Script {
        let arms = Isa::available().into_iter().enumerate().map(|(n, isa)| {
            let other = instead.iter().find(|(other, _)| *other == isa).map(|(_, body)| (*body).to_owned());
            format!("{isa}) {};;\n", other.unwrap_or_else(|| answer(isa, (n + 1) as f64 * 1e6)))
        });
        let pair = "if [ -n \"$3\" ]; then echo '{\"siblings\":1.5}'; exit; fi";
        Script::new(&format!("{pair}\ncase $2 in\n{}esac", arms.collect::<String>()))
    }

    #[test]
    fn the_fastest_is_chosen_and_known_the_next_time() {
        let (script, isas) = (script(&[]), Isa::available());
        let choose = |cache: Option<&Cache>| Choice::make(&isas, None, &script.prober(), cache).unwrap();
        let first = choose(Some(&script.cache()));
        assert_eq!(first.kernels.plain.isa, *isas.last().unwrap());
        assert_eq!((first.rates.len(), script.calls()), (isas.len(), isas.len()));
        let again = choose(Some(&script.cache()));
        assert_eq!((again.rates.len(), again.kernels), (first.rates.len(), first.kernels));
        if isas.len() > 1 {
            assert_eq!((first.basis, again.basis), (Basis::Measured, Basis::Known));
            assert_eq!(script.calls(), isas.len(), "nothing is measured twice");
            choose(None);
            assert_eq!(script.calls(), 2 * isas.len(), "without a cache it is measured each time");
        }
    }

    #[test]
    fn what_crashes_lies_or_computes_wrongly_is_left_out_and_not_kept() {
        let isas = Isa::available();
        let Some((&last, rest)) = isas.split_last().filter(|(_, rest)| !rest.is_empty()) else { return };
        for (body, words) in [
            ("kill -ILL $$", "crashes (signal: 4"),
            ("exit 3", "crashes (exit status: 3)"),
            ("echo '{\"wrong\":\"nonce 7\"}'", "computes wrongly: nonce 7"),
            ("echo '{\"failed\":\"why\"}'", "cannot be measured: why"),
            ("echo nonsense", "makes no sense"),
            ("echo '{\"siblings\":1.5}'", "makes no sense"),
            ("head -c 100000 /dev/zero; echo", "makes no sense"),
            (&answer(rest[0], 9e6), if rest[0] == last { "" } else { "makes no sense" }),
            (&answer(last, f64::MAX), "makes no sense"),
        ] {
            let script = script(&[(last, body)]);
            let patience = Duration::from_secs(1);
            let prober = Prober { patience, ..script.prober() };
            let choice = Choice::make(&isas, None, &prober, Some(&script.cache())).unwrap();
            let [Failure { isa, error }] = &choice.failed[..] else { panic!("{body}: {:?}", choice.failed) };
            assert_eq!(*isa, last);
            let hung = body.contains("zero") && error.to_string().contains("hangs");
            assert!(hung || error.to_string().contains(words), "{body}: {error}");
            assert_eq!(choice.kernels.plain.isa, *rest.last().unwrap(), "{body}");
            assert!(!script.cache().path().exists(), "{body}: it shall be tried again");
        }
    }

    #[test]
    fn what_hangs_is_ended_and_left_out() {
        let isas = Isa::available();
        let Some((&last, rest)) = isas.split_last().filter(|(_, rest)| !rest.is_empty()) else { return };
        let script = script(&[(last, "exec sleep 1000")]);
        let prober = Prober { patience: Duration::from_millis(1500), ..script.prober() };
        let choice = Choice::make(&isas, None, &prober, None).unwrap();
        assert_eq!(choice.failed.len(), 1, "{:?}", choice.failed);
        assert_eq!(choice.failed[0].to_string(), format!("{last} hangs: no answer within 1500 ms"));
        assert_eq!(choice.kernels.plain.isa, *rest.last().unwrap());
    }

    #[test]
    fn where_every_child_hangs_the_first_kernel_is_taken_untried() {
        let isas = Isa::available();
        if isas.len() == 1 {
            return;
        }
        let script = Script::new("exec sleep 1000");
        let prober = Prober { patience: Duration::from_millis(20), ..script.prober() };
        let choice = Choice::make(&isas, None, &prober, Some(&script.cache())).unwrap();
        assert_eq!((choice.kernels.plain.isa, choice.failed.len()), (isas[0], isas.len() - 1));
        assert!(!script.cache().path().exists(), "the next start tries again");
    }

    #[test]
    fn a_file_that_names_one_kernel_often_is_no_file_of_all() {
        let (script, isas) = (script(&[]), Isa::available());
        let first = Choice::make(&isas, None, &script.prober(), Some(&script.cache())).unwrap();
        let rates = vec![first.rates[0]; isas.len()];
        script.cache().store(&Known { rates, siblings: None });
        let again = Choice::make(&isas, None, &script.prober(), Some(&script.cache())).unwrap();
        assert_eq!(again.kernels, first.kernels);
    }

    #[test]
    fn where_no_kernel_is_left_each_is_named() {
        let isas = Isa::available();
        let script = Script::new("kill -ILL $$");
        let two: Vec<Isa> = isas.iter().chain(&isas).take(2).copied().collect();
        let error = Choice::make(&two, None, &script.prober(), None).unwrap_err();
        assert_eq!(error.0.len(), 2);
        assert!(error.to_string().starts_with("no kernel can be used: portable crashes"), "{error}");
    }

    #[test]
    fn a_single_candidate_needs_no_child() {
        let script = script(&[]);
        for isa in Isa::available() {
            let choice = Choice::make(&[isa], Some([0, 1]), &script.prober(), Some(&script.cache())).unwrap();
            assert_eq!((choice.kernels.plain.isa, choice.basis, choice.siblings), (isa, Basis::Only, None));
            assert!(choice.describe().ends_with("the only one left to choose"), "{}", choice.describe());
        }
        assert_eq!(script.calls(), 0);
    }

    #[test]
    fn without_a_child_the_kernels_are_measured_here() {
        let prober = Prober { program: "/no/such/lode".into(), patience: Duration::from_secs(1) };
        let isas = Isa::available();
        let choice = Choice::make(&isas, None, &prober, None).unwrap();
        assert_eq!((choice.rates.len(), choice.failed.len()), (isas.len(), 0));
    }

    #[test]
    fn what_a_core_s_threads_do_together_is_measured_once() {
        let (script, isas) = (script(&[]), Isa::available());
        if isas.len() == 1 {
            return;
        }
        let choose = || Choice::make(&isas, Some([3, 7]), &script.prober(), Some(&script.cache())).unwrap();
        assert_eq!(choose().siblings, Some(1.5));
        let calls = script.calls();
        assert_eq!((choose().siblings, script.calls()), (Some(1.5), calls));
        let asked = fs::read_to_string(script.0.path().join("lode.calls")).unwrap();
        assert!(asked.contains(&format!("probe-kernel {} 3 7\n", isas.last().unwrap())), "{asked}");
    }
}
