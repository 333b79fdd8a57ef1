//! Which crate and which module may know which: the arrows of docs/architecture.md, held by test.
//!
//! Every rule is a function from what it reads to the sentences it complains about, and is shown here to complain.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

#[path = "architecture/source.rs"]
mod source;

/// What a crate of ours may depend on among our own, in code and in its tests. A crate that is not listed has no seat.
const OURS: [(&str, &[&str], &[&str]); 8] = [
    ("miner-core", &[], &[]),
    ("miner-gpu", &["miner-core"], &["testkit"]),
    ("miner-asic", &["miner-core"], &["asic-emulator", "testkit"]),
    ("stratum", &["miner-core"], &["practice-pool", "testkit"]),
    ("practice-pool", &[], &[]),
    ("asic-emulator", &[], &[]),
    ("testkit", &["miner-core", "stratum", "practice-pool", "asic-emulator"], &[]),
    (
        "lode",
        &["miner-core", "miner-gpu", "miner-asic", "stratum", "practice-pool", "asic-emulator"],
        &["testkit"],
    ),
];

/// The crates that may use tokio; stratum only behind its feature `io`.
const TOKIO: [&str; 4] = ["stratum", "practice-pool", "testkit", "lode"];

/// What must not be reached from miner-core by any path, with everything whose name starts so.
const NOT_IN_CORE: [&str; 4] = ["tokio", "serde", "clap", "wgpu"];

#[test]
fn no_crate_depends_on_a_crate_it_must_not_know() {
    assert_none(&crate_arrows(&metadata()));
}

#[test]
fn only_the_shells_use_tokio() {
    assert_none(&tokio_users(&metadata()));
}

#[test]
fn the_core_reaches_no_runtime_and_no_user_interface() {
    assert_none(&reached_from_core(&metadata()));
}

#[test]
fn modules_keep_to_their_arrows() {
    assert_none(&source::violations(&rust_files(&["miner-core/src", "stratum/src", "practice-pool/src"])));
}

#[test]
fn every_member_obeys_the_lints_of_the_workspace() {
    let root = read("clippy.toml");
    for folder in member_folders(&metadata()) {
        let manifest = read(&format!("{folder}/Cargo.toml"));
        assert!(inherits_lints(&manifest), "{folder}/Cargo.toml lacks `[lints] workspace = true`");
        // Clippy reads the nearest clippy.toml and no other.
        if let Ok(own) = fs::read_to_string(root_folder().join(&folder).join("clippy.toml")) {
            assert_eq!(
                missing_settings(&root, &own),
                [""; 0],
                "{folder}/clippy.toml lacks settings of the root's"
            );
        }
    }
}

#[test]
fn no_profile_aborts_on_panic() {
    let mut files = vec!["fuzz/Cargo.toml".to_owned(), ".cargo/config.toml".to_owned()];
    files.extend(member_folders(&metadata()).iter().map(|folder| format!("{folder}/Cargo.toml")));
    for file in files.iter().filter(|file| root_folder().join(file).exists()) {
        assert!(!aborts_on_panic(&read(file)), "{file}: a driver must leave its device safe on panic (R11)");
    }
}

#[test]
fn a_forbidden_crate_is_noticed() {
    let depends = |from: &str, on: &str, kind: Option<&str>| {
        let dependency = json!({ "name": on, "kind": kind, "optional": false });
        json!({ "packages": [{ "name": from, "source": null, "dependencies": [dependency], "features": {} },
                             { "name": on, "source": null, "dependencies": [], "features": {} }] })
    };
    for (from, on, kind) in [
        ("miner-core", "stratum", None),
        ("miner-core", "practice-pool", Some("dev")),
        ("practice-pool", "miner-core", None),
        ("asic-emulator", "miner-core", Some("dev")),
        ("stratum", "miner-gpu", None),
        ("miner-asic", "stratum", None),
        ("stratum", "lode", Some("dev")),
        ("newcomer", "miner-core", None),
    ] {
        assert!(!crate_arrows(&depends(from, on, kind)).is_empty(), "{from} -> {on} passes");
    }
    assert_none(&crate_arrows(&depends("stratum", "miner-core", None)));
    assert_none(&crate_arrows(&depends("stratum", "practice-pool", Some("dev"))));
}

#[test]
fn a_forbidden_use_of_tokio_is_noticed() {
    let uses = |name: &str, optional: bool, features: Value| {
        let tokio = json!({ "name": "tokio", "kind": null, "optional": optional });
        json!({ "packages": [{ "name": name, "source": null, "dependencies": [tokio], "features": features }] })
    };
    let io = json!({ "io": ["dep:tokio"], "default": ["io"] });
    assert!(!tokio_users(&uses("miner-gpu", false, json!({}))).is_empty());
    assert!(!tokio_users(&uses("stratum", false, io.clone())).is_empty());
    assert!(
        !tokio_users(&uses("stratum", true, json!({ "io": ["dep:tokio"], "v2": ["tokio/net"] }))).is_empty()
    );
    assert_none(&tokio_users(&uses("stratum", true, io)));
    assert_none(&tokio_users(&uses("practice-pool", false, json!({}))));
}

#[test]
fn what_the_core_reaches_through_others_is_noticed() {
    let edge = |on: &str, kind: Option<&str>| json!({ "pkg": on, "dep_kinds": [{ "kind": kind }] });
    let graph = |last: Option<&str>| {
        json!({
            "packages": [{ "name": "miner-core", "id": "core" }, { "name": "hex", "id": "hex" },
                         { "name": "serde_core", "id": "serde" }],
            "resolve": { "nodes": [{ "id": "core", "deps": [edge("hex", None)] },
                                   { "id": "hex", "deps": [edge("serde", last)] }, { "id": "serde", "deps": [] }] }
        })
    };
    assert_eq!(reached_from_core(&graph(None)), ["miner-core reaches serde_core"]);
    assert_none(&reached_from_core(&graph(Some("dev"))));
}

#[test]
fn lost_settings_and_aborting_profiles_are_noticed() {
    assert_eq!(missing_settings("# why\na = 1\nb = 2\n", "b = 2\nc = 3\n"), ["a = 1"]);
    assert!(!inherits_lints("[package]\nname = \"x\"\n[lints.rust]\n"));
    assert!(inherits_lints("[lints]\nworkspace = true\n"));
    for text in ["panic = \"abort\"", "panic='abort'", "rustflags = [\"-Cpanic=abort\"]"] {
        assert!(aborts_on_panic(text), "{text}");
    }
    assert!(!aborts_on_panic("# never panic = \"abort\"\npanic = \"unwind\""));
}

/// Dependencies among our own crates that [`OURS`] does not allow.
fn crate_arrows(metadata: &Value) -> Vec<String> {
    let packages = our_packages(metadata);
    let names: BTreeSet<&str> = packages.iter().map(|package| text(&package["name"])).collect();
    let mut wrong = Vec::new();
    for package in &packages {
        let name = text(&package["name"]);
        let rule = OURS.iter().find(|(listed, ..)| *listed == name);
        if rule.is_none() && names.contains(name) && !dependencies(package).is_empty() {
            wrong.push(format!("{name} has no seat among the crates: give it one in OURS"));
        }
        let Some((_, in_code, in_tests)) = rule else { continue };
        for dependency in dependencies(package).iter().filter(|on| names.contains(text(&on["name"]))) {
            let on = text(&dependency["name"]);
            let in_test = dependency["kind"] == "dev" && in_tests.contains(&on);
            if !in_code.contains(&on) && !in_test {
                wrong.push(format!("{name} -> {on}"));
            }
        }
    }
    wrong
}

/// Our crates that depend on tokio and must not, or not in this way. Tests may use it anywhere.
fn tokio_users(metadata: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    for package in our_packages(metadata) {
        let name = text(&package["name"]);
        let tokio = |on: &&Value| text(&on["name"]).starts_with("tokio") && on["kind"] != "dev";
        for dependency in dependencies(package).iter().filter(tokio) {
            let on = text(&dependency["name"]);
            if !TOKIO.contains(&name) {
                wrong.push(format!("{name} -> {on}"));
            } else if name == "stratum" && dependency["optional"] != true {
                wrong.push(format!("stratum -> {on} without the feature io"));
            }
        }
        let features = package["features"].as_object().into_iter().flatten();
        for (feature, enables) in features.filter(|(feature, _)| name == "stratum" && *feature != "io") {
            if enables.as_array().into_iter().flatten().any(|what| text(what).contains("tokio")) {
                wrong.push(format!("stratum's feature {feature} switches tokio on"));
            }
        }
    }
    wrong
}

/// Crates of [`NOT_IN_CORE`] that miner-core is built with, however far away.
fn reached_from_core(metadata: &Value) -> Vec<String> {
    let names: BTreeMap<&str, &str> = array(&metadata["packages"])
        .iter()
        .map(|package| (text(&package["id"]), text(&package["name"])))
        .collect();
    let nodes: BTreeMap<&str, &Value> =
        array(&metadata["resolve"]["nodes"]).iter().map(|node| (text(&node["id"]), node)).collect();
    let core = names.iter().find(|(_, name)| **name == "miner-core").expect("miner-core is a member").0;
    let (mut seen, mut open) = (BTreeSet::new(), vec![*core]);
    while let Some(id) = open.pop() {
        if seen.insert(id) {
            let built_with =
                |edge: &&Value| array(&edge["dep_kinds"]).iter().any(|kind| kind["kind"] != "dev");
            open.extend(array(&nodes[id]["deps"]).iter().filter(built_with).map(|edge| text(&edge["pkg"])));
        }
    }
    let forbidden = |name: &&str| NOT_IN_CORE.iter().any(|start| name.starts_with(start));
    seen.iter()
        .map(|id| names[id])
        .filter(forbidden)
        .map(|name| format!("miner-core reaches {name}"))
        .collect()
}

/// Lines of the root's clippy.toml that a crate's own does not repeat.
fn missing_settings<'a>(root: &'a str, own: &str) -> Vec<&'a str> {
    let set = |line: &&str| !line.is_empty() && !line.starts_with('#');
    root.lines().filter(set).filter(|line| !own.lines().any(|other| other == *line)).collect()
}

fn inherits_lints(manifest: &str) -> bool {
    manifest.contains("[lints]\nworkspace = true\n")
}

fn aborts_on_panic(toml: &str) -> bool {
    let code = toml.lines().map(|line| line.split('#').next().unwrap_or(line));
    let bare: String =
        code.flat_map(str::chars).filter(|c| !c.is_whitespace() && !"\"'".contains(*c)).collect();
    bare.contains("panic=abort")
}

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--all-features"])
        .current_dir(root_folder())
        .output()
        .expect("cargo runs: it started this test");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
}

fn member_folders(metadata: &Value) -> Vec<String> {
    let root = root_folder();
    let folder = |package: &&Value| {
        let manifest = Path::new(text(&package["manifest_path"])).to_owned();
        let inside = manifest.parent().and_then(|folder| folder.strip_prefix(&root).ok());
        let inside =
            inside.expect("members lie below the root").to_str().expect("our folders are plain ASCII");
        if inside.is_empty() { ".".to_owned() } else { inside.to_owned() }
    };
    our_packages(metadata).iter().map(folder).collect()
}

/// Every `.rs` file below the folders: its path from the root, and its text.
fn rust_files(folders: &[&str]) -> Vec<(String, String)> {
    let root = root_folder();
    let mut open: Vec<PathBuf> = folders.iter().map(|folder| root.join(folder)).collect();
    let mut files = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("a source folder can be listed");
            open.extend(entries.map(|entry| entry.expect("a source folder can be listed").path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name =
                path.strip_prefix(&root).expect("it lies below the root").to_str().expect("plain ASCII");
            files.push((name.to_owned(), read(name)));
        }
    }
    assert!(files.len() >= folders.len(), "no sources below {folders:?}");
    files
}

fn our_packages(metadata: &Value) -> Vec<&Value> {
    array(&metadata["packages"]).iter().filter(|package| package["source"].is_null()).collect()
}

fn dependencies(package: &Value) -> &[Value] {
    array(&package["dependencies"])
}

fn root_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    fs::read_to_string(root_folder().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string in cargo's metadata")
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn assert_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}
