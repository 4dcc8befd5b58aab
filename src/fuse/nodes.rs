//! The numbers by which the kernel knows inodes, and how often it was told each.
//!
//! ```text
//! 1 .. 2^42       inode numbers of the filesystem; the node number of an inode unless it has an alias
//! 2^42 ..         the control directory and its files
//! 2^43 ..         aliases
//! ```
//! An inode gets an **alias** when open descriptors must keep reading its former content while new ones read the present one: the kernel
//! ties one backing file to a node, so the present content needs a second node. From then on every entry of the inode names its newest
//! alias; the nodes it had before are *superseded*: what is open on them goes on, but nothing more is opened there. While the kernel knows
//! more than one node of an inode it may not cache its attributes, since changes made through one node don't reach the other.
//!
//! Invariants: `counts` holds, for each node, the lookups that the kernel was answered and hasn't forgotten, never 0. A superseded node is
//! listed exactly while its count isn't 0. A family is dropped when the kernel knows none of its nodes, and the inode's own number serves
//! again.
//!
//! Locking: `aliases` before a shard of `counts`; neither is held while the filesystem or the kernel is called.

use crate::locks::{Mutex, RwLock};
use crate::vfs::Ino;
use std::collections::HashMap;

const FIRST_ALIAS: u64 = 1 << 43;
const SHARDS: u64 = 64;

/// The nodes of one mount.
#[derive(Debug)]
pub(super) struct Nodes {
    /// None on a read-only mount: nothing there depends on what the kernel forgets.
    counts: Option<Counts>,
    aliases: RwLock<Aliases>,
}

#[derive(Debug, Default)]
struct Aliases {
    families: HashMap<Ino, Family>,
    ino_of: HashMap<u64, Ino>,
    made: u64,
}

/// The nodes of an inode that has an alias.
#[derive(Debug)]
struct Family {
    current: u64,
    superseded: Vec<u64>,
}

#[derive(Debug)]
struct Counts(Box<[Mutex<HashMap<u64, u64>>]>);

/// An entry of an inode, as the kernel is told it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Published {
    /// The node number.
    pub(super) node: u64,
    /// The inode has an alias: the node isn't its number, so that `st_ino` has to be asked for by getattr, or isn't its newest node.
    pub(super) alias: bool,
}

impl Nodes {
    /// `counting`: whether the filesystem wants to know when the kernel has forgotten an inode.
    pub(super) fn new(counting: bool) -> Self {
        let shards = || Counts((0..SHARDS).map(|_| Mutex::default()).collect());
        Self { counts: counting.then(shards), aliases: RwLock::default() }
    }

    /// The inode behind a node number that isn't the control directory's; `None` for an alias that is no more.
    pub(super) fn ino(&self, node: u64) -> Option<Ino> {
        if node < Ino::END.0 { Some(Ino(node)) } else { self.aliases.read().ino_of.get(&node).copied() }
    }

    /// Counts one lookup of `ino`, which the kernel is about to be answered.
    pub(super) fn publish(&self, ino: Ino) -> Published {
        let aliases = self.aliases.read();
        let alias = aliases.families.get(&ino).map(|family| family.current);
        let node = alias.unwrap_or(ino.0);
        self.count(node);
        Published { node, alias: alias.is_some() }
    }

    /// Counts one lookup of `ino` in a listing, where the node number is told as `d_ino` too: so it is the inode's own, whatever its alias.
    /// With an alias, the kernel has to look the name up before it uses it.
    pub(super) fn publish_listed(&self, ino: Ino) -> Published {
        let has_alias = |family: &Family| family.current != ino.0;
        {
            let aliases = self.aliases.read();
            if !aliases.families.get(&ino).is_some_and(has_alias) {
                self.count(ino.0);
                return Published { node: ino.0, alias: false };
            }
        }
        let mut aliases = self.aliases.write();
        // It may have lost it meanwhile.
        let family = aliases.families.get_mut(&ino).filter(|family| has_alias(family));
        let alias = family.is_some();
        if let Some(family) = family
            && !family.superseded.contains(&ino.0)
        {
            family.superseded.push(ino.0);
        }
        self.count(ino.0);
        Published { node: ino.0, alias }
    }

    fn count(&self, node: u64) {
        if let Some(counts) = &self.counts {
            counts.add(node);
        }
    }

    /// The kernel forgets `lookups` of `node`. Returns the inode when the kernel now knows it by no node.
    pub(super) fn forget(&self, node: u64, lookups: u64) -> Option<Ino> {
        let counts = self.counts.as_ref()?;
        if !counts.subtract(node, lookups) {
            return None;
        }
        let mut aliases = self.aliases.write();
        let ino = if node < Ino::END.0 { Ino(node) } else { *aliases.ino_of.get(&node)? };
        let Some(family) = aliases.families.get_mut(&ino) else {
            return (!counts.knows(node)).then_some(ino);
        };
        let (known, gone): (Vec<u64>, Vec<u64>) = family.superseded.iter().partition(|&&node| counts.knows(node));
        family.superseded = known;
        let current = family.current;
        let forgotten = family.superseded.is_empty() && !counts.knows(current);
        for node in gone {
            aliases.ino_of.remove(&node);
        }
        if forgotten {
            aliases.families.remove(&ino);
            aliases.ino_of.remove(&current);
        }
        forgotten.then_some(ino)
    }

    /// The node of the inode that opens have to go to; `None` when it is this one.
    pub(super) fn newer(&self, node: u64) -> Option<u64> {
        let aliases = self.aliases.read();
        let ino = if node < Ino::END.0 { Some(Ino(node)) } else { aliases.ino_of.get(&node).copied() };
        let family = ino.and_then(|ino| aliases.families.get(&ino))?;
        (family.current != node).then_some(family.current)
    }

    /// Whether the kernel may cache the attributes that it asks for by `ino`.
    pub(super) fn attributes_keep(&self, ino: Ino) -> bool {
        self.aliases.read().families.get(&ino).is_none_or(|family| family.superseded.is_empty())
    }

    /// Gives the inode of `node` a new alias, unless another request just did. Returns the nodes whose cached attributes no longer count.
    pub(super) fn supersede(&self, node: u64) -> Vec<u64> {
        let mut aliases = self.aliases.write();
        let ino = if node < Ino::END.0 { Some(Ino(node)) } else { aliases.ino_of.get(&node).copied() };
        let Some(ino) = ino else { return Vec::new() };
        let alias = FIRST_ALIAS + aliases.made;
        let family = aliases.families.entry(ino).or_insert(Family { current: node, superseded: Vec::new() });
        if family.current != node {
            return Vec::new();
        }
        family.superseded.push(node);
        family.current = alias;
        let stale = family.superseded.clone();
        aliases.ino_of.insert(alias, ino);
        aliases.made += 1;
        stale
    }

    /// Whether the kernel knows nothing, as far as is counted here, and nothing is kept for it.
    #[cfg(test)]
    pub(super) fn is_unused(&self) -> bool {
        let aliases = self.aliases.read();
        let counted = self.counts.iter().flat_map(|counts| &counts.0).any(|shard| !shard.lock().is_empty());
        aliases.families.is_empty() && aliases.ino_of.is_empty() && !counted
    }

    /// Inodes with an alias now.
    #[cfg(test)]
    fn families(&self) -> usize {
        self.aliases.read().families.len()
    }
}

impl Counts {
    fn shard(&self, node: u64) -> &Mutex<HashMap<u64, u64>> {
        &self.0[usize::try_from(node % SHARDS).unwrap_or_default()]
    }

    fn add(&self, node: u64) {
        *self.shard(node).lock().entry(node).or_default() += 1;
    }

    /// Whether none are left.
    fn subtract(&self, node: u64, lookups: u64) -> bool {
        let mut shard = self.shard(node).lock();
        let Some(count) = shard.get_mut(&node) else { return true };
        *count = count.saturating_sub(lookups);
        let none = *count == 0;
        if none {
            shard.remove(&node);
        }
        none
    }

    fn knows(&self, node: u64) -> bool {
        self.shard(node).lock().contains_key(&node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: Ino = Ino(7);

    #[test]
    fn an_inode_is_forgotten_with_its_last_lookup() {
        let nodes = Nodes::new(true);
        nodes.publish(FILE);
        nodes.publish(FILE);
        assert_eq!(nodes.forget(7, 1), None);
        assert_eq!(nodes.forget(7, 1), Some(FILE));
        nodes.publish(FILE);
        assert_eq!(nodes.forget(7, 5), Some(FILE));
    }

    #[test]
    fn a_read_only_mount_counts_nothing() {
        let nodes = Nodes::new(false);
        nodes.publish(FILE);
        assert_eq!(nodes.forget(7, 1), None);
    }

    #[test]
    fn entries_name_the_newest_alias_and_requests_reach_the_inode_by_any() {
        let nodes = Nodes::new(true);
        assert_eq!(nodes.publish(FILE), Published { node: 7, alias: false });
        assert_eq!(nodes.supersede(7), [7]);
        let first = nodes.publish(FILE).node;
        assert!(nodes.supersede(7).is_empty(), "another request was faster");
        assert_eq!(nodes.supersede(first), [7, first]);
        let second = nodes.publish(FILE);
        assert!(second.alias && second.node != first && first >= FIRST_ALIAS);
        for node in [7, first, second.node] {
            assert_eq!(nodes.ino(node), Some(FILE));
            assert_eq!(nodes.newer(node), (node != second.node).then_some(second.node));
        }
        assert!(!nodes.attributes_keep(FILE));
    }

    #[test]
    fn a_listing_names_the_inode_by_its_own_number() {
        let nodes = Nodes::new(true);
        assert_eq!(nodes.publish_listed(FILE), Published { node: 7, alias: false });
        nodes.supersede(7);
        let alias = nodes.publish(FILE).node;
        // The old descriptors are closed, and the inode is known by its alias alone; then it is listed.
        assert_eq!(nodes.forget(7, 1), None);
        assert!(nodes.attributes_keep(FILE));
        assert_eq!(nodes.publish_listed(FILE), Published { node: 7, alias: true });
        assert_eq!(nodes.newer(7), Some(alias));
        assert!(!nodes.attributes_keep(FILE));
        assert_eq!(nodes.forget(alias, 1), None);
        assert_eq!(nodes.forget(7, 1), Some(FILE));
        assert_eq!(nodes.families(), 0);
    }

    #[test]
    fn an_alias_outlives_its_own_forget_while_an_older_node_is_known() {
        let nodes = Nodes::new(true);
        nodes.publish(FILE);
        nodes.supersede(7);
        let alias = nodes.publish(FILE).node;
        // The kernel revalidates, forgets what it was just told, and asks again.
        assert_eq!(nodes.forget(alias, 1), None);
        assert_eq!(nodes.publish(FILE).node, alias);
        // The old descriptors are closed and the old node is evicted.
        assert_eq!(nodes.forget(7, 1), None);
        assert!(nodes.attributes_keep(FILE));
        assert_eq!(nodes.forget(alias, 1), Some(FILE));
        assert_eq!(nodes.families(), 0);
        assert_eq!(nodes.ino(alias), None);
        assert_eq!(nodes.publish(FILE), Published { node: 7, alias: false });
    }
}
