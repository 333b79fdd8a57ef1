//! The lode binary at its command line: what it takes, what it refuses, and in which words.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A password that must never be seen.
const SECRET: &str = "hunter2";
/// A pool that needs nothing more.
const POOL: [&str; 4] = ["-o", "stratum+tcp://pool.example:3333", "-u", "bob"];

struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn lode(args: &[&str], env: &[(&str, &str)]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lode"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LODE_") {
            command.env_remove(name);
        }
    }
    let Output { status, stdout, stderr } =
        command.args(args).envs(env.iter().copied()).output().expect("the binary runs");
    let text = |bytes| String::from_utf8(bytes).expect("lode writes UTF-8");
    Ran { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

/// `lode config check` with flags of `lode mine`.
fn check(args: &[&str], env: &[(&str, &str)]) -> Ran {
    lode(&[&["config", "check"], args].concat(), env)
}

#[track_caller]
fn assert_refused(ran: &Ran, words: &[&str], case: &str) {
    assert_eq!(ran.code, Some(2), "{case}: {}", ran.stderr);
    for word in words {
        assert!(ran.stderr.contains(word), "{case}: no {word:?} in\n{}", ran.stderr);
    }
    assert!(!ran.stderr.contains("panicked"), "{case}: {}", ran.stderr);
    assert_no_secret(ran, case);
}

#[track_caller]
fn assert_no_secret(ran: &Ran, case: &str) {
    for text in [&ran.stdout, &ran.stderr] {
        assert!(!text.contains(SECRET), "{case} shows a password:\n{text}");
    }
}

/// The words behind `key =` and the origin behind the `#`.
#[track_caller]
fn assert_setting(ran: &Ran, key: &str, value: &str, origin: &str) {
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let wanted = [format!("{key} = {value}"), format!("{key} {value}")];
    let found = ran.stdout.lines().any(|line| {
        let (setting, from) = line.split_once("  # ").unwrap_or((line, ""));
        wanted.iter().any(|wanted| setting.trim_end() == wanted) && from.contains(origin)
    });
    assert!(found, "no {key} = {value} # {origin} in\n{}", ran.stdout);
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, content).expect("written");
        path
    }

    fn config(&self, text: &str) -> String {
        shown(&self.file("lode.toml", text))
    }
}

fn shown(path: &Path) -> String {
    path.to_str().expect("UTF-8").to_owned()
}

#[test]
fn bad_flags_are_refused_with_what_where_and_what_would_be_right() {
    let cases: &[(&[&str], &[&str])] = &[
        (&["-t", "-3"], &["--threads is `-3`", "a whole number from 0 to 1024", "auto"]),
        (&["-t", "many"], &["--threads is `many`", "a whole number from 0 to 1024"]),
        (&["-t", "99999999999999999999"], &["--threads", "from 0 to 1024"]),
        (&["-t", "2.5"], &["--threads", "whole number"]),
        (&["-t", ""], &["--threads is ``", "whole number"]),
        (&["--isa", "avx3"], &["--isa is `avx3`", "avx2", "portable"]),
        (&["--isa", "avx2,-avx512"], &["--isa", "avx2"]),
        (&["--cpu-affinity", "3-1"], &["--cpu-affinity is `3-1`", "0-3,5"]),
        (&["--cpu-affinity", "0-99999"], &["--cpu-affinity", "0 to 1023"]),
        (&["--cpu-affinity", "0xzz"], &["--cpu-affinity", "0xf"]),
        (&["--cpu-affinity", "0x0"], &["--cpu-affinity", "0-3,5"]),
        (&["--gpu", "3-1"], &["--gpu is `3-1`", "0,2-3"]),
        (&["--gpu", "0,"], &["--gpu is `0,`", "lode devices"]),
        (&["--gpu-intensity", "900"], &["--gpu-intensity is `900`", "1 to 100 milliseconds"]),
        (&["--asic", "some"], &["--asic is `some`", "all or none"]),
        (&["--device", "icarus"], &["--device is `icarus`", "icarus:/dev/ttyUSB0"]),
        (&["--device", "icarus:"], &["--device is `icarus:`", "icarus:/dev/ttyUSB0"]),
        (&["--device", "a:b@watts=3"], &["`watts=3` is no setting", "freq=MHZ"]),
        (&["--device", "a:b@freq=NaN"], &["not a clock", "like 500"]),
        (&["--device", "a:b@mv=1e9"], &["--device is", "whole number"]),
        (&["-I", "extreme"], &["is `extreme`", "-10 to 31"]),
        (&["--cpu-priority", "6"], &["--cpu-priority is `6`", "from 0 to 5"]),
        (&["--cpu-limit", "0"], &["--cpu-limit is `0`", "from 1% to 100%"]),
        (&["--cpu-limit", "101%"], &["--cpu-limit is `101%`", "from 1% to 100%"]),
        (&["--cpu-limit", "-5"], &["--cpu-limit is `-5`", "from 1% to 100%"]),
        (&["--cpu-limit", "half"], &["--cpu-limit is `half`", "from 1% to 100%"]),
        (&["--cpu-limit", ""], &["--cpu-limit is ``", "from 1% to 100%"]),
        (&["--shares", "0"], &["--shares is `0`", "from 1 up"]),
        (&["--shares", "-1"], &["--shares is `-1`", "from 1 up"]),
        (&["--time-limit", "soon"], &["--time-limit is `soon`", "1h30m"]),
        (&["--time-limit", "0"], &["--time-limit", "1s to"]),
        (&["--time-limit", "-5"], &["--time-limit", "1h30m"]),
        (&["--time-limit", "1e300"], &["--time-limit", "1h30m"]),
        (&["--time-limit", "NaN"], &["--time-limit", "1h30m"]),
        (&["--report-interval", "0.1"], &["--report-interval", "1s to"]),
        (&["--output", "xml"], &["--output is `xml`", "text or json"]),
        (&["--color", "blue"], &["--color is `blue`", "auto or always or never"]),
        (&["--color", "always", "--no-color"], &["--no-color", "cannot be used with", "--color"]),
        (&["-q", "-v"], &["--quiet", "cannot be used with"]),
        (&["--thread", "3"], &["--thread", "--threads"]),
        (&["--config", "/no/such/file"], &["/no/such/file", "check the path"]),
        (&["--config", "/"], &["configuration file /", "not a folder"]),
        (&["-a", "scrypt"], &["--algo is `scrypt`", "SHA-256d"]),
        (&["-B"], &["lode does not hide"]),
        (&["--background"], &["lode does not hide"]),
        (&["--tls"], &["stratum+ssl://"]),
        (&["--donate-level", "1"], &["no donation"]),
        (&["--api-listen"], &["no API"]),
    ];
    for (args, words) in cases {
        assert_refused(&lode(&[&["mine"], *args].concat(), &[]), words, &args.join(" "));
    }
}

#[test]
fn bad_pools_are_refused() {
    let long = "u".repeat(600);
    let cases: &[(&[&str], &[&str])] = &[
        (&["-o", "pool.example:3333"], &["pool 1 (pool.example:3333) has no user", "-u"]),
        (&["-o", "stratum+tcp://pool.example", "-u", "b"], &["--url is", "port is missing", ":3333"]),
        (&["-o", "stratum+tcp://pool.example:0", "-u", "b"], &["not a number from 1 to 65535"]),
        (&["-o", "stratum+tcp://pool.example:+33", "-u", "b"], &["not a number from 1 to 65535"]),
        (&["-o", "stratum+tcp://pool.example:70000", "-u", "b"], &["1 to 65535"]),
        (&["-o", "stratum+tcp://:3333", "-u", "b"], &["host name is missing"]),
        (&["-o", "stratum+tcp://2001:db8::1:3333", "-u", "b"], &["port is not a number", ":3333"]),
        (&["-o", "stratum+tcp://pool.example:3333/x", "-u", "b"], &["behind the port"]),
        (&["-o", "stratum2+tcp://pool.example:34254/key", "-u", "b"], &["not supported yet", "Stratum V1"]),
        (&["-o", "http://127.0.0.1:8332", "-u", "b"], &["not supported yet", "stratum+tcp://"]),
        (&["-o", "ftp://pool.example:1", "-u", "b"], &["scheme", "stratum+ssl://HOST:PORT"]),
        (&["-o", "", "-u", "b"], &["--url is ``"]),
        (&["-o", "pool.example:1", "-u", ""], &["--user is ``: the user name is empty"]),
        (&["-o", "pool.example:1", "-u", "a\tb"], &["has control characters"]),
        (&["-o", "pool.example:1", "-u", &long], &["longer than 300 bytes"]),
        (&["-o", "a:1", "-u", "b", "-u", "c"], &["--user is given 2 times for 1 pool", "once for each -o"]),
        (&["-o", "a:1", "-u", "b", "-p", "x", "-p", "y"], &["--pass is given 2 times for 1 pool"]),
        (&["-o", "bob@a:1", "-u", "alice"], &["pool 1 has two users", "--url", "--user"]),
        (&["-u", "bob"], &["--user is given, but no pool", "-o stratum+tcp://"]),
        (&["--suggest-difficulty", "1"], &["--suggest-difficulty is given, but no pool"]),
        (&["-o", "a:1", "-O", SECRET], &["no colon between user and password", "-O bob.rig1:x"]),
        (&["-o", "a:1", "-O", "b:hunter2", "-u", "c"], &["cannot be used with", "--user"]),
        (&["-p", SECRET, "--pass-file", "f"], &["cannot be used with", "--pass-file"]),
        (&["-o", "stratum+tcp://bob:hunter2@pool.example:x"], &["***@pool.example:x", "1 to 65535"]),
        (&["-o", "bob:hunter2@pool.example"], &["***@pool.example", "port is missing"]),
        (&["mine", "stratum+tcp://bob:hunter2@pool.example:1"], &["***@pool.example", "-o stratum+tcp://"]),
        (&["stratum+tcp://bob:hunter2@pool.example:3333"], &["***@pool.example", "-o stratum+tcp://"]),
        (&["-o", "bob:%ff@pool.example:1"], &["user or password in it cannot be used", "--pass-file"]),
    ];
    for (args, words) in cases {
        assert_refused(&lode(args, &[]), words, &args.join(" "));
    }
}

#[test]
fn bad_values_around_a_good_pool_are_refused() {
    let folder = Folder::new();
    let empty = shown(&folder.file("empty", "\nhunter2\n"));
    let binary = shown(&folder.file("binary", [b'a', 0xff, b'\n']));
    let long = shown(&folder.file("long", "p".repeat(600)));
    let cases: &[(&[&str], &[&str])] = &[
        (&["--suggest-difficulty", "0"], &["--suggest-difficulty is `0`", "a number above 0"]),
        (&["--suggest-difficulty", "-1"], &["a number above 0"]),
        (&["--suggest-difficulty", "NaN"], &["a number above 0"]),
        (&["--suggest-difficulty", "1e999"], &["a number above 0"]),
        (&["--retry-pause", "2h"], &["--retry-pause is `2h`", "1s to 1h"]),
        (&["--proxy", "http://bob:hunter2@p:1"], &["--proxy is `http://***@p:1`", "socks5://HOST:PORT"]),
        (&["--proxy", "socks5://p"], &["port is missing", ":9050"]),
        (&["--tls-ca", &empty], &["no certificate", "BEGIN CERTIFICATE"]),
        (&["--proxy", "socks5://hunter2@p:1"], &["user or password", "USER:PASS@"]),
        (&["--allow-reconnect", "a b"], &["--allow-reconnect", "pool.example:3333"]),
        (&["--tls-ca", "/no/such.pem"], &["/no/such.pem", "check the path"]),
        (&["--pass-file", "/no/such"], &["password file /no/such", "check the path"]),
        (&["--pass-file", &empty], &["nothing on its first line"]),
        (&["--pass-file", &binary], &["is not plain text"]),
        (&["--pass-file", &long], &["longer than any password"]),
        (&["-p", "hunter2\u{1b}[2J"], &["--pass is unusable: the password has control characters"]),
    ];
    for (args, words) in cases {
        assert_refused(&lode(&[&POOL, *args].concat(), &[]), words, &args.join(" "));
    }
}

#[test]
fn bad_files_are_refused_with_line_column_and_caret() {
    let folder = Folder::new();
    let cases: &[(&str, &[&str])] = &[
        (
            "[cpu]\nthreads = -3\n",
            &["`threads` is `-3`", ":2:11", "2 | threads = -3", "  |           ^^", "1024"],
        ),
        (
            "[cpu]\nthread = 3\n",
            &["unknown key `thread` in [cpu]", ":2:1", "| ^^^^^^", "did you mean `threads`?"],
        ),
        ("[cpus]\n", &["unknown part `cpus`", ":1:2", "did you mean `cpu`?"]),
        ("threads = 3\n", &["unknown part `threads`", "it belongs below [cpu]"]),
        ("[asic]\nclock = 9\n", &["unknown key `clock` in [asic]", "takes devices"]),
        ("[fpga]\nclock = 9\n", &["unknown part `fpga`", "the parts of the file are"]),
        (
            "[[device]]\nkey = \"icarus:x\"\ntemp_target = 60\n",
            &["`temp_target` is `60`: no setting of an ASIC"],
        ),
        ("[[device]]\nclock = 9\n", &["unknown key `clock` in [[device]]", "takes key, enabled"]),
        ("[gpu]\nintensity = 900\n", &["`intensity` is `900`", "1 to 100 milliseconds"]),
        (
            "[gpu]\ntemp_target = 200\n",
            &["not a temperature from 40 to 95", ":2:15", "whole degrees Celsius"],
        ),
        ("[gpu]\ntemp_cutoff = 82\n", &["target of 80 °C", "cut-off at 82 °C", ":2:15", "raise the cut-off"]),
        ("[device]\nkey = \"0\"\n", &["`device` cannot be a table", "[[device]]"]),
        ("[[device]]\nenabled = false\n", &["a device has no `key`", ":1:", "key = \"gpu:"]),
        (
            "[[device]]\nkey = \"0\"\nfreq = 500\n",
            &["`freq` is `500`: no setting of a GPU", ":3:8", "other devices"],
        ),
        ("[[device]]\nkey = \"0-3\"\n", &["`key` is `0-3`", "the key of one GPU", ":2:7"]),
        ("[[device]]\nkey = \"cpu\"\n", &["`key` is `cpu`", "the key of one GPU"]),
        ("[[device]]\nkey = 0\n[[device]]\nkey = \"0\"\n", &["given twice", ":4:7", "one table"]),
        ("[[device]]\nkey = \"0\"\ntemp_target = 90\n", &["target of 90 °C", ":2:7", "lower the target"]),
        ("[[device]]\nkey = \"0\"\nenabled = \"maybe\"\n", &["`enabled` is `maybe`", "true or false"]),
        ("[cpu]\nzzz = 3\n", &["unknown key `zzz`", "takes threads, isa, affinity, priority, limit"]),
        ("[cpu]\nthreads = 3\nthreads = 4\n", &["not TOML", "duplicate key", ":3:"]),
        ("[cpu\n", &["not TOML", ":1:5", "1 | [cpu"]),
        ("[cpu]\nthreads = \n", &["not TOML", ":2:"]),
        ("cpu = 3\n", &["`[cpu]` cannot be an integer", "write a table"]),
        ("[pool]\nurl = \"a:1\"\n", &["`pool` cannot be a table", "[[pool]]"]),
        ("[cpu]\nthreads = { n = 1 }\n", &["`threads` cannot be a table", "a single value"]),
        ("[report]\ninterval = 1979-05-27\n", &["`interval` cannot be a datetime"]),
        ("[[pool]]\nuser = \"b\"\n", &["a pool has no `url`", ":1:", "url = \"stratum"]),
        ("[[pool]]\nurl = \"pool.example:1\"\n", &["has no user", ":2:7", "`user` in the file"]),
        ("[[pool]]\nurl = \"a\"\nuser = \"b\"\n", &["`url` is `a`", "port is missing", ":2:7"]),
        ("[[pool]]\nurl = \"a:1\"\nuser = \"b\"\npass = \"hunter2\n", &["not TOML", ":4:", "4 | pass = …"]),
        ("[[pool]]\nurl = \"a:1\"\nuser = \"b\"\npass = hunter2\n", &["not TOML", ":4:"]),
        (
            "[[pool]]\nurl = \"a:1\"\nuser = \"b\"\npass = \"\"\"\nhunter2\\q\"\"\"\n",
            &["not TOML", "not shown"],
        ),
        (
            "[[pool]]\nurl = \"a:1\"\nuser = \"b\"\npass = \"hunter2\\u0007\"\n",
            &["`pass` is unusable", ":4:8"],
        ),
        (
            "[[pool]]\nurl = \"a:1\"\nuser = \"b\"\npass = \"hunter2\"\npass_file = \"f\"\n",
            &["pool 1 has two passwords", "keep one of the two"],
        ),
        ("[[pool]]\nurl = \"bob:hunter2@a:1\"\nuser = \"b\"\n", &["pool 1 has two users"]),
        ("[[pool]]\nurl = \"bob:hunter2@a\"\n", &["***@a", "2 | url = …"]),
        (
            "[[pool]]\nurl = \"a:1\"\nuser = \"b\"\nproxy = \"ftp://bob:hunter2@p:1\"\n",
            &["socks5://HOST:PORT", "4 | proxy = …"],
        ),
        (
            "[[pool]]\nurl = \"a:1\"\nuser = \"b\"\npass_file = \"nope\"\n",
            &["password file", "nope", "that file's folder"],
        ),
    ];
    for (text, words) in cases {
        let path = folder.config(text);
        assert_refused(&lode(&["mine", "--config", &path], &[]), words, text);
        assert_refused(&lode(&["config", "check", &path], &[]), words, text);
    }
}

#[test]
fn files_that_are_no_configuration_are_refused() {
    let folder = Folder::new();
    let huge = shown(&folder.file("huge", vec![b'#'; (1 << 20) + 1]));
    assert_refused(&check(&[&huge], &[]), &["larger than 1048576 bytes"], "huge");
    let latin1 = shown(&folder.file("latin1", b"[cpu]\n# caf\xe9\n"));
    assert_refused(&check(&[&latin1], &[]), &["not UTF-8 (line 2)", "save the file as UTF-8"], "latin1");
    let deep = folder.config(&format!("x = {}", "[".repeat(10_000)));
    assert_refused(&check(&[&deep], &[]), &["not TOML"], "deep");
}

#[test]
fn every_mistake_of_a_file_is_told_at_once() {
    let folder = Folder::new();
    let path = folder.config("[cpu]\nthreads = -1\npriority = 9\n[report]\noutput = \"xml\"\n");
    assert_refused(&check(&[&path], &[]), &["`threads`", "`priority`", "`output`"], "three mistakes");
}

#[test]
fn bad_variables_are_refused() {
    type Case = (&'static [(&'static str, &'static str)], &'static [&'static str]);
    let cases: &[Case] = &[
        (&[("LODE_THREADS", "-1")], &["LODE_THREADS is `-1`", "from 0 to 1024"]),
        (&[("LODE_ISA", "mmx")], &["LODE_ISA is `mmx`"]),
        (&[("LODE_URL", "bob:hunter2@a")], &["LODE_URL is `***@a`", "port is missing"]),
        (&[("LODE_URL", "a:1")], &["has no user"]),
        (&[("LODE_USER", "bob")], &["LODE_USER is given, but no pool"]),
        (&[("LODE_CONFIG", "/no/such")], &["/no/such"]),
        (
            &[("LODE_URL", "a:1"), ("LODE_USER", "b"), ("LODE_PASS", SECRET), ("LODE_PASS_FILE", "f")],
            &["two passwords", "LODE_PASS", "LODE_PASS_FILE"],
        ),
    ];
    for (env, words) in cases {
        assert_refused(&lode(&["mine"], env), words, &format!("{env:?}"));
    }
}

#[test]
fn an_unknown_variable_is_named_with_what_was_meant() {
    let ran = check(&[], &[("LODE_THREDS", "2")]);
    assert_eq!(ran.code, Some(0));
    assert!(
        ran.stderr.contains("LODE_THREDS") && ran.stderr.contains("was LODE_THREADS meant?"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_flag_beats_a_variable_beats_the_file_beats_the_default() {
    let folder = Folder::new();
    let path = folder.config("[cpu]\nthreads = 3\n");
    let env = [("LODE_THREADS", "2")];
    assert_setting(&check(&[&path, "-t", "1"], &env), "threads", "1", "flag --threads");
    assert_setting(&check(&[&path], &env), "threads", "2", "variable LODE_THREADS");
    assert_setting(&check(&[&path], &[]), "threads", "3", "lode.toml line 2");
    assert_setting(&check(&[], &[]), "threads", "auto", "default");
    assert_setting(&check(&[], &[("LODE_CONFIG", &path)]), "threads", "3", "lode.toml line 2");
    assert_setting(&check(&[], &[("LODE_THREADS", "")]), "threads", "auto", "default");
}

#[test]
fn users_and_passwords_belong_to_their_pools() {
    let urls = ["-o", "a:1", "-o", "carol:hunter2@b:2", "-o", "c:3"];
    let ran = check(&[&urls[..], &["-u", "alice"]].concat(), &[]);
    assert_setting(&ran, "user", "alice", "flag --user");
    assert_setting(&ran, "user", "carol", "flag --url");
    assert_eq!(ran.stdout.matches("user = alice").count(), 2, "{}", ran.stdout);
    assert_no_secret(&ran, "URL with a password");
    assert!(ran.stderr.contains("process list"), "{}", ran.stderr);
    let ran = check(&["-o", "a:1", "-o", "b:2", "-O", "al:x", "-O", "bo:hunter2"], &[]);
    assert_setting(&ran, "user", "al", "--userpass");
    assert_setting(&ran, "user", "bo", "--userpass");
    assert_no_secret(&ran, "-O");
}

#[test]
fn pools_of_the_command_line_replace_those_of_the_file() {
    let folder = Folder::new();
    let path = folder.config("[[pool]]\nurl = \"a:1\"\nuser = \"filed\"\npass = \"hunter2\"\n");
    let ran = check(&[&path], &[]);
    assert_setting(&ran, "url", "a:1", "line 2");
    assert_setting(&ran, "pass", "***", "line 4");
    let ran = check(&[&path, "-o", "b:1", "-u", "bob"], &[]);
    assert_setting(&ran, "url", "b:1", "flag --url");
    assert_setting(&ran, "user", "bob", "flag --user");
    assert!(!ran.stdout.contains("a:1") && !ran.stdout.contains("filed"), "{}", ran.stdout);
    let ran = check(&[&path, "-u", "bob"], &[]);
    assert_setting(&ran, "url", "a:1", "line 2");
    assert_setting(&ran, "user", "bob", "flag --user");
}

#[test]
fn a_password_comes_from_file_and_variable_unseen() {
    let folder = Folder::new();
    let secret = shown(&folder.file("secret", "hunter2\r\nsecond line\n"));
    let ran = check(&[&POOL[..], &["--pass-file", &secret]].concat(), &[]);
    assert_setting(&ran, "pass_file", &secret, "flag --pass-file");
    assert_no_secret(&ran, "--pass-file");
    let ran = check(&POOL, &[("LODE_PASS", SECRET)]);
    assert_setting(&ran, "pass", "***", "variable LODE_PASS");
    assert_no_secret(&ran, "LODE_PASS");
    let ran = check(&[&POOL[..], &["-p", SECRET]].concat(), &[]);
    assert!(ran.stderr.contains("--pass stands in the process list"), "{}", ran.stderr);
    assert_no_secret(&ran, "-p");
    let path = folder.config("[[pool]]\nurl = \"a:1\"\nuser = \"b\"\npass_file = \"secret\"\n");
    assert_setting(&check(&[&path], &[]), "pass_file", "secret", "line 4");
}

#[cfg(unix)]
#[test]
fn a_password_that_everybody_can_read_is_pointed_out() {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let secret = folder.file("secret", SECRET);
    let config = folder.file("lode.toml", "[[pool]]\nurl = \"a:1\"\nuser = \"b\"\npass = \"hunter2\"\n");
    for (mode, warned) in [(0o644, true), (0o600, false)] {
        for path in [&secret, &config] {
            set_permissions(path, Permissions::from_mode(mode)).expect("ours");
        }
        let by_pass_file = check(&[&POOL[..], &["--pass-file", &shown(&secret)]].concat(), &[]);
        for ran in [by_pass_file, check(&[&shown(&config)], &[])] {
            assert_eq!(ran.code, Some(0), "{}", ran.stderr);
            assert_eq!(ran.stderr.contains("chmod 600"), warned, "{mode:o}: {}", ran.stderr);
            assert_no_secret(&ran, "mode");
        }
    }
}

#[test]
fn spellings_of_other_miners_are_understood() {
    let url = "--url=stratum+tcp://pool.example:3333";
    let cases: &[&[&str]] = &[
        &["-a", "sha256d", url, "--userpass=bob:x", "-t", "1"],
        &["--algo=SHA256d", url, "-u", "bob", "-p", "x", "-R", "5", "-T", "-k"],
        &[url, "-O", "bob:x", "-x", "socks5://127.0.0.1:9050", "-l", "log", "--print-time=60"],
        &[url, "--user=bob", "--pass=x", "--cpu-affinity", "0x3", "--quiet"],
        &[url, "--user=bob", "--isa", "-avx512,-avx2", "--verbose"],
    ];
    for args in cases {
        let ran = check(args, &[]);
        assert_eq!(ran.code, Some(0), "{args:?}: {}", ran.stderr);
        assert_setting(&ran, "user", "bob", "flag");
    }
}

#[test]
fn every_form_of_a_value_is_understood() {
    let cases = [
        ("time_limit", "--time-limit", ["90", "90s", "1.5m", "1h 30m", "1h30m"]),
        ("threads", "--threads", ["auto", "0", "1", "1024", "AUTO"]),
        ("limit", "--cpu-limit", ["1", "1%", "50 %", "99", "100%"]),
        ("affinity", "--cpu-affinity", ["0", "0-3", "0-3,5", "5,1", "0xff"]),
        ("temp_target", "--gpu-temp-target", ["40", "80", "60C", "60 °C", "84°C"]),
        ("isa", "--isa", ["auto", "portable", "-avx2", "-avx2,-avx512", "-sha-ni"]),
    ];
    for (key, flag, values) in cases {
        for value in values {
            assert_setting(&check(&[flag, value], &[]), key, value, flag);
        }
    }
}

#[test]
fn the_example_is_complete_and_in_force() {
    let example = lode(&["config", "example"], &[]);
    assert_eq!(example.code, Some(0));
    let keys =
        ["url", "user", "pass", "pass_file", "tls_ca", "proxy", "allow_reconnect", "suggest_difficulty"];
    let more = [
        "retry_pause",
        "threads",
        "isa",
        "affinity",
        "priority",
        "limit",
        "output",
        "interval",
        "log_file",
        "color",
    ];
    let gpu = ["devices", "intensity", "allow_cpu", "temp_target", "temp_cutoff", "key", "enabled"];
    let asic = ["key", "freq", "mv"];
    for key in keys.iter().chain(&more).chain(&gpu).chain(&asic) {
        let stands = |line: &str| line.trim_start_matches(['#', ' ']).starts_with(&format!("{key} = "));
        assert!(example.stdout.lines().any(stands), "the example lacks {key}");
    }
    let folder = Folder::new();
    let plain = folder.config(&example.stdout);
    assert_setting(&check(&[&plain], &[]), "user", "bob.rig1", "line");
    // Every commented key is right as well.
    let uncommented: Vec<&str> = example
        .stdout
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.starts_with("[[") || rest.split(" = ").next().is_some_and(is_key) => rest,
            _ => line,
        })
        .filter(|line| !line.starts_with("pass = "))
        .collect();
    folder.file("pool-password", SECRET);
    let authority = rcgen::generate_simple_self_signed(["pool.example".to_owned()]).expect("a certificate");
    folder.file("pool-ca.pem", authority.cert.pem());
    let full = folder.config(&uncommented.join("\n"));
    let ran = check(&[&full], &[]);
    assert_setting(&ran, "allow_reconnect", "eu.pool.example,us.pool.example:3334", "line");
    assert_setting(&ran, "url", "stratum+tcp://backup.example:3333", "line");
    assert_setting(&ran, "key", "gpu:0000:01:00.0", "line");
    assert_no_secret(&ran, "example");
}

fn is_key(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

#[test]
fn help_and_version_teach() {
    let bare = lode(&[], &[]);
    assert_eq!(bare.code, Some(2));
    assert!(
        bare.stderr.contains("Usage: lode <COMMAND>") && bare.stderr.contains("lode -o"),
        "{}",
        bare.stderr
    );
    let help = lode(&["mine", "--help"], &[]);
    assert_eq!(help.code, Some(0));
    for words in [
        "Pools:",
        "CPU:",
        "GPU:",
        "Limits:",
        "Reports:",
        "Examples:",
        "Exit codes:",
        "[default: 60s]",
        "LODE_URL",
    ] {
        assert!(help.stdout.contains(words), "no {words:?} in\n{}", help.stdout);
    }
    let version = lode(&["--version"], &[]);
    assert_eq!(version.code, Some(0));
    for fact in ["lode 0.", "commit: ", "target: ", "profile: ", "compiler: rustc 1.", "features: "] {
        assert!(version.stdout.contains(fact), "no {fact:?} in\n{}", version.stdout);
    }
    assert_eq!(lode(&["-V"], &[]).stdout, format!("lode {}\n", env!("CARGO_PKG_VERSION")));
    assert!(lode(&["completions", "bash"], &[]).stdout.contains("_lode"));
}

#[test]
fn other_commands_refuse_bad_values_too() {
    let cases: &[(&[&str], &[&str])] = &[
        (&["pool", "--listen", "here"], &["--listen is `here`", "127.0.0.1:3333"]),
        (&["pool", "--listen", "localhost:3333"], &["--listen", "an IP address"]),
        (&["pool", "--difficulty", "0"], &["--difficulty is `0`", "above 0"]),
        (&["bench", "-t", "x"], &["--threads is `x`"]),
        (&["bench", "--time", "1ns"], &["--time is `1ns`", "10ms to"]),
        (&["--benchmark", "-a", "scrypt"], &["--algo is `scrypt`"]),
        (&["-t", "x", "--benchmark"], &["--threads is `x`"]),
        (&["bench", "--isa", "z"], &["--isa is `z`"]),
        (&["devices", "x"], &["unexpected argument 'x'"]),
        (&["dig"], &["unrecognized subcommand 'dig'"]),
        (&["-t", "1", "bench"], &["the command comes first"]),
        (&["config"], &["check", "example"]),
    ];
    for (args, words) in cases {
        assert_refused(&lode(args, &[]), words, &args.join(" "));
    }
}

#[test]
fn errors_are_coloured_only_where_colour_is_wanted() {
    for env in [&[][..], &[("NO_COLOR", "1")], &[("TERM", "dumb")]] {
        let ran = lode(&["mine", "-t", "x"], env);
        assert!(!ran.stderr.contains('\u{1b}'), "{env:?}: {}", ran.stderr);
    }
    let ran = lode(&["mine", "-t", "x"], &[("CLICOLOR_FORCE", "1")]);
    assert!(ran.stderr.contains('\u{1b}'), "{}", ran.stderr);
    let ran = lode(&["mine", "-t", "x", "--no-color"], &[("CLICOLOR_FORCE", "1")]);
    assert!(!ran.stderr.contains('\u{1b}'), "{}", ran.stderr);
}

#[test]
fn no_color_yields_to_flag_and_own_variable_only() {
    let folder = Folder::new();
    let path = folder.config("[report]\ncolor = \"always\"\n");
    let no_color = ("NO_COLOR", "1");
    assert_setting(&check(&[&path], &[no_color]), "color", "never", "variable NO_COLOR");
    assert_setting(&check(&[&path], &[]), "color", "always", "line 2");
    assert_setting(&check(&[&path, "--color", "auto"], &[no_color]), "color", "auto", "flag --color");
    assert_setting(&check(&[&path], &[no_color, ("LODE_COLOR", "always")]), "color", "always", "LODE_COLOR");
}
