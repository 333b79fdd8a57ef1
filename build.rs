//! Hands the facts of the build to `src/version.rs`. Nothing in them depends on when or by whom lode is built.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let var = |name: &str| env::var(name).unwrap_or_else(|_| "unknown".to_owned());
    let rustc = output(Command::new(var("RUSTC")).arg("--version"));
    fact("COMMIT", &commit(Path::new(&var("CARGO_MANIFEST_DIR"))).unwrap_or_else(|| "unknown".to_owned()));
    fact("TARGET", &var("TARGET"));
    fact("PROFILE", &var("PROFILE"));
    fact("RUSTC", rustc.as_deref().unwrap_or("unknown"));
    fact("FEATURES", &features());
}

fn fact(name: &str, value: &str) {
    println!("cargo::rustc-env=BUILD_{name}={value}");
}

fn features() -> String {
    let on = ["gpu", "asic"]
        .into_iter()
        .filter(|name| env::var_os(format!("CARGO_FEATURE_{}", name.to_uppercase())).is_some());
    let on: Vec<&str> = on.collect();
    if on.is_empty() { "none".to_owned() } else { on.join(" ") }
}

/// The commit that is checked out, where this is a checkout of its own and not a copy inside another project's.
fn commit(root: &Path) -> Option<String> {
    let git = |args: &[&str]| output(Command::new("git").arg("-C").arg(root).args(args));
    let top = git(&["rev-parse", "--show-toplevel"])?;
    if Path::new(&top).canonicalize().ok()? != root.canonicalize().ok()? {
        return None;
    }
    // The reflog grows with every change of HEAD, by commit or by checkout.
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"])?;
    let log = root.join(log);
    if log.exists() {
        println!("cargo::rerun-if-changed={}", log.display());
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}
