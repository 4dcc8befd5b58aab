//! Walks a manifest in sorted pre-order and tells a visitor of each entry. Depth costs memory, never stack.

use crate::format::{
    Content, Digest, Entry, LinkNumber, LinkTable, LinkedInode, Manifest, Meta, NameBuf, Node, Subtree, Tree,
};
use crate::ingest::trail::Trail;
use crate::ingest::{IngestError, Progress};
use crate::store::Store;

/// What an export does with each entry.
pub(super) trait Visitor {
    /// A directory begins: the root has no name. All that comes until `leave` is in it.
    fn enter(&mut self, place: &Place<'_>, meta: &Meta) -> Result<(), IngestError>;
    /// Not a directory. `link`: its number, if it has several names; the first of them comes first.
    fn leaf(
        &mut self,
        place: &Place<'_>,
        meta: &Meta,
        content: &Content,
        link: Option<LinkNumber>,
    ) -> Result<(), IngestError>;
    /// The directory that began last, and hasn't ended, ends.
    fn leave(&mut self, trail: &Trail, meta: &Meta) -> Result<(), IngestError>;
}

/// Where an entry is.
pub(super) struct Place<'a> {
    /// Its directory.
    pub(super) parent: &'a Trail,
    /// Its name there; empty for the root.
    pub(super) name: &'a [u8],
}

impl Place<'_> {
    pub(super) fn trail(&self) -> Trail {
        if self.name.is_empty() { self.parent.clone() } else { self.parent.join(self.name) }
    }
}

struct Frame {
    tree: Tree,
    next: usize,
    trail: Trail,
    meta: Meta,
}

/// Walks all of `manifest`.
pub(super) fn walk(
    store: &Store,
    manifest: Digest,
    visitor: &mut impl Visitor,
    progress: &Progress,
) -> Result<Manifest, IngestError> {
    let manifest = store.read_manifest(manifest)?;
    let links = store.read_links(&manifest)?;
    let root = Trail::default();
    visitor.enter(&Place { parent: &root, name: b"" }, &manifest.root.meta)?;
    let mut frames = vec![frame(store, &manifest.root.subtree, root, manifest.root.meta.clone())?];
    while let Some(frame) = frames.last_mut() {
        if frame.next == frame.tree.len() {
            visitor.leave(&frame.trail, &frame.meta)?;
            frames.pop();
            continue;
        }
        let (name, entry) = (frame.tree.name(frame.next).to_buf(), frame.tree.entry(frame.next));
        frame.next += 1;
        if let Some(below) = visit(store, &links, &frame.trail, &name, entry, visitor)? {
            frames.push(below);
        }
        progress.add_entry();
    }
    Ok(manifest)
}

fn visit(
    store: &Store,
    links: &LinkTable,
    parent: &Trail,
    name: &NameBuf,
    entry: Entry,
    visitor: &mut impl Visitor,
) -> Result<Option<Frame>, IngestError> {
    let place = Place { parent, name: name.as_bytes() };
    match entry {
        Entry::Inode(meta, Node::Dir(subtree)) => {
            visitor.enter(&place, &meta)?;
            return frame(store, &subtree, place.trail(), meta).map(Some);
        }
        Entry::Inode(meta, Node::Leaf(content)) => visitor.leaf(&place, &meta, &content, None)?,
        Entry::Linked(number) => {
            let missing = || IngestError::Damaged {
                path: place.trail().shown(),
                what: "it is a hard link that the table of linked inodes doesn't have",
            };
            let LinkedInode { meta, content, .. } = links.get(number).ok_or_else(missing)?;
            visitor.leaf(&place, &meta, &content, Some(number))?;
        }
    }
    Ok(None)
}

fn frame(store: &Store, subtree: &Subtree, trail: Trail, meta: Meta) -> Result<Frame, IngestError> {
    Ok(Frame { tree: store.read_tree(subtree.tree)?, next: 0, trail, meta })
}
