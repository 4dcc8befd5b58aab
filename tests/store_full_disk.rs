//! A store on a disk without any room: refs are removed, whatever room their histories have, and come back when there is room for that.
#![allow(clippy::unwrap_used, reason = "a test that can't go on shall panic")]

mod cli_util;
#[path = "common/skip.rs"]
mod skip;

use cli_util::program;
use serde_json::Value;
use skip::possible;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small filesystem, unmounted when the value is dropped.
struct Small {
    dir: tempfile::TempDir,
}

impl Small {
    fn new(kind: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("cairnfs-full-").tempdir().unwrap();
        let at = dir.path().join("at");
        fs::create_dir(&at).unwrap();
        let run = |program: &str, args: &[&str]| {
            let status = Command::new(program).args(args).status();
            assert!(status.unwrap().success(), "{program} {args:?}");
        };
        let at = at.to_str().unwrap();
        if kind == "tmpfs" {
            run("mount", &["-t", "tmpfs", "-o", "size=4m", "small", at]);
        } else {
            let image = dir.path().join("image");
            fs::File::create(&image).unwrap().set_len(16 << 20).unwrap();
            run(&format!("mkfs.{kind}"), &["-q", image.to_str().unwrap()]);
            run("mount", &["-o", "loop", image.to_str().unwrap(), at]);
        }
        Self { dir }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join("at").join(name)
    }

    /// Takes all room that is left, by blocks and then by inodes.
    fn fill(&self) {
        let folder = self.at("filler");
        fs::create_dir(&folder).unwrap();
        let mut count = 0;
        for length in [1 << 16, 4096, 1] {
            loop {
                let path = folder.join(count.to_string());
                let written = fs::write(&path, vec![1; length]).and_then(|()| fs::File::open(&path)?.sync_all());
                if written.is_err() {
                    break;
                }
                count += 1;
            }
        }
    }

    fn empty(&self) {
        fs::remove_dir_all(self.at("filler")).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(&self.at(""), nix::mount::MntFlags::MNT_DETACH);
    }
}

/// Runs the program on the store, which must end with `code`; standard output and error.
fn cairnfs(store: &Path, code: i32, args: &[&str]) -> (String, String) {
    let assert = program().env("CAIRNFS_STORE", store).args(args).assert().code(code);
    let output = assert.get_output();
    (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A store with the refs `one` and `two`.
fn store(small: &Small) -> PathBuf {
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
        let small = Small::new(kind);
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
        small.empty();
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
        let small = Small::new(kind);
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
        small.empty();
        cairnfs(&store, 3, &["refs", "undo", "one"]);
    }
}
