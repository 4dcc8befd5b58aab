//! The content-addressed store: objects, refs with history, leases, trash, layers' folders, control sockets.
//!
//! ```text
//! STORE/format            JSON: {"format":1,"id":"..."}; an unknown version is refused, nothing is ever deleted for it
//!      /lock, gate        flock: shared by who relies on an object that is there, exclusive for a sweep's batch     lock
//!      /objects/ab/cd..   blobs, trees, manifests, link tables; mode 0444                         objects, writer, reach
//!      /refs/NAME         digest of a manifest, one line                                                   refs, resolve
//!      /history/NAME@     JSON lines: each move or removal of the ref, oldest first                              history
//!      /layers/NAME/      layer.json, lock, index/ (fjall), data/                                                 layers
//!      /leases/           one file per live writer or mount, held under flock by its owner                         lease
//!      /trash/MILLIS/ab/cd..  objects that a collection took out, by when                                   trash, sweep
//!      /trash/layer-MILLIS-NAME/  a removed layer                                                                 layers
//!      /cache/KEY         what imports remember of their sources                                               caches
//!      /run/              records, control sockets and logs of mounts                                             mounts
//!      /tmp/              files being written, where they need a name                                            publish
//! ```
//! `open` makes and opens a store; `layout` alone joins its paths; `publish` alone names its files; `error` says what can fail. Content comes in by
//! `reading`, through buffers of `scratch`, what is too long for them by `long`; `course` tells such work to stop.
//!
//! Locks, in the order in which they are taken: refs (`refs`), a layer's (`layers`), the store lock (`lock`). Nobody waits for another
//! while holding the store lock. What is durable when: `writer`. What a collection may take: `sweep`.
//! Dependency: `format`, `sys`.

mod caches;
mod course;
mod error;
mod history;
mod layers;
mod layout;
mod lease;
mod lock;
mod long;
mod mounts;
mod objects;
mod open;
mod publish;
mod reach;
mod reading;
mod refs;
mod resolve;
mod scratch;
mod sweep;
mod trash;
mod writer;

pub use caches::{Cached, NewCache};
pub use course::Course;
pub use error::{ErrorClass, StoreError};
pub use layers::{LayerConfig, LayerLock, LayerMode, Quota};
pub use lease::{Lease, LeaseHeader, LeaseInfo, LeaseKind};
pub use mounts::{MountGuard, MountInfo, MountRecord};
pub use objects::{Listed, ObjectStat};
pub use publish::now_ms;
pub use reach::Role;
pub use refs::{Change, Operation};
pub use sweep::{Roots, Sweep, Trashed};
pub use writer::Writer;

use crate::format::Digest;
use error::Result;
use layout::Layout;
use std::sync::Arc;

/// An open store. Cheap to clone; all operations are safe from several threads and processes.
#[derive(Clone, Debug)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    layout: Layout,
    id: String,
    lock: lock::StoreLock,
}

impl Store {
    fn layout(&self) -> &Layout {
        &self.0.layout
    }

    fn shared(&self) -> Result<lock::Shared<'_>> {
        self.0.lock.shared(self.layout())
    }
}

/// What `put` did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Put {
    /// Name of the object.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Whether the store had it already.
    pub existed: bool,
}
