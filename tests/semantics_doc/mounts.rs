//! Section "Mounts".

use crate::common::as_nobody;
use crate::common::mount::TestMount;
use crate::common::process::{ProcessMount, cairnfs};
use crate::common::spec::Spec;
use crate::support::{errno, store};
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_read_only_mount_refuses_every_change_by_the_kernel() {
    let mount = TestMount::read_only(&Spec::new().file("file", "x").dir("dir"));
    let (file, dir) = (mount.at("file"), mount.at("dir"));
    let refused = [
        errno(fs::write(&file, "y")),
        errno(fs::write(mount.at("new"), "y")),
        errno(fs::create_dir(mount.at("new"))),
        errno(fs::remove_file(&file)),
        errno(fs::remove_dir(&dir)),
        errno(fs::rename(&file, mount.at("new"))),
        errno(fs::hard_link(&file, mount.at("new"))),
        errno(std::os::unix::fs::symlink("x", mount.at("new"))),
        errno(fs::set_permissions(&file, PermissionsExt::from_mode(0o600))),
        errno(std::os::unix::fs::chown(&file, Some(1), None)),
        errno(xattr::set(&file, "user.x", b"x")),
        errno(fs::File::options().write(true).open(&file)),
    ];
    assert_eq!(refused, [libc::EROFS; 12]);
    for operation in ["create", "write", "setattr", "unlink", "rename", "mkdir", "setxattr"] {
        assert_eq!(mount.count(operation), 0, "{operation} reached the daemon");
    }
    mount.stop();
}

#[test]
fn changes_are_kept_in_the_layer_which_one_mount_may_have() {
    let store = store(&Spec::new().file("file", "x"));
    {
        let first = ProcessMount::start(store.path(), "base", &["--layer", "work"]);
        fs::write(first.at("file"), "changed").unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let mut second = cairnfs(store.path());
        let second = second.args(["mount", "base"]).arg(elsewhere.path()).args(["-f", "--layer", "work"]).output();
        assert!(!second.unwrap().status.success());
    }
    let again = ProcessMount::start(store.path(), "base", &["--layer", "work"]);
    assert_eq!(fs::read_to_string(again.at("file")).unwrap(), "changed");
}

#[test]
fn changes_in_memory_are_gone_after_the_unmount() {
    let store = store(&Spec::new().file("file", "x"));
    for _ in 0..2 {
        let mount = ProcessMount::start(store.path(), "base", &["--tmpfs"]);
        assert_eq!(fs::read_to_string(mount.at("file")).unwrap(), "x");
        fs::write(mount.at("file"), "changed").unwrap();
        assert_eq!(fs::read_to_string(mount.at("file")).unwrap(), "changed");
    }
}

#[test]
fn roots_mounts_are_for_all_with_setuid_and_devices_unless_turned_off() {
    let spec = Spec::new()
        .file("id", fs::read("/usr/bin/id").unwrap())
        .mode("id", 0o4755)
        .char_device("null", 1, 3)
        .file("secret", "")
        .mode("secret", 0o600);
    let store = store(&spec);
    let run = |mount: &ProcessMount| {
        let at = mount.root().display();
        let (_, uid, _) = as_nobody(&format!("{at}/id -u"));
        let (device, ..) = as_nobody(&format!("echo x > {at}/null"));
        let (secret, ..) = as_nobody(&format!("cat {at}/secret"));
        (uid.trim().to_owned(), device == 0, secret == 0)
    };
    let open = ProcessMount::start(store.path(), "base", &["--layer", "one"]);
    assert_eq!(run(&open), ("0".to_owned(), true, false));
    let closed = ProcessMount::start(store.path(), "base", &["--layer", "two", "-o", "nosuid,nodev"]);
    assert_eq!(run(&closed), ("65534".to_owned(), false, false));
    let not_run = ProcessMount::start(store.path(), "base", &["--layer", "three", "-o", "noexec"]);
    assert_eq!(errno(std::process::Command::new(not_run.at("id")).status()), libc::EACCES);
}

#[test]
fn a_remount_changes_flags_and_does_not_make_a_mount_without_a_layer_writable() {
    let store = store(&Spec::new().file("file", "x"));
    let remount = |mount: &ProcessMount, flags: &str| {
        let mut command = cairnfs(store.path());
        let done = command.args(["mount", "base"]).arg(mount.root()).args(["-o", flags]).output().unwrap();
        done.status.success()
    };
    let mount = ProcessMount::start(store.path(), "base", &["--layer", "work"]);
    assert!(remount(&mount, "remount,ro"));
    assert_eq!(errno(fs::write(mount.at("new"), "")), libc::EROFS);
    assert!(remount(&mount, "remount,rw"));
    assert!(!remount(&mount, "remount,threads=3"), "what is no flag stays");
    fs::write(mount.at("new"), "").unwrap();
    let mount = ProcessMount::start(store.path(), "base", &[]);
    assert!(!remount(&mount, "remount,rw"));
    assert_eq!(errno(fs::write(mount.at("new"), "")), libc::EROFS);
}
