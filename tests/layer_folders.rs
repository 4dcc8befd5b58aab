//! Folders of layers that somebody else than the program changed: two processes never have one layer, and one odd folder hides no other.
#![allow(clippy::unwrap_used, reason = "a test that can't go on shall panic")]

mod cli_util;
#[path = "common/skip.rs"]
mod skip;

use cli_util::World;
use skip::possible;
use std::fs;
use std::process::Command;

/// What a command says that fails with `code` after it has listed: standard output and standard error.
fn both(world: &World, code: i32, args: &[&str]) -> (String, String) {
    let assert = world.cairnfs(args).assert().code(code);
    let output = assert.get_output();
    (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn copy(world: &World, from: &str, to: &str) {
    let status = Command::new("cp").arg("-a").args([world.path(from), world.path(to)]).status();
    assert!(status.unwrap().success());
}

#[test]
fn a_layer_in_use_stays_in_use_without_its_lock_file() {
    if !possible(&[]) {
        return;
    }
    let world = World::new();
    let mnt = world.mount("mnt", &["--layer", "work"]);
    fs::write(mnt.join("file"), "content").unwrap();
    let lock = world.path("store/layers/work/lock");
    let other = ["mount", "debian", world.dir("other"), "--layer", "work"];
    for made_again in [false, true] {
        fs::remove_file(&lock).unwrap();
        if made_again {
            fs::write(&lock, "").unwrap();
        }
        let text = world.fail(32, &other);
        assert!(text.contains("layer `work` is in use by"), "{text}");
        let (_, text) = both(&world, 4, &["fsck", "work"]);
        assert!(text.contains("in use by"), "{text}");
        world.fail(4, &["rm", "layer", "work"]);
        assert!(world.json(&["layers"])["layers"][0]["mountpoint"].as_str().is_some());
        fs::write(&lock, "").unwrap();
    }
    fs::remove_file(&lock).unwrap();
    world.run(&["umount", "-q", world.str("mnt")]);
    // One that nobody has is used, checked and removed as ever.
    world.run(&["fsck", "work"]);
    let mnt = world.mount("mnt", &["--layer", "work"]);
    assert_eq!(fs::read_to_string(mnt.join("file")).unwrap(), "content");
    let text = world.fail(32, &other);
    assert!(text.contains("in use by process") && text.contains("/mnt"), "who has it is told again: {text}");
    world.run(&["umount", "-q", world.str("mnt")]);
    fs::remove_file(&lock).unwrap();
    world.run(&["rm", "layer", "work"]);
}

#[test]
fn a_copied_layer_is_told_as_one_keeps_its_base_and_is_used_once_it_has_a_name() {
    if !possible(&[]) {
        return;
    }
    let world = World::new();
    let mnt = world.mount("mnt", &["--layer", "work"]);
    fs::write(mnt.join("file"), "content").unwrap();
    world.run(&["umount", "-q", world.str("mnt")]);
    copy(&world, "store/layers/work", "store/layers/backup");
    let (text, error) = both(&world, 5, &["layers"]);
    let line = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{text}"));
    assert!(!line("work ").contains("copy") && line("backup ").contains("copy of work"), "{text}");
    for word in ["layers/backup", "`work`", "\"name\": \"backup\"", "`cairnfs rm layer backup`"] {
        assert!(error.contains(word), "no {word}: {error}");
    }
    let (value, _) = both(&world, 5, &["--json", "layers"]);
    let value: serde_json::Value = serde_json::from_str(&value).unwrap();
    assert_eq!((&value["layers"][0]["name"], &value["layers"][1]["name"]), (&"work".into(), &"backup".into()));
    assert_eq!(value["layers"][1]["error"]["code"], "corrupt");

    let text = world.fail(32, &["mount", "debian", world.str("mnt"), "--layer", "backup"]);
    assert!(text.contains("\"name\": \"backup\""), "{text}");
    let (text, _) = both(&world, 5, &["fsck"]);
    assert!(text.contains("work: clean"), "{text}");
    world.mount("mnt", &["--layer", "work"]);
    world.run(&["umount", "-q", world.str("mnt")]);

    // A collection goes on, and keeps what the copy stands on when nothing else does.
    world.run(&["rm", "layer", "work"]);
    world.run(&["rm", "ref", "debian"]);
    world.run(&["gc", "--grace", "0s"]);
    let config = world.path("store/layers/backup/layer.json");
    let text = fs::read_to_string(&config).unwrap();
    assert!(text.contains("\"name\": \"work\""), "{text}");
    fs::write(&config, text.replace("\"name\": \"work\"", "\"name\": \"backup\"")).unwrap();
    let base = world.json(&["layers"])["layers"][0]["base"].as_str().unwrap().to_owned();
    world.run(&["mount", "-q", &base, world.str("mnt"), "--layer", "backup"]);
    assert_eq!(fs::read_to_string(mnt.join("file")).unwrap(), "content");
    assert_eq!(fs::read_to_string(mnt.join("etc/hello")).unwrap(), "hello\n");
    world.run(&["umount", "-q", world.str("mnt")]);
}

#[test]
fn a_copied_layer_can_be_removed() {
    if !possible(&[]) {
        return;
    }
    let world = World::new();
    world.mount("mnt", &["--layer", "work"]);
    world.run(&["umount", "-q", world.str("mnt")]);
    copy(&world, "store/layers/work", "store/layers/backup");
    assert!(world.json(&["rm", "layer", "backup", "-n"])["base"].is_string());
    world.run(&["rm", "layer", "backup"]);
    assert_eq!(world.json(&["layers"])["layers"].as_array().unwrap().len(), 1);
}

#[test]
fn what_can_be_no_layer_by_its_name_hides_no_layer() {
    if !possible(&[]) {
        return;
    }
    let world = World::new();
    world.mount("mnt", &["--layer", "work"]);
    world.run(&["umount", "-q", world.str("mnt")]);
    world.dir("store/layers/copy of work");
    let (text, error) = both(&world, 5, &["layers"]);
    assert!(text.lines().any(|line| line.starts_with("work ")), "{text}");
    assert!(text.lines().any(|line| line.starts_with("copy of work") && line.contains("no layer")), "{text}");
    assert!(error.contains("layers/copy of work"), "{error}");
    let (value, _) = both(&world, 5, &["--json", "layers"]);
    let value: serde_json::Value = serde_json::from_str(&value).unwrap();
    assert_eq!((&value["layers"][0]["name"], &value["layers"][1]["name"]), (&"work".into(), &"copy of work".into()));
    let (text, error) = both(&world, 5, &["fsck"]);
    assert!(text.contains("work: clean") && error.contains("layers/copy of work"), "{text}{error}");
    // Nobody can tell what it stands on.
    world.fail(5, &["gc"]);
}
