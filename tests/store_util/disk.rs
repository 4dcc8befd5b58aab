//! Filesystems of several kinds, in image files on loop devices.
#![allow(dead_code, reason = "each test program uses a part")]

use cairnfs::layer::instance::instance;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A filesystem in an image file, mounted while the value lives.
pub struct Disk {
    image: PathBuf,
    pub at: PathBuf,
}

pub fn run(program: &str, arguments: &[&str]) -> bool {
    let output = Command::new(program).args(arguments).output();
    output.is_ok_and(|output| output.status.success())
}

impl Disk {
    /// `None` where the tools or the privilege are missing.
    pub fn make(folder: &Path, kind: &str) -> Option<Self> {
        let disk = Self { image: folder.join(format!("{kind}.img")), at: folder.join(kind) };
        fs::create_dir(&disk.at).unwrap();
        fs::File::create(&disk.image).unwrap().set_len(400 << 20).unwrap();
        let made = run(&format!("mkfs.{kind}"), &["-q", disk.image.to_str().unwrap()]);
        (made && disk.mount()).then_some(disk)
    }

    fn mount(&self) -> bool {
        run("mount", &["-o", "loop", self.image.to_str().unwrap(), self.at.to_str().unwrap()])
    }

    pub fn store(&self) -> PathBuf {
        self.at.join("store")
    }

    /// Loses what wasn't written. With the log flushed, names and lengths reach the disk before the content that they are of.
    pub fn cut_power(&self, flush_log: bool) {
        let command = if flush_log { "shutdown -f" } else { "shutdown" };
        assert!(run("xfs_io", &["-x", "-c", command, self.at.to_str().unwrap()]));
    }

    /// Whether the kernel knows how to shut this filesystem down; asked on a mount of its own.
    pub fn can_be_cut(&self) -> bool {
        let command = || run("xfs_io", &["-x", "-c", "shutdown", self.at.to_str().unwrap()]);
        let can = command();
        self.restart();
        can
    }

    /// Mounts it again, for what is on the disk.
    pub fn restart(&self) {
        let before = instance(&self.at);
        let start = std::time::Instant::now();
        let mut mounted = true;
        // A program that was killed may still be letting go of it; and as long as a mount namespace that was copied meanwhile has it too,
        // mounting gives the same one again.
        while mounted || instance(&self.at) == before {
            assert!(start.elapsed().as_secs() < 60, "{} stays in use", self.at.display());
            if run("umount", &[self.at.to_str().unwrap()]) {
                mounted = false;
                assert!(self.mount());
            } else {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(&self.at, nix::mount::MntFlags::MNT_DETACH);
    }
}
