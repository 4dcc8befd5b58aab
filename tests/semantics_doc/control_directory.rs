//! Section "The control directory". More of it is in `tests/mount_control.rs` and `tests/control_mounted.rs`.

use crate::common::as_nobody;
use crate::common::process::{ProcessMount, cairnfs};
use crate::common::spec::Spec;
use crate::support::{errno, store};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, symlink};

fn start(arguments: &[&str]) -> (tempfile::TempDir, ProcessMount) {
    let store = store(&Spec::new().file("file", "x").file("deep/.ctl/file", "below"));
    let mount = ProcessMount::start(store.path(), "base", arguments);
    (store, mount)
}

const LAYER: &[&str] = &["--layer", "work"];

#[test]
fn it_answers_lookups_and_is_never_listed() {
    let (_store, mount) = start(LAYER);
    assert!(fs::metadata(mount.at(".ctl")).unwrap().is_dir());
    let listed: Vec<_> = fs::read_dir(mount.root()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!listed.iter().any(|name| name == ".ctl"));
    assert!(!fs::read_to_string(mount.at(".ctl/diff")).unwrap().contains(".ctl"));
}

#[test]
fn it_is_for_the_owner_and_root() {
    let (_store, mount) = start(LAYER);
    let (code, _, said) = as_nobody(&format!("cat {}/.ctl/stats", mount.root().display()));
    assert!(code != 0 && said.contains("Permission denied"), "{said}");
}

#[test]
fn its_name_is_reserved_at_the_root_alone() {
    let (_store, mount) = start(LAYER);
    assert_eq!(errno(fs::create_dir(mount.at(".ctl"))), libc::EEXIST);
    assert_eq!(errno(symlink("x", mount.at(".ctl"))), libc::EEXIST);
    assert_eq!(errno(fs::hard_link(mount.at("file"), mount.at(".ctl"))), libc::EEXIST);
    assert_eq!(errno(File::create_new(mount.at(".ctl"))), libc::EEXIST);
    assert_eq!(errno(File::create(mount.at(".ctl"))), libc::EISDIR);
    assert_eq!(errno(fs::remove_file(mount.at(".ctl"))), libc::EISDIR);
    assert_eq!(errno(fs::rename(mount.at("file"), mount.at(".ctl"))), libc::EISDIR);
    assert_eq!(errno(fs::remove_dir(mount.at(".ctl"))), libc::EBUSY);
    assert_eq!(errno(fs::rename(mount.at(".ctl"), mount.at("x"))), libc::EBUSY);
    assert_eq!(errno(fs::rename(mount.at("deep"), mount.at(".ctl"))), libc::EBUSY);
    assert_eq!(fs::read_to_string(mount.at("deep/.ctl/file")).unwrap(), "below");
    fs::rename(mount.at("deep/.ctl"), mount.at("deep/other")).unwrap();
    drop(mount);
    let (_store, mount) = start(&["--layer", "work", "-o", "ctl=off"]);
    assert_eq!(errno(fs::metadata(mount.at(".ctl"))), libc::ENOENT);
    fs::create_dir(mount.at(".ctl")).unwrap();
}

#[test]
fn a_file_is_read_as_it_was_at_the_open_and_has_size_0() {
    let (_store, mount) = start(LAYER);
    let diff = File::open(mount.at(".ctl/diff")).unwrap();
    assert_eq!(diff.metadata().unwrap().len(), 0);
    fs::write(mount.at("made"), "").unwrap();
    let mut room = [0; 1000];
    let length = diff.read_at(&mut room, 0).unwrap();
    assert!(!String::from_utf8_lossy(&room[..length]).contains("made"));
    assert!(fs::read_to_string(mount.at(".ctl/diff")).unwrap().contains("made"));
}

#[test]
fn each_write_is_a_command_with_its_errno_and_its_result() {
    let (_store, mount) = start(LAYER);
    let cmd = OpenOptions::new().read(true).write(true).open(mount.at(".ctl/cmd")).unwrap();
    let read = || {
        let mut room = vec![0; 10_000];
        let length = cmd.read_at(&mut room, 0).unwrap();
        serde_json::from_slice::<serde_json::Value>(&room[..length]).unwrap()
    };
    assert_eq!(errno((&cmd).write_all(b"nonsense")), libc::EINVAL);
    let failed = read();
    (&cmd).write_all(b"sync").unwrap();
    let synced = read();
    assert_ne!(failed, synced, "the same descriptor reads what its last command came to");
    let last: serde_json::Value = serde_json::from_str(&fs::read_to_string(mount.at(".ctl/cmd")).unwrap()).unwrap();
    assert_eq!(last, synced);
}

#[test]
fn it_can_be_read_only() {
    let (_store, mount) = start(&["--layer", "work", "-o", "ctl=ro"]);
    assert!(fs::read_to_string(mount.at(".ctl/stats")).is_ok());
    assert_eq!(errno(OpenOptions::new().write(true).open(mount.at(".ctl/cmd"))), libc::EACCES);
}

#[test]
fn on_a_read_only_mount_commands_go_through_the_command_line_or_a_writable_superblock() {
    let (store, mount) = start(&[]);
    assert_eq!(errno(OpenOptions::new().write(true).open(mount.at(".ctl/cmd"))), libc::EROFS);
    assert!(cairnfs(store.path()).arg("stats").arg(mount.root()).output().unwrap().status.success());
    drop(mount);
    let mount = ProcessMount::start(store.path(), "base", &["-o", "ctl=rw"]);
    fs::write(mount.at(".ctl/cmd"), "gc dry-run").unwrap();
    assert_eq!(errno(fs::write(mount.at(".ctl/cmd"), "snapshot x")), libc::EROFS);
    assert_eq!(errno(fs::write(mount.at("file"), "y")), libc::EROFS);
}
