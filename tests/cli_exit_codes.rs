//! Exit codes, and errors that name what, why and what to do.
#![allow(clippy::unwrap_used, reason = "a test that can't go on shall panic")]

mod cli_util;

use cli_util::{World, program};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

#[test]
fn a_wrong_command_line_is_2_and_of_mount_1() {
    let world = World::empty();
    world.fail(2, &["refs", "--nosuch"]);
    world.fail(2, &["nosuch"]);
    world.fail(2, &["import", "/tmp", "bad name"]);
    world.fail(2, &["gc", "--grace", "soon"]);
    world.fail(1, &["mount", "debian"]);
    world.fail(1, &["--json", "mount", "debian"]);
    world.fail(1, &["mount", "debian", "/mnt", "--layer", "a", "--tmpfs"]);
    world.fail(1, &["mount", "debian", "/mnt", "-o", "nosuch"]);
    let error = world.fail_json(2, &["refs", "nosuch"]);
    assert_eq!(error["code"], "usage");
    assert!(error["message"].as_str().unwrap().contains("nosuch"), "{error}");
}

#[test]
fn no_arguments_show_the_help_and_are_usage() {
    let output = program().assert().code(2);
    assert!(String::from_utf8_lossy(&output.get_output().stderr).contains("Usage:"));
}

#[test]
fn a_store_that_is_not_there_is_3_and_says_how_to_make_it() {
    let world = World::empty();
    let text = world.fail(3, &["refs"]);
    assert!(text.starts_with("cairnfs: can't open the store"), "{text}");
    assert!(text.contains("\nhelp: ") && text.contains("init"), "{text}");
    let error = world.fail_json(3, &["refs"]);
    assert_eq!(error["code"], "not_found");
    assert!(error["causes"][0].as_str().unwrap().contains("store"));
    assert!(error["help"].as_str().unwrap().contains("init"));
}

#[test]
fn an_unknown_ref_is_3_and_suggests_near_ones() {
    let world = World::new();
    for args in [
        &["show", "debain"][..],
        &["ls", "debain"],
        &["cat", "debain:/etc/hello"],
        &["rm", "ref", "debain"],
        &["refs", "history", "debain"],
    ] {
        let text = world.fail(3, args);
        assert!(text.contains("`debain`") && text.contains("help: did you mean `debian`?"), "{args:?}: {text}");
    }
    let text = world.fail(32, &["mount", "debain", world.dir("mnt")]);
    assert!(text.contains("can't mount `debain` on") && text.contains("did you mean `debian`?"), "{text}");
    world.fail(3, &["ls", "debian", "/etc/nosuch"]);
    world.fail(3, &["show", "--layer", "nosuch"]);
    world.fail(3, &["rm", "layer", "nosuch"]);
    world.fail(3, &["import", world.str("nosuch"), "x"]);
    world.fail(3, &["umount", world.dir("mnt")]);
    world.fail(3, &["stats", world.dir("mnt")]);
}

#[test]
fn a_store_of_another_version_is_refused_and_both_versions_are_named() {
    let world = World::new();
    let stamp = world.path("store/format");
    let text = fs::read_to_string(&stamp).unwrap();
    fs::set_permissions(&stamp, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&stamp, text.replace("\"format\":1", "\"format\":77").replace("\"format\": 1", "\"format\": 77"))
        .unwrap();
    let text = world.fail(4, &["refs"]);
    assert!(text.contains("77") && text.contains("version 1") && text.contains("help: "), "{text}");
    world.fail(32, &["mount", "debian", world.dir("mnt")]);
}

#[test]
fn corruption_is_5_and_names_the_object() {
    let world = World::new();
    let tree = world.json(&["show", "debian"])["root"].as_str().unwrap().to_owned();
    let object = world.path("store/objects").join(&tree[..2]).join(&tree[2..]);
    fs::set_permissions(&object, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&object, "damaged").unwrap();
    let text = world.fail(5, &["ls", "debian"]);
    assert!(text.contains(&tree) && text.contains("help: "), "{text}");
    assert_eq!(world.fail_json(5, &["ls", "debian"])["code"], "corrupt");
}

#[test]
fn a_file_whose_bytes_changed_is_not_passed_off_as_good() {
    let world = World::new();
    let entries = world.json(&["ls", "debian", "/etc"])["entries"].clone();
    let digest = entries[0]["digest"].as_str().unwrap().to_owned();
    let object = world.path("store/objects").join(&digest[..2]).join(&digest[2..]);
    fs::set_permissions(&object, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&object, "jello\n").unwrap();
    let assert = world.cairnfs(&["cat", "debian:/etc/hello"]).assert().code(5);
    let text = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    assert!(text.contains(&digest) && text.contains("corrupt"), "{text}");
}

#[test]
fn a_failure_is_1_and_a_refusal_4() {
    let world = World::new();
    world.fail(1, &["cat", "debian:/etc/link"]);
    let text = world.fail(4, &["refs", "set", "debian/x", "debian"]);
    assert!(text.contains("help: "), "{text}");
}

#[test]
fn a_reader_that_goes_away_is_no_panic_and_no_success() {
    let world = World::new();
    let big = world.path("src/big");
    fs::write(&big, vec![b'x'; 4 << 20]).unwrap();
    world.run(&["import", "-q", world.str("src"), "big"]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_cairnfs"))
        .env("CAIRNFS_STORE", world.path("store"))
        .args(["cat", "big:/big"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let world = World::new();
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_cairnfs"))
        .env("CAIRNFS_STORE", world.path("store"))
        .args(["refs"])
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("can't write standard output"));
}
