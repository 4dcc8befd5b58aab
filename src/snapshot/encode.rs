//! From a frozen layer to trees and the table of linked inodes.
//!
//! A directory is *touched* when the layer has something to say of its names, of an inode that it holds, or of anything beneath: those are
//! encoded anew, each once, children before parents, without recursion on the stack. Every other directory keeps its digest: the one that it
//! had in the snapshot before, where that is known (`vfs::since`), else the base's.

use super::SnapshotError;
use super::touched::touched;
use crate::format::{
    Content, Digest, Entry, Ino, LinkNumber, LinkedInode, Meta, NameBuf, Node, RootMeta, Subtree, Totals, Tree,
    encode_links, encode_tree,
};
use crate::layer::{BlobRef, Body, DataId, FileContent, InodeRecord, NameRecord};
use crate::store::Writer;
use crate::vfs::freeze::{Frozen, Records};
use crate::vfs::{Base, child_ino};
use std::collections::{BTreeMap, HashMap, HashSet};

/// What was encoded.
pub struct Encoded {
    /// The root directory.
    pub root: RootMeta,
    /// The table of linked inodes.
    pub links: Option<Digest>,
    /// Sums over all.
    pub totals: Totals,
    /// Trees that were encoded.
    pub new_trees: u64,
    /// All trees that aren't the base's.
    pub trees: HashMap<Ino, Subtree>,
}

struct Encoder<'a> {
    base: &'a Base,
    records: &'a Records,
    blobs: &'a HashMap<DataId, BlobRef>,
    writer: &'a Writer,
    touched: HashSet<Ino>,
    /// Numbers in the new table, of inodes that the base doesn't have there.
    numbers: BTreeMap<Ino, LinkNumber>,
    /// Trees that aren't the base's: those of the snapshot before, as far as they hold, and those that were encoded.
    done: HashMap<Ino, Subtree>,
    encoded: u64,
}

/// A directory whose entries are being gathered.
struct Frame {
    ino: Ino,
    /// Children by name; those from the base that nothing touched are entries already.
    items: Vec<(NameBuf, Item)>,
    /// Children before this index have been seen to.
    next: usize,
}

enum Item {
    Entry(Entry),
    Child(Ino),
}

/// Encodes and stores all that changed.
pub fn encode(
    base: &Base,
    frozen: &Frozen<'_>,
    blobs: &HashMap<DataId, BlobRef>,
    writer: &Writer,
) -> Result<Encoded, SnapshotError> {
    let (touched, done) = match &frozen.since {
        None => (touched(base, &frozen.records)?, HashMap::new()),
        Some(since) => {
            let same = since.taken.trees.iter().filter(|(dir, _)| !since.touched.contains(dir));
            (since.touched.clone(), same.map(|(&dir, &subtree)| (dir, subtree)).collect())
        }
    };
    let (records, numbers) = (&frozen.records, BTreeMap::new());
    let mut encoder = Encoder { base, records, blobs, writer, touched, numbers, done, encoded: 0 };
    let (links, linked) = encoder.links()?;
    let subtree = encoder.trees()?;
    let meta = match frozen.records.inodes.get(&Ino::ROOT) {
        Some(record) => record.meta.clone(),
        None => base.manifest().root.meta.clone(),
    };
    let totals = Totals {
        entries: subtree.entries,
        files: (subtree.entries - subtree.dirs).saturating_sub(linked.names) + linked.inodes,
        bytes: subtree.bytes + linked.bytes,
    };
    Ok(Encoded { root: RootMeta { subtree, meta }, links, totals, new_trees: encoder.encoded, trees: encoder.done })
}

/// Sums over the table of linked inodes.
#[derive(Default)]
struct Linked {
    names: u64,
    inodes: u64,
    bytes: u64,
}

impl Encoder<'_> {
    /// The new table: the base's numbers stay, for clean trees hold them; inodes that came to have several names get numbers after.
    fn links(&mut self) -> Result<(Option<Digest>, Linked), SnapshotError> {
        let old = self.base.links()?;
        let mut slots: Vec<Option<LinkedInode>> = (0..old.len()).map(|n| old.get(LinkNumber(n))).collect();
        let mut changed = false;
        for (&ino, record) in &self.records.inodes {
            let is_dir = matches!(record.body, Body::Dir { .. });
            if let Some(LinkNumber(number)) = ino.link_number() {
                let slot = slots
                    .get_mut(number as usize)
                    .ok_or(SnapshotError::Inconsistent { ino, what: "a number that the base's table doesn't have" })?;
                *slot = if record.is_unnamed() { None } else { Some(self.linked(ino, record)?) };
                changed = true;
            } else if record.nlink > 1 && !is_dir {
                let number = u32::try_from(slots.len())
                    .map_err(|_| SnapshotError::Inconsistent { ino, what: "too many linked inodes" })?;
                slots.push(Some(self.linked(ino, record)?));
                self.numbers.insert(ino, LinkNumber(number));
                changed = true;
            }
        }
        while slots.last().is_some_and(Option::is_none) {
            slots.pop();
        }
        let sums = slots.iter().flatten().fold(Linked::default(), |sums, inode| Linked {
            names: sums.names + u64::from(inode.nlink),
            inodes: sums.inodes + 1,
            bytes: sums.bytes + if let Content::File { size, .. } = inode.content { size } else { 0 },
        });
        let digest = match (slots.is_empty(), changed) {
            (true, _) => None,
            (false, false) => self.base.manifest().links,
            (false, true) => {
                let bytes =
                    encode_links(&slots).map_err(|source| SnapshotError::Encode { dir: Ino::LINKED, source })?;
                Some(self.writer.put_bytes(&bytes)?.digest)
            }
        };
        Ok((digest, sums))
    }

    fn linked(&self, ino: Ino, record: &InodeRecord) -> Result<LinkedInode, SnapshotError> {
        Ok(LinkedInode { meta: record.meta.clone(), nlink: record.nlink, content: self.content(ino, record)? })
    }

    /// Encodes every touched directory that can be reached from the root, children first.
    fn trees(&mut self) -> Result<Subtree, SnapshotError> {
        if !self.touched.contains(&Ino::ROOT) {
            return Ok(self.done.get(&Ino::ROOT).copied().unwrap_or(self.base.manifest().root.subtree));
        }
        let mut stack = vec![self.frame(Ino::ROOT)?];
        while let Some(frame) = stack.last_mut() {
            let pending = frame.items[frame.next..].iter().position(|(_, item)| match item {
                Item::Child(ino) => self.touched.contains(ino) && !self.done.contains_key(ino),
                Item::Entry(_) => false,
            });
            match pending {
                Some(skip) => {
                    frame.next += skip;
                    let Item::Child(child) = frame.items[frame.next].1 else { continue };
                    let child = self.frame(child)?;
                    stack.push(child);
                }
                None => {
                    if let Some(frame) = stack.pop() {
                        let ino = frame.ino;
                        let subtree = self.finish(frame)?;
                        self.encoded += 1;
                        self.done.insert(ino, subtree);
                    }
                }
            }
        }
        self.done
            .get(&Ino::ROOT)
            .copied()
            .ok_or(SnapshotError::Inconsistent { ino: Ino::ROOT, what: "the root was not encoded" })
    }

    /// Gathers the entries of a touched directory: the base's, as changed by the names.
    fn frame(&self, dir: Ino) -> Result<Frame, SnapshotError> {
        let mut items = BTreeMap::new();
        if let Some(tree) = self.base.tree(dir)? {
            for index in 0..tree.len() {
                items.insert(tree.name(index).to_buf(), self.base_item(dir, &tree, index));
            }
        }
        for (name, record) in self.records.names.get(&dir).into_iter().flatten() {
            match record {
                NameRecord::Removed => items.remove(name),
                NameRecord::Child(child) => items.insert(name.clone(), Item::Child(child.ino)),
            };
        }
        Ok(Frame { ino: dir, items: items.into_iter().collect(), next: 0 })
    }

    fn base_item(&self, dir: Ino, tree: &Tree, index: usize) -> Item {
        let ino = child_ino(tree, dir, index);
        let changed = !ino.is_linked_range()
            && (self.records.inodes.contains_key(&ino) || self.touched.contains(&ino) || self.done.contains_key(&ino));
        if changed { Item::Child(ino) } else { Item::Entry(tree.entry(index)) }
    }

    fn finish(&self, frame: Frame) -> Result<Subtree, SnapshotError> {
        self.writer.check()?;
        let entries = frame
            .items
            .into_iter()
            .map(|(name, item)| {
                Ok((
                    name,
                    match item {
                        Item::Entry(entry) => entry,
                        Item::Child(ino) => self.entry(ino)?,
                    },
                ))
            })
            .collect::<Result<Vec<_>, SnapshotError>>()?;
        let encoded = encode_tree(&entries).map_err(|source| SnapshotError::Encode { dir: frame.ino, source })?;
        self.writer.put_bytes(&encoded.bytes)?;
        Ok(encoded.subtree)
    }

    fn entry(&self, ino: Ino) -> Result<Entry, SnapshotError> {
        if let Some(&number) = self.numbers.get(&ino) {
            return Ok(Entry::Linked(number));
        }
        if ino.is_linked_range()
            && let Some(number) = ino.link_number()
        {
            return Ok(Entry::Linked(number));
        }
        let Some(record) = self.records.inodes.get(&ino) else {
            let clean = self.base.inode(ino)?.ok_or(SnapshotError::Inconsistent { ino, what: "a name of nothing" })?;
            let node = match (self.done.get(&ino), clean.node) {
                (Some(subtree), Node::Dir(_)) => Node::Dir(*subtree),
                (_, node) => node,
            };
            return Ok(Entry::Inode(clean.meta, node));
        };
        if record.is_unnamed() {
            return Err(SnapshotError::Inconsistent { ino, what: "a name of an inode without names" });
        }
        let node = match record.body {
            Body::Dir { .. } => Node::Dir(self.subtree(ino)?),
            _ => Node::Leaf(self.content(ino, record)?),
        };
        Ok(Entry::Inode(Meta::clone(&record.meta), node))
    }

    /// The tree of a directory that has a record: encoded, or the base's, or empty.
    fn subtree(&self, ino: Ino) -> Result<Subtree, SnapshotError> {
        if let Some(subtree) = self.done.get(&ino) {
            return Ok(*subtree);
        }
        if let Some(Node::Dir(subtree)) = self.base.inode(ino)?.map(|inode| inode.node) {
            return Ok(subtree);
        }
        let empty = encode_tree(&[]).map_err(|source| SnapshotError::Encode { dir: ino, source })?;
        self.writer.put_bytes(&empty.bytes)?;
        Ok(empty.subtree)
    }

    fn content(&self, ino: Ino, record: &InodeRecord) -> Result<Content, SnapshotError> {
        Ok(match &record.body {
            Body::File { content: FileContent::Blob(blob), .. } => {
                Content::File { digest: blob.digest, size: blob.size }
            }
            Body::File { generation, .. } => {
                let id = DataId { ino, generation: *generation };
                let blob = self
                    .blobs
                    .get(&id)
                    .ok_or(SnapshotError::Inconsistent { ino, what: "content that wasn't taken in" })?;
                Content::File { digest: blob.digest, size: blob.size }
            }
            Body::Symlink(target) => Content::Symlink(target.clone()),
            Body::Char(device) => Content::Char(*device),
            Body::Block(device) => Content::Block(*device),
            Body::Fifo => Content::Fifo,
            Body::Socket => Content::Socket,
            Body::Dir { .. } => return Err(SnapshotError::Inconsistent { ino, what: "a directory with links" }),
        })
    }
}
