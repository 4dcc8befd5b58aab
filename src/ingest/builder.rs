//! Builds a manifest's trees bottom-up while the source is still being read.
//!
//! Whoever reads the source opens directories, reserves their entries in ascending order, and closes them; workers fill the entries whose content
//! takes time. A directory waits for: being closed, each unfilled entry, each subdirectory, and (`held`) each entry that may be a hard link. When
//! nothing is left to wait for it is encoded, stored and forgotten, by the thread that brought the last piece, and its parent has one thing less
//! to wait for. So memory holds the directories on the way to what is being read, and those that hold a possible hard link or lie above one.
//!
//! Locking: one mutex over all directories, never held while a tree is encoded or stored.

use super::known::Known;
use super::links::{Candidates, LinkId};
use super::trail::Trail;
use super::{IngestError, Tally};
use crate::format::{
    Content, Digest, EncodedTree, Entry, Meta, NameBuf, Node, RootMeta, Subtree, Totals, encode_links, encode_tree,
};
use crate::store::{Put, Writer};
use parking_lot::Mutex;

/// A directory that isn't encoded yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DirId(usize);

/// Where an inode goes once it is known.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// An entry of a directory.
    Entry(DirId, usize),
    /// An inode that may have several names.
    Link(LinkId),
}

/// The trees of a source under construction. Shared by threads.
pub(crate) struct TreeBuilder<'a> {
    writer: &'a Writer,
    tally: &'a Tally,
    known: &'a Known,
    state: Mutex<State>,
}

/// Trees that are all stored.
pub(crate) struct Built {
    /// The root directory.
    pub(crate) root: RootMeta,
    /// The table of linked inodes, if there are any.
    pub(crate) links: Option<Digest>,
    /// Sums.
    pub(crate) totals: Totals,
    /// Regular files, a hard-linked one counted once.
    pub(crate) regular: u64,
}

#[derive(Default)]
struct State {
    dirs: Vec<Option<Dir>>,
    free: Vec<usize>,
    held: Vec<DirId>,
    candidates: Candidates,
    root: Option<RootMeta>,
    totals: Totals,
    regular: u64,
}

struct Dir {
    parent: Option<(DirId, usize)>,
    meta: Meta,
    trail: Trail,
    entries: Vec<(NameBuf, Slot)>,
    waiting: usize,
    held: bool,
}

enum Slot {
    Waiting,
    Ready(Entry),
    Link(LinkId),
}

/// A directory whose tree is stored: where its entry goes (nowhere for the root), its metadata, and the tree.
type Stored = (Option<(DirId, usize)>, Meta, Subtree);

impl<'a> TreeBuilder<'a> {
    pub(crate) fn new(writer: &'a Writer, tally: &'a Tally, known: &'a Known) -> Self {
        Self { writer, tally, known, state: Mutex::default() }
    }

    /// Opens a directory: the root, or an entry `name` of `parent`, which comes after all entries that `parent` has so far.
    pub(crate) fn open_dir(&self, parent: Option<(DirId, NameBuf)>, meta: Meta, trail: Trail) -> DirId {
        let mut state = self.state.lock();
        let parent = parent.map(|(parent, name)| (parent, state.dir(parent).push(name, Slot::Waiting)));
        state.insert(Dir { parent, meta, trail, entries: Vec::new(), waiting: 1, held: false })
    }

    /// Says that the directory has all its entries.
    pub(crate) fn close_dir(&self, dir: DirId) -> Result<(), IngestError> {
        self.settle(dir)
    }

    /// Adds an entry whose inode is told later, by [`TreeBuilder::fill`].
    pub(crate) fn reserve(&self, dir: DirId, name: NameBuf) -> Place {
        Place::Entry(dir, self.state.lock().dir(dir).push(name, Slot::Waiting))
    }

    /// Adds an entry that is known.
    pub(crate) fn add(&self, dir: DirId, name: NameBuf, meta: Meta, content: Content) {
        let mut state = self.state.lock();
        state.count(&content);
        state.dir(dir).entries.push((name, Slot::Ready(Entry::Inode(meta, Node::Leaf(content)))));
    }

    /// An inode that may have several names; call it when the first of them is reached.
    pub(crate) fn new_link(&self) -> Result<LinkId, IngestError> {
        let limit = u64::from(u32::MAX);
        self.state.lock().candidates.add().ok_or(IngestError::Limit { what: "hard-linked files", limit })
    }

    /// Adds an entry that is one name of `link`.
    pub(crate) fn add_link(&self, dir: DirId, name: NameBuf, link: LinkId) {
        let mut state = self.state.lock();
        state.candidates.name(link);
        let holder = state.dir(dir);
        holder.entries.push((name, Slot::Link(link)));
        if !std::mem::replace(&mut holder.held, true) {
            holder.waiting += 1;
            state.held.push(dir);
        }
    }

    /// Tells what is at `place`.
    pub(crate) fn fill(&self, place: Place, meta: Meta, content: Content) -> Result<(), IngestError> {
        let mut state = self.state.lock();
        state.count(&content);
        match place {
            Place::Link(link) => {
                state.candidates.fill(link, meta, content);
                Ok(())
            }
            Place::Entry(dir, index) => {
                state.dir(dir).entries[index].1 = Slot::Ready(Entry::Inode(meta, Node::Leaf(content)));
                drop(state);
                self.settle(dir)
            }
        }
    }

    /// Numbers the linked inodes, stores their table and the trees that waited for it. All directories are closed and all places filled.
    pub(crate) fn finish(self) -> Result<Built, IngestError> {
        let (held, candidates) = {
            let mut state = self.state.lock();
            (std::mem::take(&mut state.held), std::mem::take(&mut state.candidates))
        };
        let numbered = candidates.number();
        for dir in held {
            let mut state = self.state.lock();
            for (_, slot) in &mut state.dir(dir).entries {
                if let Slot::Link(link) = *slot {
                    *slot = numbered.entry(link).map_or(Slot::Waiting, Slot::Ready);
                }
            }
            drop(state);
            self.settle(dir)?;
        }
        let links = self.store_table(&numbered.table)?;
        let state = self.state.into_inner();
        let root = state.root.ok_or(IngestError::Stopped)?;
        let totals = Totals { entries: root.subtree.entries, ..state.totals };
        Ok(Built { root, links, totals, regular: state.regular })
    }

    fn store_table(&self, table: &[Option<crate::format::LinkedInode>]) -> Result<Option<Digest>, IngestError> {
        if table.is_empty() {
            return Ok(None);
        }
        let bytes = encode_links(table).map_err(IngestError::Links)?;
        Ok(Some(self.writer.put_bytes(&bytes)?.digest))
    }

    /// One thing less that `dir` waits for: stores it if that was the last, and so on upwards.
    fn settle(&self, mut dir: DirId) -> Result<(), IngestError> {
        loop {
            let Some(done) = self.state.lock().release(dir) else { return Ok(()) };
            let (parent, meta, subtree) = self.store(done)?;
            let mut state = self.state.lock();
            match parent {
                Some((parent, index)) => {
                    state.dir(parent).entries[index].1 = Slot::Ready(Entry::Inode(meta, Node::Dir(subtree)));
                    dir = parent;
                }
                None => {
                    state.root = Some(RootMeta { subtree, meta });
                    return Ok(());
                }
            }
        }
    }

    fn store(&self, dir: Dir) -> Result<Stored, IngestError> {
        let mut entries = Vec::with_capacity(dir.entries.len());
        for (name, slot) in dir.entries {
            match slot {
                Slot::Ready(entry) => entries.push((name, entry)),
                // a worker that failed left it so
                Slot::Waiting | Slot::Link(_) => return Err(IngestError::Stopped),
            }
        }
        let failed = |source| IngestError::Format { path: dir.trail.shown(), source };
        let encoded = encode_tree(&entries).map_err(failed)?;
        self.tally.count_tree(&self.put(&encoded)?);
        Ok((dir.parent, dir.meta, encoded.subtree))
    }

    fn put(&self, tree: &EncodedTree) -> Result<Put, IngestError> {
        let digest = tree.subtree.tree;
        self.known.remember_tree(digest);
        if self.known.has_tree(digest)
            && let Some(put) = self.writer.rely_on_kept(digest, tree.bytes.len() as u64)?
        {
            return Ok(put);
        }
        Ok(self.writer.put_hashed(&tree.bytes, digest)?)
    }
}

impl State {
    fn insert(&mut self, dir: Dir) -> DirId {
        match self.free.pop() {
            Some(index) => {
                self.dirs[index] = Some(dir);
                DirId(index)
            }
            None => {
                self.dirs.push(Some(dir));
                DirId(self.dirs.len() - 1)
            }
        }
    }

    fn dir(&mut self, id: DirId) -> &mut Dir {
        self.dirs[id.0]
            .as_mut()
            .expect("an id is used only while its directory waits for what the user of the id brings")
    }

    fn release(&mut self, id: DirId) -> Option<Dir> {
        let dir = self.dir(id);
        dir.waiting -= 1;
        if dir.waiting > 0 {
            return None;
        }
        self.free.push(id.0);
        self.dirs[id.0].take()
    }

    fn count(&mut self, content: &Content) {
        self.totals.files += 1;
        if let Content::File { size, .. } = content {
            self.totals.bytes += size;
            self.regular += 1;
        }
    }
}

impl Dir {
    /// Adds an entry that the directory waits for.
    fn push(&mut self, name: NameBuf, slot: Slot) -> usize {
        self.waiting += 1;
        self.entries.push((name, slot));
        self.entries.len() - 1
    }
}
