//! Section "Durability": what a killed daemon loses, which is nothing. Power cuts are in the suites of the layer and the store
//! (`tests/store_powercut.rs` and its like), for they need a filesystem of their own.

use crate::common::process::ProcessMount;
use crate::common::spec::Spec;
use crate::support::{LARGE, append, errno, store};
use nix::mount::{MntFlags, umount2};
use nix::sys::signal::Signal;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};

fn kill(mount: &mut ProcessMount) {
    mount.signal(Signal::SIGKILL);
    mount.wait();
}

#[test]
fn what_has_returned_outlives_a_killed_daemon() {
    let store = store(&Spec::new().file("small", "s").file("large", vec![1; LARGE]).file("dir/file", "x"));
    let mut mount = ProcessMount::start(store.path(), "base", &["--layer", "work"]);
    fs::write(mount.at("new"), "new").unwrap();
    append(&mount.at("small"), "+");
    append(&mount.at("large"), "+");
    fs::rename(mount.at("dir"), mount.at("moved")).unwrap();
    fs::hard_link(mount.at("small"), mount.at("linked")).unwrap();
    xattr::set(mount.at("moved/file"), "user.x", b"x").unwrap();
    fs::remove_file(mount.at("small")).unwrap();
    kill(&mut mount);
    umount2(mount.root(), MntFlags::MNT_DETACH).unwrap();
    let mount = ProcessMount::start(store.path(), "base", &["--layer", "work"]);
    assert_eq!(fs::read_to_string(mount.at("new")).unwrap(), "new");
    assert_eq!(fs::read_to_string(mount.at("linked")).unwrap(), "s+");
    assert_eq!(fs::metadata(mount.at("linked")).unwrap().nlink(), 1);
    assert_eq!(fs::metadata(mount.at("large")).unwrap().len(), LARGE as u64 + 1);
    assert_eq!(xattr::get(mount.at("moved/file"), "user.x").unwrap().as_deref(), Some(&b"x"[..]));
    assert!(!mount.at("small").exists() && !mount.at("dir").exists());
}

#[test]
fn when_the_daemon_dies_programs_get_enotconn_but_read_what_passes_through() {
    let store = store(&Spec::new().file("large", vec![7; LARGE]).file("small", "s"));
    let mut mount = ProcessMount::start(store.path(), "base", &["--layer", "work"]);
    let large = File::open(mount.at("large")).unwrap();
    kill(&mut mount);
    assert_eq!(errno(File::open(mount.at("small"))), libc::ENOTCONN);
    assert_eq!(errno(fs::write(mount.at("new"), "")), libc::ENOTCONN);
    let mut byte = [0];
    large.read_exact_at(&mut byte, 1000).unwrap();
    assert_eq!(byte, [7]);
}

#[test]
fn files_directories_and_the_whole_layer_can_be_synced() {
    let store = store(&Spec::new().file("dir/clean", "x"));
    let mount = ProcessMount::start(store.path(), "base", &["--layer", "work"]);
    File::open(mount.at("dir/clean")).unwrap().sync_all().unwrap();
    fs::write(mount.at("dir/new"), "x").unwrap();
    File::open(mount.at("dir/new")).unwrap().sync_data().unwrap();
    File::open(mount.at("dir")).unwrap().sync_all().unwrap();
    fs::write(mount.at(".ctl/cmd"), "sync").unwrap();
    rustix::fs::syncfs(File::open(mount.root()).unwrap()).unwrap();
}
