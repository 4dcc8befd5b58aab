//! What a collection starts from. Pure.

use crate::format::Digest;
use crate::store::{LeaseInfo, LeaseKind, Roots};
use serde::Serialize;
use std::time::Duration;

/// What keeps an object. Of several, the first one here is reported.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RootKind {
    /// A ref.
    Ref,
    /// A layer's base, last snapshot or pin.
    Layer,
    /// What a ref named less than the grace period ago.
    History,
    /// A live mount or writer.
    Lease,
}

/// A manifest that is to be kept with all that it reaches.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Root {
    /// The manifest.
    pub manifest: Digest,
    /// What keeps it.
    pub kind: RootKind,
    /// What keeps it, in a person's words.
    pub what: String,
}

impl Root {
    /// A manifest that a mount holds which could write no lease.
    pub(super) fn held(manifest: Digest) -> Self {
        Self { manifest, kind: RootKind::Lease, what: format!("a live mount's lock on manifest {manifest}") }
    }
}

/// All manifests to keep, in the order of their kinds, given the time now and how long a moved ref can be taken back.
pub fn roots(all: &Roots, now_unix_ms: u64, grace: Duration) -> Vec<Root> {
    let mut roots = Vec::new();
    let mut add = |manifest, kind, what: String| roots.push(Root { manifest, kind, what });
    for (name, manifest) in &all.refs {
        add(*manifest, RootKind::Ref, format!("ref `{name}`"));
    }
    for layer in &all.layers {
        layer.roots().for_each(|manifest| add(manifest, RootKind::Layer, format!("layer `{}`", layer.name)));
    }
    for (name, change) in &all.changes {
        // A time to come is a clock that was set back, and counts as now.
        let age = Duration::from_millis(now_unix_ms.saturating_sub(change.time_unix_ms));
        if age < grace {
            change.old.into_iter().for_each(|old| add(old, RootKind::History, format!("the history of ref `{name}`")));
        }
    }
    for lease in all.leases.iter().filter(|lease| lease.alive) {
        for &manifest in &lease.keep {
            add(manifest, RootKind::Lease, format!("the live lease {}", lease.path.display()));
        }
    }
    roots
}

/// Since when, in whole seconds since the epoch, live writers keep every object.
pub fn kept_since(leases: &[LeaseInfo]) -> Option<i64> {
    started(leases, true)
}

/// Since when objects are suspect of being torn, for their writers were cut off.
pub fn suspect_since(leases: &[LeaseInfo]) -> Option<i64> {
    started(leases, false)
}

fn started(leases: &[LeaseInfo], alive: bool) -> Option<i64> {
    let writers = leases.iter().filter(|lease| lease.kind == LeaseKind::Writer && lease.alive == alive);
    writers.map(|lease| lease.started).min()
}
