//! `cairnfs fsck`: what it prints, and its exit codes.
#![allow(clippy::unwrap_used, reason = "a test that can't go on shall panic")]

mod cli_util;

use cairnfs::layer::Db;
use cairnfs::vfs::Ino;
use cli_util::World;
use std::fs;

/// A world with layer `work`, in which `new` was written and is found by no name, and layer `other`, which is whole.
fn damaged() -> World {
    let world = World::new();
    for layer in ["work", "other"] {
        let mount = world.mount("mnt", &["--layer", layer]);
        fs::write(mount.join("new"), "new content").unwrap();
        world.run(&["umount", "-q", world.str("mnt")]);
    }
    let db = Db::open(&world.path("store/layers/work/index")).unwrap();
    let mut batch = db.batch();
    batch.remove_name(Ino::ROOT, b"new");
    batch.commit().unwrap();
    db.persist().unwrap();
    world
}

/// Standard output and standard error of a run that ends with `code`.
fn ends(world: &World, code: i32, args: &[&str]) -> (String, String) {
    let assert = world.cairnfs(args).assert().code(code);
    let output = assert.get_output();
    (String::from_utf8(output.stdout.clone()).unwrap(), String::from_utf8(output.stderr.clone()).unwrap())
}

#[test]
fn problems_are_told_and_mended_and_the_exit_code_says_which() {
    let world = damaged();
    let (text, error) = ends(&world, 5, &["fsck"]);
    assert!(text.contains("work: 1 problem") && text.contains("unreachable: inode"), "{text}");
    assert!(text.contains("other: clean"), "{text}");
    assert!(error.contains("help: `cairnfs fsck --repair work`"), "{error}");
    let (text, _) = ends(&world, 5, &["fsck", "work", "--repair", "--dry-run"]);
    assert!(text.contains("would mend: unreachable"), "{text}");
    ends(&world, 0, &["fsck", "other"]);
    let (text, _) = ends(&world, 0, &["fsck", "--repair"]);
    assert!(text.contains("mended: unreachable") && text.contains("0 left"), "{text}");
    let value = world.json(&["fsck", "work"]);
    assert_eq!(value["layers"][0]["sound"], true, "{value}");
    let mount = world.mount("mnt", &["--layer", "work"]);
    let found = fs::read_dir(mount.join("lost+found")).unwrap().next().unwrap().unwrap().path();
    assert_eq!(fs::read_to_string(found).unwrap(), "new content");
    world.run(&["umount", "-q", world.str("mnt")]);
    ends(&world, 0, &["fsck", "--all"]);
}

#[test]
fn a_report_in_json_has_stable_codes() {
    let world = damaged();
    let (text, error) = ends(&world, 5, &["--json", "fsck", "work"]);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let problem = &value["layers"][0]["problems"][0];
    assert_eq!(problem["code"], "unreachable", "{value}");
    assert!(problem["ino"].is_u64() && problem["path"].is_null() && problem["repair"].is_string(), "{value}");
    assert!(error.contains("\"code\":\"corrupt\""), "{error}");
}

#[test]
fn a_layer_in_use_is_refused_by_name_and_left_out_otherwise() {
    let world = damaged();
    world.mount("mnt", &["--layer", "other"]);
    let (text, error) = ends(&world, 4, &["fsck", "other"]);
    assert_eq!(text, "other: not checked\n", "the error is told once");
    assert!(error.contains("can't check layer `other`") && error.contains("in use by"), "{error}");
    let (text, _) = ends(&world, 5, &["--json", "fsck"]);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    for layer in value["layers"].as_array().unwrap() {
        let skipped = layer["name"] == "other";
        assert_eq!((layer["sound"].is_null(), layer["skipped"].is_string()), (skipped, skipped), "{layer}");
        assert!(layer["problems"].is_array(), "{layer}");
    }
    let (text, _) = ends(&world, 4, &["--json", "fsck", "other"]);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let layer = &value["layers"][0];
    assert!(layer["sound"].is_null() && layer["problems"].is_array() && layer["error"].is_object(), "{layer}");
    let (text, _) = ends(&world, 5, &["fsck"]);
    assert!(text.contains("other: skipped, it is in use by process") && text.contains("work: 1 problem"), "{text}");
    let (text, _) = ends(&world, 5, &["fsck", "--all", "--repair", "--dry-run"]);
    assert!(text.contains("other: can't check"), "{text}");
    ends(&world, 4, &["fsck", "--all", "--repair"]);
    ends(&world, 0, &["fsck", "work"]);
    world.run(&["umount", "-q", world.str("mnt")]);
}

#[test]
fn what_is_not_there_or_not_readable_does_not_stop_the_others() {
    let world = damaged();
    let error = ends(&world, 3, &["fsck", "nosuch", "other"]);
    assert!(error.0.contains("other: clean") && error.1.contains("nosuch"), "{error:?}");
    fs::write(world.path("store/layers/other/layer.json"), "{").unwrap();
    let (text, error) = ends(&world, 5, &["fsck"]);
    assert!(text.contains("other: can't check layer `other`") && text.contains("work: 1 problem"), "{text}");
    assert!(error.contains("work"), "{error}");
    let (_, error) = ends(&world, 5, &["fsck", "other"]);
    assert!(error.contains("layer.json"), "{error}");
    world.fail(2, &["fsck", "--dry-run"]);
    world.fail(2, &["fsck", "work", "--all"]);
}

/// Makes the database of layer `work` one that can't be read.
fn break_database(world: &World) {
    let index = world.path("store/layers/work/index");
    for entry in fs::read_dir(index).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::File::options().write(true).open(path).unwrap().set_len(3).unwrap();
        }
    }
}

#[test]
fn what_nobody_can_mend_is_told_as_left_and_no_repair_is_offered() {
    let world = damaged();
    break_database(&world);
    let (text, error) = ends(&world, 5, &["fsck", "work"]);
    assert!(text.contains("database-unreadable"), "{text}");
    assert!(error.contains("a repair mends none of it") && !error.contains("--repair"), "{error}");
    for more in [&[][..], &["-n"]] {
        let args = [&["fsck", "work", "--repair"], more].concat();
        let (text, error) = ends(&world, 5, &args);
        assert!(text.contains("  left: database-unreadable") && !text.contains("would mend"), "{text}");
        assert!(error.contains("told with each problem"), "{error}");
        let (text, _) = ends(&world, 5, &[&["--json"], args.as_slice()].concat());
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let layer = &value["layers"][0];
        assert_eq!(layer["unmended"], layer["problems"], "{layer}");
        assert_eq!((&layer["unmended"][0]["mendable"], &layer["repaired"]), (&false.into(), &false.into()), "{layer}");
    }
}

#[test]
fn a_killed_layer_that_lost_nothing_says_so() {
    let world = World::new();
    world.mount("mnt", &["--layer", "work"]);
    let pid = i32::try_from(world.mounts()[0]["pid"].as_i64().unwrap()).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    while world.mounts()[0]["state"] != "dead" {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let (text, _) = ends(&world, 0, &["fsck", "work"]);
    assert!(text.contains("wasn't closed in good order") && text.contains("; nothing to recover"), "{text}");
    world.run(&["umount", "-q", world.str("mnt")]);
}

#[test]
fn a_path_in_place_of_a_layers_name_is_told() {
    let world = World::new();
    for path in ["/mnt", "./work", "."] {
        let text = world.fail(2, &["fsck", path]);
        assert!(text.contains("fsck takes the layer's name: see `cairnfs layers`"), "{text}");
    }
}
