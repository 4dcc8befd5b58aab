//! One worker's directory.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// A file, by all its names.
pub type Id = u64;

/// What an entry of the directory is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// `None`: a directory.
    pub file: Option<Id>,
    pub mode: u32,
    /// The value of `user.crash`.
    pub xattr: Option<Vec<u8>>,
}

/// The directory's tree after a step: path beneath the directory to entry.
pub type State = BTreeMap<String, Arc<Entry>>;

/// What the bytes of a file were: all versions since the last that is known to be on disk. After a power cut, each byte must be of one
/// of them, and the length none that it never had in between; a byte past the end of the synced version may also be 0, for a page that was
/// not written out is a hole, or what a former cut took back there. With one version left, it is that one.
#[derive(Clone, Debug)]
pub struct Bytes {
    pub versions: Vec<Arc<Vec<u8>>>,
    /// What former cuts took back of the block that the synced version ends in, from its end on. ext4 leaves those bytes on the disk, and lets a length
    /// that reaches over them come before the bytes of the write that it belongs to, as it does without this program: append and let the bytes
    /// be written out (`sync_file_range`), cut without the log, append, cut with the log (10 times of 10, Linux 6.18).
    pub taken_back: Vec<Vec<u8>>,
    /// The modification time that was seen with the synced version, when it was its last change.
    pub mtime: Option<(i64, i64)>,
    /// The file was made or copied whole and renamed over another, without a fsync so far.
    pub hasty: bool,
    /// The last version wasn't acknowledged.
    pub under_way: bool,
}

impl Bytes {
    pub fn new(content: Vec<u8>) -> Self {
        Self { versions: vec![Arc::new(content)], taken_back: Vec::new(), mtime: None, hasty: false, under_way: false }
    }

    pub fn now(&self) -> &Arc<Vec<u8>> {
        self.versions.last().expect("there is always one")
    }

    /// What is there now is on disk.
    pub fn synced(&mut self, mtime: Option<(i64, i64)>) {
        let before = self.versions[0].len();
        self.versions.drain(..self.versions.len() - 1);
        if self.now().len() != before {
            self.taken_back.clear();
        }
        self.mtime = mtime;
        self.hasty = false;
    }

    /// A power cut left `found`.
    pub fn cut_to(self, found: Vec<u8>) -> Self {
        let (end, block) = (found.len(), found.len().next_multiple_of(BLOCK));
        let stays = self.versions[0].len() == end;
        let mut taken_back = if stays { self.taken_back } else { Vec::new() };
        taken_back.extend(self.versions.iter().filter_map(|v| Some(v.get(end..v.len().min(block))?.to_vec())));
        taken_back.retain(|bytes| !bytes.is_empty());
        Self { taken_back, mtime: self.mtime, ..Self::new(found) }
    }

    /// Why `found` can't be what a power cut left.
    pub fn reject(&self, found: &[u8]) -> Option<String> {
        if self.versions.iter().any(|version| version.as_slice() == found) {
            return None;
        }
        let lengths = self.versions.iter().map(|version| version.len());
        let (least, most) = (lengths.clone().min()?, lengths.max()?);
        if found.len() < least || found.len() > most {
            return Some(format!("{} bytes, of {least} to {most}", found.len()));
        }
        let parts = found.chunks(PART).enumerate().map(|(number, part)| (number * PART, part));
        let suspects = parts.filter(|(start, part)| {
            !self.versions.iter().any(|version| version.get(*start..start + part.len()) == Some(*part))
        });
        let bytes =
            suspects.flat_map(|(start, part)| part.iter().enumerate().map(move |(at, byte)| (start + at, *byte)));
        // Bytes that were in every version since the sync must be there; others may be of any.
        let bad = bytes.into_iter().find(|&(at, byte)| {
            let known = self.versions.iter().any(|version| version.get(at) == Some(&byte));
            let hole = byte == 0 && self.versions.iter().any(|version| version.len() <= at);
            let behind = at.checked_sub(self.versions[0].len());
            let former = behind.is_some_and(|at| self.taken_back.iter().any(|bytes| bytes.get(at) == Some(&byte)));
            !known && !hole && !former
        });
        bad.map(|(at, byte)| {
            let lengths: Vec<usize> = self.versions.iter().map(|version| version.len()).collect();
            format!("byte {at} of {} is {byte}, in none of the versions, of {lengths:?} bytes", found.len())
        })
    }

    /// Why `found` can't be what a killed daemon left: the last version, unless that was under way.
    pub fn reject_now(&self, found: &[u8]) -> Option<String> {
        let from = self.versions.len().saturating_sub(if self.under_way { 2 } else { 1 });
        Self { versions: self.versions[from..].to_vec(), ..self.clone() }.reject(found)
    }
}

/// Compared at once.
const PART: usize = 4096;
/// What the host's filesystems write at once.
const BLOCK: usize = 4096;

/// The worker's history.
#[derive(Debug, Default)]
pub struct Model {
    /// The tree after each step; the last may be under way.
    pub states: Vec<Arc<State>>,
    /// How many of them were acknowledged.
    pub acknowledged: usize,
    pub bytes: HashMap<Id, Bytes>,
    /// The inode numbers that were seen: they stay.
    pub numbers: HashMap<Id, u64>,
    pub next: Id,
}

impl Model {
    /// A directory as it was found, and is known to be on disk.
    pub fn found(state: State, bytes: HashMap<Id, Bytes>) -> Self {
        let next = bytes.keys().max().map_or(0, |last| last + 1);
        Self { states: vec![Arc::new(state)], acknowledged: 1, bytes, next, numbers: HashMap::new() }
    }

    pub fn now(&self) -> &State {
        self.states.last().expect("there is always one")
    }

    /// A step is about to change the tree so.
    pub fn change(&mut self, what: impl FnOnce(&mut State)) {
        let mut state = self.now().clone();
        what(&mut state);
        self.states.push(Arc::new(state));
    }

    /// A step is about to change a file's bytes so.
    pub fn write(&mut self, id: Id, what: impl FnOnce(&mut Vec<u8>)) {
        let bytes = self.bytes.get_mut(&id).expect("the file is known");
        let mut content = bytes.now().to_vec();
        what(&mut content);
        bytes.versions.push(Arc::new(content));
        bytes.mtime = None;
        bytes.under_way = true;
    }

    pub fn written(&mut self, id: Id) {
        self.bytes.get_mut(&id).expect("the file is known").under_way = false;
    }

    pub fn acknowledge(&mut self) {
        self.acknowledged = self.states.len();
    }

    pub fn links(state: &State, id: Id) -> usize {
        state.values().filter(|entry| entry.file == Some(id)).count()
    }
}
