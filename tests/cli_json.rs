//! What `--json` prints: the rules of docs/JSON.md, held against what every command says.
#![allow(clippy::unwrap_used, reason = "a test that can't go on shall panic")]

mod cli_util;
#[path = "common/skip.rs"]
mod skip;

use cli_util::World;
use serde_json::Value;
use std::fs;

/// Spellings of what has one name: a unit or a kind of name that the rules have another word for.
const FOREIGN: &[&str] =
    &["duration", "seconds", "time", "since", "created", "modified", "stored", "total", "unmounted"];
const FOREIGN_ENDS: &[&str] = &["_ms", "_us", "_ns", "_s", "_secs", "_time", "_size", "_count", "_kb"];
const DIGESTS: &[&str] =
    &["manifest", "base", "parent", "root", "replaced", "links", "last_snapshot", "old", "new", "digest"];
const COUNTS: &[&str] = &[
    "entries",
    "files",
    "regular_files",
    "bytes",
    "size",
    "new_blobs",
    "new_trees",
    "deduplicated",
    "records",
    "nlink",
    "pid",
];
const MODES: &[&str] = &["ro", "layer", "tmpfs"];

fn is_moment(text: &str) -> bool {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape.starts_with("0000-00-00T00:00:00") && shape.ends_with('Z')
}

fn hold(what: &str, key: &str, value: &Value) {
    let told = format!("{what}: {key}: {value}");
    assert!(key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'), "{told}");
    assert!(!FOREIGN.contains(&key) && !FOREIGN_ENDS.iter().any(|end| key.ends_with(end)), "{told}");
    if value.is_null() {
        return;
    }
    if key.ends_with("_at") || key == "mtime" {
        assert!(value.as_str().is_some_and(is_moment), "{told}");
    }
    if key.ends_with("_seconds") {
        assert!(value.as_f64().is_some_and(|span| span >= 0.0), "{told}");
    }
    // a list is named for what it holds, which may be entries
    if (COUNTS.contains(&key) || key.ends_with("_bytes")) && !value.is_array() {
        assert!(value.is_u64(), "{told}");
    }
    if DIGESTS.contains(&key) {
        let is_digest = |text: &str| text.len() == 64 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        assert!(value.as_str().is_some_and(is_digest), "{told}");
    }
    if key == "mode" {
        let mode = value.as_str().unwrap_or_default();
        assert!(MODES.contains(&mode) || (mode.len() == 4 && u32::from_str_radix(mode, 8).is_ok()), "{told}");
    }
}

/// Holds a document to the rules. Labels are a person's own keys.
fn check(what: &str, value: &Value) {
    match value {
        Value::Object(fields) => fields.iter().filter(|(key, _)| *key != "labels").for_each(|(key, value)| {
            hold(what, key, value);
            check(what, value);
        }),
        Value::Array(values) => values.iter().for_each(|value| check(what, value)),
        _ => {}
    }
}

/// Runs a command, holds what it prints to the rules, and checks that it has these keys.
fn run(world: &World, args: &[&str], keys: &[&str]) -> Value {
    let value = world.json(args);
    let fields = value.as_object().unwrap_or_else(|| panic!("{args:?}: {value}"));
    for key in keys {
        assert!(fields.contains_key(*key), "{args:?} doesn't tell {key}: {value}");
    }
    check(&args.join(" "), &value);
    value
}

/// The first of a list has these keys.
fn first(value: &Value, list: &str, keys: &[&str]) {
    for key in keys {
        assert!(value[list][0].get(key).is_some(), "{list} don't tell {key}: {value}");
    }
}

#[test]
fn what_the_store_tells_keeps_the_rules() {
    let world = World::empty();
    run(&world, &["init"], &["store"]);
    fs::create_dir_all(world.path("src/etc")).unwrap();
    fs::write(world.path("src/etc/hello"), "hello\n").unwrap();
    let totals = ["entries", "files", "bytes"];
    let made = run(&world, &["import", world.str("src"), "a", "--label", "time=x"], &totals);
    assert_eq!(made["new_blobs"].as_u64().unwrap() + made["deduplicated"].as_u64().unwrap(), made["regular_files"]);
    run(&world, &["import", world.str("src"), "a"], &["replaced", "new_bytes", "duration_seconds"]);
    run(&world, &["export", "a", world.str("out")], &totals);
    first(
        &run(&world, &["refs"], &[]),
        "refs",
        &["name", "manifest", "kind", "created_at", "parent", "entries", "bytes"],
    );
    run(&world, &["refs", "set", "b", "a"], &["name", "manifest", "replaced"]);
    run(&world, &["rm", "ref", "b", "-n"], &["name", "manifest", "dry_run"]);
    run(&world, &["rm", "ref", "b"], &["name", "manifest", "dry_run"]);
    run(&world, &["refs", "undo", "b"], &["name", "manifest"]);
    first(&run(&world, &["refs", "history", "b"], &["name"]), "history", &["changed_at", "op", "old", "new"]);
    let shown = run(&world, &["show", "a"], &["manifest", "created_at", "labels", "entries", "files", "bytes", "root"]);
    assert_eq!(totals.map(|key| &shown[key]), totals.map(|key| &made[key]));
    first(
        &run(&world, &["ls", "-R", "a"], &["manifest"]),
        "entries",
        &["path", "kind", "mode", "size", "mtime", "digest"],
    );
    for more in [&["-n"][..], &[]] {
        let args = [&["gc", "--grace", "90s"], more].concat();
        let report = run(&world, &args, &["scanned", "live", "freed_bytes", "duration_seconds"]);
        assert_eq!(
            (report["grace_seconds"].as_f64(), report["dry_run"].as_bool()),
            (Some(90.0), Some(more.len() == 1))
        );
    }
    let doctor = run(&world, &["doctor"], &[]);
    for one in doctor["checks"].as_array().unwrap() {
        assert_eq!(one["remedy"].is_null(), one["verdict"] == "good", "{one}");
    }
    run(&world, &["man", world.str("man")], &["pages"]);
}

#[test]
fn what_mounts_and_layers_tell_keeps_the_rules() {
    let world = World::new();
    let mnt = world.dir("mnt");
    let mounted = ["mountpoint", "ref", "manifest", "mode", "layer", "pid", "mounted_at", "state", "socket", "log"];
    let mount = run(&world, &["mount", "debian", mnt, "--layer", "work"], &mounted);
    assert_eq!(mount["mode"], "layer");
    first(&run(&world, &["mounts"], &[]), "mounts", &mounted);
    fs::write(world.path("mnt/new"), "x").unwrap();
    first(&run(&world, &["diff", mnt], &[]), "changes", &["change", "path"]);
    let stats = run(&world, &["stats", mnt], &["mode", "uptime_seconds", "layer_bytes"]);
    let help = world.run(&["stats", "--help"]);
    for key in stats.as_object().unwrap().keys().filter(|key| !key.starts_with("op_")) {
        assert!(help.split([' ', ',', '\n']).any(|word| word == key), "the help doesn't tell {key}");
    }
    let config: Value = serde_json::from_str(&fs::read_to_string(world.path("mnt/.ctl/config.json")).unwrap()).unwrap();
    check("config.json", &config);
    assert_eq!(config["mounted_at"], mount["mounted_at"]);
    let taken =
        run(&world, &["snapshot", mnt, "snap"], &["entries", "files", "bytes", "freeze_seconds", "being_written"]);
    let last: Value = serde_json::from_str(&fs::read_to_string(world.path("mnt/.ctl/cmd")).unwrap()).unwrap();
    check("cmd", &last);
    assert_eq!(last["result"], taken);
    assert_eq!(run(&world, &["show", "--layer", "work"], &["name", "base", "mode"])["mode"], "layer");
    let skipped = run(&world, &["fsck"], &[]);
    first(&skipped, "layers", &["name", "sound", "problems", "skipped"]);
    assert_eq!(run(&world, &["umount", mnt], &[])["mountpoint"], mnt);
    let layers = run(&world, &["layers"], &[]);
    first(&layers, "layers", &["name", "base", "last_snapshot", "mode", "quota", "created_at", "mountpoint", "pid"]);
    first(&run(&world, &["fsck"], &[]), "layers", &["name", "sound", "problems", "records", "duration_seconds"]);
    run(&world, &["rm", "layer", "work", "-n"], &["name", "base", "dry_run"]);
    run(&world, &["rm", "layer", "work"], &["name", "base", "dry_run"]);
}

#[test]
fn every_error_says_what_why_and_what_to_do() {
    let world = World::new();
    fs::write(world.path("odd.tar"), "this is no archive").unwrap();
    fs::write(world.path("file"), "").unwrap();
    let tree = world.json(&["show", "debian"])["root"].as_str().unwrap().to_owned();
    let (nowhere, beneath) = (world.str("nowhere/x.tar"), world.str("file/x"));
    let failing: &[(i32, &str, &[&str])] = &[
        (2, "usage", &["nope"]),
        (2, "usage", &["show"]),
        (2, "usage", &["import", world.str("src"), "x", "--created", "yesterday"]),
        (2, "usage", &["import", world.str("src"), "x", "--exclude", ""]),
        (2, "usage", &["gc", "--grace", "soon"]),
        (3, "not_found", &["show", "nope"]),
        (3, "not_found", &["show", &tree]),
        (3, "not_found", &["show", &tree[..6]]),
        (3, "not_found", &["refs", "undo", "nope"]),
        (3, "not_found", &["refs", "undo", "debian"]),
        (3, "not_found", &["rm", "layer", "nope"]),
        (3, "not_found", &["umount", world.str("src")]),
        (3, "not_found", &["import", world.str("nope"), "x"]),
        (3, "not_found", &["export", "debian", nowhere]),
        (3, "not_found", &["export", "nope", world.str("out")]),
        (1, "failed", &["export", "debian", beneath]),
        (1, "failed", &["import", world.str("odd.tar"), "x"]),
        (3, "not_found", &["cat", "debian:/etc/nope"]),
        (4, "refused", &["export", "debian", world.str("src")]),
        (32, "not_found", &["mount", "debian", world.str("nope")]),
        (32, "failed", &["mount", "debian", world.str("file")]),
    ];
    for (exit, code, args) in failing {
        let error = world.fail_json(*exit, args);
        assert_eq!(error["code"], *code, "{args:?}: {error}");
        assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{args:?}: {error}");
        assert!(error["causes"].is_array(), "{args:?}: {error}");
        assert!(error["help"].as_str().is_some_and(|text| !text.is_empty()), "{args:?}: {error}");
        assert_eq!(error.as_object().unwrap().len(), 4, "{args:?}: {error}");
    }
    let help = |args: &[&str]| world.fail_json(3, args)["help"].as_str().unwrap().to_owned();
    assert!(help(&["show", &tree]).contains("cairnfs cat"));
    assert!(help(&["show", &tree[..6]]).contains("first 8 digits"));
    assert!(help(&["export", "debian", nowhere]).contains("directory above it"));
}

#[test]
fn a_store_that_may_not_be_written_says_who_may() {
    if !nix::unistd::geteuid().is_root() {
        return skip::skipped("needs root, to be somebody else");
    }
    let world = World::new();
    fs::create_dir(world.path("theirs")).unwrap();
    let nobody = |args: &[&str]| {
        let mut command = std::process::Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(env!("CARGO_BIN_EXE_cairnfs"));
        let output = command.args(["--json"]).args(args).output().unwrap();
        assert!(!output.status.success(), "{args:?}");
        let error: Value = serde_json::from_slice(&output.stderr).unwrap();
        error["error"]["help"].as_str().unwrap_or_else(|| panic!("{args:?}: {error}")).to_owned()
    };
    for args in [
        &["--store", world.str("theirs/s"), "init"][..],
        &["--store", world.str("store"), "refs", "set", "x", "debian"],
    ] {
        assert!(nobody(args).contains("owner"), "{args:?}");
    }
}
