//! Marking: from roots to everything that they reach. Fails closed: what can't be read ends the collection.

use super::{GcError, Root, RootKind};
use crate::format::Digest;
use crate::store::{Role, Store, StoreError};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Everything that is in use.
#[derive(Debug, Default)]
pub struct Live {
    objects: HashMap<Digest, RootKind>,
    /// Manifests, trees and tables that were walked. One object can be a tree here and a blob there.
    walked: HashSet<(Digest, Role)>,
}

impl Live {
    /// Whether an object is in use.
    pub fn contains(&self, digest: Digest) -> bool {
        self.objects.contains_key(&digest)
    }

    /// What keeps an object, if anything does.
    pub fn kept_by(&self, digest: Digest) -> Option<RootKind> {
        self.objects.get(&digest).copied()
    }

    /// Whether a root was marked.
    pub fn has_root(&self, root: &Root) -> bool {
        self.walked.contains(&(root.manifest, Role::Manifest))
    }

    /// How many objects are in use.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether nothing is in use.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// All objects in use, in no order.
    pub fn iter(&self) -> impl Iterator<Item = Digest> + '_ {
        self.objects.keys().copied()
    }

    /// Objects in use by what keeps them.
    pub fn count(&self) -> BTreeMap<RootKind, u64> {
        let mut counts = BTreeMap::new();
        for kind in self.objects.values() {
            *counts.entry(*kind).or_insert(0) += 1;
        }
        counts
    }

    /// Marks a root and all that it reaches. Where that fails, nothing counts as walked any more, so that no later root is cut short by it.
    pub fn mark(&mut self, store: &Store, root: &Root) -> Result<(), GcError> {
        if self.has_root(root) || is_gone(store, root)? {
            return Ok(());
        }
        let mut visit = |digest, role| {
            self.objects.entry(digest).or_insert(root.kind);
            role == Role::Blob || self.walked.insert((digest, role))
        };
        store.reach(root.manifest, &mut visit).map_err(|source| {
            self.walked.clear();
            GcError::Unreadable { root: root.what.clone(), source }
        })
    }
}

/// What a ref named before may have been collected since, with a shorter grace period: then it can't be taken back, and keeps nothing.
fn is_gone(store: &Store, root: &Root) -> Result<bool, GcError> {
    if root.kind != RootKind::History {
        return Ok(false);
    }
    match store.peek_object(root.manifest) {
        Err(StoreError::MissingObject { .. }) => Ok(true),
        Err(source) => Err(GcError::Unreadable { root: root.what.clone(), source }),
        Ok(_) => Ok(false),
    }
}
