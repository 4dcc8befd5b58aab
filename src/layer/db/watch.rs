//! Which inodes batches changed since a moment, so that a snapshot need look at no others.
//!
//! What is noted may be too much, for a batch that failed is noted too; it is never too little. Nothing of it is kept on disk: a layer that was
//! opened anew knows nothing, and says so.

use super::Db;
use super::handles::{Change, Space};
use crate::format::Ino;
use crate::layer::record::ino_of_key;
use parking_lot::Mutex;
use std::collections::HashSet;

/// Inodes beyond which what changed is no longer told apart from all.
const LIMIT: usize = 1 << 19;

/// What was changed.
#[derive(Debug, Default)]
pub struct Changed {
    /// Inodes whose records were set or removed.
    pub inodes: HashSet<Ino>,
    /// Directories of which a name was set or removed.
    pub names: HashSet<Ino>,
}

/// What was changed since somebody asked last; `None` when nobody did, or too much was.
#[derive(Debug, Default)]
pub(super) struct Watch(Mutex<Option<Changed>>);

/// An inode, and whether a name of it was changed rather than its record.
pub(super) type Touched = (Ino, bool);

/// What a batch changes. A keyspace's stamp is nothing's.
pub(super) fn touched(changes: &[Change]) -> Vec<Touched> {
    let of = |change: &Change| match change.space {
        Space::Inodes => Some((ino_of_key(&change.key).ok()?, false)),
        Space::Names => Some((ino_of_key(&change.key).ok()?, true)),
        Space::Meta => None,
    };
    changes.iter().filter_map(of).collect()
}

impl Watch {
    pub(super) fn note(&self, touched: Vec<Touched>) {
        let mut watched = self.0.lock();
        let Some(changed) = &mut *watched else { return };
        for (ino, name) in touched {
            let set = if name { &mut changed.names } else { &mut changed.inodes };
            set.insert(ino);
        }
        if changed.inodes.len() + changed.names.len() > LIMIT {
            *watched = None;
        }
    }
}

impl Db {
    /// What batches changed since this was asked last, but for those that were committed quietly. `None` when that isn't known.
    pub fn changed_since(&self) -> Option<Changed> {
        self.watch.0.lock().replace(Changed::default())
    }
}
