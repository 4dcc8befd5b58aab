//! Operations on the kernel-free filesystem. What the kernel does before and after it asks a filesystem is done here: walking paths, checks of
//! open modes, `O_APPEND`, and forgetting inodes that nothing refers to any more.

use super::answer::{Got, Kind, Moment, Seen};
use super::bench::{Bench, LayerDir};
use super::fail::Fail;
use super::host::names_of;
use super::op::{
    Access, How, LISTINGS, Mode, Node, On, Op, Path, SLOTS, Set, Space, Time, UMASK, real_name, short_name, target,
};
use super::run::System;
use super::tree::{Leaf, Tree, Whole};
use cairnfs::format::{self, Device, Digest, Name, Timestamp};
use cairnfs::vfs::{Attr, Caller, Fs, HandleId, Ino, Make, OpenMode, RenameMode, Seek, SetAttr, SetTime, XattrMode};
use std::collections::BTreeMap;
use std::sync::Arc;

type Done = Result<Got, Fail>;

const ROOT: Caller = Caller { uid: 0, gid: 0, pid: 0 };

#[derive(Clone, Copy)]
struct Slot {
    ino: Ino,
    /// None for a directory: the filesystem isn't told of those.
    handle: Option<HandleId>,
    read: bool,
    write: bool,
    append: bool,
}

struct Listing {
    dir: Ino,
    cookie: u64,
    names: Vec<String>,
}

pub struct Direct {
    bench: Arc<Bench>,
    base: Digest,
    layer: LayerDir,
    fs: Option<Fs>,
    /// Copies of the starting tree that this layer has used up.
    used: usize,
    clone: String,
    root: Ino,
    slots: [Option<Slot>; SLOTS as usize],
    listings: [Option<Listing>; LISTINGS as usize],
}

fn kind(kind: format::Kind, device: Device) -> Kind {
    match kind {
        format::Kind::Dir => Kind::Dir,
        format::Kind::Symlink => Kind::Symlink,
        format::Kind::File => Kind::Node(Node::File),
        format::Kind::Fifo => Kind::Node(Node::Fifo),
        format::Kind::Socket => Kind::Node(Node::Socket),
        format::Kind::Char => Kind::Node(Node::Char(device.major, device.minor)),
        format::Kind::Block => Kind::Node(Node::Block(device.major, device.minor)),
    }
}

fn seen(attr: &Attr) -> Seen {
    let time = |time: Timestamp| -> Moment { (time.secs(), time.nanos()) };
    Seen {
        ino: attr.ino.0,
        kind: kind(attr.kind, attr.rdev),
        mode: attr.mode.bits().into(),
        uid: attr.uid,
        gid: attr.gid,
        nlink: attr.nlink,
        size: attr.size,
        atime: time(attr.atime),
        mtime: time(attr.mtime),
        ctime: time(attr.ctime),
    }
}

fn bits(mode: u32) -> format::Mode {
    format::Mode::from_bits(mode)
}

fn lookup(fs: &Fs, dir: Ino, name: &str) -> Result<Option<Attr>, Fail> {
    let real = real_name(name);
    let name = Name::new(real.as_bytes()).map_err(|_| Fail::NameTooLong)?;
    Ok(fs.lookup(dir, name)?)
}

/// All beneath `root`, as a program would find it.
fn walk(fs: &Fs, root: Ino) -> Result<Tree, Fail> {
    let mut tree = Tree::new();
    let mut pending = vec![(Path(String::new()), fs.attr(root)?)];
    while let Some((path, attr)) = pending.pop() {
        let ino = attr.ino;
        let mut content = Vec::new();
        match attr.kind {
            format::Kind::Dir => fs.read_dir(ino, 0, true, &mut |entry| {
                if !matches!(entry.name, b"." | b"..") {
                    let attr = entry.attr.expect("listed with attributes");
                    assert_eq!((attr.ino, attr.kind), (entry.ino, entry.kind));
                    pending.push((path.join(&short_name(entry.name)), attr));
                }
                true
            })?,
            format::Kind::Symlink => content = fs.read_link(ino)?.into(),
            format::Kind::File => {
                let opened = fs.open(ino, OpenMode::default())?;
                content = vec![0; opened.size as usize + 1];
                let count = fs.read(opened.handle, 0, &mut content);
                fs.release(opened.handle);
                content.truncate(count?);
            }
            _ => {}
        }
        let mut xattrs = BTreeMap::new();
        for name in names_of(&fs.list_xattr(ROOT, ino)?) {
            let value = fs.get_xattr(ino, name.as_bytes())?.into();
            xattrs.insert(name, value);
        }
        tree.insert(path, Leaf { seen: seen(&attr), content, xattrs });
    }
    Ok(tree)
}

impl Direct {
    pub fn new(bench: &Arc<Bench>) -> Self {
        let layer = bench.layer();
        let fs = Some(bench.open(bench.base, &layer));
        Self {
            bench: Arc::clone(bench),
            base: bench.base,
            layer,
            fs,
            used: 0,
            clone: String::new(),
            root: Ino::ROOT,
            slots: [None; SLOTS as usize],
            listings: [const { None }; LISTINGS as usize],
        }
    }

    fn fs(&self) -> &Fs {
        self.fs.as_ref().expect("open but while it is opened anew")
    }

    fn step(&self, dir: Ino, name: &str) -> Result<Attr, Fail> {
        lookup(self.fs(), dir, name)?.ok_or(Fail::NoEntry)
    }

    fn find(&self, path: &Path) -> Result<Attr, Fail> {
        let mut at = self.fs().attr(self.root)?;
        for name in path.parts() {
            must_be_dir(&at)?;
            at = self.step(at.ino, name)?;
        }
        Ok(at)
    }

    /// The directory that holds `path`, and its real name there.
    fn place(&self, path: &Path) -> Result<(Ino, String), Fail> {
        let (dir, name) = path.split();
        let dir = self.find(&dir)?;
        must_be_dir(&dir)?;
        Ok((dir.ino, name.to_owned()))
    }

    fn slot(&self, slot: u8) -> Result<Slot, Fail> {
        self.slots[usize::from(slot)].ok_or(Fail::BadFile)
    }

    fn on(&self, on: &On) -> Result<Attr, Fail> {
        match on {
            On::At(path) => self.find(path),
            On::Slot(slot) => Ok(self.fs().attr(self.slot(*slot)?.ino)?),
        }
    }

    /// As the kernel does when nothing refers to an inode any more.
    fn forget(&self, ino: Ino) {
        let open = self.slots.iter().flatten().any(|slot| slot.ino == ino);
        let listed = self.listings.iter().flatten().any(|listing| listing.dir == ino);
        if !open && !listed && self.fs().attr(ino).is_ok_and(|attr| attr.nlink == 0) {
            self.fs().forget(ino);
        }
    }

    fn close(&mut self, slot: u8) {
        let Some(slot) = self.slots[usize::from(slot)].take() else { return };
        // The two requests reach the daemon in either order.
        if slot.ino.0.is_multiple_of(2) {
            self.forget(slot.ino);
        }
        if let Some(handle) = slot.handle {
            self.fs().release(handle);
        }
        self.forget(slot.ino);
    }

    fn close_listing(&mut self, slot: u8) -> Option<Listing> {
        let listing = self.listings[usize::from(slot)].take()?;
        self.forget(listing.dir);
        Some(listing)
    }

    fn close_all(&mut self) {
        (0..SLOTS).for_each(|slot| self.close(slot));
        (0..LISTINGS).for_each(|slot| drop(self.close_listing(slot)));
    }

    fn open(&mut self, slot: u8, path: &Path, how: How, mode: u32) -> Done {
        self.close(slot);
        let write = how.access != Access::Read;
        let open = OpenMode { write, truncate: how.trunc };
        let opened = |ino, handle| Slot { ino, handle, read: how.access != Access::Write, write, append: how.append };
        let found = if path.0.is_empty() {
            Some(self.find(path)?)
        } else {
            let (dir, name) = self.place(path)?;
            let found = lookup(self.fs(), dir, &name)?;
            if found.is_none() && how.create {
                let real = real_name(&name);
                let name = Name::new(real.as_bytes()).map_err(|_| Fail::NameTooLong)?;
                let (attr, made) = self.fs().create(ROOT, dir, name, bits(mode), UMASK, open)?;
                self.slots[usize::from(slot)] = Some(opened(attr.ino, Some(made.handle)));
                return Ok(Got::Done);
            }
            found
        };
        let attr = found.ok_or(Fail::NoEntry)?;
        if how.create && how.excl {
            return Err(Fail::Exists);
        }
        let handle = match attr.kind {
            format::Kind::File => Some(self.fs().open(attr.ino, open)?.handle),
            format::Kind::Dir if write || how.create || how.trunc => return Err(Fail::IsDir),
            format::Kind::Dir => None,
            format::Kind::Symlink => return Err(Fail::Loop),
            _ => return Err(Fail::Special),
        };
        self.slots[usize::from(slot)] = Some(opened(attr.ino, handle));
        Ok(Got::Done)
    }

    fn make(&self, path: &Path, what: Make, mode: u32) -> Done {
        let (dir, name) = self.place(path)?;
        let real = real_name(&name);
        let name = Name::new(real.as_bytes()).map_err(|_| Fail::NameTooLong)?;
        self.fs().make(ROOT, dir, name, what, bits(mode), UMASK)?;
        Ok(Got::Done)
    }

    fn mknod(&self, path: &Path, node: Node, mode: u32) -> Done {
        let (kind, device) = match node {
            Node::File => (format::Kind::File, Device::default()),
            Node::Fifo => (format::Kind::Fifo, Device::default()),
            Node::Socket => (format::Kind::Socket, Device::default()),
            Node::Char(major, minor) => (format::Kind::Char, Device { major, minor }),
            Node::Block(major, minor) => (format::Kind::Block, Device { major, minor }),
        };
        self.make(path, Make::Node(kind, device), mode)
    }

    fn link(&self, from: &Path, to: &Path) -> Done {
        let from = self.find(from)?;
        let (dir, name) = self.place(to)?;
        if lookup(self.fs(), dir, &name)?.is_some() {
            return Err(Fail::Exists);
        }
        let real = real_name(&name);
        self.fs().link(from.ino, dir, Name::new(real.as_bytes()).map_err(|_| Fail::NameTooLong)?)?;
        Ok(Got::Done)
    }

    fn remove(&self, path: &Path, dir: bool) -> Done {
        let (parent, name) = self.place(path)?;
        let real = real_name(&name);
        let found = lookup(self.fs(), parent, &name)?;
        let name = Name::new(real.as_bytes()).map_err(|_| Fail::NameTooLong)?;
        if dir {
            self.fs().rmdir(parent, name)?
        } else {
            self.fs().unlink(parent, name)?
        }
        if let Some(found) = found {
            self.forget(found.ino);
        }
        Ok(Got::Done)
    }

    fn rename(&self, from: &Path, to: &Path, mode: Mode) -> Done {
        let ((from_dir, from_name), (to_dir, to_name)) = (self.place(from)?, self.place(to)?);
        let moved = self.step(from_dir, &from_name)?;
        let target = lookup(self.fs(), to_dir, &to_name)?;
        let trapped = from != to && (from.holds(to) && moved.kind == format::Kind::Dir || to.holds(from));
        match (mode, &target) {
            (Mode::NoReplace, Some(_)) | (Mode::Exchange, None) => {}
            (Mode::Exchange, _) if trapped => return Err(Fail::Invalid),
            _ if trapped => return Err(if from.holds(to) { Fail::Invalid } else { Fail::NotEmpty }),
            _ => {}
        }
        let mode = match mode {
            Mode::Plain => RenameMode::Replace,
            Mode::NoReplace => RenameMode::NoReplace,
            Mode::Exchange => RenameMode::Exchange,
        };
        let (from_name, to_name) = (real_name(&from_name), real_name(&to_name));
        let name = |real: &'_ str| Name::new(real.as_bytes()).map(|name| name.to_buf()).map_err(|_| Fail::NameTooLong);
        let (from_name, to_name) = (name(&from_name)?, name(&to_name)?);
        self.fs().rename((from_dir, from_name.as_name()), (to_dir, to_name.as_name()), mode)?;
        if let Some(target) = target {
            self.forget(target.ino);
        }
        Ok(Got::Done)
    }

    fn read(&self, slot: u8, offset: u64, length: usize) -> Done {
        let slot = self.slot(slot)?;
        let handle = slot.handle.ok_or(Fail::IsDir)?;
        if !slot.read {
            return Err(Fail::BadFile);
        }
        let mut buffer = vec![0; length];
        let count = self.fs().read(handle, offset, &mut buffer)?;
        buffer.truncate(count);
        Ok(Got::Bytes(buffer))
    }

    fn write(&self, slot: u8, offset: u64, length: usize, byte: u8) -> Done {
        let slot = self.slot(slot)?;
        let handle = slot.handle.filter(|_| slot.write).ok_or(Fail::BadFile)?;
        if length == 0 {
            return Ok(Got::Count(0));
        }
        let offset = if slot.append { self.fs().attr(slot.ino)?.size } else { offset };
        Ok(Got::Count(self.fs().write(handle, offset, &vec![byte; length])? as u64))
    }

    fn ftruncate(&self, slot: u8, size: u64) -> Done {
        let slot = self.slot(slot)?;
        let handle = slot.handle.filter(|_| slot.write).ok_or(Fail::Invalid)?;
        self.set(slot.ino, SetAttr { size: Some(size), handle: Some(handle), ..SetAttr::default() })
    }

    fn truncate(&self, path: &Path, size: u64) -> Done {
        let attr = self.find(path)?;
        match attr.kind {
            format::Kind::Dir => Err(Fail::IsDir),
            format::Kind::Symlink => Err(Fail::NoEntry),
            _ => self.set(attr.ino, SetAttr { size: Some(size), ..SetAttr::default() }),
        }
    }

    fn set(&self, ino: Ino, change: SetAttr) -> Done {
        self.fs().set_attr(ROOT, ino, &change)?;
        Ok(Got::Done)
    }

    fn fallocate(&self, slot: u8, space: Space, offset: u64, length: u64) -> Done {
        let slot = self.slot(slot)?;
        if length == 0 {
            return Err(Fail::Invalid);
        }
        let handle = slot.handle.filter(|_| slot.write).ok_or(Fail::BadFile)?;
        // The flags' values are of linux/falloc.h.
        let mode = match space {
            Space::Allocate => 0,
            Space::KeepSize => 0x01,
            Space::Punch => 0x01 | 0x02,
            Space::Zero => 0x10,
            Space::ZeroKeepSize => 0x01 | 0x10,
        };
        self.fs().fallocate(handle, offset, length, mode)?;
        Ok(Got::Done)
    }

    fn seek(&self, slot: u8, offset: u64, what: Seek) -> Done {
        match self.slot(slot)?.handle {
            Some(handle) => Ok(Got::Offset(self.fs().seek(handle, offset, what)?)),
            None => Ok(Got::Skipped),
        }
    }

    fn copy_range(&self, from: (u8, u64), to: (u8, u64), length: u64) -> Done {
        let (source, target) = (self.slot(from.0)?, self.slot(to.0)?);
        let (Some(from_handle), Some(to_handle)) = (source.handle, target.handle) else { return Err(Fail::IsDir) };
        if !source.read || !target.write || target.append {
            return Err(Fail::BadFile);
        }
        let length = length.min(self.fs().attr(source.ino)?.size.saturating_sub(from.1));
        if source.ino == target.ino && to.1 + length > from.1 && to.1 < from.1 + length {
            return Err(Fail::Invalid);
        }
        if length == 0 {
            return Ok(Got::Count(0));
        }
        Ok(Got::Count(self.fs().copy_range((from_handle, from.1), (to_handle, to.1), length)?))
    }

    fn chown(&self, on: &On, uid: Option<u32>, gid: Option<u32>) -> Done {
        // Killing setuid and setgid is left to the filesystem (FUSE_HANDLE_KILLPRIV_V2).
        self.set(self.on(on)?.ino, SetAttr { uid, gid, ..SetAttr::default() })
    }

    fn utimens(&self, on: &On, atime: Time, mtime: Time) -> Done {
        if let On::Slot(slot) = on {
            self.slot(*slot)?;
        }
        if (atime, mtime) == (Time::Omit, Time::Omit) {
            return Ok(Got::Done);
        }
        let time = |time| match time {
            Time::Omit => None,
            Time::Now => Some(SetTime::Now),
            Time::To(secs, nanos) => Timestamp::new(secs, nanos).map(SetTime::To),
        };
        self.set(self.on(on)?.ino, SetAttr { atime: time(atime), mtime: time(mtime), ..SetAttr::default() })
    }

    /// xattr_permission of fs/xattr.c.
    fn xattrs_of(&self, on: &On, name: &str, refusal: Fail) -> Result<Ino, Fail> {
        let attr = self.on(on)?;
        let may = matches!(attr.kind, format::Kind::File | format::Kind::Dir) || !name.starts_with("user.");
        if may { Ok(attr.ino) } else { Err(refusal) }
    }

    fn set_xattr(&self, on: &On, name: &str, value: &[u8], how: Set) -> Done {
        let ino = self.xattrs_of(on, name, Fail::NotPermitted)?;
        let mode = match how {
            Set::Any => XattrMode::Set,
            Set::Create => XattrMode::Create,
            Set::Replace => XattrMode::Replace,
        };
        self.fs().set_xattr(ROOT, ino, name.as_bytes(), value, mode)?;
        Ok(Got::Done)
    }

    /// Reads at most `room` entries. False at the end.
    fn read_dir(&self, listing: &mut Listing, room: usize) -> Result<bool, Fail> {
        let mut taken = 0;
        self.fs().read_dir(listing.dir, listing.cookie, true, &mut |entry| {
            if taken == room {
                return false;
            }
            taken += 1;
            listing.names.push(short_name(entry.name));
            listing.cookie = entry.cookie;
            true
        })?;
        Ok(taken > 0)
    }

    fn start_listing(&self, path: &Path) -> Result<Listing, Fail> {
        let attr = self.find(path)?;
        if attr.kind != format::Kind::Dir {
            return Err(Fail::NotDir);
        }
        Ok(Listing { dir: attr.ino, cookie: 0, names: Vec::new() })
    }

    fn list_some(&mut self, slot: u8) -> Done {
        let mut listing = self.listings[usize::from(slot)].take().ok_or(Fail::BadFile)?;
        let read = self.read_dir(&mut listing, 2);
        self.listings[usize::from(slot)] = Some(listing);
        read.map(|_| Got::Done)
    }

    fn list_end(&mut self, slot: u8) -> Done {
        let mut listing = self.listings[usize::from(slot)].take().ok_or(Fail::BadFile)?;
        let read = loop {
            match self.read_dir(&mut listing, 3) {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(fail) => break Err(fail),
            }
        };
        self.forget(listing.dir);
        read.map(|()| Got::Names(listing.names))
    }

    fn list(&self, path: &Path) -> Done {
        let mut listing = self.start_listing(path)?;
        while self.read_dir(&mut listing, 100)? {}
        Ok(Got::Names(listing.names))
    }

    fn snapshot(&mut self) -> Done {
        for slot in 0..SLOTS {
            if self.slot(slot).is_ok_and(|slot| !slot.write) {
                self.close(slot);
            }
        }
        let manifest = self.bench.snapshot(self.fs(), true).map_err(Fail::Other)?;
        let taken = Fs::read_only(&self.bench.store, manifest)?;
        let dir = lookup(&taken, Ino::ROOT, &self.clone)?.ok_or(Fail::NoEntry)?;
        Ok(Got::Tree(walk(&taken, dir.ino)?))
    }

    fn start_layer(&mut self, base: Digest) {
        self.fs = None;
        self.base = base;
        self.layer = self.bench.layer();
        self.fs = Some(self.bench.open(base, &self.layer));
    }

    fn find_root(&mut self) {
        let found = lookup(self.fs(), Ino::ROOT, &self.clone).unwrap();
        self.root = found.expect("the base has the starting tree so often").ino;
    }

    fn new_layer(&mut self) -> Done {
        self.close_all();
        let manifest = self.bench.snapshot(self.fs(), true).map_err(Fail::Other)?;
        self.fs().close()?;
        self.start_layer(manifest);
        self.find_root();
        Ok(Got::Done)
    }

    /// Opens the layer anew; `kindly`: after closing it as an unmount does.
    fn reopen(&mut self, kindly: bool) -> Done {
        if kindly {
            self.close_all();
            self.fs().close()?;
        }
        self.slots = [None; SLOTS as usize];
        self.listings = [const { None }; LISTINGS as usize];
        self.fs = None;
        self.fs = Some(self.bench.open(self.base, &self.layer));
        Ok(Got::Done)
    }
}

fn must_be_dir(attr: &Attr) -> Result<(), Fail> {
    match attr.kind {
        format::Kind::Dir => Ok(()),
        format::Kind::Symlink => Err(Fail::NoEntry),
        _ => Err(Fail::NotDir),
    }
}

impl System for Direct {
    fn name(&self) -> &'static str {
        "cairnfs without the kernel"
    }

    fn begin(&mut self) {
        if self.used == self.bench.clones {
            self.start_layer(self.bench.base);
            self.used = 0;
        }
        self.clone = Bench::clone_name(self.used);
        self.used += 1;
        self.find_root();
    }

    fn end(&mut self) {
        self.close_all();
    }

    fn abandon(&mut self) {
        self.slots = [None; SLOTS as usize];
        self.listings = [const { None }; LISTINGS as usize];
        self.used = self.bench.clones;
    }

    fn whole(&mut self) -> Result<Whole, Fail> {
        let mut open = [const { None }; SLOTS as usize];
        for (slot, open) in self.slots.iter().zip(&mut open) {
            *open = slot.map(|slot| self.fs().attr(slot.ino).map(|attr| seen(&attr))).transpose()?;
        }
        Ok(Whole { tree: walk(self.fs(), self.root)?, open })
    }

    fn apply(&mut self, op: &Op) -> Done {
        match op {
            Op::Stat(on) => Ok(Got::Stat(seen(&self.on(on)?))),
            Op::Open(slot, path, how, mode) => self.open(*slot, path, *how, *mode),
            Op::Close(slot) => {
                self.slot(*slot)?;
                self.close(*slot);
                Ok(Got::Done)
            }
            Op::Mkdir(path, mode) => self.make(path, Make::Dir, mode & 0o1777),
            Op::Mknod(path, node, mode) => self.mknod(path, *node, *mode),
            Op::Symlink(path, length) => self.make(path, Make::Symlink(target(*length).into()), 0o777),
            Op::Readlink(path) => Ok(Got::Bytes(self.fs().read_link(self.find(path)?.ino)?.into())),
            Op::Link(from, to) => self.link(from, to),
            Op::Unlink(path) => self.remove(path, false),
            Op::Rmdir(path) => self.remove(path, true),
            Op::Rename(from, to, mode) => self.rename(from, to, *mode),
            Op::Read(slot, offset, length) => self.read(*slot, *offset, *length),
            Op::Write(slot, offset, length, byte) => self.write(*slot, *offset, *length, *byte),
            Op::Ftruncate(slot, size) => self.ftruncate(*slot, *size),
            Op::Truncate(path, size) => self.truncate(path, *size),
            Op::Fallocate(slot, space, offset, length) => self.fallocate(*slot, *space, *offset, *length),
            Op::SeekData(slot, offset) => self.seek(*slot, *offset, Seek::Data),
            Op::SeekHole(slot, offset) => self.seek(*slot, *offset, Seek::Hole),
            Op::CopyRange(from, at, to, to_at, length) => self.copy_range((*from, *at), (*to, *to_at), *length),
            Op::Fsync(slot) => match self.slot(*slot)? {
                Slot { handle: Some(handle), .. } => Ok(self.fs().fsync(handle, false).map(|()| Got::Done)?),
                slot => Ok(self.fs().fsync_dir(slot.ino).map(|()| Got::Done)?),
            },
            Op::Chmod(on, mode) => match self.on(on)? {
                attr if attr.kind == format::Kind::Symlink => Err(Fail::NoEntry),
                attr => self.set(attr.ino, SetAttr { mode: Some(bits(*mode)), ..SetAttr::default() }),
            },
            Op::Chown(on, uid, gid) => self.chown(on, *uid, *gid),
            Op::Utimens(on, atime, mtime) => self.utimens(on, *atime, *mtime),
            Op::SetXattr(on, name, length, byte, how) => self.set_xattr(on, name, &vec![*byte; *length], *how),
            Op::GetXattr(on, name) => {
                let ino = self.xattrs_of(on, name, Fail::NoAttribute)?;
                Ok(Got::Bytes(self.fs().get_xattr(ino, name.as_bytes())?.into()))
            }
            Op::ListXattr(on) => Ok(Got::Names(names_of(&self.fs().list_xattr(ROOT, self.on(on)?.ino)?))),
            Op::RemoveXattr(on, name) => {
                let ino = self.xattrs_of(on, name, Fail::NotPermitted)?;
                Ok(self.fs().remove_xattr(ino, name.as_bytes()).map(|()| Got::Done)?)
            }
            Op::List(path) => self.list(path),
            Op::ListStart(slot, path) => {
                self.close_listing(*slot);
                self.listings[usize::from(*slot)] = Some(self.start_listing(path)?);
                Ok(Got::Done)
            }
            Op::ListSome(slot) => self.list_some(*slot),
            Op::ListEnd(slot) => self.list_end(*slot),
            Op::Check => Ok(Got::Skipped),
            Op::Snapshot => self.snapshot(),
            Op::FailedSnapshot => match self.bench.snapshot(self.fs(), false) {
                Ok(_) => Err(Fail::Other("a snapshot that can't be kept was taken".to_owned())),
                Err(_) => Ok(Got::Skipped),
            },
            Op::NewLayer => self.new_layer(),
            Op::Remount => self.reopen(true),
            Op::Crash => self.reopen(false),
        }
    }
}
