//! The filesystem that an archive describes, in memory: an archive's order is its own, trees are made from the bottom.
//!
//! What members mean when they are odd, chosen so that nothing is ever followed, and nothing lost that tar would keep:
//! * a leading `/` and components `.` and empty are dropped; `..` is refused;
//! * a name given twice is the last one's, and two directories of one name are one with the last one's metadata; a file may replace an empty
//!   directory, not one with entries; a directory may replace a file;
//! * what lies beneath a file or symbolic link is refused;
//! * a parent that has no member is made with mode 0755, owner 0:0, time 0, and takes the metadata of its own member if that comes later;
//! * a hard link names what its target names at that point in the archive; a later replacement of one name leaves the others alone.

use super::Problem;
use crate::format::{Content, Digest, Kind, Meta, Mode, NameBuf};
use crate::ingest::builder::{DirId, Place, TreeBuilder};
use crate::ingest::links::LinkId;
use crate::ingest::options::check_root_name;
use crate::ingest::trail::Trail;
use crate::ingest::{Exclude, IngestError, ShownPath};
use std::collections::BTreeMap;

/// A directory of the tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct DirIndex(usize);

/// Something with content that is not a directory, and has one name or several.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct LeafIndex(usize);

#[derive(Clone, Copy)]
enum Child {
    Dir(DirIndex),
    Leaf(LeafIndex),
}

struct Dir {
    meta: Meta,
    children: BTreeMap<NameBuf, Child>,
}

struct Leaf {
    meta: Meta,
    content: Option<Content>,
    names: u32,
    link: Option<LinkId>,
}

/// What to do with paths.
pub(super) struct Rules<'a> {
    pub(super) allow_ctl: bool,
    pub(super) exclude: &'a [Exclude],
    pub(super) max_entries: u64,
}

/// A filesystem under construction.
pub(super) struct TarTree<'a> {
    rules: Rules<'a>,
    dirs: Vec<Dir>,
    leaves: Vec<Leaf>,
    members: u64,
}

/// Why a member has no place in the tree.
pub(super) enum Refusal {
    /// Something is wrong with it.
    Problem(Problem),
    /// It breaks a rule of the import.
    Error(IngestError),
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

/// The components of a member's path.
type Parts<'p> = Vec<&'p [u8]>;

impl<'a> TarTree<'a> {
    pub(super) fn new(rules: Rules<'a>) -> Self {
        let root = Dir { meta: implied(), children: BTreeMap::new() };
        Self { rules, dirs: vec![root], leaves: Vec::new(), members: 0 }
    }

    /// Counts a member, and says whether it is to be taken.
    pub(super) fn admit(&mut self, path: &[u8]) -> Result<bool, Refusal> {
        self.members += 1;
        self.check_limit()?;
        let parts = split(path)?;
        if let Some(first) = parts.first() {
            check_root_name(first, self.rules.allow_ctl).map_err(Refusal::Error)?;
        }
        if self.rules.exclude.is_empty() {
            return Ok(true);
        }
        let beginnings = (1..=parts.len()).map(|count| parts[..count].join(&b'/'));
        let excluded = |path: Vec<u8>| self.rules.exclude.iter().any(|exclude| exclude.matches(&path));
        Ok(!beginnings.into_iter().any(excluded))
    }

    /// A directory.
    pub(super) fn add_dir(&mut self, path: &[u8], meta: Meta) -> Result<(), Refusal> {
        let parts = split(path)?;
        let Some((name, parents)) = parts.split_last() else {
            self.dirs[0].meta = meta;
            return Ok(());
        };
        let parent = self.parent(parents)?;
        match self.child(parent, name) {
            Some(Child::Dir(DirIndex(same))) => self.dirs[same].meta = meta,
            existing => {
                self.drop_name(existing);
                let made = self.new_dir(meta)?;
                self.dirs[parent.0].children.insert(valid(name)?, Child::Dir(made));
            }
        }
        Ok(())
    }

    /// Anything but a directory; content `None` is told later.
    pub(super) fn add_leaf(&mut self, path: &[u8], meta: Meta, content: Option<Content>) -> Result<LeafIndex, Refusal> {
        let leaf = LeafIndex(self.leaves.len());
        self.place(path, leaf)?;
        self.leaves.push(Leaf { meta, content, names: 1, link: None });
        Ok(leaf)
    }

    /// Another name for what `target` names.
    pub(super) fn add_hard_link(&mut self, path: &[u8], target: &[u8]) -> Result<(), Refusal> {
        let leaf = match self.find(&split(target)?) {
            Some(Child::Leaf(leaf)) => leaf,
            Some(Child::Dir(_)) => return Err(Problem::LinkDirectory(ShownPath::new(target)).into()),
            None => return Err(Problem::LinkTarget(ShownPath::new(target)).into()),
        };
        self.leaves[leaf.0].names += 1;
        self.place(path, leaf)
    }

    /// Tells the content of a file.
    pub(super) fn fill(&mut self, leaf: LeafIndex, digest: Digest, size: u64) {
        self.leaves[leaf.0].content = Some(Content::File { digest, size });
    }

    fn place(&mut self, path: &[u8], leaf: LeafIndex) -> Result<(), Refusal> {
        let parts = split(path)?;
        let Some((name, parents)) = parts.split_last() else {
            return Err(if path.is_empty() { Problem::NoName } else { Problem::RootType }.into());
        };
        let parent = self.parent(parents)?;
        let existing = self.child(parent, name);
        if let Some(Child::Dir(DirIndex(dir))) = existing
            && !self.dirs[dir].children.is_empty()
        {
            return Err(Problem::OverDirectory.into());
        }
        self.drop_name(existing);
        self.dirs[parent.0].children.insert(valid(name)?, Child::Leaf(leaf));
        Ok(())
    }

    /// The directory at `parts`, made where it is missing.
    fn parent(&mut self, parts: &[&[u8]]) -> Result<DirIndex, Refusal> {
        let mut dir = DirIndex(0);
        for (depth, name) in parts.iter().enumerate() {
            dir = match self.child(dir, name) {
                Some(Child::Dir(child)) => child,
                Some(Child::Leaf(leaf)) => {
                    let path = ShownPath::new(&parts[..=depth].join(&b'/'));
                    return Err(Problem::Beneath(path, self.describe(leaf)).into());
                }
                None => {
                    let made = self.new_dir(implied())?;
                    self.dirs[dir.0].children.insert(valid(name)?, Child::Dir(made));
                    made
                }
            };
        }
        Ok(dir)
    }

    fn new_dir(&mut self, meta: Meta) -> Result<DirIndex, Refusal> {
        self.dirs.push(Dir { meta, children: BTreeMap::new() });
        self.check_limit()?;
        Ok(DirIndex(self.dirs.len() - 1))
    }

    fn check_limit(&self) -> Result<(), Refusal> {
        let limit = self.rules.max_entries;
        if self.members > limit || self.dirs.len() as u64 > limit {
            return Err(Refusal::Error(IngestError::Limit { what: "entries", limit }));
        }
        Ok(())
    }

    fn child(&self, dir: DirIndex, name: &[u8]) -> Option<Child> {
        self.dirs[dir.0].children.get(name).copied()
    }

    fn find(&self, parts: &[&[u8]]) -> Option<Child> {
        let mut at = Child::Dir(DirIndex(0));
        for name in parts {
            let Child::Dir(dir) = at else { return None };
            at = self.child(dir, name)?;
        }
        Some(at)
    }

    fn drop_name(&mut self, existing: Option<Child>) {
        if let Some(Child::Leaf(leaf)) = existing {
            self.leaves[leaf.0].names -= 1;
        }
    }

    fn describe(&self, leaf: LeafIndex) -> &'static str {
        match self.leaves[leaf.0].content.as_ref().map_or(Kind::File, Content::kind) {
            Kind::Symlink => "symbolic link",
            Kind::Char | Kind::Block => "device",
            Kind::Fifo => "fifo",
            Kind::Socket => "socket",
            Kind::File | Kind::Dir => "file",
        }
    }

    /// Gives the whole tree to the builder, in sorted pre-order.
    pub(super) fn build(mut self, builder: &TreeBuilder<'_>) -> Result<(), IngestError> {
        let mut open = vec![self.open(builder, None, DirIndex(0), Trail::default())];
        while let Some((dir, trail, children)) = open.last_mut() {
            let dir = *dir;
            match children.next() {
                None => {
                    builder.close_dir(dir)?;
                    open.pop();
                }
                Some((name, Child::Leaf(leaf))) => self.emit(builder, dir, name, leaf)?,
                Some((name, Child::Dir(child))) => {
                    let trail = trail.join(name.as_bytes());
                    open.push(self.open(builder, Some((dir, name)), child, trail));
                }
            }
        }
        Ok(())
    }

    fn open(
        &mut self,
        builder: &TreeBuilder<'_>,
        parent: Option<(DirId, NameBuf)>,
        dir: DirIndex,
        trail: Trail,
    ) -> (DirId, Trail, std::collections::btree_map::IntoIter<NameBuf, Child>) {
        let Dir { meta, children } = &mut self.dirs[dir.0];
        let id = builder.open_dir(parent, std::mem::take(meta), trail.clone());
        (id, trail, std::mem::take(children).into_iter())
    }

    fn emit(
        &mut self,
        builder: &TreeBuilder<'_>,
        dir: DirId,
        name: NameBuf,
        leaf: LeafIndex,
    ) -> Result<(), IngestError> {
        let leaf = &mut self.leaves[leaf.0];
        if let Some(link) = leaf.link {
            builder.add_link(dir, name, link);
            return Ok(());
        }
        let content = leaf.content.take().ok_or(IngestError::Stopped)?;
        let meta = std::mem::take(&mut leaf.meta);
        if leaf.names < 2 {
            builder.add(dir, name, meta, content);
            return Ok(());
        }
        let link = builder.new_link()?;
        leaf.link = Some(link);
        builder.add_link(dir, name, link);
        builder.fill(Place::Link(link), meta, content)
    }
}

/// Metadata of a directory that no member describes.
fn implied() -> Meta {
    Meta { mode: Mode::from_bits(0o755), ..Meta::default() }
}

fn split(path: &[u8]) -> Result<Parts<'_>, Problem> {
    let parts = path.split(|&byte| byte == b'/').filter(|part| !part.is_empty() && *part != b".");
    let parts: Parts<'_> = parts.collect();
    if parts.contains(&&b".."[..]) {
        return Err(Problem::Escapes);
    }
    Ok(parts)
}

fn valid(name: &[u8]) -> Result<NameBuf, Problem> {
    NameBuf::new(name).map_err(Problem::Name)
}
