//! The longer texts of `--help`.

/// Below the help of `lode`.
pub(super) const AFTER: &str = "\
Flags without a command mine: `lode -o URL -u USER` is `lode mine -o URL -u USER`.

Examples:
  lode mine                                          practise: a pool inside lode
  lode -o stratum+ssl://pool.example:3334 -u bob.pc  mine at a pool, encrypted
  lode bench                                         how fast is this machine?
  lode config example > lode.toml                    a configuration to start from

Exit codes:
  0  all went well, SIGTERM included      1  something failed while running
  2  bad usage or configuration           3  a limited run never got a job
  4  no device can be used                5  a benchmark computed something wrong
  130  interrupted";

/// Below the help of `lode mine`.
pub(super) const AFTER_MINE: &str = "\
Every flag has a variable, LODE_ and its long name: LODE_URL (several pools with
spaces between), LODE_THREADS, LODE_CPU_AFFINITY. A flag beats a variable, a
variable beats the file, the file beats the default.

Examples:
  lode mine
      practise with the pool inside lode; nothing is earned
  lode mine -o stratum+tcp://pool.example:3333 -u bob.rig1
      one pool; the password is `x`, which most pools want
  lode mine -o stratum+ssl://a.example:3334 -u bob \\
            -o stratum+ssl://b.example:443 -u bc1q... --pass-file pw
      two pools; the second stands in while the first is down
  lode mine -c lode.toml -t 2 --time-limit 8h
      from a file, with two threads, for eight hours

Exit codes:
  0  all went well, SIGTERM included      1  something failed while running
  2  bad usage or configuration           3  a limited run never got a job
  4  no device can be used                130  interrupted, or a second signal";

/// Below the help of `lode bench`.
pub(super) const AFTER_BENCH: &str = "\
A kernel and the sha2 crate are measured by turns in windows of 5 ms: rates are
medians, and `x sha2` is a ratio that the machine's other work hardly moves.
`avx512 x32` is the kernel over 32 rolled versions at once, which takes a pool's
consent; plain `avx512` always works. Close other programs for good figures.

Examples:
  lode bench
      every kernel, on one thread and on all
  lode bench --time 10s --save before.json
      a better measurement, kept; change something, then
  lode bench --time 10s --save after.json
  lode bench --compare before.json after.json --chart change.svg
      what became of it, as a table and as a picture
  lode bench --stress 10m
      does this machine, overclocked perhaps, compute rightly when hot?
  lode bench --stress 1h --isa all
      the same with every kernel by turns

Exit codes:
  0  all went well, SIGTERM included      1  something failed while running
  2  bad usage or an unusable file        5  something was computed wrongly
  130  interrupted: what was measured so far is told";
