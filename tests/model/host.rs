//! Operations by system calls, below a directory of any filesystem.

use super::answer::{Got, Kind, Moment, Seen};
use super::fail::Fail;
use super::machine::Machine;
use super::op::{Access, How, LISTINGS, Mode, Node, On, Op, Path, SLOTS, Set, Space, Time, short_name, target};
use super::run::System;
use super::tree::{Leaf, Tree, Whole};
use rustix::fs::{self as sys, AtFlags, CWD, FallocateFlags, FileType, OFlags, RenameFlags, SeekFrom, XattrFlags};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

type Done = Result<Got, Fail>;

/// A listing: its directory, and what was read of it.
struct Listing {
    dir: File,
    names: Vec<String>,
}

/// One machine's files, and what a sequence has open of them.
pub struct Host {
    machine: Box<dyn Machine>,
    /// The sequence's own directory.
    root: PathBuf,
    slots: [Option<File>; SLOTS as usize],
    listings: [Option<Listing>; LISTINGS as usize],
}

fn fail(error: std::io::Error) -> Fail {
    Errno::from_io_error(&error).map_or_else(|| Fail::Other(error.to_string()), Fail::from)
}

fn done(result: rustix::io::Result<()>) -> Done {
    Ok(result.map(|()| Got::Done)?)
}

fn bits(mode: u32) -> sys::Mode {
    sys::Mode::from_raw_mode(mode)
}

/// What stat says, as the model has it.
pub fn seen(stat: &sys::Stat) -> Seen {
    let (major, minor) = (sys::major(stat.st_rdev), sys::minor(stat.st_rdev));
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Kind::Dir,
        FileType::Symlink => Kind::Symlink,
        FileType::Fifo => Kind::Node(Node::Fifo),
        FileType::Socket => Kind::Node(Node::Socket),
        FileType::CharacterDevice => Kind::Node(Node::Char(major, minor)),
        FileType::BlockDevice => Kind::Node(Node::Block(major, minor)),
        _ => Kind::Node(Node::File),
    };
    let time = |secs: i64, nanos: u64| -> Moment { (secs, nanos as u32) };
    Seen {
        ino: stat.st_ino,
        kind,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        nlink: stat.st_nlink as u32,
        size: stat.st_size as u64,
        atime: time(stat.st_atime, stat.st_atime_nsec),
        mtime: time(stat.st_mtime, stat.st_mtime_nsec),
        ctime: time(stat.st_ctime, stat.st_ctime_nsec),
    }
}

impl Host {
    pub fn new(machine: Box<dyn Machine>) -> Self {
        Self { machine, root: PathBuf::new(), slots: [const { None }; 4], listings: [const { None }; 2] }
    }

    /// For making the starting tree in a directory that is there.
    pub fn below(root: PathBuf, machine: Box<dyn Machine>) -> Self {
        Self { root, ..Self::new(machine) }
    }

    fn at(&self, path: &Path) -> PathBuf {
        if path.0.is_empty() { self.root.clone() } else { self.root.join(path.real()) }
    }

    fn slot(&self, slot: u8) -> Result<&File, Fail> {
        self.slots[usize::from(slot)].as_ref().ok_or(Fail::BadFile)
    }

    fn open(&mut self, slot: u8, path: &Path, how: How, mode: u32) -> Done {
        self.slots[usize::from(slot)] = None;
        let path = self.at(path);
        let excl = how.create && how.excl;
        if let Ok(found) = sys::statat(CWD, &path, AtFlags::SYMLINK_NOFOLLOW)
            && !excl
            && matches!(seen(&found).kind, Kind::Node(node) if node != Node::File)
        {
            return Err(Fail::Special);
        }
        let mut flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
        flags |= match how.access {
            Access::Read => OFlags::RDONLY,
            Access::Write => OFlags::WRONLY,
            Access::Both => OFlags::RDWR,
        };
        flags.set(OFlags::CREATE, how.create);
        flags.set(OFlags::EXCL, excl);
        flags.set(OFlags::TRUNC, how.trunc);
        flags.set(OFlags::APPEND, how.append);
        self.slots[usize::from(slot)] = Some(sys::openat(CWD, path, flags, bits(mode))?.into());
        Ok(Got::Done)
    }

    fn mknod(&self, path: &Path, node: Node, mode: u32) -> Done {
        let (kind, device) = match node {
            Node::File => (FileType::RegularFile, 0),
            Node::Fifo => (FileType::Fifo, 0),
            Node::Socket => (FileType::Socket, 0),
            Node::Char(major, minor) => (FileType::CharacterDevice, sys::makedev(major, minor)),
            Node::Block(major, minor) => (FileType::BlockDevice, sys::makedev(major, minor)),
        };
        done(sys::mknodat(CWD, self.at(path), kind, bits(mode), device))
    }

    fn rename(&self, from: &Path, to: &Path, mode: Mode) -> Done {
        let flags = match mode {
            Mode::Plain => RenameFlags::empty(),
            Mode::NoReplace => RenameFlags::NOREPLACE,
            Mode::Exchange => RenameFlags::EXCHANGE,
        };
        done(sys::renameat_with(CWD, self.at(from), CWD, self.at(to), flags))
    }

    fn fallocate(&self, slot: u8, space: Space, offset: u64, length: u64) -> Done {
        let keep = FallocateFlags::KEEP_SIZE;
        let flags = match space {
            Space::Allocate => FallocateFlags::empty(),
            Space::KeepSize => keep,
            Space::Punch => FallocateFlags::PUNCH_HOLE | keep,
            Space::Zero => FallocateFlags::ZERO_RANGE,
            Space::ZeroKeepSize => FallocateFlags::ZERO_RANGE | keep,
        };
        done(sys::fallocate(self.slot(slot)?, flags, offset, length))
    }

    fn read(&self, slot: u8, offset: u64, length: usize) -> Done {
        let mut buffer = vec![0; length];
        let file = self.slot(slot)?;
        let mut have = 0;
        loop {
            match file.read_at(&mut buffer[have..], offset + have as u64).map_err(fail)? {
                0 => break,
                count => have += count,
            }
        }
        buffer.truncate(have);
        Ok(Got::Bytes(buffer))
    }

    fn copy_range(&self, from: (u8, u64), to: (u8, u64), length: u64) -> Done {
        let (source, target) = (self.slot(from.0)?, self.slot(to.0)?);
        let (mut from_at, mut to_at) = (from.1, to.1);
        let copied = sys::copy_file_range(source, Some(&mut from_at), target, Some(&mut to_at), length as usize)?;
        Ok(Got::Count(copied as u64))
    }

    fn utimens(&self, on: &On, atime: Time, mtime: Time) -> Done {
        let spec = |time| match time {
            Time::Omit => sys::Timespec { tv_sec: 0, tv_nsec: sys::UTIME_OMIT },
            Time::Now => sys::Timespec { tv_sec: 0, tv_nsec: sys::UTIME_NOW },
            Time::To(secs, nanos) => sys::Timespec { tv_sec: secs, tv_nsec: nanos.into() },
        };
        let times = sys::Timestamps { last_access: spec(atime), last_modification: spec(mtime) };
        match on {
            On::At(path) => done(sys::utimensat(CWD, self.at(path), &times, AtFlags::SYMLINK_NOFOLLOW)),
            On::Slot(slot) => done(sys::futimens(self.slot(*slot)?, &times)),
        }
    }

    fn chown(&self, on: &On, uid: Option<u32>, gid: Option<u32>) -> Done {
        let (uid, gid) = (uid.map(sys::Uid::from_raw), gid.map(sys::Gid::from_raw));
        match on {
            On::At(path) => done(sys::chownat(CWD, self.at(path), uid, gid, AtFlags::SYMLINK_NOFOLLOW)),
            On::Slot(slot) => done(sys::fchown(self.slot(*slot)?, uid, gid)),
        }
    }

    fn set_xattr(&self, on: &On, name: &str, value: &[u8], how: Set) -> Done {
        let flags = match how {
            Set::Any => XattrFlags::empty(),
            Set::Create => XattrFlags::CREATE,
            Set::Replace => XattrFlags::REPLACE,
        };
        match on {
            On::At(path) => done(sys::lsetxattr(self.at(path), name, value, flags)),
            On::Slot(slot) => done(sys::fsetxattr(self.slot(*slot)?, name, value, flags)),
        }
    }

    fn get_xattr(&self, on: &On, name: &str) -> Done {
        let mut value = vec![0; 4096];
        let length = match on {
            On::At(path) => sys::lgetxattr(self.at(path), name, &mut value[..])?,
            On::Slot(slot) => sys::fgetxattr(self.slot(*slot)?, name, &mut value[..])?,
        };
        value.truncate(length);
        Ok(Got::Bytes(value))
    }

    fn list_xattr(&self, on: &On) -> Done {
        let mut names = vec![0; 4096];
        let length = match on {
            On::At(path) => sys::llistxattr(self.at(path), &mut names[..])?,
            On::Slot(slot) => sys::flistxattr(self.slot(*slot)?, &mut names[..])?,
        };
        Ok(Got::Names(names_of(&names[..length])))
    }

    fn list_start(&mut self, slot: u8, path: &Path) -> Done {
        self.listings[usize::from(slot)] = None;
        let dir = open_dir(&self.at(path))?;
        self.listings[usize::from(slot)] = Some(Listing { dir, names: Vec::new() });
        Ok(Got::Done)
    }

    fn listing(&mut self, slot: u8) -> Result<&mut Listing, Fail> {
        self.listings[usize::from(slot)].as_mut().ok_or(Fail::BadFile)
    }

    fn list_end(&mut self, slot: u8) -> Done {
        let mut listing = self.listings[usize::from(slot)].take().ok_or(Fail::BadFile)?;
        while listing.read()? {}
        Ok(Got::Names(listing.names))
    }

    fn close_all(&mut self) {
        self.slots = [const { None }; 4];
        self.listings = [const { None }; 2];
    }

    fn close_readers(&mut self) {
        for slot in &mut self.slots {
            let reads = |file: &mut File| {
                let flags = sys::fcntl_getfl(&*file).unwrap();
                flags & OFlags::ACCMODE == OFlags::RDONLY
            };
            drop(slot.take_if(reads));
        }
    }
}

pub fn names_of(list: &[u8]) -> Vec<String> {
    list.split(|&byte| byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| String::from_utf8_lossy(name).into())
        .collect()
}

fn open_dir(path: &std::path::Path) -> Result<File, Fail> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(sys::openat(CWD, path, flags, bits(0))?.into())
}

impl Listing {
    /// Reads as little as one call gives. False at the end.
    fn read(&mut self) -> Result<bool, Fail> {
        // Room for two short names, or one long one.
        for room in [56, 400] {
            let mut buffer = Vec::with_capacity(room);
            let mut raw = sys::RawDir::new(&self.dir, buffer.spare_capacity_mut());
            let mut any = false;
            let mut too_small = false;
            loop {
                match raw.next() {
                    None => break,
                    Some(Err(Errno::INVAL)) => too_small = true,
                    Some(Err(errno)) => return Err(errno.into()),
                    Some(Ok(entry)) => {
                        any = true;
                        self.names.push(short_name(entry.file_name().to_bytes()));
                    }
                }
                if too_small || raw.is_buffer_empty() {
                    break;
                }
            }
            if !too_small {
                return Ok(any);
            }
        }
        Err(Fail::Other("an entry that no buffer has room for".into()))
    }
}

/// All beneath `root`, the root itself included.
pub fn walk(root: &std::path::Path) -> Result<Tree, Fail> {
    let mut tree = Tree::new();
    let mut pending = vec![Path(String::new())];
    while let Some(path) = pending.pop() {
        let at = if path.0.is_empty() { root.to_owned() } else { root.join(path.real()) };
        let seen = seen(&sys::statat(CWD, &at, AtFlags::SYMLINK_NOFOLLOW)?);
        let content = match seen.kind {
            Kind::Dir => {
                for entry in std::fs::read_dir(&at).map_err(fail)? {
                    let name = entry.map_err(fail)?.file_name();
                    pending.push(path.join(&short_name(std::os::unix::ffi::OsStrExt::as_bytes(&*name))));
                }
                Vec::new()
            }
            Kind::Symlink => sys::readlinkat(CWD, &at, Vec::new())?.into_bytes(),
            Kind::Node(Node::File) => std::fs::read(&at).map_err(fail)?,
            Kind::Node(_) => Vec::new(),
        };
        tree.insert(path, Leaf { seen, content, xattrs: xattrs(&at)? });
    }
    Ok(tree)
}

fn xattrs(path: &std::path::Path) -> Result<BTreeMap<String, Vec<u8>>, Fail> {
    let mut names = vec![0; 4096];
    let length = sys::llistxattr(path, &mut names[..])?;
    let mut all = BTreeMap::new();
    for name in names_of(&names[..length]) {
        let mut value = vec![0; 4096];
        let length = sys::lgetxattr(path, &*name, &mut value[..])?;
        value.truncate(length);
        all.insert(name, value);
    }
    Ok(all)
}

impl System for Host {
    fn name(&self) -> &'static str {
        self.machine.name()
    }

    fn begin(&mut self) {
        self.close_all();
        self.root = self.machine.fresh();
    }

    fn end(&mut self) {
        self.close_all();
        self.machine.done();
    }

    fn whole(&mut self) -> Result<Whole, Fail> {
        let mut open = [const { None }; SLOTS as usize];
        for (slot, open) in self.slots.iter().zip(&mut open) {
            *open = slot.as_ref().map(|file| sys::fstat(file).map(|stat| seen(&stat))).transpose()?;
        }
        Ok(Whole { tree: walk(&self.root)?, open })
    }

    fn apply(&mut self, op: &Op) -> Done {
        match op {
            Op::Stat(On::At(path)) => Ok(Got::Stat(seen(&sys::statat(CWD, self.at(path), AtFlags::SYMLINK_NOFOLLOW)?))),
            Op::Stat(On::Slot(slot)) => Ok(Got::Stat(seen(&sys::fstat(self.slot(*slot)?)?))),
            Op::Open(slot, path, how, mode) => self.open(*slot, path, *how, *mode),
            Op::Close(slot) => self.slots[usize::from(*slot)].take().map(|_| Got::Done).ok_or(Fail::BadFile),
            Op::Mkdir(path, mode) => done(sys::mkdirat(CWD, self.at(path), bits(*mode))),
            Op::Mknod(path, node, mode) => self.mknod(path, *node, *mode),
            Op::Symlink(path, length) => done(sys::symlinkat(target(*length), CWD, self.at(path))),
            Op::Readlink(path) => Ok(Got::Bytes(sys::readlinkat(CWD, self.at(path), Vec::new())?.into_bytes())),
            Op::Link(from, to) => done(sys::linkat(CWD, self.at(from), CWD, self.at(to), AtFlags::empty())),
            Op::Unlink(path) => done(sys::unlinkat(CWD, self.at(path), AtFlags::empty())),
            Op::Rmdir(path) => done(sys::unlinkat(CWD, self.at(path), AtFlags::REMOVEDIR)),
            Op::Rename(from, to, mode) => self.rename(from, to, *mode),
            Op::Read(slot, offset, length) => self.read(*slot, *offset, *length),
            Op::Write(slot, offset, length, byte) => {
                let count = self.slot(*slot)?.write_at(&vec![*byte; *length], *offset).map_err(fail)?;
                Ok(Got::Count(count as u64))
            }
            Op::Ftruncate(slot, size) => done(sys::ftruncate(self.slot(*slot)?, *size)),
            Op::Truncate(path, size) => nix::unistd::truncate(&self.at(path), *size as i64)
                .map(|()| Got::Done)
                .map_err(|errno| Errno::from_raw_os_error(errno as i32).into()),
            Op::Fallocate(slot, space, offset, length) => self.fallocate(*slot, *space, *offset, *length),
            Op::SeekData(slot, offset) => Ok(Got::Offset(sys::seek(self.slot(*slot)?, SeekFrom::Data(*offset))?)),
            Op::SeekHole(slot, offset) => Ok(Got::Offset(sys::seek(self.slot(*slot)?, SeekFrom::Hole(*offset))?)),
            Op::CopyRange(from, at, to, to_at, length) => self.copy_range((*from, *at), (*to, *to_at), *length),
            Op::Fsync(slot) => done(sys::fsync(self.slot(*slot)?)),
            Op::Chmod(On::At(path), mode) => done(sys::chmodat(CWD, self.at(path), bits(*mode), AtFlags::empty())),
            Op::Chmod(On::Slot(slot), mode) => done(sys::fchmod(self.slot(*slot)?, bits(*mode))),
            Op::Chown(on, uid, gid) => self.chown(on, *uid, *gid),
            Op::Utimens(on, atime, mtime) => self.utimens(on, *atime, *mtime),
            Op::SetXattr(on, name, length, byte, how) => self.set_xattr(on, name, &vec![*byte; *length], *how),
            Op::GetXattr(on, name) => self.get_xattr(on, name),
            Op::ListXattr(on) => self.list_xattr(on),
            Op::RemoveXattr(On::At(path), name) => done(sys::lremovexattr(self.at(path), name.as_str())),
            Op::RemoveXattr(On::Slot(slot), name) => done(sys::fremovexattr(self.slot(*slot)?, name.as_str())),
            Op::List(path) => {
                let mut listing = Listing { dir: open_dir(&self.at(path))?, names: Vec::new() };
                while listing.read()? {}
                Ok(Got::Names(listing.names))
            }
            Op::ListStart(slot, path) => self.list_start(*slot, path),
            Op::ListSome(slot) => self.listing(*slot)?.read().map(|_| Got::Done),
            Op::ListEnd(slot) => self.list_end(*slot),
            Op::Check => Ok(Got::Skipped),
            Op::Snapshot => {
                self.close_readers();
                Ok(self.machine.snapshot().map_or(Got::Skipped, Got::Tree))
            }
            Op::FailedSnapshot => Ok(Got::Skipped),
            Op::NewLayer => {
                self.close_all();
                self.root = self.machine.new_layer();
                Ok(Got::Done)
            }
            Op::Remount => {
                self.close_all();
                self.root = self.machine.remount();
                Ok(Got::Done)
            }
            Op::Crash => {
                self.root = self.machine.crash();
                self.close_all();
                Ok(Got::Done)
            }
        }
    }
}
