//! What an inode is, clean or dirty: the one place where base and layer are put together.
//!
//! Callers hold `tree_lock`, shared or exclusive, when there is a layer.

use super::base::BaseInode;
use super::error::{Result, VfsError};
use super::types::Attr;
use super::{Fs, Upper};
use crate::format::{Content, Device, Entry, Ino, Kind, Name, Node, Timestamp, Tree};
use crate::layer::{Batch, BlobRef, Body, Child, DataId, FileContent, InodeRecord, NameRecord};
use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;

/// Blocks are told in units of 512 bytes (stat(2)), and files take whole blocks of 4096.
const BLOCK_BYTES: u64 = 4096;
/// What stat tells as a directory's size.
const DIR_BYTES: u64 = 4096;

impl BaseInode {
    /// The record that the inode would have if it were dirty and unchanged. A clean inode has no other times than its mtime.
    pub fn into_record(self) -> InodeRecord {
        let mtime = self.meta.mtime;
        let body = match self.node {
            Node::Dir(subtree) => Body::Dir { parent: self.parent, subdirs: subtree.subdirs },
            Node::Leaf(Content::File { digest, size }) => {
                Body::File { generation: 0, content: FileContent::Blob(BlobRef { digest, size }) }
            }
            Node::Leaf(Content::Symlink(target)) => Body::Symlink(target),
            Node::Leaf(Content::Char(device)) => Body::Char(device),
            Node::Leaf(Content::Block(device)) => Body::Block(device),
            Node::Leaf(Content::Fifo) => Body::Fifo,
            Node::Leaf(Content::Socket) => Body::Socket,
        };
        InodeRecord { meta: self.meta, nlink: self.nlink, atime: mtime, ctime: mtime, body }
    }
}

impl Fs {
    /// The inode's record, the layer's or one made from the base.
    pub(super) fn record(&self, ino: Ino) -> Result<InodeRecord> {
        if let Some(record) = self.dirty_record(ino)? {
            return Ok(record);
        }
        self.base.inode(ino)?.map(BaseInode::into_record).ok_or(VfsError::Stale(ino))
    }

    /// The same of `ino`, which is entry `index` of clean directory `dir`'s `tree`: the base isn't searched for what is at hand.
    pub(super) fn record_in(&self, ino: Ino, (dir, tree): (Ino, &Tree), index: usize) -> Result<InodeRecord> {
        if let Some(record) = self.dirty_record(ino)? {
            return Ok(record);
        }
        match tree.entry(index) {
            Entry::Inode(meta, node) => Ok(BaseInode { meta, nlink: 1, node, parent: dir }.into_record()),
            Entry::Linked(_) => self.record(ino),
        }
    }

    fn dirty_record(&self, ino: Ino) -> Result<Option<InodeRecord>> {
        match &self.upper {
            Some(upper) => Ok(upper.layer.db().inode(ino)?),
            None => Ok(None),
        }
    }

    /// What `name` in `parent` means; `None` when there is no such name.
    pub(super) fn child(&self, parent: Ino, name: Name<'_>) -> Result<Option<(Ino, Option<Kind>)>> {
        if let Some(upper) = &self.upper {
            match upper.layer.db().name(parent, name)? {
                Some(NameRecord::Removed) => return Ok(None),
                Some(NameRecord::Child(child)) => return Ok(Some((child.ino, Some(child.kind)))),
                None => {}
            }
        }
        Ok(self.base.child(parent, name)?.map(|child| (child.ino, None)))
    }

    /// A directory that still has a name.
    pub(super) fn live_dir(&self, ino: Ino) -> Result<InodeRecord> {
        let record = self.record(ino)?;
        match record.body {
            Body::Dir { .. } if record.nlink == 0 => Err(VfsError::NotFound),
            Body::Dir { .. } => Ok(record),
            _ => Err(VfsError::NotDir),
        }
    }

    /// Whether directory `ino` has no entries.
    pub(super) fn is_empty_dir(&self, ino: Ino) -> Result<bool> {
        let tree = self.base.tree(ino)?;
        let mut count = tree.as_ref().map_or(0, |tree| tree.len() as i64);
        if let Some(upper) = &self.upper {
            upper.layer.db().each_name_of(ino, |name, record| {
                let in_base = match (&tree, Name::new(name)) {
                    (Some(tree), Ok(name)) => tree.find(name).is_some(),
                    _ => false,
                };
                count += match record {
                    NameRecord::Removed => -i64::from(in_base),
                    NameRecord::Child(_) => i64::from(!in_base),
                };
            })?;
        }
        Ok(count == 0)
    }

    /// Attributes of an inode whose record is at hand.
    pub(super) fn attr_of(&self, ino: Ino, record: &InodeRecord) -> Result<Attr> {
        self.attr_with(ino, record, None)
    }

    /// The same, where the data file of dirty content may be at hand.
    pub(super) fn attr_with(&self, ino: Ino, record: &InodeRecord, data: Option<&File>) -> Result<Attr> {
        let mut attr = Attr {
            ino,
            kind: record.kind(),
            mode: record.meta.mode,
            nlink: record.nlink,
            uid: record.meta.uid,
            gid: record.meta.gid,
            rdev: Device::default(),
            size: 0,
            blocks: 0,
            atime: record.atime,
            mtime: record.meta.mtime,
            ctime: record.ctime,
        };
        match &record.body {
            Body::File { content: FileContent::Blob(blob), .. } => {
                attr.size = blob.size;
                attr.blocks = blob.size.div_ceil(BLOCK_BYTES) * (BLOCK_BYTES / 512);
            }
            Body::File { generation, content: content @ (FileContent::Data { .. } | FileContent::Sealed) } => {
                let times_too = *content != FileContent::Sealed;
                let id = DataId { ino, generation: *generation };
                let metadata = match data {
                    Some(file) => file.metadata().map_err(VfsError::io("can't examine a file of the layer"))?,
                    None => self.data_metadata(id)?,
                };
                fill_from_data(&metadata, times_too, &mut attr);
            }
            Body::File { generation, content: FileContent::Partial(partial) } => {
                let metadata = self.data_metadata(DataId { ino, generation: *generation })?;
                fill_from_data(&metadata, true, &mut attr);
                attr.blocks += self.remote_blocks(ino, *generation, *partial, attr.size)?;
            }
            Body::Dir { subdirs, .. } => {
                attr.nlink = if record.nlink == 0 { 0 } else { subdirs + 2 };
                attr.size = DIR_BYTES;
                attr.blocks = DIR_BYTES / 512;
            }
            Body::Symlink(target) => attr.size = target.len() as u64,
            Body::Char(device) | Body::Block(device) => attr.rdev = *device,
            Body::Fifo | Body::Socket => {}
        }
        Ok(attr)
    }

    /// What the host says of a data file: by a descriptor where the inode has one open, which is much less work than by name.
    fn data_metadata(&self, id: DataId) -> Result<Metadata> {
        match self.open.data_file(id) {
            Some(file) => file.metadata().map_err(VfsError::io("can't examine a file of the layer")),
            None => Ok(self.upper()?.layer.data().metadata(id)?),
        }
    }

    /// In `batch`, makes `name` in `parent` mean `child`.
    pub(super) fn attach(
        &self,
        batch: &mut Batch<'_>,
        parent: Ino,
        name: Name<'_>,
        ino: Ino,
        kind: Kind,
    ) -> Result<()> {
        let sequence = self.upper()?.layer.allocate()?;
        batch.put_name(parent, name.as_bytes(), NameRecord::Child(Child { ino, kind, sequence }));
        Ok(())
    }

    /// In `batch`, takes `name` out of `parent`.
    pub(super) fn detach(&self, batch: &mut Batch<'_>, parent: Ino, name: Name<'_>) -> Result<()> {
        if self.base.child(parent, name)?.is_some() {
            batch.put_name(parent, name.as_bytes(), NameRecord::Removed);
        } else {
            batch.remove_name(parent, name.as_bytes());
        }
        Ok(())
    }
}

/// Size, blocks and times of dirty content are the data file's: writes by passthrough don't pass this program. Sealed content isn't
/// written, and its data file's times belong to the store.
fn fill_from_data(metadata: &Metadata, times_too: bool, attr: &mut Attr) {
    attr.size = metadata.size();
    attr.blocks = metadata.blocks();
    if times_too {
        (attr.mtime, attr.ctime) = times_of_dirty((attr.mtime, attr.ctime), metadata);
    }
}

/// Modification and change time of dirty content, whose record says `recorded`. The data file's own change time tells of a change of the
/// content only when its modification time moved too: copying up, linking and setting times move the one alone.
pub(super) fn times_of_dirty(recorded: (Timestamp, Timestamp), data: &Metadata) -> (Timestamp, Timestamp) {
    let time =
        |secs, nanos: i64| u32::try_from(nanos).ok().and_then(|nanos| Timestamp::new(secs, nanos)).unwrap_or_default();
    let mtime = time(data.mtime(), data.mtime_nsec());
    let changed = time(data.ctime(), data.ctime_nsec());
    (mtime, if mtime == recorded.0 { recorded.1 } else { recorded.1.max(changed) })
}

impl Upper {
    /// Forgets listings of `dirs`, for their entries changed.
    pub(super) fn drop_views(&self, dirs: &[Ino]) {
        let mut views = self.views.lock();
        for dir in dirs {
            views.pop(dir);
        }
    }
}
