//! Mounts served by the `cairnfs` program.

use super::wait_until;
use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use tempfile::TempDir;

/// The program with a store.
pub fn cairnfs(store: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cairnfs"));
    command.arg("--store").arg(store);
    command
}

/// A mount and the program that serves it in the foreground. Dropped: detached, and the program killed.
pub struct ProcessMount {
    child: Child,
    mountpoint: TempDir,
}

impl ProcessMount {
    /// `cairnfs --store STORE mount REF DIR -f ARGS`, once the mount answers.
    pub fn start(store: &Path, reference: &str, arguments: &[&str]) -> Self {
        let mountpoint = TempDir::with_prefix("cairnfs-mount-").unwrap();
        let mut command = cairnfs(store);
        command.arg("mount").arg(reference).arg(mountpoint.path()).arg("-f").args(arguments);
        let child = command.stdin(Stdio::null()).spawn().unwrap();
        let mut mount = Self { child, mountpoint };
        wait_until("the program has mounted", || {
            assert!(mount.child.try_wait().unwrap().is_none(), "the program ended instead of mounting");
            mount.is_mounted()
        });
        // The mount is in the table before the program has agreed with the kernel on how to talk.
        std::fs::metadata(mount.root()).unwrap();
        mount
    }

    pub fn is_mounted(&self) -> bool {
        let mounts = cairnfs::fuse::mounts().unwrap();
        mounts.iter().any(|entry| entry.mountpoint == self.mountpoint.path())
    }

    pub fn at(&self, path: &str) -> PathBuf {
        self.mountpoint.path().join(path)
    }

    pub fn root(&self) -> &Path {
        self.mountpoint.path()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// Waits for the program to end by itself.
    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the program has ended", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for ProcessMount {
    fn drop(&mut self) {
        // Either may have happened already.
        let _unmounted = umount2(self.mountpoint.path(), MntFlags::MNT_DETACH);
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}
