//! Whole trees: what a filesystem shows, held to the model's.

use super::answer::{Moment, Seen, bytes_differ};
use super::op::{Path, SLOTS, target};
use super::posix::{Body, Id, Model, Stamp};
use std::collections::{BTreeMap, HashMap};

/// What a path is, all of it.
#[derive(Clone, Debug)]
pub struct Leaf {
    pub seen: Seen,
    /// Of a file, its bytes; of a symbolic link, its target.
    pub content: Vec<u8>,
    pub xattrs: BTreeMap<String, Vec<u8>>,
}

/// By path, the root's being empty.
pub type Tree = BTreeMap<Path, Leaf>;

/// A tree, and what stat says of what is open.
#[derive(Clone, Debug)]
pub struct Whole {
    pub tree: Tree,
    pub open: [Option<Seen>; SLOTS as usize],
}

/// The clocks that times are taken from differ by a tick of the coarse one.
const TICK_NANOS: i128 = 20_000_000;

fn nanos(moment: Moment) -> i128 {
    i128::from(moment.0) * 1_000_000_000 + i128::from(moment.1)
}

/// What was seen of one filesystem's inodes, so that what must not change is known not to have.
#[derive(Debug, Default)]
pub struct Watch {
    known: HashMap<Id, Known>,
    /// When the last comparison began.
    last: i128,
}

#[derive(Debug, Clone)]
struct Known {
    ino: u64,
    times: [(Stamp, Moment); 3],
}

impl Watch {
    /// Holds all of a filesystem to the model.
    pub fn compare(&mut self, model: &Model, whole: &Whole) -> Result<(), String> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as i128;
        compare_tree(model, &whole.tree)?;
        let mut known = HashMap::new();
        for (path, id) in model.paths() {
            let said = self.watch(model, id, &whole.tree[&path].seen);
            known.insert(id, said.map_err(|why| format!("{path:?}: {why}"))?);
        }
        for (number, (slot, seen)) in model.slots().iter().zip(&whole.open).enumerate() {
            let (Some(slot), Some(seen)) = (slot, seen) else {
                if slot.is_some() != seen.is_some() {
                    return Err(format!("slot {number} is open in one of the two alone"));
                }
                continue;
            };
            let said = model.view(slot.id).check(seen).and_then(|()| self.watch(model, slot.id, seen));
            known.insert(slot.id, said.map_err(|why| format!("slot {number}: {why}"))?);
        }
        *self = Self { known, last: now };
        Ok(())
    }

    /// The number stays, and each time moved only if the model says that something set it, and then forward to the present.
    fn watch(&self, model: &Model, id: Id, seen: &Seen) -> Result<Known, String> {
        let inode = model.inode(id);
        let times = [(inode.atime, seen.atime), (inode.mtime, seen.mtime), (inode.ctime, seen.ctime)];
        if let Some(before) = self.known.get(&id) {
            if before.ino != seen.ino {
                return Err(format!("its number was {} and is {}", before.ino, seen.ino));
            }
            for (what, (then, now)) in ["atime", "mtime", "ctime"].iter().zip(before.times.iter().zip(&times)) {
                let moved = then.1 != now.1;
                match now.0 {
                    stamp if stamp == then.0 && moved => {
                        return Err(format!("its {what} moved from {:?} to {:?}, and nothing set it", then.1, now.1));
                    }
                    Stamp::At(_) if stamp_differs(then.0, now.0) && nanos(now.1) < self.last - TICK_NANOS => {
                        return Err(format!("its {what} is still {:?}, and should have been set to now", now.1));
                    }
                    _ => {}
                }
            }
        }
        Ok(Known { ino: seen.ino, times })
    }
}

fn stamp_differs(a: Stamp, b: Stamp) -> bool {
    a != b
}

/// Names, links, attributes, content.
pub fn compare_tree(model: &Model, tree: &Tree) -> Result<(), String> {
    let paths: BTreeMap<Path, Id> = model.paths().into_iter().collect();
    if let Some(path) = tree.keys().find(|path| !paths.contains_key(path)) {
        return Err(format!("{path:?} is there and shouldn't be"));
    }
    let mut numbers: HashMap<u64, Id> = HashMap::new();
    let mut ids: HashMap<Id, u64> = HashMap::new();
    for (path, &id) in &paths {
        let leaf = tree.get(path).ok_or_else(|| format!("{path:?} isn't there"))?;
        let ino = leaf.seen.ino;
        if *numbers.entry(ino).or_insert(id) != id || *ids.entry(id).or_insert(ino) != ino {
            return Err(format!("{path:?} has number {ino}: other names of one inode, or one name of others"));
        }
        compare_leaf(model, id, leaf).map_err(|why| format!("{path:?}: {why}"))?;
    }
    Ok(())
}

fn compare_leaf(model: &Model, id: Id, leaf: &Leaf) -> Result<(), String> {
    let view = model.view(id);
    view.check(&leaf.seen)?;
    match &view.inode.body {
        Body::File(bytes) if *bytes != leaf.content => return Err(bytes_differ(bytes, &leaf.content)),
        Body::Symlink(length) if leaf.content != target(*length) => {
            return Err(bytes_differ(&target(*length), &leaf.content));
        }
        _ => {}
    }
    if leaf.xattrs != view.inode.xattrs {
        return Err(format!("attributes are {:?}, not {:?}", leaf.xattrs, view.inode.xattrs));
    }
    Ok(())
}

/// A snapshot's tree: what [`compare_tree`] compares, and modification times as the live tree has them. A snapshot keeps no access times.
pub fn compare_snapshot(model: &Model, live: &Tree, taken: &Tree) -> Result<(), String> {
    let mut taken = taken.clone();
    for (path, leaf) in &mut taken {
        let now = live.get(path).ok_or_else(|| format!("{path:?} is in the snapshot and not in the tree"))?;
        if now.seen.mtime != leaf.seen.mtime {
            return Err(format!(
                "{path:?}: mtime is {:?} in the snapshot, {:?} in the tree",
                leaf.seen.mtime, now.seen.mtime
            ));
        }
        leaf.seen.atime = now.seen.atime;
    }
    compare_tree(model, &taken).map_err(|why| format!("in the snapshot, {why}"))
}
