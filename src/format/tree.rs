//! Tree objects: one directory each. See `docs/FORMAT.md`.

use super::{Digest, Entry, FormatError, Kind, Name, NameBuf, Subtree};

/// A tree object, checked whole when it was decoded and searched in place since.
#[derive(Debug)]
pub struct Tree {}

/// A tree object's bytes with the sums that the parent's entry carries.
#[derive(Debug, Clone)]
pub struct EncodedTree {
    /// The object.
    pub bytes: Vec<u8>,
    /// Its digest and sums, as the parent's entry holds them.
    pub subtree: Subtree,
}

/// Encodes a directory; `entries` must be strictly ascending by raw name bytes.
pub fn encode_tree(_entries: &[(NameBuf, Entry)]) -> Result<EncodedTree, FormatError> {
    todo!()
}

impl Tree {
    /// Decodes strictly: everything that [`encode_tree`] would not have written is refused.
    pub fn decode(_bytes: Vec<u8>) -> Result<Self, FormatError> {
        todo!()
    }

    /// Entries directly inside.
    pub fn len(&self) -> usize {
        todo!()
    }

    /// Whether the directory is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sums over the directory, with `digest` as the tree's name.
    pub fn subtree(&self, _digest: Digest) -> Subtree {
        todo!()
    }

    /// Index of the entry called `name`: a binary search over the raw bytes.
    pub fn find(&self, _name: Name<'_>) -> Option<usize> {
        todo!()
    }

    /// Index of the entry whose own number or subtree holds pre-order `offset` (counted from the directory itself, which is 0;
    /// its first entry is 1). `None` for 0 and past the end.
    pub fn find_offset(&self, _offset: u64) -> Option<usize> {
        todo!()
    }

    /// Name of entry `index`. Panics when `index >= len()`.
    pub fn name(&self, _index: usize) -> Name<'_> {
        todo!()
    }

    /// Pre-order offset of entry `index` from the directory: 1 for the first, and for each later one the offset of the one before,
    /// plus 1, plus the entries beneath the one before.
    pub fn offset(&self, _index: usize) -> u64 {
        todo!()
    }

    /// Type of entry `index`; `None` for a hard link, whose type the table of linked inodes knows.
    pub fn kind(&self, _index: usize) -> Option<Kind> {
        todo!()
    }

    /// Entry `index`, decoded.
    pub fn entry(&self, _index: usize) -> Entry {
        todo!()
    }

    /// All entries in order.
    pub fn iter(&self) -> impl Iterator<Item = (Name<'_>, Entry)> + '_ {
        (0..self.len()).map(|index| (self.name(index), self.entry(index)))
    }

    /// Bytes of memory held.
    pub fn weight(&self) -> usize {
        todo!()
    }
}
