//! Small and failing disks, and daemons with a log, for tests of what happens when the disk is full or fails.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test file uses its own part of this")]
#![allow(clippy::unwrap_used, reason = "a test that can't go on shall panic")]

#[path = "../common/skip.rs"]
mod skip;
#[path = "../common/wait.rs"]
#[allow(clippy::duplicate_mod, reason = "a test may have `common` beside this")]
mod wait;

use nix::mount::{MntFlags, umount2};
pub use skip::possible;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;
pub use wait::wait_until;

pub fn run(program: &str, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
}

/// A small filesystem, unmounted when the value is dropped.
pub struct Place {
    pub kind: &'static str,
    folder: TempDir,
}

impl Place {
    fn new(kind: &'static str) -> Self {
        let folder = TempDir::with_prefix("cairnfs-place-").unwrap();
        fs::create_dir(folder.path().join("at")).unwrap();
        Self { kind, folder }
    }

    pub fn tmpfs(options: &str) -> Self {
        let place = Self::new("tmpfs");
        assert!(run("mount", &["-t", "tmpfs", "-o", options, "small", place.at("").to_str().unwrap()]));
        place
    }

    /// ext4 in an image of `megabytes` on a loop device.
    pub fn ext4(megabytes: u64, options: &[&str]) -> Self {
        let place = Self::new("ext4");
        place.make_ext4(megabytes, options);
        place.mount("loop");
        place
    }

    /// ext4 on an image that has no room for what is written to files: it is in a tmpfs that [`Place::starve`] fills.
    pub fn failing(megabytes: u64) -> Self {
        let place = Self::new("failing");
        let below = place.below();
        fs::create_dir(&below).unwrap();
        let size = format!("size={}m", megabytes * 2);
        assert!(run("mount", &["-t", "tmpfs", "-o", &size, "below", below.to_str().unwrap()]));
        place.make_ext4(megabytes, &["-b", "4096", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0"]);
        place.thin_out();
        place.mount("loop");
        place
    }

    fn below(&self) -> PathBuf {
        self.folder.path().join("below")
    }

    fn image(&self) -> PathBuf {
        if self.kind == "failing" { self.below().join("image") } else { self.folder.path().join("image") }
    }

    fn make_ext4(&self, megabytes: u64, options: &[&str]) {
        let image = self.image();
        File::create(&image).unwrap().set_len(megabytes << 20).unwrap();
        let arguments = [&["-q", "-F", "-m", "0"], options, &[image.to_str().unwrap()]].concat();
        assert!(run("mkfs.ext4", &arguments));
    }

    /// Leaves holes in the image where the filesystem has free blocks, and nowhere else.
    fn thin_out(&self) {
        use nix::fcntl::{FallocateFlags, fallocate};
        let image = File::options().write(true).open(self.image()).unwrap();
        let length = image.metadata().unwrap().len().cast_signed();
        fallocate(&image, FallocateFlags::empty(), 0, length).unwrap();
        let output = Command::new("dumpe2fs").arg(self.image()).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let ranges =
            text.lines().filter_map(|line| line.strip_prefix("  Free blocks: ")).flat_map(|line| line.split(", "));
        let punch = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        let mut holes = 0;
        for range in ranges.filter(|range| !range.is_empty()) {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last): (i64, i64) = (first.parse().unwrap(), last.parse().unwrap());
            fallocate(&image, punch, first * 4096, (last + 1 - first) * 4096).unwrap();
            holes += last + 1 - first;
        }
        assert!(holes > 1000, "{text}");
    }

    fn mount(&self, options: &str) {
        assert!(run("mount", &["-o", options, self.image().to_str().unwrap(), self.at("").to_str().unwrap()]));
    }

    /// From now on writes to blocks that have no place yet fail with EIO when they are written back.
    pub fn starve(&self) {
        let filler = File::create(self.below().join("filler")).unwrap();
        let mut at = 0;
        for step in [1 << 20, 4096] {
            while filler.write_all_at(&vec![1; step], at).is_ok() {
                at += step as u64;
            }
        }
    }

    /// The disk takes writes again.
    pub fn feed(&self) {
        fs::remove_file(self.below().join("filler")).unwrap();
    }

    /// As after a power cut: what isn't on disk is gone.
    pub fn cut_power(&self) {
        assert!(run("xfs_io", &["-x", "-c", "shutdown", self.at("").to_str().unwrap()]));
        self.restart();
    }

    pub fn restart(&self) {
        wait_until("nobody uses the disk", || run("umount", &[self.at("").to_str().unwrap()]));
        self.mount("loop");
    }

    pub fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join("at").join(path)
    }

    pub fn remount(&self, options: &str) -> bool {
        run("mount", &["-o", &format!("remount,{options}"), self.at("").to_str().unwrap()])
    }

    /// Takes all room and all inodes that are left.
    pub fn fill(&self) {
        self.fill_by(|folder| Self::fill_room(folder) | Self::fill_inodes(folder));
    }

    /// Takes all room that is left.
    pub fn fill_but_inodes(&self) {
        self.fill_by(Self::fill_room);
    }

    fn fill_by(&self, once: impl Fn(&Path) -> bool) {
        let folder = self.at("filler");
        fs::create_dir_all(&folder).ok();
        // Room that was freed a moment ago may come back once the filesystem has written that down.
        while once(&folder) {
            assert!(run("sync", &["-f", self.at("").to_str().unwrap()]));
        }
    }

    /// Returns whether there was any.
    fn fill_room(folder: &Path) -> bool {
        let mut any = false;
        if let Ok(file) = File::options().create(true).append(true).open(folder.join("big")) {
            use std::io::Write as _;
            for step in [1 << 16, 4096, 512, 1] {
                while (&file).write_all(&vec![1; step]).is_ok() {
                    any = true;
                }
            }
        }
        any
    }

    /// Returns whether there was any.
    fn fill_inodes(folder: &Path) -> bool {
        let names = fs::read_dir(folder).map_or(0, Iterator::count);
        let make = |number: &usize| File::create_new(folder.join(format!("inode{number}"))).is_ok();
        (names..100_000).take_while(make).count() > 0
    }

    pub fn unfill(&self) {
        let _ = fs::remove_dir_all(self.at("filler"));
    }

    pub fn free(&self) -> u64 {
        let stat = nix::sys::statvfs::statvfs(&self.at("")).unwrap();
        stat.blocks_available() * stat.fragment_size()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = umount2(&self.folder.path().join("at"), MntFlags::MNT_DETACH);
        let _ = umount2(&self.below(), MntFlags::MNT_DETACH);
    }
}

/// `cairnfs --store STORE ARGS`.
pub fn cairnfs(store: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cairnfs"));
    command.env_remove("CAIRNFS_STORE").env_remove("CAIRNFS_LOG").arg("--store").arg(store).args(arguments);
    command.stdin(Stdio::null()).output().unwrap()
}

pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

pub fn succeed(store: &Path, arguments: &[&str]) -> String {
    let output = cairnfs(store, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output));
    text(&output)
}

/// Fails, by exit code and not by signal or panic; what it says.
pub fn fail(store: &Path, arguments: &[&str]) -> String {
    let output = cairnfs(store, arguments);
    assert!(matches!(output.status.code(), Some(1..=100)), "{arguments:?}: {:?} {}", output.status, text(&output));
    text(&output)
}

/// A mount and the daemon that serves it in the foreground. Dropped: detached, and the daemon killed.
pub struct Daemon {
    child: Child,
    mountpoint: TempDir,
    log: tempfile::NamedTempFile,
}

impl Daemon {
    pub fn start(store: &Path, arguments: &[&str]) -> Self {
        Self::start_by(&[], store, arguments).unwrap_or_else(|log| panic!("it didn't mount: {log}"))
    }

    /// Started by another program, as in `strace cairnfs ...`. Its log, when it ends instead of mounting.
    pub fn start_by(by: &[&str], store: &Path, arguments: &[&str]) -> Result<Self, String> {
        let mountpoint = TempDir::with_prefix("cairnfs-mount-").unwrap();
        let log = tempfile::NamedTempFile::new().unwrap();
        let program = env!("CARGO_BIN_EXE_cairnfs");
        let words = [by, &[program]].concat();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg("--store").arg(store).arg("mount").arg("base").arg(mountpoint.path());
        command.arg("-f").args(arguments).env_remove("CAIRNFS_STORE").env_remove("CAIRNFS_LOG");
        command.stdin(Stdio::null()).stderr(log.reopen().unwrap());
        let mut daemon = Self { child: command.spawn().unwrap(), mountpoint, log };
        let mut ended = false;
        wait_until("the program has mounted", || {
            ended = daemon.child.try_wait().unwrap().is_some();
            ended || daemon.is_mounted()
        });
        if ended {
            return Err(daemon.log());
        }
        fs::metadata(daemon.at("")).unwrap();
        Ok(daemon)
    }

    fn is_mounted(&self) -> bool {
        let mounts = cairnfs::fuse::mounts().unwrap();
        mounts.iter().any(|entry| entry.mountpoint == self.mountpoint.path())
    }

    pub fn at(&self, path: &str) -> PathBuf {
        self.mountpoint.path().join(path)
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.log.path()).unwrap()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Runs a command by the control directory.
    pub fn ctl(&self, command: &str) -> io::Result<()> {
        fs::write(self.at(".ctl/cmd"), command)
    }

    /// The last command's result, as JSON.
    pub fn reply(&self) -> String {
        fs::read_to_string(self.at(".ctl/cmd")).unwrap()
    }

    /// The daemon lives and answers, and nothing in it has panicked.
    pub fn assert_well(&mut self) {
        assert!(self.child.try_wait().unwrap().is_none(), "the daemon ended: {}", self.log());
        assert!(fs::read_to_string(self.at(".ctl/stats")).unwrap().contains("version "));
        assert!(!self.log().contains("panicked"), "{}", self.log());
    }

    /// Unmounts in good order, and waits for the end.
    pub fn stop(mut self) -> String {
        // A program that another test is just starting may hold copies of this process's files for a moment.
        wait_until("it is unmounted", || nix::mount::umount(self.mountpoint.path()).is_ok());
        wait_until("the daemon has ended", || self.child.try_wait().unwrap().is_some());
        let log = self.log();
        assert!(!log.contains("panicked"), "{log}");
        log
    }

    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Either may have happened already.
        let _unmounted = umount2(self.mountpoint.path(), MntFlags::MNT_DETACH);
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// All that is to be seen below a directory, the control directory apart: type, mode, owner, links, content or target, attributes.
pub fn tree(top: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    let mut open = vec![PathBuf::new()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(top.join(&folder)).unwrap() {
            let path = folder.join(entry.unwrap().file_name());
            let host = top.join(&path);
            let stat = fs::symlink_metadata(&host).unwrap();
            let content = if stat.is_symlink() {
                format!("{:?}", fs::read_link(&host).unwrap())
            } else if stat.is_file() {
                cairnfs::format::Digest::of(&fs::read(&host).unwrap()).to_string()
            } else {
                open.extend(stat.is_dir().then(|| path.clone()));
                String::new()
            };
            let names: Vec<_> =
                xattr::list(&host).unwrap().map(|name| (xattr::get(&host, &name).unwrap(), name)).collect();
            let owner = (stat.uid(), stat.gid());
            all.insert(path, format!("{:o} {owner:?} {} {content} {names:?}", stat.mode(), stat.nlink()));
        }
    }
    all
}

/// Whether it failed for want of room, and not otherwise.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Asserts that an operation succeeded or failed for want of room; which.
pub fn full_or<T>(what: &str, outcome: io::Result<T>) -> Option<T> {
    match outcome {
        Ok(value) => Some(value),
        Err(error) => {
            assert!(is_full(&error), "{what}: {error}");
            None
        }
    }
}

/// Files below a folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() { open.push(entry.path()) } else { all.push(entry.path()) }
        }
    }
    all.sort();
    all
}
