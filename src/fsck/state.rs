//! What a layer says, in memory: read once, mended here, and then compared with what was read.

use super::problem::Recovery;
use crate::format::{Ino, Kind, NameBuf};
use crate::layer::{BadRecord, Child, Chunk, DataId, InodeRecord, NameRecord, Space, foretell};
use crate::vfs::{Base, BaseInode};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// A name record whose value can't be decoded.
#[derive(Clone, Debug)]
pub(super) struct BadName {
    pub(super) dir: Ino,
    pub(super) name: NameBuf,
    pub(super) why: BadRecord,
}

/// What a key of blocks says.
#[derive(Clone, Debug)]
pub(super) struct Blocks {
    /// Whose, and which chunk of them; `None` when the key is none.
    pub(super) of: Option<(DataId, u32)>,
    pub(super) chunk: Result<Chunk, BadRecord>,
    /// For one that can't be decoded: the blocks in which the data file has anything.
    pub(super) guess: Option<Chunk>,
}

/// All that a layer says, and its data files.
#[derive(Clone, Default, Debug)]
pub(super) struct State {
    pub(super) inodes: BTreeMap<Ino, InodeRecord>,
    pub(super) names: BTreeMap<Ino, BTreeMap<NameBuf, NameRecord>>,
    /// Inodes whose record can't be decoded.
    pub(super) bad_inodes: BTreeMap<Ino, BadRecord>,
    pub(super) bad_names: Vec<BadName>,
    /// Keys that are none of a record.
    pub(super) bad_keys: Vec<(Space, Box<[u8]>)>,
    /// Whether the layer was closed in good order.
    pub(super) closed: bool,
    /// Whether what wasn't synced since it was opened last may be gone.
    pub(super) power_cut: bool,
    /// The first number that was never given out.
    pub(super) reserved: u64,
    /// Whether the journal has bytes that no crash leaves.
    pub(super) journal_damaged: bool,
    /// Changes that had happened and aren't in the database, though no crash takes them.
    pub(super) missing: u64,
    /// Bytes at the journal's end that the database cuts off when it is opened.
    pub(super) cut: u64,
    /// Whether there were such bytes, or damage, when it was read: it is there until the database itself is opened.
    pub(super) was_cut: bool,
    /// Blocks of partial content, by key.
    pub(super) chunks: BTreeMap<Box<[u8]>, Blocks>,
    /// Whether a data file may be only a part of its content.
    pub(super) knows_partial: bool,
    pub(super) files: BTreeSet<DataId>,
    /// Those with holes.
    pub(super) sparse: BTreeSet<DataId>,
    /// What is named as a data file and is none.
    pub(super) no_files: BTreeSet<DataId>,
    /// What isn't named as a data file.
    pub(super) foreign: Vec<PathBuf>,
}

impl State {
    /// Records read.
    pub(super) fn len(&self) -> u64 {
        let names: usize = self.names.values().map(BTreeMap::len).sum();
        let bad = self.bad_inodes.len() + self.bad_names.len() + self.bad_keys.len();
        (self.inodes.len() + names + self.chunks.len() + bad) as u64
    }

    /// What opening the layer would mend; `None` when it was closed in good order.
    pub(super) fn recovery(&self) -> Option<Recovery> {
        let records = self.inodes.iter().map(|(ino, record)| (*ino, record));
        let will = || foretell(records, &self.files, self.power_cut);
        (!self.closed).then(|| Recovery { power_cut: self.power_cut, will: will() })
    }

    /// The record of `ino`, or the one that the base implies. `None` when there is neither, or it can't be decoded or read.
    pub(super) fn record(&self, base: &Base, ino: Ino) -> Option<InodeRecord> {
        if let Some(record) = self.inodes.get(&ino) {
            return Some(record.clone());
        }
        if self.bad_inodes.contains_key(&ino) {
            return None;
        }
        base.inode(ino).ok().flatten().map(BaseInode::into_record)
    }

    /// Whether there is something behind the number, be it known or not.
    pub(super) fn has(&self, base: &Base, ino: Ino) -> bool {
        self.bad_inodes.contains_key(&ino) || self.record(base, ino).is_some()
    }

    /// The type of `ino`; `None` when it isn't there or its record can't be decoded.
    pub(super) fn kind(&self, base: &Base, ino: Ino) -> Option<Kind> {
        match self.inodes.get(&ino) {
            Some(record) => Some(record.kind()),
            None => self.record(base, ino).map(|record| record.kind()),
        }
    }

    /// What the layer says of a name.
    pub(super) fn name(&self, dir: Ino, name: &NameBuf) -> Option<NameRecord> {
        self.names.get(&dir)?.get(name).copied()
    }

    /// All names that mean an inode.
    pub(super) fn children(&self) -> impl Iterator<Item = (Ino, &NameBuf, Child)> {
        self.names.iter().flat_map(|(dir, names)| {
            names.iter().filter_map(|(name, record)| match record {
                NameRecord::Child(child) => Some((*dir, name, *child)),
                NameRecord::Removed => None,
            })
        })
    }

    /// The highest generation of data files of `ino`.
    pub(super) fn newest_file(&self, ino: Ino) -> Option<DataId> {
        let first = DataId { ino, generation: 0 };
        let last = DataId { ino, generation: u32::MAX };
        self.files.range(first..=last).next_back().copied()
    }

    /// Whether the data file may be only a part of its content, as far as can be told without its record.
    pub(super) fn may_be_partial(&self, id: DataId) -> bool {
        let has_blocks = || self.chunks.values().any(|blocks| blocks.of.is_some_and(|(of, _)| of == id));
        (self.knows_partial && self.sparse.contains(&id)) || has_blocks()
    }

    /// A number that was never given out.
    pub(super) fn allocate(&mut self) -> u64 {
        let number = self.reserved;
        self.reserved += 1;
        number
    }
}
