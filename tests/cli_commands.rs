//! What commands print, as text and as JSON, without a mount.
#![allow(clippy::unwrap_used, reason = "a test that can't go on shall panic")]

mod cli_util;

use cli_util::World;
use std::fs;

#[test]
fn init_is_idempotent_and_says_where() {
    let world = World::empty();
    let first = world.json(&["init"]);
    assert_eq!(first["store"], world.str("store"));
    assert_eq!(world.json(&["init"]), first);
    assert_eq!(world.run(&["init", "-q"]), "");
}

#[test]
fn an_import_reports_what_it_made_and_the_same_again_is_the_same_manifest() {
    let world = World::new();
    let args = ["import", world.str("src"), "again", "--created", "2024-05-01T00:00:00Z", "--label", "project=web"];
    let made = world.json(&args);
    assert_eq!(made["name"], "again");
    assert_eq!((made["new_blobs"].as_u64(), made["entries"].as_u64()), (Some(0), Some(5)));
    assert_eq!(world.json(&args)["manifest"], made["manifest"]);
    let shown = world.json(&["show", "again"]);
    assert_eq!(shown["labels"]["project"], "web");
    assert_eq!(shown["created_at"], "2024-05-01T00:00:00Z");
    assert_eq!(shown["manifest"], made["manifest"]);
    let text = world.run(&["import", world.str("src"), "again"]);
    assert!(text.starts_with("again names ") && text.contains("5 entries"), "{text}");
    world.fail(2, &["import", world.str("src"), "x", "--created", "yesterday"]);
    world.fail(2, &["import", world.str("src"), "x", "--label", "nokey"]);
}

#[test]
fn an_archive_comes_from_a_file_or_standard_input() {
    let world = World::new();
    let archive = world.path("a.tar");
    let done =
        std::process::Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(world.path("src")).arg(".").status();
    assert!(done.unwrap().success());
    world.run(&["import", "-q", world.str("a.tar"), "file"]);
    world.cairnfs(&["import", "-q", "-", "stdin"]).pipe_stdin(&archive).unwrap().assert().success();
    for name in ["file", "stdin"] {
        assert_eq!(world.run(&["cat", &format!("{name}:etc/hello")]), "hello\n");
    }
    let cut = fs::read(&archive).unwrap();
    let assert = world.cairnfs(&["import", "-", "cut"]).write_stdin(&cut[..2100]).assert().code(1);
    assert!(assert.get_output().stdout.is_empty());
    world.fail(3, &["show", "cut"]);
    let members = cut.iter().rposition(|byte| *byte != 0).unwrap().next_multiple_of(512);
    fs::write(world.path("noend.tar"), &cut[..members]).unwrap();
    let text = world.fail(1, &["import", world.str("noend.tar"), "noend"]);
    assert!(text.contains("help: ") && text.contains("--allow-missing-end"), "{text}");
    world.run(&["import", "-q", world.str("noend.tar"), "noend", "--allow-missing-end"]);
    let text = world.fail(1, &["import", world.str("a.tar"), "few", "--max-entries", "2"]);
    assert!(text.contains("help: if that many are meant, --max-entries"), "{text}");
}

#[test]
fn refs_are_listed_set_removed_and_taken_back() {
    let world = World::new();
    let digest = world.json(&["show", "debian"])["manifest"].clone();
    let set = world.json(&["refs", "set", "stable", "debian"]);
    assert_eq!(
        (&set["name"], &set["manifest"], &set["replaced"]),
        (&"stable".into(), &digest, &serde_json::Value::Null)
    );
    let refs = world.json(&["refs"])["refs"].clone();
    let names: Vec<&str> = refs.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["debian", "stable"]);
    assert!(world.run(&["refs"]).starts_with("NAME"));
    assert_eq!(world.json(&["rm", "ref", "stable", "--dry-run"])["dry_run"], true);
    world.run(&["show", "stable"]);
    assert_eq!(world.json(&["rm", "ref", "stable"])["manifest"], digest);
    world.fail(3, &["show", "stable"]);
    assert_eq!(world.json(&["refs", "undo", "stable"])["manifest"], digest);
    let history = world.json(&["refs", "history", "stable"])["history"].clone();
    let ops: Vec<&str> = history.as_array().unwrap().iter().map(|one| one["op"].as_str().unwrap()).collect();
    assert_eq!(ops, ["set", "remove", "undo"]);
    assert!(world.run(&["refs", "history", "stable"]).contains("remove"));
}

#[test]
fn a_layer_with_a_damaged_description_is_told_and_can_be_removed() {
    let world = World::new();
    world.mount("mnt", &["--layer", "good"]);
    world.run(&["umount", "-q", world.str("mnt")]);
    for whole in [true, false] {
        if whole {
            world.mount("mnt", &["--layer", "dmg"]);
            world.run(&["umount", "-q", world.str("mnt")]);
        } else {
            world.dir("store/layers/dmg");
        }
        fs::write(world.path("store/layers/dmg/layer.json"), "{").unwrap();
        let assert = world.cairnfs(&["layers"]).assert().code(5);
        let (text, error) = (&assert.get_output().stdout, &assert.get_output().stderr);
        let (text, error) = (String::from_utf8_lossy(text), String::from_utf8_lossy(error));
        assert!(text.contains("good ") && text.lines().any(|line| line.starts_with("dmg   unreadable")), "{text}");
        assert!(error.contains("layers/dmg/layer.json") && error.contains("`cairnfs rm layer dmg`"), "{error}");
        let assert = world.cairnfs(&["--json", "layers"]).assert().code(5);
        let value: serde_json::Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
        assert_eq!((&value["layers"][0]["name"], &value["layers"][1]["name"]), (&"good".into(), &"dmg".into()));
        assert_eq!(value["layers"][1]["error"]["code"], "corrupt");
        world.fail(5, &["show", "dmg"]);
        let text = world.fail(5, &["gc"]);
        assert!(text.contains("`cairnfs rm layer dmg`"), "{text}");
        assert_eq!(world.json(&["rm", "layer", "dmg", "-n"])["base"], serde_json::Value::Null);
        assert!(world.run(&["rm", "layer", "dmg"]).contains("nobody can tell what it stood on"));
        assert!(!world.path("store/layers/dmg").exists());
        assert_eq!(world.json(&["layers"])["layers"].as_array().unwrap().len(), 1);
        world.run(&["gc"]);
        world.fail(3, &["rm", "layer", "dmg"]);
    }
}

#[test]
fn a_suggestion_is_near_what_was_asked_for() {
    let world = World::new();
    world.mount("mnt", &["--layer", "b"]);
    world.run(&["umount", "-q", world.str("mnt")]);
    let text = world.fail(3, &["rm", "layer", "a"]);
    assert!(!text.contains("did you mean") && text.contains("`cairnfs layers`"), "{text}");
}

#[test]
fn ls_tells_everything_of_each_entry() {
    let world = World::new();
    assert_eq!(world.run(&["ls", "debian"]), "empty\netc\nhard\n");
    assert_eq!(world.run(&["ls", "-R", "debian", "/etc"]), "hello\nlink\n");
    let long = world.run(&["ls", "-l", "debian", "/etc"]);
    assert!(long.contains("-rw-r--r--   2") && long.contains("link -> hello"), "{long}");
    let entries = world.json(&["ls", "-R", "debian"])["entries"].clone();
    let entries = entries.as_array().unwrap();
    assert_eq!(entries.len(), 5);
    let hello = entries.iter().find(|entry| entry["path"] == "etc/hello").unwrap();
    assert_eq!(
        (hello["nlink"].as_u64(), hello["size"].as_u64(), hello["kind"].as_str()),
        (Some(2), Some(6), Some("file"))
    );
}

#[test]
fn cat_prints_files_raw_and_objects_as_json() {
    let world = World::new();
    assert_eq!(world.run(&["cat", "debian:/etc/hello"]), "hello\n");
    let shown = world.json(&["show", "debian"]);
    let digest = |key: &str| shown[key].as_str().unwrap().to_owned();
    let parse = |text: String| serde_json::from_str::<serde_json::Value>(&text).unwrap();
    assert_eq!(parse(world.run(&["cat", &digest("root")]))["type"], "tree");
    assert_eq!(parse(world.run(&["cat", "debian:"])), parse(world.run(&["cat", &digest("root")])));
    assert_eq!(parse(world.run(&["cat", &digest("links")]))["type"], "links");
    assert_eq!(parse(world.run(&["cat", &digest("manifest")]))["name"], "debian");
    let raw = world.cairnfs(&["cat", "--raw", &digest("root")]).assert().success();
    assert!(raw.get_output().stdout.starts_with(b"CRN-TREE"));
}

#[test]
fn doctor_gives_a_remedy_for_whatever_is_not_good() {
    let world = World::new();
    let assert = world.cairnfs(&["--json", "doctor"]).assert();
    let checks: serde_json::Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
    let checks = checks["checks"].as_array().unwrap();
    for name in ["kernel", "/dev/fuse", "privilege", "fusermount3", "passthrough", "reflink", "free space", "store"] {
        assert!(checks.iter().any(|check| check["name"] == name), "{name}");
    }
    for check in checks {
        assert_eq!(check["verdict"] != "good", check["remedy"].is_string(), "{check}");
    }
    let bad = checks.iter().any(|check| check["verdict"] == "bad");
    assert_eq!(assert.get_output().status.code(), Some(i32::from(bad)));
}

#[test]
fn an_export_imports_as_the_same_manifest() {
    let world = World::new();
    let manifest = |name: &str| world.json(&["show", name])["root"].clone();
    let dir = world.json(&["export", "debian", world.str("out")]);
    assert_eq!((&dir["manifest"], &dir["entries"]), (&world.json(&["show", "debian"])["manifest"], &5.into()));
    for (number, file) in ["a.tar", "a.tar.gz", "a.tar.zst", "a.tar.xz", "out"].into_iter().enumerate() {
        if file != "out" {
            world.run(&["export", "-q", "debian", world.str(file)]);
        }
        let name = format!("back{number}");
        world.run(&["import", "-q", world.str(file), &name]);
        assert_eq!(manifest(&name), manifest("debian"), "{file}");
    }
    let stdout = world.cairnfs(&["export", "debian", "-"]).assert().success().get_output().stdout.clone();
    assert_eq!(stdout, fs::read(world.path("a.tar")).unwrap());
}

#[test]
fn an_export_does_not_write_over_anything_unasked_and_leaves_no_part_behind() {
    let world = World::new();
    fs::write(world.path("a.tar"), "mine").unwrap();
    let text = world.fail(4, &["export", "debian", world.str("a.tar")]);
    assert!(text.contains("help: give another name, or --force"), "{text}");
    assert_eq!(fs::read(world.path("a.tar")).unwrap(), b"mine");
    world.run(&["export", "-q", "--force", "debian", world.str("a.tar")]);
    let text = world.fail(4, &["export", "debian", world.str("src")]);
    assert!(text.contains("--force"), "{text}");
    let digest = world.json(&["ls", "debian", "/etc"])["entries"][0]["digest"].as_str().unwrap().to_owned();
    fs::remove_file(world.path("store/objects").join(&digest[..2]).join(&digest[2..])).unwrap();
    world.fail(5, &["export", "debian", world.str("b.tar")]);
    let names: Vec<_> = fs::read_dir(world.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name == "b.tar" || name.to_string_lossy().starts_with(".cairnfs")), "{names:?}");
}
