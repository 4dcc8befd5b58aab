//! How a file is opened: by passthrough, where the kernel reads and writes the host file itself, or through the page cache and the daemon.
//!
//! [`wish`] says what would be best for an open by itself, [`decide`] what it gets beside the node's other opens; whether the machine can do
//! passthrough at all is [`super::backing`]'s to know.
//!
//! The kernel's rule: while a node has a passthrough open, every further open of it must be passthrough with the same backing; while it has
//! a cached open, no passthrough is possible. Breaking the rule gives the caller EIO. So [`OpenModes`] keeps, for each node, the mode of its
//! live opens and their number, and [`decide`] follows the rule. The kernel leaves a mode before it sends RELEASE, so what is kept here
//! is never less than what the kernel has.
//!
//! A blob's backing never goes into the reply to a write open, for the kernel writes with the opener's rights: see [`decide`].
//!
//! What the kernel has cached of a node is kept when it is opened again: all that is written while a cached open lives goes through those
//! pages, and an open by passthrough drops them. To drop them at an open would lose writes to readers: the kernel changes a page, unlocks
//! it, and only then sends WRITE (`fuse_fill_write_pages`). A page dropped in between is read back as it was before, and stays so.
//!
//! Locking: a shard's lock is held while a backing is registered, which calls into the kernel but waits for no request.

use super::backing::Backing;
use crate::locks::Mutex;
use crate::vfs::{ContentKey, VfsError};
use std::collections::HashMap;
use std::sync::Arc;

/// Blobs at least this long are read by passthrough on a mount with a layer; shorter ones live in the page cache, which costs less to open.
const LARGE: u64 = 1 << 20;

const SHARDS: u64 = 64;

/// What would be best for an open, if nothing else had the file open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Passthrough,
    Cached,
}

/// The facts that the wish hangs on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opening {
    pub(super) read_only_mount: bool,
    pub(super) content: ContentKey,
    pub(super) for_exec: bool,
    pub(super) size: u64,
}

/// What would be best for this open.
pub(super) fn wish(opening: Opening) -> Wish {
    let large_or_run = opening.size >= LARGE || opening.for_exec;
    match opening.content {
        // Nothing is ever written here, so no later open can be in passthrough's way.
        ContentKey::Blob(_) if opening.read_only_mount || large_or_run => Wish::Passthrough,
        ContentKey::Blob(_) => Wish::Cached,
        ContentKey::Data(..) => Wish::Passthrough,
        // No host file has all of it.
        ContentKey::Partial(..) => Wish::Cached,
    }
}

/// The mode of a node's live opens, compared with the content of the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Live {
    /// Passthrough to the content that is to be opened.
    SameContent,
    /// Passthrough to another key but the same host file, as when a snapshot took the file into the store.
    SameHostFile,
    /// Passthrough to other content.
    OtherContent,
    /// Cached.
    Cached,
}

/// What to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// Passthrough with the backing that the live opens have.
    Join,
    /// Passthrough with a backing of the content's own.
    Passthrough,
    /// Cached.
    Cached,
    /// The node can't serve this content now.
    Elsewhere,
}

/// The kernel's rule, and the rule that a write open never joins a backing which might be a blob's.
pub(super) fn decide(live: Option<Live>, wish: Wish, for_writing: bool) -> Decision {
    match (live, wish) {
        (None, Wish::Passthrough) => Decision::Passthrough,
        (None, Wish::Cached) | (Some(Live::Cached), _) => Decision::Cached,
        (Some(Live::SameContent), _) => Decision::Join,
        (Some(Live::SameHostFile), _) if !for_writing => Decision::Join,
        (Some(Live::SameHostFile | Live::OtherContent), _) => Decision::Elsewhere,
    }
}

/// How an open is answered.
#[derive(Debug, Clone)]
pub(super) enum Grant {
    Passthrough(Arc<Backing>),
    /// With the pages that there are.
    Cached,
    /// Without: passthrough can't be had now, but a mapping of an earlier one outlives its open and may have changed the file since.
    CachedAnew,
}

/// Why an open isn't admitted.
#[derive(Debug)]
pub(super) enum NotAdmitted {
    /// The node has live opens on other content.
    Conflict,
    /// The content can't be opened.
    Failed(VfsError),
}

/// The modes of all nodes with live opens.
#[derive(Debug)]
pub(super) struct OpenModes(Box<[Mutex<HashMap<u64, Opens>>]>);

#[derive(Debug)]
struct Opens {
    grant: Grant,
    count: u64,
}

impl Default for OpenModes {
    fn default() -> Self {
        Self((0..SHARDS).map(|_| Mutex::default()).collect())
    }
}

impl OpenModes {
    fn shard(&self, node: u64) -> &Mutex<HashMap<u64, Opens>> {
        &self.0[usize::try_from(node % SHARDS).unwrap_or_default()]
    }

    /// Counts an open of `node` and says how to answer it. `compare` tells how a live backing relates to the content; `register` finds or
    /// makes the content's own backing, `None` when passthrough can't be had.
    pub(super) fn admit(
        &self,
        node: u64,
        wish: Wish,
        for_writing: bool,
        compare: impl FnOnce(&Backing) -> Live,
        register: impl FnOnce() -> Result<Option<Arc<Backing>>, VfsError>,
    ) -> Result<Grant, NotAdmitted> {
        let mut shard = self.shard(node).lock();
        let opens = shard.get_mut(&node);
        let live = opens.as_ref().map(|opens| match &opens.grant {
            Grant::Passthrough(backing) => compare(backing),
            Grant::Cached | Grant::CachedAnew => Live::Cached,
        });
        let grant = match decide(live, wish, for_writing) {
            Decision::Elsewhere => return Err(NotAdmitted::Conflict),
            Decision::Cached => Grant::Cached,
            Decision::Passthrough => {
                register().map_err(NotAdmitted::Failed)?.map_or(Grant::CachedAnew, Grant::Passthrough)
            }
            Decision::Join => match &opens {
                Some(opens) => opens.grant.clone(),
                None => Grant::Cached,
            },
        };
        match opens {
            Some(opens) => opens.count += 1,
            None => {
                shard.insert(node, Opens { grant: grant.clone(), count: 1 });
            }
        }
        Ok(grant)
    }

    /// One of the node's opens is closed.
    pub(super) fn release(&self, node: u64) {
        let mut shard = self.shard(node).lock();
        if let Some(opens) = shard.get_mut(&node) {
            opens.count -= 1;
            if opens.count == 0 {
                shard.remove(&node);
            }
        }
    }
}

#[cfg(test)]
impl OpenModes {
    /// Whether nothing is open.
    pub(super) fn is_unused(&self) -> bool {
        self.0.iter().all(|shard| shard.lock().is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Digest;
    use crate::vfs::Ino;

    fn blob(read_only_mount: bool, for_exec: bool, size: u64) -> Wish {
        wish(Opening { read_only_mount, content: ContentKey::Blob(Digest::of(b"")), for_exec, size })
    }

    #[test]
    fn large_blobs_programs_and_layer_files_pass_through() {
        assert_eq!(blob(false, false, LARGE - 1), Wish::Cached);
        assert_eq!(blob(false, false, LARGE), Wish::Passthrough);
        assert_eq!(blob(false, true, 1), Wish::Passthrough);
        assert_eq!(blob(true, false, 0), Wish::Passthrough);
        let data = ContentKey::Data(Ino(9), 1);
        let opening = Opening { read_only_mount: false, content: data, for_exec: false, size: 0 };
        assert_eq!(wish(opening), Wish::Passthrough);
    }

    #[test]
    fn the_kernels_rule_holds_for_every_combination() {
        for wish in [Wish::Passthrough, Wish::Cached] {
            for writing in [false, true] {
                assert_eq!(decide(Some(Live::Cached), wish, writing), Decision::Cached);
                assert_eq!(decide(Some(Live::SameContent), wish, writing), Decision::Join);
                assert_eq!(decide(Some(Live::OtherContent), wish, writing), Decision::Elsewhere);
            }
            assert_eq!(decide(Some(Live::SameHostFile), wish, false), Decision::Join);
            assert_eq!(decide(Some(Live::SameHostFile), wish, true), Decision::Elsewhere);
        }
        assert_eq!(decide(None, Wish::Passthrough, true), Decision::Passthrough);
        assert_eq!(decide(None, Wish::Cached, false), Decision::Cached);
    }

    #[test]
    fn a_mode_ends_with_the_last_open() {
        let modes = OpenModes::default();
        let admit = |wish, backing: fn() -> Result<Option<Arc<Backing>>, VfsError>| {
            modes.admit(3, wish, false, |_| Live::OtherContent, backing)
        };
        assert!(matches!(admit(Wish::Cached, || Ok(None)), Ok(Grant::Cached)));
        // No backing is asked for while a cached open lives, and what it cached stays.
        assert!(matches!(admit(Wish::Passthrough, || panic!("must stay cached")), Ok(Grant::Cached)));
        modes.release(3);
        modes.release(3);
        assert!(matches!(admit(Wish::Passthrough, || Ok(None)), Ok(Grant::CachedAnew)));
        assert!(matches!(admit(Wish::Passthrough, || panic!("must stay cached")), Ok(Grant::Cached)));
        modes.release(3);
        modes.release(3);
        assert!(modes.is_unused());
    }
}
