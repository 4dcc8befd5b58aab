//! Problems into changes. The problems of the first stage that has some are mended in memory, and the layer checked again, until nothing
//! can be mended: so the plan is whole before anything is changed, and what it leads to has been checked.

use super::Checker;
use super::check::new_record;
use super::content::strays;
use super::problem::{Fix, Found, Problem};
use super::state::State;
use crate::format::{Ino, Kind, NameBuf};
use crate::layer::{Body, Child, Chunk, DataId, InodeRecord, NameRecord, Space};
use crate::vfs::Base;
use std::collections::BTreeSet;

/// Each round mends a stage, and what comes out of it; this many are never needed.
const ROUNDS: usize = 64;

/// What a repair does.
#[derive(Default)]
pub(super) struct Plan {
    /// What is mended, in this order.
    pub(super) actions: Vec<Problem>,
    /// What can't be.
    pub(super) unmended: Vec<Problem>,
    /// Keys whose value changes: to what the state has now, or to nothing.
    pub(super) inodes: BTreeSet<Ino>,
    pub(super) names: BTreeSet<(Ino, NameBuf)>,
    pub(super) keys: Vec<(Space, Box<[u8]>)>,
    /// Blocks that are told anew.
    pub(super) chunks: Vec<(Box<[u8]>, Chunk)>,
    pub(super) reserve: bool,
    pub(super) set_aside: Vec<DataId>,
    pub(super) create: Vec<DataId>,
    lost_found: Option<Ino>,
}

/// Mends `state` in memory; `found` is what is wrong with it.
pub(super) fn plan(checker: &mut Checker<'_>, state: &mut State, mut found: Vec<Found>) -> Plan {
    let mut plan = Plan::default();
    let mut lossy = state.cut > 0;
    for _ in 0..ROUNDS {
        let mendable = || found.iter().filter(|told| !told.fixes.is_empty());
        let Some(stage) = mendable().map(|told| told.problem.code.stage()).min() else { break };
        for told in mendable().filter(|told| told.problem.code.stage() == stage) {
            // Where one record is wrong, another may have taken a third one's place, and nobody can tell.
            lossy = true;
            plan.actions.push(told.problem.clone());
            told.fixes.iter().for_each(|fix| plan.apply(checker.base, state, fix));
        }
        found = checker.check(state);
    }
    // Recovery removes what nothing names; where records may be lost, it is kept.
    if lossy && !state.closed {
        for id in strays(state) {
            plan.apply(checker.base, state, &Fix::SetAside(id));
        }
    }
    plan.unmended = found.into_iter().map(|told| told.problem).filter(|problem| !problem.code.is_note()).collect();
    plan
}

impl Plan {
    /// Whether the database changes.
    pub(super) fn changes_records(&self) -> bool {
        self.reserve
            || !self.inodes.is_empty()
            || !self.names.is_empty()
            || !self.keys.is_empty()
            || !self.chunks.is_empty()
    }

    fn apply(&mut self, base: &Base, state: &mut State, fix: &Fix) {
        match fix {
            Fix::PutInode(ino, record) => self.put_inode(state, *ino, (**record).clone()),
            Fix::RemoveInode(ino) => {
                state.inodes.remove(ino);
                state.bad_inodes.remove(ino);
                self.inodes.insert(*ino);
            }
            Fix::SetBody(ino, body) => self.change(base, state, *ino, |record| record.body = body.clone()),
            Fix::SetLinks(ino, nlink) => self.change(base, state, *ino, |record| record.nlink = *nlink),
            Fix::SetParent(ino, holder) => self.change_dir(base, state, *ino, |parent, _| *parent = *holder),
            Fix::SetSubdirs(ino, count) => self.change_dir(base, state, *ino, |_, subdirs| *subdirs = *count),
            Fix::RemoveXattr(ino, name) => {
                self.change(base, state, *ino, |record| record.meta.xattrs = record.meta.xattrs.without(name));
            }
            Fix::PutName(dir, name, record) => self.put_name(state, *dir, name.clone(), *record),
            Fix::RemoveName(dir, name) => self.remove_name(state, *dir, name),
            Fix::Resequence(dir, name) => {
                if let Some(NameRecord::Child(child)) = state.name(*dir, name) {
                    let sequence = self.allocate(state);
                    self.put_name(state, *dir, name.clone(), NameRecord::Child(Child { sequence, ..child }));
                }
            }
            Fix::RemoveKey(space, key) => {
                state.bad_keys.retain(|bad| bad != &(*space, key.clone()));
                state.chunks.remove(key);
                self.keys.push((*space, key.clone()));
            }
            Fix::GuessBlocks(key) => {
                if let Some(blocks) = state.chunks.get_mut(key)
                    && let Some(guess) = blocks.guess.take()
                {
                    blocks.chunk = Ok(guess.clone());
                    self.chunks.push((key.clone(), guess));
                }
            }
            Fix::Reserve(mark) => {
                state.reserved = state.reserved.max(*mark);
                self.reserve = true;
            }
            Fix::Reconnect(ino) => self.reconnect(base, state, *ino),
            Fix::CreateFile(id) => {
                state.files.insert(*id);
                self.create.push(*id);
            }
            Fix::SetAside(id) => {
                state.files.remove(id);
                state.no_files.remove(id);
                self.set_aside.push(*id);
            }
            Fix::CutJournal => (state.cut, state.missing, state.journal_damaged) = (0, 0, false),
        }
    }

    fn allocate(&mut self, state: &mut State) -> u64 {
        self.reserve = true;
        state.allocate()
    }

    fn put_inode(&mut self, state: &mut State, ino: Ino, record: InodeRecord) {
        state.bad_inodes.remove(&ino);
        state.inodes.insert(ino, record);
        self.inodes.insert(ino);
    }

    fn change(&mut self, base: &Base, state: &mut State, ino: Ino, change: impl FnOnce(&mut InodeRecord)) {
        if let Some(mut record) = state.record(base, ino) {
            change(&mut record);
            self.put_inode(state, ino, record);
        }
    }

    fn change_dir(&mut self, base: &Base, state: &mut State, ino: Ino, change: impl FnOnce(&mut Ino, &mut u32)) {
        self.change(base, state, ino, |record| {
            if let Body::Dir { parent, subdirs } = &mut record.body {
                change(parent, subdirs);
            }
        });
    }

    fn put_name(&mut self, state: &mut State, dir: Ino, name: NameBuf, record: NameRecord) {
        state.names.entry(dir).or_default().insert(name.clone(), record);
        self.names.insert((dir, name));
    }

    fn remove_name(&mut self, state: &mut State, dir: Ino, name: &NameBuf) {
        if let Some(names) = state.names.get_mut(&dir) {
            names.remove(name.as_bytes());
            if names.is_empty() {
                state.names.remove(&dir);
            }
        }
        state.bad_names.retain(|bad| (bad.dir, &bad.name) != (dir, name));
        self.names.insert((dir, name.clone()));
    }

    /// Gives an inode a name in `lost+found`. Counts are right after it.
    fn reconnect(&mut self, base: &Base, state: &mut State, ino: Ino) {
        let Some(kind) = state.kind(base, ino) else { return };
        let lost_found = self.lost_found(base, state);
        let number = format!("#{}", ino.0);
        let Some(name) = free_name(base, state, lost_found, &number) else { return };
        let sequence = self.allocate(state);
        self.put_name(state, lost_found, name, NameRecord::Child(Child { ino, kind, sequence }));
        let is_dir = kind == Kind::Dir;
        self.change_dir(base, state, lost_found, |_, subdirs| *subdirs += u32::from(is_dir));
        self.change(base, state, ino, |record| {
            record.nlink = 1;
            if let Body::Dir { parent, .. } = &mut record.body {
                *parent = lost_found;
            }
        });
    }

    /// The directory for what nothing names; made when it isn't there.
    fn lost_found(&mut self, base: &Base, state: &mut State) -> Ino {
        if let Some(ino) = self.lost_found {
            return ino;
        }
        let there = NameBuf::new(*b"lost+found").ok().and_then(|name| child(base, state, Ino::ROOT, &name));
        let is_dir = |ino: &Ino| state.kind(base, *ino) == Some(Kind::Dir);
        let ino = match there.filter(is_dir) {
            Some(ino) => ino,
            None => self.make_lost_found(base, state),
        };
        self.lost_found = Some(ino);
        ino
    }

    fn make_lost_found(&mut self, base: &Base, state: &mut State) -> Ino {
        let Some(name) = free_name(base, state, Ino::ROOT, "lost+found") else { return Ino::ROOT };
        let ino = Ino(Ino::NEW.0 + self.allocate(state));
        let sequence = self.allocate(state);
        self.put_inode(state, ino, new_record(0o700, Body::Dir { parent: Ino::ROOT, subdirs: 0 }));
        self.put_name(state, Ino::ROOT, name, NameRecord::Child(Child { ino, kind: Kind::Dir, sequence }));
        self.change_dir(base, state, Ino::ROOT, |_, subdirs| *subdirs += 1);
        ino
    }
}

/// What a name means, by the layer or the base.
fn child(base: &Base, state: &State, dir: Ino, name: &NameBuf) -> Option<Ino> {
    match state.name(dir, name) {
        Some(NameRecord::Removed) => None,
        Some(NameRecord::Child(child)) => Some(child.ino),
        None => base.child(dir, name.as_name()).ok().flatten().map(|child| child.ino),
    }
}

/// `wanted`, or with a number behind it where that is taken.
fn free_name(base: &Base, state: &State, dir: Ino, wanted: &str) -> Option<NameBuf> {
    let numbered = (1u64..).map(|number| format!("{wanted}.{number}"));
    let names = [wanted.to_owned()].into_iter().chain(numbered);
    names.filter_map(|name| NameBuf::new(name.into_bytes()).ok()).find(|name| child(base, state, dir, name).is_none())
}
