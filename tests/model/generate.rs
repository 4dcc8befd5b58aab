//! Random sequences. A model runs along, so that most operations find something to work on; few names make the others collide.

use super::op::{Access, How, LISTINGS, Mode, Node, On, Op, Path, SLOTS, Set, Space, Time};
use super::posix::{Body, Id, Model};
use super::random::Random;
use super::starting;

fn one<T: Copy, const N: usize>(rng: &mut Random, of: [T; N]) -> T {
    of[rng.index(N)]
}

/// How many of a hundred sequences have operations that cost much: a sequence has one to three of those it has.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rates {
    pub check: u64,
    pub snapshot: u64,
    pub remount: u64,
    pub crash: u64,
    pub failed_snapshot: u64,
    pub new_layer: u64,
}

const NAMES: [&str; 5] = ["a", "b", "c", "d", "L"];
const MODES: [u32; 10] = [0o644, 0o755, 0o600, 0o777, 0o4755, 0o2755, 0o6711, 0o1777, 0o2640, 0];
const OWNERS: [Option<u32>; 4] = [None, Some(0), Some(1000), Some(4_000_000_000)];
const XATTRS: [&str; 4] = ["user.one", "user.three", "trusted.two", "security.four"];
const NODES: [Node; 5] = [Node::File, Node::Fifo, Node::Socket, Node::Char(0, 0), Node::Block(300, 70_000)];
/// Before 1970, after 2038, and close by.
const TIMES: [Time; 6] = [
    Time::To(1, 1),
    Time::To(-5, 500_000_000),
    Time::To(5_000_000_000, 999_999_999),
    Time::To(1_600_000_000, 0),
    Time::Now,
    Time::Omit,
];
/// Deeper directories get no more entries.
const DEPTH: usize = 6;

struct Generator<'a> {
    rng: &'a mut Random,
    model: Model,
    paths: Vec<(Path, Id)>,
}

/// `length` operations, and those of `rates` among them.
pub fn sequence(rng: &mut Random, length: usize, rates: Rates) -> Vec<Op> {
    let model = starting::model();
    let mut generator = Generator { paths: model.paths(), model, rng };
    let heavy = generator.heavy(length, rates);
    let mut ops = Vec::with_capacity(length);
    for at in 0..length {
        let op = match heavy.iter().find(|(place, _)| *place == at) {
            Some((_, op)) => op.clone(),
            None => generator.op(),
        };
        if generator.model.apply(&op).is_success() && op.changes_names() {
            generator.paths = generator.model.paths();
        }
        ops.push(op);
    }
    ops
}

impl Generator<'_> {
    fn heavy(&mut self, length: usize, rates: Rates) -> Vec<(usize, Op)> {
        let mut all = Vec::new();
        let kinds = [
            (Op::Check, rates.check),
            (Op::Snapshot, rates.snapshot),
            (Op::Remount, rates.remount),
            (Op::Crash, rates.crash),
            (Op::FailedSnapshot, rates.failed_snapshot),
            (Op::NewLayer, rates.new_layer),
        ];
        for (op, rate) in kinds {
            if self.rng.percent(rate) {
                for _ in 0..=self.rng.below(3) {
                    all.push((self.rng.below(length as u64) as usize, op.clone()));
                }
            }
        }
        all
    }

    fn body(&self, id: Id) -> &Body {
        &self.model.inode(id).body
    }

    /// A path that is there and fits, or now and then any.
    fn path(&mut self, sure: u64, fits: impl Fn(&Self, Id) -> bool) -> Path {
        if self.rng.percent(sure) {
            let fit = |at: &usize| !self.paths[*at].0.0.is_empty() && fits(self, self.paths[*at].1);
            let all: Vec<usize> = (0..self.paths.len()).filter(fit).collect();
            if let Some(&at) = self.rng.pick(&all) {
                return self.paths[at].0.clone();
            }
        }
        self.any_path()
    }

    /// A name in a directory that is there, or in what is none.
    fn any_path(&mut self) -> Path {
        let holder = if self.rng.percent(90) {
            self.dir()
        } else {
            let at = self.rng.below(self.paths.len() as u64) as usize;
            self.paths[at].0.clone()
        };
        let name = if self.rng.percent(1) { "X" } else { one(self.rng, NAMES) };
        holder.join(name)
    }

    /// A directory, the root among them.
    fn dir(&mut self) -> Path {
        let fit = |at: &usize| self.is_dir(self.paths[*at].1) && self.paths[*at].0.parts().count() < DEPTH;
        let all: Vec<usize> = (0..self.paths.len()).filter(fit).collect();
        // The root is one always.
        self.rng.pick(&all).map_or(Path(String::new()), |&at| self.paths[at].0.clone())
    }

    /// A path for something new, which mostly isn't there.
    fn vacant(&mut self) -> Path {
        for _ in 0..4 {
            let path = self.any_path();
            if !self.paths.iter().any(|(other, _)| *other == path) {
                return path;
            }
        }
        self.any_path()
    }

    fn is_dir(&self, id: Id) -> bool {
        matches!(self.body(id), Body::Dir { .. })
    }

    fn any(&mut self) -> Path {
        self.path(85, |_, _| true)
    }

    fn file(&mut self, sure: u64) -> Path {
        self.path(sure, |this, id| matches!(this.body(id), Body::File(_)))
    }

    /// A slot, mostly an open one.
    fn slot(&mut self, writes: bool) -> u8 {
        let open: Vec<u8> = (0..SLOTS)
            .filter(|&slot| {
                let open = self.model.slots()[usize::from(slot)];
                open.is_some_and(|open| !self.is_dir(open.id) && if writes { open.write } else { open.read })
            })
            .collect();
        match self.rng.pick(&open) {
            Some(&slot) if self.rng.percent(96) => slot,
            _ => self.rng.below(SLOTS.into()) as u8,
        }
    }

    fn on(&mut self) -> On {
        if self.rng.percent(25) { On::Slot(self.slot(false)) } else { On::At(self.any()) }
    }

    fn offset(&mut self) -> u64 {
        match self.rng.below(10) {
            0..4 => self.rng.below(200),
            4..8 => self.rng.below(10_000),
            8 => 4096 * self.rng.below(17),
            _ => self.rng.below(70_000),
        }
    }

    fn length(&mut self) -> u64 {
        if self.rng.percent(70) { 1 + self.rng.below(300) } else { self.rng.below(9000) }
    }

    fn mode(&mut self) -> u32 {
        one(self.rng, MODES)
    }

    fn how(&mut self) -> How {
        let create = self.rng.percent(55);
        How {
            access: one(self.rng, [Access::Read, Access::Write, Access::Both, Access::Both]),
            create,
            excl: create && self.rng.percent(25),
            trunc: self.rng.percent(20),
            append: self.rng.percent(20),
        }
    }

    fn open(&mut self) -> Op {
        let how = self.how();
        let path = match self.rng.below(10) {
            _ if how.excl => self.vacant(),
            0 => self.dir(),
            1..4 if how.create => self.vacant(),
            _ => self.file(90),
        };
        let how = if path.0.is_empty() { super::op::READ } else { how };
        Op::Open(self.rng.below(SLOTS.into()) as u8, path, how, self.mode())
    }

    fn op(&mut self) -> Op {
        // Where nothing is open, the operations on open files have nothing to do.
        if self.model.slots().iter().all(Option::is_none) && self.rng.percent(50) {
            return self.open();
        }
        match self.rng.below(100) {
            0..38 => self.op_on_names(),
            38..68 => self.op_on_content(),
            68..88 => self.op_on_attributes(),
            _ => self.op_that_lists(),
        }
    }

    fn op_on_names(&mut self) -> Op {
        match self.rng.below(38) {
            0..4 => Op::Mkdir(self.vacant(), self.mode()),
            4..6 => Op::Mknod(self.vacant(), one(self.rng, NODES), self.mode()),
            6..8 => {
                let longest = if self.rng.percent(3) { 4000 } else { 80 };
                Op::Symlink(self.vacant(), 1 + self.rng.below(longest) as usize)
            }
            8 => Op::Readlink(self.path(80, |this, id| matches!(this.body(id), Body::Symlink(_)))),
            9..13 => Op::Link(self.path(93, |this, id| !this.is_dir(id)), self.vacant()),
            13..18 => Op::Unlink(self.path(90, |this, id| !this.is_dir(id))),
            18..21 => Op::Rmdir(self.path(85, |this, id| this.is_empty_dir(id))),
            21..24 => Op::Stat(self.on()),
            _ => self.rename(),
        }
    }

    fn is_empty_dir(&self, id: Id) -> bool {
        matches!(self.body(id), Body::Dir { entries, .. } if entries.is_empty())
    }

    fn rename(&mut self) -> Op {
        let from = match self.rng.below(3) {
            0 => self.path(95, Self::is_dir),
            _ => self.path(95, |_, _| true),
        };
        match self.rng.below(10) {
            0..2 => Op::Rename(from, self.vacant(), Mode::NoReplace),
            2..5 => Op::Rename(from, self.path(95, |_, _| true), Mode::Exchange),
            5..7 => Op::Rename(from, self.vacant(), Mode::Plain),
            7 => Op::Rename(from, self.any_path(), Mode::Plain),
            _ => {
                // Onto what it can replace.
                let dir = self.paths.iter().find(|(path, _)| *path == from).is_some_and(|(_, id)| self.is_dir(*id));
                let to = self.path(95, |this, id| if dir { this.is_empty_dir(id) } else { !this.is_dir(id) });
                Op::Rename(from, to, Mode::Plain)
            }
        }
    }

    fn op_on_content(&mut self) -> Op {
        match self.rng.below(30) {
            0..8 => self.open(),
            8..10 => Op::Close(self.slot(self.rng_bool())),
            10..13 => Op::Read(self.slot(false), self.offset(), self.length() as usize),
            13..20 => Op::Write(self.slot(true), self.offset(), self.length() as usize, 1 + self.rng.below(255) as u8),
            20 => Op::Ftruncate(self.slot(true), self.offset()),
            21..23 => Op::Truncate(self.file(90), self.offset()),
            23..25 => {
                let space =
                    one(self.rng, [Space::Allocate, Space::KeepSize, Space::Punch, Space::Zero, Space::ZeroKeepSize]);
                Op::Fallocate(self.slot(true), space, self.offset(), self.length())
            }
            25 => Op::SeekData(self.slot(false), self.offset()),
            26 => Op::SeekHole(self.slot(false), self.offset()),
            27..29 => {
                let (from, to) = (self.slot(false), self.slot(true));
                Op::CopyRange(from, self.offset(), to, self.offset(), self.length())
            }
            _ if self.rng.percent(30) => Op::Fsync(self.slot(true)),
            _ => self.open(),
        }
    }

    fn rng_bool(&self) -> bool {
        self.paths.len().is_multiple_of(2)
    }

    fn op_on_attributes(&mut self) -> Op {
        match self.rng.below(20) {
            0..4 => Op::Chmod(self.on(), self.mode()),
            4..7 => Op::Chown(self.on(), one(self.rng, OWNERS), one(self.rng, OWNERS)),
            7..11 => Op::Utimens(self.on(), one(self.rng, TIMES), one(self.rng, TIMES)),
            11..15 => self.set_xattr(),
            15 => Op::ListXattr(self.on()),
            16..18 => {
                let (on, name) = self.on_with_xattr();
                Op::GetXattr(on, name)
            }
            _ => {
                let (on, name) = self.on_with_xattr();
                Op::RemoveXattr(on, name)
            }
        }
    }

    fn set_xattr(&mut self) -> Op {
        let how = one(self.rng, [Set::Any, Set::Any, Set::Create, Set::Replace]);
        let (on, name) = match how {
            Set::Replace => self.on_with_xattr(),
            _ => {
                let name = one(self.rng, XATTRS);
                let user = name.starts_with("user.") && self.rng.percent(85);
                let fits = move |this: &Self, id| !user || matches!(this.body(id), Body::File(_) | Body::Dir { .. });
                (On::At(self.path(90, fits)), name.to_owned())
            }
        };
        Op::SetXattr(on, name, self.rng.below(200) as usize, b'a' + self.rng.below(26) as u8, how)
    }

    /// Something that has an attribute, and its name; or anything.
    fn on_with_xattr(&mut self) -> (On, String) {
        let names = |at: usize| self.model.inode(self.paths[at].1).xattrs.keys().map(move |name| (at, name.clone()));
        let all: Vec<(usize, String)> = (0..self.paths.len()).flat_map(names).collect();
        match self.rng.pick(&all).cloned() {
            Some((at, name)) if self.rng.percent(80) => (On::At(self.paths[at].0.clone()), name),
            _ => (self.on(), one(self.rng, XATTRS).to_owned()),
        }
    }

    fn op_that_lists(&mut self) -> Op {
        let slot = self.rng.below(LISTINGS.into()) as u8;
        match self.rng.below(12) {
            0..2 => Op::List(if self.rng.percent(90) { self.dir() } else { self.any() }),
            _ if !self.model.is_listing(slot) => Op::ListStart(slot, self.dir()),
            2..10 => Op::ListSome(slot),
            _ => Op::ListEnd(slot),
        }
    }
}
