//! A store on a disk without any room: refs are removed, whatever room their histories have, and come back when there is room for that.
#![allow(clippy::unwrap_used, reason = "a test that can't go on shall panic")]

mod cli_util;
mod fault_util;

use cli_util::program;
use fault_util::{Place, possible};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

fn small(kind: &str) -> Place {
    match kind {
        "tmpfs" => Place::tmpfs("size=4m,nr_inodes=2k"),
        _ => Place::ext4(16, &[]),
    }
}

/// Runs the program on the store, which must end with `code`; standard output and error.
fn cairnfs(store: &Path, code: i32, args: &[&str]) -> (String, String) {
    let assert = program().env("CAIRNFS_STORE", store).args(args).assert().code(code);
    let output = assert.get_output();
    (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A store with the refs `one` and `two`.
fn store(small: &Place) -> PathBuf {
    let store = small.at("store");
    cairnfs(&store, 0, &["init", "-q"]);
    let source = tempfile::tempdir().unwrap();
    for name in ["one", "two"] {
        fs::write(source.path().join("file"), name).unwrap();
        cairnfs(&store, 0, &["import", "-q", source.path().to_str().unwrap(), name]);
    }
    store
}

const KINDS: [&str; 2] = ["tmpfs", "ext4"];

#[test]
fn a_ref_is_removed_on_a_full_disk_and_comes_back() {
    if !possible(&["mkfs.ext4"]) {
        return;
    }
    for kind in KINDS {
        let small = small(kind);
        let store = store(&small);
        // Moved until the next line of its history begins a new block.
        let history = store.join("history/moved@");
        let mut targets = ["one", "two"].into_iter().cycle();
        let mut line = 0;
        loop {
            let before = fs::metadata(&history).map_or(0, |file| file.len());
            if before > 0 && before % 4096 + line > 4096 {
                break;
            }
            cairnfs(&store, 0, &["refs", "set", "-q", "moved", targets.next().unwrap()]);
            line = fs::metadata(&history).unwrap().len() - before;
        }
        small.fill();
        let (text, _) = cairnfs(&store, 0, &["rm", "ref", "moved"]);
        assert!(text.contains("brings it back"), "{kind}: {text}");
        cairnfs(&store, 3, &["show", "moved"]);
        small.unfill();
        cairnfs(&store, 0, &["refs", "undo", "moved"]);
        cairnfs(&store, 0, &["show", "moved"]);
        let value: Value =
            serde_json::from_str(&cairnfs(&store, 0, &["--json", "refs", "history", "moved"]).0).unwrap();
        let ops: Vec<_> =
            value["history"].as_array().unwrap().iter().rev().take(2).map(|it| it["op"].clone()).collect();
        assert_eq!(ops, ["undo", "remove"], "{kind}");
    }
}

#[test]
fn a_ref_whose_history_has_no_room_is_removed_and_said_not_to_come_back() {
    if !possible(&["mkfs.ext4"]) {
        return;
    }
    for kind in KINDS {
        let small = small(kind);
        let store = store(&small);
        fs::remove_dir_all(store.join("history")).unwrap();
        fs::create_dir(store.join("history")).unwrap();
        small.fill();
        if kind == "tmpfs" {
            let (text, _) = cairnfs(&store, 0, &["rm", "ref", "one"]);
            assert!(!text.contains("brings it back") && text.contains("no room"), "{text}");
        } else {
            let value: Value = serde_json::from_str(&cairnfs(&store, 0, &["--json", "rm", "ref", "one"]).0).unwrap();
            assert_eq!(value["undo"], false);
        }
        cairnfs(&store, 3, &["show", "one"]);
        small.unfill();
        cairnfs(&store, 3, &["refs", "undo", "one"]);
    }
}
