//! The merged tree, walked from the root a level at a time, each level in parallel: which directories are reached, and which names mean
//! the inodes that something is to be said of. Clean files of untouched names are passed over, so that memory is that of the layer and of
//! the directories.
//!
//! What the layer has and the root doesn't reach is walked too, from its own tops: directories that no other lost one holds. A circle has
//! no top; its directory with the lowest number becomes one.

use super::pool;
use super::state::State;
use super::{Host, Progress};
use crate::format::{Ino, Kind, NameBuf};
use crate::layer::NameRecord;
use crate::vfs::{Base, child_ino};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// One name of an inode.
pub(super) type Link = (Ino, NameBuf);

/// An entry that matters.
struct Edge {
    name: NameBuf,
    ino: Ino,
    is_dir: bool,
}

/// What a directory holds.
struct Listing {
    dir: Ino,
    edges: Vec<Edge>,
    subdirs: u32,
    /// Names that the layer says are gone and the base doesn't have.
    stray_removals: Vec<NameBuf>,
    /// Why the base's part can't be read.
    unreadable: Option<String>,
}

/// What a walk found.
#[derive(Default)]
pub(super) struct Census {
    /// Directories that the root reaches, with the number of directories directly inside.
    pub(super) dirs: HashMap<Ino, u32>,
    /// Directories of the layer that it doesn't reach, likewise.
    pub(super) lost_dirs: HashMap<Ino, u32>,
    /// Of those, the ones to be found again by: all others are beneath them.
    pub(super) tops: BTreeSet<Ino>,
    /// Of those, the ones that are part of a circle.
    pub(super) circles: BTreeSet<Ino>,
    /// Names in reached and lost directories, of every directory and of every inode of which the layer says something.
    pub(super) names: HashMap<Ino, Vec<Link>>,
    pub(super) stray_removals: Vec<Link>,
    /// Directories whose base tree can't be read, and why. What the root reaches isn't known then.
    pub(super) unreadable: BTreeMap<Ino, String>,
}

struct Walker<'a> {
    state: &'a State,
    base: &'a Base,
    /// Inodes that some name record means.
    targets: HashSet<Ino>,
}

/// Walks all of the tree.
pub(super) fn walk(state: &State, base: &Base, host: &dyn Host) -> Census {
    let targets = state.children().map(|(_, _, child)| child.ino).collect();
    let walker = Walker { state, base, targets };
    let mut census = Census::default();
    walker.reach(vec![Ino::ROOT], &mut |listing| {
        census.dirs.insert(listing.dir, listing.subdirs);
        host.progress(Progress::Walking { dirs: census.dirs.len() as u64 });
        census.take(listing)
    });
    if census.unreadable.is_empty() {
        walker.find_lost(&mut census);
    }
    census
}

impl Walker<'_> {
    /// Shows `visit` the listing of every directory that `from` reach. It returns the directories to go on with, those that are new.
    fn reach(&self, from: Vec<Ino>, visit: &mut dyn FnMut(Listing) -> Vec<Ino>) {
        let mut seen: HashSet<Ino> = from.iter().copied().collect();
        let mut level = from;
        while !level.is_empty() {
            let mut next = Vec::new();
            for listing in pool::map(&level, |dir| self.list(*dir)) {
                next.extend(visit(listing).into_iter().filter(|dir| seen.insert(*dir)));
            }
            level = next;
        }
    }

    fn list(&self, dir: Ino) -> Listing {
        let mut listing = Listing { dir, edges: Vec::new(), subdirs: 0, stray_removals: Vec::new(), unreadable: None };
        let names = self.state.names.get(&dir);
        if let Err(why) = self.list_base(dir, &mut listing) {
            listing.unreadable = Some(why);
        }
        for (name, record) in names.into_iter().flatten() {
            match record {
                NameRecord::Child(child) => {
                    let kind = self.state.kind(self.base, child.ino).unwrap_or(child.kind);
                    listing.add(name.clone(), child.ino, kind == Kind::Dir);
                }
                NameRecord::Removed => {
                    if listing.unreadable.is_none() && !matches!(self.base.child(dir, name.as_name()), Ok(Some(_))) {
                        listing.stray_removals.push(name.clone());
                    }
                }
            }
        }
        listing
    }

    fn list_base(&self, dir: Ino, listing: &mut Listing) -> Result<(), String> {
        let Some(tree) = self.base.tree(dir).map_err(|error| error.to_string())? else { return Ok(()) };
        let names = self.state.names.get(&dir);
        for index in 0..tree.len() {
            let name = tree.name(index);
            if names.is_some_and(|names| names.contains_key(name.as_bytes())) {
                continue;
            }
            let ino = child_ino(&tree, dir, index);
            let kind = match self.state.inodes.get(&ino) {
                Some(record) => record.kind(),
                None => self.base.kind(&tree, index).map_err(|error| error.to_string())?,
            };
            if kind == Kind::Dir || self.matters(ino) {
                listing.add(name.to_buf(), ino, kind == Kind::Dir);
            }
        }
        Ok(())
    }

    fn matters(&self, ino: Ino) -> bool {
        !ino.is_clean_range()
            || self.state.inodes.contains_key(&ino)
            || self.state.bad_inodes.contains_key(&ino)
            || self.targets.contains(&ino)
    }

    /// Directories of the layer that have names by their own record, or that hold some, and that the root doesn't reach.
    fn find_lost(&self, census: &mut Census) {
        let is_lost = |ino: &Ino| !census.dirs.contains_key(ino);
        let lost: BTreeSet<Ino> = self
            .state
            .inodes
            .iter()
            .filter(|(_, record)| record.kind() == Kind::Dir && !record.is_unnamed())
            .map(|(ino, _)| *ino)
            .filter(is_lost)
            .collect();
        if lost.is_empty() {
            return;
        }
        let mut inside: HashMap<Ino, Vec<Ino>> = HashMap::new();
        let mut holders = HashMap::new();
        self.reach(lost.iter().copied().collect(), &mut |listing| {
            census.lost_dirs.insert(listing.dir, listing.subdirs);
            let dir = listing.dir;
            let mut beneath = census.take(listing);
            // What the root reaches too is beneath the root.
            beneath.retain(|child| !census.dirs.contains_key(child));
            for child in &beneath {
                holders.entry(*child).or_insert(dir);
            }
            inside.insert(dir, beneath.clone());
            beneath
        });
        census.tops = lost.iter().copied().filter(|ino| !holders.contains_key(ino)).collect();
        let mut covered = HashSet::new();
        cover(census.tops.iter().copied(), &inside, &mut covered);
        for ino in lost {
            if !covered.contains(&ino) {
                let top = circle_above(ino, &holders);
                census.tops.insert(top);
                census.circles.insert(top);
                cover([top], &inside, &mut covered);
            }
        }
    }
}

/// The lowest number of the circle that holds `ino`, which no top does.
fn circle_above(ino: Ino, holders: &HashMap<Ino, Ino>) -> Ino {
    let mut seen = HashSet::new();
    let mut at = ino;
    while seen.insert(at) {
        at = holders.get(&at).copied().unwrap_or(at);
    }
    let first = at;
    let mut lowest = first;
    loop {
        at = holders.get(&at).copied().unwrap_or(first);
        if at == first {
            return lowest;
        }
        lowest = lowest.min(at);
    }
}

/// Adds all that `from` hold, themselves included.
fn cover(from: impl IntoIterator<Item = Ino>, inside: &HashMap<Ino, Vec<Ino>>, covered: &mut HashSet<Ino>) {
    let mut open: Vec<Ino> = from.into_iter().collect();
    while let Some(ino) = open.pop() {
        if covered.insert(ino) {
            open.extend(inside.get(&ino).into_iter().flatten());
        }
    }
}

impl Listing {
    fn add(&mut self, name: NameBuf, ino: Ino, is_dir: bool) {
        self.subdirs += u32::from(is_dir);
        self.edges.push(Edge { name, ino, is_dir });
    }
}

impl Census {
    /// Whether the inode is a directory that the root or a lost one reaches.
    pub(super) fn is_walked(&self, dir: Ino) -> bool {
        self.dirs.contains_key(&dir) || self.lost_dirs.contains_key(&dir)
    }

    /// The names of `ino` in walked directories.
    pub(super) fn names_of(&self, ino: Ino) -> &[Link] {
        self.names.get(&ino).map_or(&[], Vec::as_slice)
    }

    /// Directories directly inside `dir`, when it was walked.
    pub(super) fn subdirs(&self, dir: Ino) -> Option<u32> {
        self.dirs.get(&dir).or_else(|| self.lost_dirs.get(&dir)).copied()
    }

    /// A path for people; `None` where the root isn't reached.
    pub(super) fn path(&self, ino: Ino) -> Option<String> {
        let mut parts = Vec::new();
        let mut at = ino;
        while at != Ino::ROOT {
            let (parent, name) = self.names_of(at).iter().find(|(parent, _)| self.dirs.contains_key(parent))?;
            // A path has at most 4096 bytes; more steps than that would be a circle.
            if parts.len() > 4096 {
                return None;
            }
            parts.push(name.to_string());
            at = *parent;
        }
        parts.reverse();
        Some(format!("/{}", parts.join("/")))
    }

    /// The path of a name in a directory.
    pub(super) fn path_of_name(&self, dir: Ino, name: &NameBuf) -> Option<String> {
        let path = self.path(dir)?;
        Some(format!("{}/{name}", path.trim_end_matches('/')))
    }

    /// Counts a listing in, and returns the directories in it.
    fn take(&mut self, listing: Listing) -> Vec<Ino> {
        let mut dirs = Vec::new();
        for edge in listing.edges {
            if edge.is_dir {
                dirs.push(edge.ino);
            }
            self.names.entry(edge.ino).or_default().push((listing.dir, edge.name));
        }
        self.stray_removals.extend(listing.stray_removals.into_iter().map(|name| (listing.dir, name)));
        if let Some(why) = listing.unreadable {
            self.unreadable.insert(listing.dir, why);
        }
        dirs
    }
}
