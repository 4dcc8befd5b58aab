//! The reference model: what POSIX, the manual pages and Linux say each operation does, in memory.
//!
//! An inode lives while it has a name, is open or is being listed. A time is not a value but what set it: [`Stamp`]. Checks are in Linux's order
//! (`fs/namei.c`, `fs/open.c`), so that where several errors fit, one is right.

mod attrs;
mod content;
mod names;

use super::answer::{Expect, View};
use super::fail::Fail;
use super::op::{LISTINGS, Node, On, Op, Path, SLOTS};
use std::collections::{BTreeMap, BTreeSet};

/// An inode of the model.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Id(pub u32);

pub const ROOT: Id = Id(1);

/// What set a time last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stamp {
    /// It was set to this.
    To(i64, u32),
    /// The clock's time when the operation of this number ran.
    At(u32),
    /// The operation of this number may have set it or not.
    Maybe(u32),
}

#[derive(Clone, Debug)]
pub enum Body {
    Dir {
        entries: BTreeMap<String, Id>,
        parent: Id,
        removed: bool,
    },
    File(Vec<u8>),
    /// The target's length.
    Symlink(usize),
    Node(Node),
}

#[derive(Clone, Debug)]
pub struct Inode {
    pub body: Body,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Names; of a directory, 1 or 0.
    pub names: u32,
    pub atime: Stamp,
    pub mtime: Stamp,
    pub ctime: Stamp,
    pub xattrs: BTreeMap<String, Vec<u8>>,
}

/// An open file.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    pub id: Id,
    pub read: bool,
    pub write: bool,
    pub append: bool,
}

/// A listing that is being read in pieces.
#[derive(Clone, Debug)]
struct Listing {
    dir: Id,
    /// Names that were there all the time.
    must: BTreeSet<String>,
    /// Names that came or went, or came to mean something else.
    may: BTreeSet<String>,
}

/// A rule of the model, broken on purpose: what tells whether the comparison sees anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// What a rename replaces keeps its link count.
    ReplacedKeepsLink,
    /// A directory's link count counts every entry.
    EveryEntryIsALink,
    /// `O_APPEND` writes where it is told to.
    AppendWritesAtOffset,
    /// What was cut off comes back when a file grows again.
    CutContentComesBack,
    /// What has no name any more can't be read.
    UnlinkedIsEmpty,
    /// A new link leaves the change time.
    LinkKeepsCtime,
    /// An exchange moves one way only.
    ExchangeIsPlain,
    /// Changing the mode of what has several names does nothing.
    ChmodSkipsLinks,
}

impl Fault {
    pub const ALL: [Self; 8] = [
        Self::ReplacedKeepsLink,
        Self::EveryEntryIsALink,
        Self::AppendWritesAtOffset,
        Self::CutContentComesBack,
        Self::UnlinkedIsEmpty,
        Self::LinkKeepsCtime,
        Self::ExchangeIsPlain,
        Self::ChmodSkipsLinks,
    ];
}

#[derive(Clone, Debug)]
pub struct Model {
    inodes: BTreeMap<Id, Inode>,
    next: u32,
    slots: [Option<Slot>; SLOTS as usize],
    listings: [Option<Listing>; LISTINGS as usize],
    /// Number of the operation that is being done; 0 while the starting tree is made.
    clock: u32,
    fault: Option<Fault>,
}

type Done = Result<Expect, Fail>;

impl Model {
    /// An empty directory, 0755, of root.
    pub fn new() -> Self {
        let root = Inode {
            body: Body::Dir { entries: BTreeMap::new(), parent: ROOT, removed: false },
            mode: 0o755,
            uid: 0,
            gid: 0,
            names: 1,
            atime: Stamp::At(0),
            mtime: Stamp::At(0),
            ctime: Stamp::At(0),
            xattrs: BTreeMap::new(),
        };
        let inodes = BTreeMap::from([(ROOT, root)]);
        Self { inodes, next: 2, slots: [None; SLOTS as usize], listings: [const { None }; 2], clock: 0, fault: None }
    }

    pub fn with_fault(mut self, fault: Option<Fault>) -> Self {
        self.fault = fault;
        self
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// From here on operations are numbered from 1.
    pub fn start_clock(&mut self) {
        self.clock = 1;
    }

    /// Does `op` and tells what a filesystem must answer.
    pub fn apply(&mut self, op: &Op) -> Expect {
        let answer = self.dispatch(op).unwrap_or_else(Expect::Fails);
        if self.clock > 0 {
            self.clock += 1;
        }
        answer
    }

    fn dispatch(&mut self, op: &Op) -> Done {
        match op {
            Op::Stat(on) => self.stat(on),
            Op::Open(slot, path, how, mode) => self.open(*slot, path, *how, *mode),
            Op::Close(slot) => self.close(*slot),
            Op::Mkdir(path, mode) => self.mkdir(path, *mode),
            Op::Mknod(path, node, mode) => self.mknod(path, *node, *mode),
            Op::Symlink(path, length) => self.symlink(path, *length),
            Op::Readlink(path) => self.readlink(path),
            Op::Link(from, to) => self.link(from, to),
            Op::Unlink(path) => self.unlink(path),
            Op::Rmdir(path) => self.rmdir(path),
            Op::Rename(from, to, mode) => self.rename(from, to, *mode),
            Op::Read(slot, offset, length) => self.read(*slot, *offset, *length),
            Op::Write(slot, offset, length, byte) => self.write(*slot, *offset, *length, *byte),
            Op::Ftruncate(slot, size) => self.ftruncate(*slot, *size),
            Op::Truncate(path, size) => self.truncate(path, *size),
            Op::Fallocate(slot, space, offset, length) => self.fallocate(*slot, *space, *offset, *length),
            Op::SeekData(slot, offset) => self.seek(*slot, *offset, true),
            Op::SeekHole(slot, offset) => self.seek(*slot, *offset, false),
            Op::CopyRange(from, at, to, to_at, length) => self.copy_range((*from, *at), (*to, *to_at), *length),
            Op::Fsync(slot) => self.slot(*slot).map(|_| Expect::Done),
            Op::Chmod(on, mode) => self.chmod(on, *mode),
            Op::Chown(on, uid, gid) => self.chown(on, *uid, *gid),
            Op::Utimens(on, atime, mtime) => self.utimens(on, *atime, *mtime),
            Op::SetXattr(on, name, length, byte, how) => self.set_xattr(on, name, vec![*byte; *length], *how),
            Op::GetXattr(on, name) => self.get_xattr(on, name),
            Op::ListXattr(on) => self.list_xattr(on),
            Op::RemoveXattr(on, name) => self.remove_xattr(on, name),
            Op::List(path) => self.list(path),
            Op::ListStart(slot, path) => self.list_start(*slot, path),
            Op::ListSome(slot) => self.list_some(*slot),
            Op::ListEnd(slot) => self.list_end(*slot),
            Op::Check => Ok(Expect::Tree),
            Op::Snapshot => {
                self.close_readers();
                Ok(Expect::Snapshot)
            }
            Op::FailedSnapshot => Ok(Expect::Anything),
            Op::NewLayer => {
                self.close_all();
                self.forget_times();
                Ok(Expect::Done)
            }
            Op::Remount | Op::Crash => {
                self.close_all();
                Ok(Expect::Done)
            }
        }
    }

    pub fn inode(&self, id: Id) -> &Inode {
        &self.inodes[&id]
    }

    fn inode_mut(&mut self, id: Id) -> &mut Inode {
        self.inodes.get_mut(&id).expect("an id is dropped only when nothing has it")
    }

    fn entries(&self, id: Id) -> Option<&BTreeMap<String, Id>> {
        match &self.inode(id).body {
            Body::Dir { entries, .. } => Some(entries),
            _ => None,
        }
    }

    fn is_dir(&self, id: Id) -> bool {
        self.entries(id).is_some()
    }

    /// What `path` names, if anything. A symbolic link on the way leads nowhere.
    fn find(&self, path: &Path) -> Result<Id, Fail> {
        path.parts().try_fold(ROOT, |dir, name| self.child(dir, name)?.ok_or(Fail::NoEntry))
    }

    fn child(&self, dir: Id, name: &str) -> Result<Option<Id>, Fail> {
        match &self.inode(dir).body {
            Body::Dir { .. } if name == "X" => Err(Fail::NameTooLong),
            Body::Dir { entries, .. } => Ok(entries.get(name).copied()),
            Body::Symlink(_) => Err(Fail::NoEntry),
            _ => Err(Fail::NotDir),
        }
    }

    /// The directory that holds `path`, and its name there.
    fn parent<'a>(&self, path: &'a Path) -> Result<(Id, &'a str), Fail> {
        let (dir, name) = path.split();
        let dir = self.find(&dir)?;
        match &self.inode(dir).body {
            Body::Dir { .. } => Ok((dir, name)),
            Body::Symlink(_) => Err(Fail::NoEntry),
            _ => Err(Fail::NotDir),
        }
    }

    /// The same, and what the name means.
    fn place<'a>(&self, path: &'a Path) -> Result<(Id, &'a str, Option<Id>), Fail> {
        let (dir, name) = self.parent(path)?;
        Ok((dir, name, self.child(dir, name)?))
    }

    fn slot(&self, slot: u8) -> Result<Slot, Fail> {
        self.slots[usize::from(slot)].ok_or(Fail::BadFile)
    }

    fn on(&self, on: &On) -> Result<Id, Fail> {
        match on {
            On::At(path) => self.find(path),
            On::Slot(slot) => self.slot(*slot).map(|slot| slot.id),
        }
    }

    /// Content or entries changed now.
    fn modified(&mut self, id: Id) {
        let now = Stamp::At(self.clock);
        let inode = self.inode_mut(id);
        (inode.mtime, inode.ctime) = (now, now);
    }

    /// Metadata changed now.
    fn changed(&mut self, id: Id) {
        let now = Stamp::At(self.clock);
        self.inode_mut(id).ctime = now;
    }

    fn add_inode(&mut self, dir: Id, body: Body, mode: u32) -> Id {
        let id = Id(self.next);
        self.next += 1;
        let now = Stamp::At(self.clock);
        let holder = self.inode(dir);
        let setgid = holder.mode & 0o2000;
        let gid = if setgid != 0 { holder.gid } else { 0 };
        let mode = if matches!(body, Body::Dir { .. }) { mode | setgid } else { mode };
        let inode =
            Inode { body, mode, uid: 0, gid, names: 0, atime: now, mtime: now, ctime: now, xattrs: BTreeMap::new() };
        self.inodes.insert(id, inode);
        id
    }

    /// Makes `name` in `dir` mean `id`, which it may have meant something else before.
    fn put_name(&mut self, dir: Id, name: &str, id: Id) {
        let Body::Dir { entries, .. } = &mut self.inode_mut(dir).body else { unreachable!("checked by the caller") };
        entries.insert(name.to_owned(), id);
        self.name_changed(dir, name);
    }

    fn take_name(&mut self, dir: Id, name: &str) {
        let Body::Dir { entries, .. } = &mut self.inode_mut(dir).body else { unreachable!("checked by the caller") };
        entries.remove(name);
        self.name_changed(dir, name);
    }

    fn name_changed(&mut self, dir: Id, name: &str) {
        for listing in self.listings.iter_mut().flatten().filter(|listing| listing.dir == dir) {
            listing.must.remove(name);
            listing.may.insert(name.to_owned());
        }
        self.modified(dir);
    }

    /// One name less; without any, and not open, the inode is gone.
    fn drop_name(&mut self, id: Id) {
        self.changed(id);
        let inode = self.inode_mut(id);
        inode.names -= 1;
        if let Body::Dir { removed, .. } = &mut inode.body {
            *removed = true;
        }
        self.drop_unused(id);
    }

    fn drop_unused(&mut self, id: Id) {
        let open = self.slots.iter().flatten().any(|slot| slot.id == id);
        let listed = self.listings.iter().flatten().any(|listing| listing.dir == id);
        if self.inodes.get(&id).is_some_and(|inode| inode.names == 0) && !open && !listed {
            self.inodes.remove(&id);
        }
    }

    /// What a manifest doesn't keep is the modification time, or whatever.
    fn forget_times(&mut self) {
        let maybe = Stamp::Maybe(self.clock);
        for inode in self.inodes.values_mut() {
            (inode.atime, inode.ctime) = (inode.mtime, maybe);
        }
    }

    /// What stat says.
    pub fn view(&self, id: Id) -> View<'_> {
        let inode = self.inode(id);
        let nlink = match &inode.body {
            Body::Dir { removed: true, .. } => 0,
            Body::Dir { entries, .. } => {
                let counts = |child: &&Id| self.has(Fault::EveryEntryIsALink) || self.is_dir(**child);
                2 + entries.values().filter(counts).count() as u32
            }
            _ => inode.names,
        };
        View { id, inode, nlink }
    }

    /// Every path, the root's being empty, with what it means.
    pub fn paths(&self) -> Vec<(Path, Id)> {
        let mut all = vec![(Path(String::new()), ROOT)];
        let mut at = 0;
        while let Some((path, id)) = all.get(at).cloned() {
            for (name, child) in self.entries(id).into_iter().flatten() {
                all.push((path.join(name), *child));
            }
            at += 1;
        }
        all
    }

    pub fn slots(&self) -> &[Option<Slot>; SLOTS as usize] {
        &self.slots
    }

    /// The directories that are being listed in pieces.
    pub fn is_listing(&self, slot: u8) -> bool {
        self.listings[usize::from(slot)].is_some()
    }
}
