//! The base: a manifest's clean nodes, found by inode number.
//!
//! Numbers are pre-order: a directory entry's number is its directory's plus the entry's offset, which the tree object holds. So any
//! number leads back to its entry by descending from the root, one binary search a level, and there is no table of inodes.
//! Opening reads the manifest and the root tree; all else loads on first touch.
//!
//! What is evicted: decoded trees are kept up to [`CACHE_BYTES`], and those that were used longest ago go first. Trees are immutable, so nothing
//! else ever drops one.
//!
//! Locking: the cache's mutex is held for look-ups only, never while an object is read; two threads may read the same tree.

use super::error::{Result, VfsError};
use crate::format::{Digest, Entry, Ino, Kind, LinkTable, Manifest, Meta, Name, NameBuf, Node, Subtree, Tree};
use crate::locks::Mutex;
use crate::store::Store;
use lru::LruCache;
use std::sync::{Arc, OnceLock};

/// Memory for decoded trees.
const CACHE_BYTES: usize = 16 << 20;

/// An open base.
#[derive(Debug)]
pub struct Base {
    store: Store,
    digest: Digest,
    manifest: Manifest,
    root: Arc<Tree>,
    links: OnceLock<LinkTable>,
    cache: Mutex<TreeCache>,
}

/// A clean inode as the base describes it.
#[derive(Clone, Debug)]
pub struct BaseInode {
    /// Metadata.
    pub meta: Meta,
    /// Names; 1 for a directory.
    pub nlink: u32,
    /// Content.
    pub node: Node,
    /// The directory that holds it; the root for the root and for linked inodes, which no one directory holds.
    pub parent: Ino,
}

/// An entry of a clean directory.
#[derive(Clone, Copy, Debug)]
pub struct BaseChild {
    /// Its number.
    pub ino: Ino,
    /// Its index in the tree.
    pub index: usize,
}

/// A directory that others are in, at any depth.
#[derive(Clone, Debug)]
pub struct Common {
    /// Its number.
    pub dir: Ino,
    /// The names from the root to it.
    pub path: Vec<NameBuf>,
    /// Entries beneath, at every depth.
    pub entries: u64,
}

/// Where the entry of a clean number is.
struct Place {
    parent: Ino,
    tree: Arc<Tree>,
    index: usize,
}

#[derive(Debug)]
struct TreeCache {
    trees: LruCache<Ino, Arc<Tree>>,
    bytes: usize,
}

impl TreeCache {
    fn insert(&mut self, dir: Ino, tree: Arc<Tree>) {
        self.bytes += tree.weight();
        if let Some((_, old)) = self.trees.push(dir, tree) {
            self.bytes -= old.weight();
        }
        // One tree may be larger than the whole allowance; it stays until the next comes.
        while self.bytes > CACHE_BYTES && self.trees.len() > 1 {
            match self.trees.pop_lru() {
                Some((_, old)) => self.bytes -= old.weight(),
                None => break,
            }
        }
    }
}

impl Base {
    /// Opens the manifest called `digest`.
    pub fn open(store: &Store, digest: Digest) -> Result<Self> {
        let manifest = store.read_manifest(digest)?;
        let root = Arc::new(read(store, &manifest.root.subtree)?);
        let cache = Mutex::new(TreeCache { trees: LruCache::unbounded(), bytes: 0 });
        Ok(Self { store: store.clone(), digest, manifest, root, links: OnceLock::new(), cache })
    }

    /// The manifest's digest.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The store that holds it.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The table of linked inodes, read when it is first asked for.
    pub fn links(&self) -> Result<&LinkTable> {
        if let Some(links) = self.links.get() {
            return Ok(links);
        }
        let links = self.store.read_links(&self.manifest)?;
        Ok(self.links.get_or_init(|| links))
    }

    /// The tree of a clean directory; `None` for numbers that the base doesn't have as a directory.
    pub fn tree(&self, dir: Ino) -> Result<Option<Arc<Tree>>> {
        if dir == Ino::ROOT {
            return Ok(Some(self.root.clone()));
        }
        if !dir.is_clean_range() {
            return Ok(None);
        }
        if let Some(tree) = self.cache.lock().trees.get(&dir) {
            return Ok(Some(tree.clone()));
        }
        let Some(place) = self.locate(dir)? else { return Ok(None) };
        match place.tree.entry(place.index) {
            Entry::Inode(_, Node::Dir(subtree)) => self.load(dir, &subtree).map(Some),
            _ => Ok(None),
        }
    }

    fn load(&self, dir: Ino, subtree: &Subtree) -> Result<Arc<Tree>> {
        if let Some(tree) = self.cache.lock().trees.get(&dir) {
            return Ok(tree.clone());
        }
        let tree = Arc::new(read(&self.store, subtree)?);
        self.cache.lock().insert(dir, tree.clone());
        Ok(tree)
    }

    /// Descends from the root to the entry numbered `ino`. `None` for the root itself and for numbers that no entry has.
    fn locate(&self, ino: Ino) -> Result<Option<Place>> {
        let mut parent = Ino::ROOT;
        let mut tree = self.root.clone();
        loop {
            let Some(index) = ino.0.checked_sub(parent.0).and_then(|offset| tree.find_offset(offset)) else {
                return Ok(None);
            };
            let child = Ino(parent.0 + tree.offset(index));
            if child == ino {
                return Ok(Some(Place { parent, tree, index }));
            }
            let Entry::Inode(_, Node::Dir(subtree)) = tree.entry(index) else { return Ok(None) };
            tree = self.load(child, &subtree)?;
            parent = child;
        }
    }

    /// What the base says of `ino`; `None` when it has no such number.
    pub fn inode(&self, ino: Ino) -> Result<Option<BaseInode>> {
        if ino == Ino::ROOT {
            let root = &self.manifest.root;
            let node = Node::Dir(root.subtree);
            return Ok(Some(BaseInode { meta: root.meta.clone(), nlink: 1, node, parent: Ino::ROOT }));
        }
        if ino.is_clean_range() {
            let Some(place) = self.locate(ino)? else { return Ok(None) };
            return Ok(match place.tree.entry(place.index) {
                Entry::Inode(meta, node) => Some(BaseInode { meta, nlink: 1, node, parent: place.parent }),
                Entry::Linked(_) => None,
            });
        }
        let Some(number) = ino.link_number() else { return Ok(None) };
        Ok(self.links()?.get(number).map(|inode| BaseInode {
            meta: inode.meta,
            nlink: inode.nlink,
            node: Node::Leaf(inode.content),
            parent: Ino::ROOT,
        }))
    }

    /// The entry called `name` in a clean directory.
    pub fn child(&self, dir: Ino, name: Name<'_>) -> Result<Option<BaseChild>> {
        let Some(tree) = self.tree(dir)? else { return Ok(None) };
        Ok(tree.find(name).map(|index| BaseChild { ino: child_ino(&tree, dir, index), index }))
    }

    /// The directory that holds the clean number `ino`; `None` when no one directory does.
    pub fn parent(&self, ino: Ino) -> Result<Option<Ino>> {
        if !ino.is_clean_range() || ino == Ino::ROOT {
            return Ok(None);
        }
        Ok(self.locate(ino)?.map(|place| place.parent))
    }

    /// The deepest directory that is or holds all of the clean `dirs`; `None` without any.
    pub fn common(&self, dirs: &[Ino]) -> Result<Option<Common>> {
        let mut shared: Option<Vec<(Ino, NameBuf)>> = None;
        for dir in dirs {
            let mut above = Vec::new();
            let mut at = *dir;
            while let Some((parent, name)) = self.entry_of(at)? {
                above.push((at, name));
                at = parent;
            }
            above.reverse();
            shared = Some(match shared {
                None => above,
                Some(before) => before.into_iter().zip(above).take_while(|(a, b)| a == b).map(|(a, _)| a).collect(),
            });
        }
        let Some(shared) = shared else { return Ok(None) };
        let dir = shared.last().map_or(Ino::ROOT, |(ino, _)| *ino);
        let Some(BaseInode { node: Node::Dir(subtree), .. }) = self.inode(dir)? else { return Ok(None) };
        let path = shared.into_iter().map(|(_, name)| name).collect();
        Ok(Some(Common { dir, path, entries: subtree.entries }))
    }

    /// The directory that holds the clean number `ino`, and the name there, escaped for people.
    pub fn name(&self, ino: Ino) -> Result<Option<(Ino, String)>> {
        Ok(self.entry_of(ino)?.map(|(parent, name)| (parent, name.to_string())))
    }

    /// The directory that holds the clean number `ino`, and the name there.
    pub fn entry_of(&self, ino: Ino) -> Result<Option<(Ino, NameBuf)>> {
        if !ino.is_clean_range() || ino == Ino::ROOT {
            return Ok(None);
        }
        Ok(self.locate(ino)?.map(|place| (place.parent, place.tree.name(place.index).to_buf())))
    }

    /// Type of entry `index` of directory `dir`'s `tree`.
    pub fn kind(&self, tree: &Tree, index: usize) -> Result<Kind> {
        match tree.kind(index) {
            Some(kind) => Ok(kind),
            None => {
                let Entry::Linked(number) = tree.entry(index) else { return Err(VfsError::Invalid) };
                let inode = self.links()?.get(number).ok_or(VfsError::Stale(Ino::of_link(number)))?;
                Ok(inode.content.kind())
            }
        }
    }
}

/// Reads a tree and holds it to the sums of the entry that names it: inode numbers are derived from them, so a directory that promised
/// other sums would give two inodes one number.
fn read(store: &Store, subtree: &Subtree) -> Result<Tree> {
    let tree = store.read_tree(subtree.tree)?;
    if tree.subtree(subtree.tree) == *subtree { Ok(tree) } else { Err(VfsError::Sums(subtree.tree)) }
}

/// Number of entry `index` of directory `dir`.
pub fn child_ino(tree: &Tree, dir: Ino, index: usize) -> Ino {
    match tree.kind(index) {
        Some(_) => Ino(dir.0 + tree.offset(index)),
        None => match tree.entry(index) {
            Entry::Linked(number) => Ino::of_link(number),
            Entry::Inode(..) => Ino(dir.0 + tree.offset(index)),
        },
    }
}
