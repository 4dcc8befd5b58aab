//! The control directory through a mount.
#![allow(clippy::unwrap_used, reason = "a test that can't go on shall panic")]

mod common;

use cairnfs::fuse::{ControlAccess, ControlError, ControlFile, ControlFiles};
use common::as_nobody;
use common::mount::{Bench, TestMount};
use common::spec::Spec;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex};

/// Counts what is read, and remembers what is written.
#[derive(Default)]
struct Fake {
    reads: Mutex<usize>,
    commands: Mutex<Vec<Vec<u8>>>,
}

impl ControlFiles for Fake {
    fn files(&self) -> &[ControlFile] {
        &[ControlFile { name: "stats", writable: false }, ControlFile { name: "cmd", writable: true }]
    }

    fn read(&self, index: usize) -> Result<Vec<u8>, ControlError> {
        let mut reads = self.reads.lock().unwrap();
        *reads += 1;
        match index {
            0 => Ok(format!("reads {reads}\n").repeat(10_000).into_bytes()),
            _ => Ok(self.commands.lock().unwrap().last().cloned().unwrap_or_default()),
        }
    }

    fn write(&self, _: usize, text: &[u8]) -> Result<(), ControlError> {
        self.commands.lock().unwrap().push(text.to_vec());
        match text {
            b"usage" => Err(ControlError::Usage("usage".into())),
            b"missing" => Err(ControlError::NotFound("missing".into())),
            b"busy" => Err(ControlError::Busy("busy".into())),
            b"refused" => Err(ControlError::Refused("refused".into())),
            b"failed" => Err(ControlError::Failed("failed".into())),
            _ => Ok(()),
        }
    }
}

fn mount(access: ControlAccess) -> (TestMount, Arc<Fake>) {
    let bench = Bench::new(&Spec::new().file("file", "x").dir("dir"));
    let files = Arc::new(Fake::default());
    let mount =
        TestMount::mount(&bench, bench.with_layer("layer"), |options| options.control = access, Some(files.clone()));
    (mount, files)
}

#[test]
fn it_is_found_but_not_listed() {
    let (mount, _) = mount(ControlAccess::Rw);
    let mut names: Vec<_> = fs::read_dir(mount.root()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["dir", "file"]);
    let mut inside: Vec<_> = fs::read_dir(mount.at(".ctl")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    inside.sort();
    assert_eq!(inside, ["cmd", "stats"]);
    assert!(!mount.at("dir/.ctl").exists(), "at the root alone");
    assert!(!mount.at(".ctl/nothing").exists());
    let cmd = fs::metadata(mount.at(".ctl/cmd")).unwrap();
    assert_eq!((cmd.mode() & 0o7777, cmd.uid()), (0o600, 0));
    assert_eq!(fs::metadata(mount.at(".ctl/stats")).unwrap().mode() & 0o7777, 0o400);
    assert_eq!(fs::metadata(mount.at(".ctl/..")).unwrap().ino(), 1);
    mount.stop();
}

#[test]
fn reading_tells_the_moment_of_the_open() {
    let (mount, _) = mount(ControlAccess::Rw);
    let read = |name: &str| fs::read_to_string(mount.at(".ctl").join(name)).unwrap();
    assert_eq!(read("stats"), "reads 1\n".repeat(10_000));
    assert_eq!(read("stats"), "reads 2\n".repeat(10_000), "nothing is kept");
    let mut early = File::open(mount.at(".ctl/stats")).unwrap();
    read("stats");
    let mut text = String::new();
    early.read_to_string(&mut text).unwrap();
    assert_eq!(text, "reads 3\n".repeat(10_000));
    drop(early);
    mount.stop();
}

#[test]
fn each_write_is_one_command_with_its_own_errno() {
    let (mount, files) = mount(ControlAccess::Rw);
    let shell = format!("echo gc dry-run > {}", mount.at(".ctl/cmd").display());
    assert!(std::process::Command::new("sh").arg("-c").arg(shell).status().unwrap().success());
    fs::write(mount.at(".ctl/cmd"), "sync").unwrap();
    assert_eq!(*files.commands.lock().unwrap(), [b"gc dry-run".to_vec(), b"sync".to_vec()]);
    assert_eq!(fs::read_to_string(mount.at(".ctl/cmd")).unwrap(), "sync");

    let mut cmd = OpenOptions::new().append(true).open(mount.at(".ctl/cmd")).unwrap();
    let mut errno = |command: &str| cmd.write_all(command.as_bytes()).unwrap_err().raw_os_error().unwrap();
    assert_eq!(errno("usage"), libc::EINVAL);
    assert_eq!(errno("missing\n"), libc::ENOENT);
    assert_eq!(errno("busy"), libc::EBUSY);
    assert_eq!(errno("refused"), libc::EROFS);
    assert_eq!(errno("failed"), libc::EIO);
    cmd.write_all(b"still alive").unwrap();
    drop(cmd);
    mount.stop();
}

#[test]
fn it_is_for_the_owner_and_root_alone() {
    let (mount, files) = mount(ControlAccess::Rw);
    let run = |script: &str| as_nobody(&format!("cd {} && {script}", mount.root().display())).0;
    assert_eq!(run("cat file"), 0);
    for script in ["cat .ctl/stats", "echo gc > .ctl/cmd", "ls .ctl", "cd .ctl"] {
        assert_ne!(run(script), 0, "{script}");
    }
    assert!(files.commands.lock().unwrap().is_empty());
    mount.stop();
}

#[test]
fn it_cannot_be_changed() {
    let (mount, _) = mount(ControlAccess::Rw);
    let errno = |outcome: std::io::Result<()>| outcome.unwrap_err().raw_os_error().unwrap();
    let ctl = mount.at(".ctl");
    assert_eq!(errno(fs::create_dir(&ctl)), libc::EEXIST);
    assert_eq!(errno(fs::remove_dir(&ctl)), libc::EBUSY);
    assert_eq!(errno(fs::rename(&ctl, mount.at("other"))), libc::EBUSY);
    assert_eq!(errno(fs::rename(mount.at("dir"), &ctl)), libc::EBUSY);
    assert_eq!(errno(fs::write(ctl.join("new"), "")), libc::EPERM);
    assert_eq!(errno(fs::remove_file(ctl.join("cmd"))), libc::EPERM);
    assert_eq!(errno(fs::hard_link(ctl.join("cmd"), mount.at("link"))), libc::EPERM);
    assert_eq!(errno(fs::hard_link(mount.at("file"), ctl.join("link"))), libc::EPERM);
    assert_eq!(errno(fs::rename(mount.at("file"), ctl.join("file"))), libc::EPERM);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    assert_eq!(errno(fs::set_permissions(ctl.join("cmd"), mode)), libc::EPERM);
    assert_eq!(errno(xattr::set(ctl.join("cmd"), "user.x", b"")), libc::EPERM);
    assert_eq!(xattr::get(ctl.join("cmd"), "user.x").unwrap(), None);
    assert_eq!(xattr::list(&ctl).unwrap().count(), 0);
    assert_eq!(fs::read(mount.at("file")).unwrap(), b"x");
    mount.stop();
}

#[test]
fn it_can_be_read_only_or_off() {
    let (ro, files) = mount(ControlAccess::Ro);
    assert_eq!(fs::metadata(ro.at(".ctl/cmd")).unwrap().mode() & 0o7777, 0o400);
    let refused = OpenOptions::new().write(true).open(ro.at(".ctl/cmd")).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EACCES));
    assert!(fs::read(ro.at(".ctl/stats")).is_ok());
    assert!(files.commands.lock().unwrap().is_empty());
    ro.stop();

    let (off, _) = mount(ControlAccess::Off);
    assert!(!off.at(".ctl").exists());
    fs::write(off.at(".ctl"), "a name like any other").unwrap();
    assert_eq!(fs::read(off.at(".ctl")).unwrap(), b"a name like any other");
    off.stop();
}

#[test]
fn a_read_only_mount_has_it_too() {
    let bench = Bench::new(&Spec::new());
    let mount = TestMount::mount(&bench, bench.read_only(), |_| {}, Some(Arc::new(Fake::default())));
    assert!(fs::read_to_string(mount.at(".ctl/stats")).unwrap().starts_with("reads 1"));
    assert_eq!(fs::read_dir(mount.at(".ctl")).unwrap().count(), 2);
    // The superblock is read-only, so no write reaches the daemon: commands go over the socket.
    let refused = OpenOptions::new().write(true).open(mount.at(".ctl/cmd")).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EROFS));
    mount.stop();
}
