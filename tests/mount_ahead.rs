//! Directories listed ahead of a program that walks the tree: what it saves, and that nobody has to wait for it.
#![allow(clippy::unwrap_used, reason = "a test that can't go on shall panic")]

mod common;

use cairnfs::store::Store;
use common::mount::{Bench, TestMount};
use common::process::ProcessMount;
use common::spec::Spec;
use common::wait_until;
use nix::mount::{MntFlags, umount2};
use nix::sys::signal::Signal;
use std::fs;
use std::path::Path;

const DIRS: usize = 40;
const FILES: usize = 30;

/// Directories `TOP/NN`, each with some files.
fn tree(spec: Spec, top: &str) -> Spec {
    let paths = (0..DIRS).flat_map(|dir| (0..FILES).map(move |file| (dir, file)));
    paths.fold(spec, |spec, (dir, file)| spec.file(&format!("{top}/{dir:02}/{file:02}"), "content"))
}

/// Asks for the first half of all names of `top`, one by one.
fn walk_half(root: &Path, top: &str) {
    for dir in 0..DIRS / 2 {
        for file in 0..FILES {
            fs::symlink_metadata(root.join(format!("{top}/{dir:02}/{file:02}"))).unwrap();
        }
    }
}

/// Looks at all of the other half; returns the sum of the lengths.
fn look_at_the_rest(root: &Path, top: &str) -> u64 {
    let mut sum = 0;
    for dir in DIRS / 2..DIRS {
        let entries = fs::read_dir(root.join(format!("{top}/{dir:02}"))).unwrap();
        sum += entries.map(|entry| entry.unwrap().metadata().unwrap().len()).sum::<u64>();
    }
    sum
}

const REST: u64 = (DIRS / 2 * FILES * "content".len()) as u64;

#[test]
fn a_program_that_walks_finds_the_rest_known() {
    let mount = TestMount::read_only(&tree(tree(Spec::new(), "usr"), "home"));
    walk_half(mount.root(), "usr");
    wait_until("all of `usr` is listed", || mount.count("listed_ahead") >= DIRS as u64);
    let asked = || mount.count("lookup") + mount.count("readdir");
    // The last directory is counted when it has been listed; what the thread may still do is of those before.
    let before = asked();
    assert_eq!(look_at_the_rest(mount.root(), "usr"), REST);
    assert_eq!(asked(), before, "the kernel knew all of it");
    assert!(mount.count("listed_ahead") <= DIRS as u64, "`home`, where nobody looked, was left alone");
    mount.stop();
}

/// The kernel would keep what the daemon was told of a directory just before a program changed it.
#[test]
fn a_mount_with_a_layer_is_not_listed() {
    let mount = TestMount::writable(&tree(Spec::new(), "usr"));
    walk_half(mount.root(), "usr");
    assert_eq!(look_at_the_rest(mount.root(), "usr"), REST);
    assert_eq!(mount.count("listed_ahead"), 0);
    mount.stop();
}

#[test]
fn a_few_names_are_no_walk_and_it_can_be_turned_off() {
    let spec = tree(Spec::new(), "usr");
    let mount = TestMount::read_only(&spec);
    for file in 0..FILES {
        fs::symlink_metadata(mount.at(&format!("usr/00/{file:02}"))).unwrap();
    }
    mount.stop();

    let bench = Bench::new(&spec);
    let mount = TestMount::mount(&bench, bench.read_only(), |options| options.ahead = false, None);
    walk_half(mount.root(), "usr");
    assert_eq!(look_at_the_rest(mount.root(), "usr"), REST);
    assert_eq!(mount.count("listed_ahead"), 0);
    mount.stop();
}

/// A store with a ref `base` of a tree that takes a while to list.
fn store(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("store");
    let store = Store::init(&path).unwrap();
    let spec = (0..8).fold(Spec::new(), |spec, number| tree(spec, &format!("part{number:02}")));
    let manifest = spec.store(&store);
    let writer = store.writer("import").unwrap();
    writer.set_ref(&"base".parse().unwrap(), manifest).unwrap();
    path
}

/// Begins a walk, and looks no longer than until it goes on by itself.
fn begin_walk(root: &Path) {
    for part in 0..8 {
        walk_half(root, &format!("part{part:02}"));
    }
}

#[test]
fn a_mount_is_unmounted_while_it_is_listed() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let mut mount = ProcessMount::start(&store, "base", &[]);
    begin_walk(mount.root());
    umount2(mount.root(), MntFlags::empty()).unwrap();
    assert!(mount.wait().success());
}

#[test]
fn a_process_that_is_killed_while_it_lists_ends() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    for _ in 0..3 {
        let mut mount = ProcessMount::start(&store, "base", &[]);
        begin_walk(mount.root());
        mount.signal(Signal::SIGKILL);
        mount.wait();
        umount2(mount.root(), MntFlags::MNT_DETACH).unwrap();
    }
}
