//! Mounts served by the program: signals, and a daemon that dies.
#![allow(clippy::unwrap_used, reason = "a test that can't go on shall panic")]

mod common;

use cairnfs::store::Store;
use common::process::{ProcessMount, cairnfs};
use common::spec::Spec;
use common::wait_until;
use nix::mount::{MntFlags, umount2};
use nix::sys::signal::Signal;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use tempfile::TempDir;

/// A store with `spec` as the ref `base`.
fn store(spec: &Spec) -> TempDir {
    let folder = TempDir::with_prefix("cairnfs-store-").unwrap();
    let store = Store::init(folder.path()).unwrap();
    let manifest = spec.store(&store);
    let writer = store.writer("a test").unwrap();
    writer.set_ref(&"base".parse().unwrap(), manifest).unwrap();
    folder
}

fn errno(outcome: std::io::Result<impl Sized>) -> Option<i32> {
    outcome.err().and_then(|error| error.raw_os_error())
}

#[test]
fn sigterm_unmounts_and_ends_in_good_order() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let store = store(&Spec::new().file("file", "content"));
        let mut mount = ProcessMount::start(store.path(), "base", &["--layer", "work"]);
        assert_eq!(fs::read_to_string(mount.at("file")).unwrap(), "content");
        fs::write(mount.at("new"), "new").unwrap();
        mount.signal(signal);
        assert!(mount.wait().success());
        assert!(!mount.is_mounted());
        let again = ProcessMount::start(store.path(), "base", &["--layer", "work"]);
        assert_eq!(fs::read_to_string(again.at("new")).unwrap(), "new");
    }
}

#[test]
fn a_second_signal_ends_a_mount_that_is_in_use() {
    let store = store(&Spec::new().file("file", "content"));
    let mut mount = ProcessMount::start(store.path(), "base", &["--layer", "work"]);
    let mut file = File::open(mount.at("file")).unwrap();
    mount.signal(Signal::SIGTERM);
    wait_until("the mount is detached", || !mount.is_mounted());
    let mut content = String::new();
    file.read_to_string(&mut content).unwrap();
    assert_eq!(content, "content", "still served");
    mount.signal(Signal::SIGTERM);
    assert!(mount.wait().success());
    assert_eq!(errno(file.sync_all()), Some(libc::ENOTCONN));
}

#[test]
fn umount_ends_the_program() {
    let store = store(&Spec::new());
    let mut mount = ProcessMount::start(store.path(), "base", &[]);
    umount2(mount.root(), MntFlags::empty()).unwrap();
    assert!(mount.wait().success());
}

#[test]
fn a_killed_daemon_loses_nothing_that_it_acknowledged() {
    let store = store(&Spec::new().file("old", vec![7; 2 << 20]).dir("dir"));
    for round in 0..3 {
        let mut mount = ProcessMount::start(store.path(), "base", &["--layer", "work"]);
        let name = format!("dir/made-{round}");
        for earlier in 0..round {
            let content = fs::read_to_string(mount.at(&format!("dir/made-{earlier}"))).unwrap();
            assert_eq!(content, format!("content {earlier}"));
        }
        let open = OpenOptions::new().append(true).open(mount.at("old")).unwrap();
        (&open).write_all(b"tail").unwrap();
        fs::write(mount.at(&name), format!("content {round}")).unwrap();
        fs::rename(mount.at(&name), mount.at("dir/tmp")).unwrap();
        fs::rename(mount.at("dir/tmp"), mount.at(&name)).unwrap();

        mount.signal(Signal::SIGKILL);
        assert!(!mount.wait().success());
        assert!(mount.is_mounted(), "the mount stays, without anybody to answer");
        assert_eq!(errno(fs::metadata(mount.at("dir"))), Some(libc::ENOTCONN));
        assert_eq!(errno(File::open(mount.at("old"))), Some(libc::ENOTCONN));
        // What the kernel passes through needs no daemon.
        let mut first = [0];
        let still = open.read_exact_at(&mut first, 0);
        assert_eq!(errno(still), Some(libc::EBADF), "opened for appending alone");
        drop(open);
        umount2(mount.root(), MntFlags::empty()).unwrap();
    }
    let mount = ProcessMount::start(store.path(), "base", &["--layer", "work"]);
    assert_eq!(fs::metadata(mount.at("old")).unwrap().len(), (2 << 20) + 12);
    assert_eq!(fs::read_dir(mount.at("dir")).unwrap().count(), 3);
}

#[test]
fn mounting_where_a_daemon_died_takes_its_mount_away_and_says_so() {
    let store = store(&Spec::new());
    let mut mount = ProcessMount::start(store.path(), "base", &[]);
    mount.signal(Signal::SIGKILL);
    mount.wait();
    let output = cairnfs(store.path()).arg("mount").arg("base").arg(mount.root()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("died"), "{said}");
    assert!(fs::metadata(mount.root()).unwrap().is_dir());
    assert!(cairnfs(store.path()).arg("umount").arg(mount.root()).status().unwrap().success());
}

#[test]
fn the_control_directory_works_in_a_real_mount() {
    let store = store(&Spec::new().file("file", "x"));
    let mount = ProcessMount::start(store.path(), "base", &["--layer", "work"]);
    let stats = fs::read_to_string(mount.at(".ctl/stats")).unwrap();
    assert!(stats.lines().count() > 10, "{stats}");
    assert!(stats.lines().all(|line| line.contains(' ')), "{stats}");
    serde_json::from_str::<serde_json::Value>(&fs::read_to_string(mount.at(".ctl/stats.json")).unwrap()).unwrap();
    let sync = std::process::Command::new("sh")
        .arg("-c")
        .arg(format!("echo sync > {}", mount.at(".ctl/cmd").display()))
        .status()
        .unwrap();
    assert!(sync.success());
    assert_eq!(errno(fs::write(mount.at(".ctl/cmd"), "nonsense")), Some(libc::EINVAL));
    fs::write(mount.at("made"), "").unwrap();
    assert!(fs::read_to_string(mount.at(".ctl/diff")).unwrap().contains("made"));
}

#[test]
fn the_folder_under_the_mount_is_left_alone() {
    let store = store(&Spec::new().file("file", "x"));
    let mut mount = ProcessMount::start(store.path(), "base", &["--layer", "work"]);
    fs::write(mount.at("made"), "").unwrap();
    mount.signal(Signal::SIGTERM);
    mount.wait();
    assert_eq!(fs::read_dir(Path::new(mount.root())).unwrap().count(), 0);
}
