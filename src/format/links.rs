//! The table of hard-linked inodes: a binary object that the manifest names.

use super::{Content, FormatError, LinkNumber, Meta};

/// An inode with several names.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct LinkedInode {
    /// Its metadata.
    pub meta: Meta,
    /// Names it has; at least 1.
    pub nlink: u32,
    /// Its content.
    pub content: Content,
}

/// A decoded table, looked up by number in place.
#[derive(Debug)]
pub struct LinkTable {}

/// Encodes a table. A `None` is a free number (of an inode that a snapshot no longer has); the last slot may not be free.
pub fn encode_links(_slots: &[Option<LinkedInode>]) -> Result<Vec<u8>, FormatError> {
    todo!()
}

impl LinkTable {
    /// Decodes strictly.
    pub fn decode(_bytes: Vec<u8>) -> Result<Self, FormatError> {
        todo!()
    }

    /// A table without inodes, for manifests that have none.
    pub fn empty() -> Self {
        todo!()
    }

    /// Slots, free ones included.
    pub fn len(&self) -> u32 {
        todo!()
    }

    /// Whether there are no slots.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The inode of `number`; `None` when it is free or out of range.
    pub fn get(&self, _number: LinkNumber) -> Option<LinkedInode> {
        todo!()
    }
}
