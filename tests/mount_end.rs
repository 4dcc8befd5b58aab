//! How mounts begin and end.
#![allow(clippy::unwrap_used, reason = "a test that can't go on shall panic")]

mod common;

use cairnfs::fuse::{MountError, MountOptions, Mounted, Unmounted};
use common::mount::{Bench, TestMount};
use common::spec::Spec;
use common::wait_until;
use nix::mount::{MntFlags, umount2};
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

fn refusal(bench: &Bench, path: &Path) -> MountError {
    Mounted::mount(bench.read_only(), None, path, &MountOptions::new("test")).unwrap_err()
}

#[test]
fn a_mount_that_cannot_be_says_why_and_what_to_do() {
    let bench = Bench::new(&Spec::new());
    let folder = tempfile::tempdir().unwrap();
    let missing = refusal(&bench, &folder.path().join("missing"));
    assert!(matches!(missing, MountError::NoMountpoint { .. }));
    assert!(missing.to_string().contains("mkdir -p"), "{missing}");
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(refusal(&bench, &file), MountError::NotDirectory { .. }));

    let mount = TestMount::read_only(&Spec::new());
    let taken = refusal(&bench, mount.root());
    assert!(matches!(&taken, MountError::AlreadyMounted { source_name, .. } if source_name == "test/ref"), "{taken}");
    mount.stop();
}

#[test]
fn the_session_ends_when_somebody_unmounts() {
    let mut mount = TestMount::writable(&Spec::new());
    fs::write(mount.at("file"), "written").unwrap();
    let mounted = mount.take();
    umount2(mount.root(), MntFlags::empty()).unwrap();
    let handle = mounted.handle();
    mounted.wait().unwrap();
    assert!(handle.has_ended());
    assert_eq!(handle.unmount().unwrap(), Unmounted::Now, "again is no error");
}

#[test]
fn a_mount_in_use_is_detached_and_served_to_the_last() {
    let mut mount = TestMount::writable(&Spec::new().file("file", "content"));
    let mut file = File::open(mount.at("file")).unwrap();
    let mounted = mount.take();
    let handle = mounted.handle();
    assert_eq!(mounted.unmount().unwrap(), Unmounted::WhenLastUserLeaves);
    assert!(!mount.at("file").exists(), "gone from the tree");
    let mut content = String::new();
    file.read_to_string(&mut content).unwrap();
    assert_eq!(content, "content");
    assert!(!handle.has_ended());
    drop(file);
    wait_until("the session has ended", || handle.has_ended());
}

#[test]
fn dropping_a_mount_ends_it_under_its_users() {
    let mount = TestMount::writable(&Spec::new().dir("dir"));
    let dir = File::open(mount.at("dir")).unwrap();
    let handle = mount.mounted().handle();
    drop(mount);
    assert!(handle.has_ended());
    assert_eq!(dir.sync_all().unwrap_err().raw_os_error(), Some(libc::ENOTCONN));
}

#[test]
fn a_moved_mount_is_found_and_unmounted() {
    let mount = TestMount::read_only(&Spec::new().file("file", "x"));
    // Mounts can only be moved out of a private mount: this bind is one.
    let place = tempfile::tempdir().unwrap();
    let bind = |flags| nix::mount::mount(Some(place.path()), place.path(), None::<&str>, flags, None::<&str>).unwrap();
    bind(nix::mount::MsFlags::MS_BIND);
    bind(nix::mount::MsFlags::MS_PRIVATE);
    let elsewhere = place.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let moved =
        nix::mount::mount(Some(mount.root()), &elsewhere, None::<&str>, nix::mount::MsFlags::MS_MOVE, None::<&str>);
    // Where the parent of the mountpoint is shared, the kernel refuses to move; then there is nothing to show.
    if moved.is_ok() {
        assert!(elsewhere.join("file").exists());
    }
    mount.stop();
    assert!(!elsewhere.join("file").exists());
    umount2(place.path(), MntFlags::MNT_DETACH).unwrap();
}
