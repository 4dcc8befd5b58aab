//! How to mount: what `mount` and `-o` can choose.

use super::metrics::Metrics;
use crate::vfs::Copying;
use nix::mount::MsFlags;
use nix::unistd::geteuid;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// Whether the control directory is there, and whether commands may be written to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlAccess {
    /// `.ctl` is a name like any other.
    Off,
    /// Files can be read.
    Ro,
    /// Commands can be written.
    Rw,
}

/// Who reads and writes the content of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IoChoice {
    /// The kernel by itself where it can.
    Auto,
    /// Always this process, through the page cache.
    Cached,
}

/// Options of a mount.
#[derive(Debug, Clone)]
pub struct MountOptions {
    /// The superblock is read-only: the kernel refuses changes by itself, and keeps attributes after a read.
    pub read_only: bool,
    /// What `findmnt` and `df` show as the source: the ref.
    pub fsname: String,
    /// Whether other users than the mount's owner may look in.
    pub allow_other: bool,
    /// The control directory.
    pub control: ControlAccess,
    /// Who does reads and writes.
    pub io: IoChoice,
    /// Directories are listed ahead of a program that walks the tree.
    pub ahead: bool,
    /// How content is copied up.
    pub copying: Copying,
    /// Threads that serve requests.
    pub threads: NonZeroUsize,
    /// Each thread has its own descriptor of the device.
    pub clone_fd: bool,
    /// setuid and setgid bits and file capabilities count.
    pub suid: bool,
    /// Device files are devices.
    pub dev: bool,
    /// Programs can be run.
    pub exec: bool,
    /// Access times are kept.
    pub atime: bool,
    /// Who owns the mount and may use its control directory, besides root.
    pub owner: u32,
    /// SIGTERM, SIGINT and SIGHUP sync and unmount; a second one ends the mount under its users.
    pub signals: bool,
    /// Where the mount counts; clone it to read the counters while the mount lives.
    pub metrics: Arc<Metrics>,
}

/// A `-o` option with a value that it doesn't take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`-o {option}`: {expected}")]
pub struct BadOption {
    /// The option as given.
    pub option: String,
    /// What would have been right.
    pub expected: &'static str,
}

impl MountOptions {
    /// The defaults of a read-only mount for whoever runs this: root's mounts are for everybody, with setuid and devices.
    pub fn new(fsname: impl Into<String>) -> Self {
        let root = geteuid().is_root();
        Self {
            read_only: true,
            fsname: fsname.into(),
            allow_other: root,
            control: ControlAccess::Rw,
            io: IoChoice::Auto,
            ahead: true,
            copying: Copying::Auto,
            threads: NonZeroUsize::new(4).expect("not zero"),
            clone_fd: false,
            suid: root,
            dev: root,
            exec: true,
            atime: true,
            owner: geteuid().as_raw(),
            signals: false,
            metrics: Arc::default(),
        }
    }

    /// Applies one `-o` option. `Ok(false)`: not an option of the mount itself, so the caller's to know or refuse.
    pub fn apply(&mut self, option: &str) -> Result<bool, BadOption> {
        let bad = |expected| Err(BadOption { option: option.to_owned(), expected });
        match option {
            "ro" => self.read_only = true,
            "rw" => self.read_only = false,
            "suid" => self.suid = true,
            "nosuid" => self.suid = false,
            "dev" => self.dev = true,
            "nodev" => self.dev = false,
            "exec" => self.exec = true,
            "noexec" => self.exec = false,
            "atime" | "relatime" => self.atime = true,
            "noatime" => self.atime = false,
            "allow_other" => self.allow_other = true,
            // What every mount has; mount(8) and fstab pass them on.
            "defaults"
            | "default_permissions"
            | "nofail"
            | "auto"
            | "noauto"
            | "user"
            | "users"
            | "nouser"
            | "_netdev" => {}
            _ => match option.split_once('=') {
                Some(("ctl", "off")) => self.control = ControlAccess::Off,
                Some(("ctl", "ro")) => self.control = ControlAccess::Ro,
                Some(("ctl", "rw")) => self.control = ControlAccess::Rw,
                Some(("ctl", _)) => return bad("takes off, ro or rw"),
                Some(("io", "auto")) => self.io = IoChoice::Auto,
                Some(("io", "cached")) => self.io = IoChoice::Cached,
                Some(("io", _)) => return bad("takes auto or cached"),
                Some(("copy", "auto")) => self.copying = Copying::Auto,
                Some(("copy", "whole")) => self.copying = Copying::Whole,
                Some(("copy", "range")) => self.copying = Copying::Range,
                Some(("copy", _)) => return bad("takes auto, whole or range"),
                Some(("ahead", "auto")) => self.ahead = true,
                Some(("ahead", "off")) => self.ahead = false,
                Some(("ahead", _)) => return bad("takes auto or off"),
                Some(("threads", number)) => match number.parse() {
                    Ok(threads) if threads <= NonZeroUsize::new(64).expect("not zero") => self.threads = threads,
                    _ => return bad("takes a number from 1 to 64"),
                },
                _ => return Ok(false),
            },
        }
        Ok(true)
    }

    pub(super) fn flags(&self) -> MsFlags {
        let choices = [
            (self.read_only, MsFlags::MS_RDONLY),
            (!self.suid, MsFlags::MS_NOSUID),
            (!self.dev, MsFlags::MS_NODEV),
            (!self.exec, MsFlags::MS_NOEXEC),
            (!self.atime, MsFlags::MS_NOATIME),
        ];
        choices.iter().filter(|(chosen, _)| *chosen).fold(MsFlags::empty(), |all, (_, flag)| all | *flag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_known_refused_or_left_to_the_caller() {
        let mut options = MountOptions::new("debian");
        for option in ["rw", "nosuid", "nodev", "ctl=ro", "io=cached", "copy=range", "threads=2", "defaults"] {
            assert_eq!(options.apply(option), Ok(true), "{option}");
        }
        assert_eq!(options.flags(), MsFlags::MS_NOSUID | MsFlags::MS_NODEV);
        assert_eq!((options.control, options.io, options.threads.get()), (ControlAccess::Ro, IoChoice::Cached, 2));
        assert_eq!(options.apply("store=/x"), Ok(false));
        for option in ["ctl=maybe", "threads=0", "threads=x", "threads=1000", "io=", "copy=some"] {
            assert!(options.apply(option).is_err(), "{option}");
        }
    }
}
