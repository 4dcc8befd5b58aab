//! The end of every import: what was counted, the manifest, the barrier, the ref.

use super::builder::Built;
use super::{ImportOptions, IngestError};
use crate::format::{Digest, Manifest, ManifestKind, RefName};
use crate::store::{Put, Writer};
use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// What an import made.
#[derive(Clone, Debug, Serialize)]
pub struct Imported {
    /// The manifest.
    pub manifest: Digest,
    /// The ref that names it.
    pub name: RefName,
    /// What the ref named before.
    pub replaced: Option<Digest>,
    /// Blobs that the store didn't have.
    pub new_blobs: u64,
    /// Files whose content the store had already, from before or from an earlier file.
    pub deduplicated: u64,
    /// Of these, files that weren't read, for they didn't change since an earlier import did.
    pub from_cache: u64,
    /// Regular files, a hard-linked one counted once.
    pub regular_files: u64,
    /// Entries of every kind, the root not counted.
    pub entries: u64,
    /// Inodes that aren't directories, a hard-linked one counted once.
    pub files: u64,
    /// Bytes of the files, a hard-linked one counted once.
    pub bytes: u64,
    /// Bytes that were new to the store, trees included.
    pub new_bytes: u64,
    /// How long it took.
    #[serde(rename = "duration_seconds", serialize_with = "crate::format::seconds")]
    pub duration: Duration,
}

/// Counts what goes into the store.
#[derive(Debug)]
pub(crate) struct Tally {
    started: Instant,
    new_blobs: AtomicU64,
    deduplicated: AtomicU64,
    new_bytes: AtomicU64,
}

impl Tally {
    pub(crate) fn start() -> Self {
        let zero = AtomicU64::default;
        Self { started: Instant::now(), new_blobs: zero(), deduplicated: zero(), new_bytes: zero() }
    }

    /// Counts a file's content.
    pub(crate) fn count_blob(&self, put: &Put) {
        let counter = if put.existed { &self.deduplicated } else { &self.new_blobs };
        counter.fetch_add(1, Relaxed);
        self.count_tree(put);
    }

    /// Counts another object.
    pub(crate) fn count_tree(&self, put: &Put) {
        if !put.existed {
            self.new_bytes.fetch_add(put.size, Relaxed);
        }
    }
}

/// Makes what was built visible: everything durable first, then the ref.
pub(crate) fn publish(
    writer: &Writer,
    built: Built,
    options: &ImportOptions,
    created_at: String,
    tally: &Tally,
    from_cache: u64,
) -> Result<Imported, IngestError> {
    let manifest = Manifest {
        name: options.name.clone(),
        created_at,
        parent: None,
        kind: ManifestKind::Rootfs,
        labels: options.labels.clone(),
        root: built.root,
        links: built.links,
        totals: built.totals,
    };
    let regular_files = built.regular;
    let digest = writer.put_manifest(&manifest)?;
    writer.barrier()?;
    let replaced = writer.set_ref(&options.name, digest)?;
    Ok(Imported {
        manifest: digest,
        name: options.name.clone(),
        replaced,
        new_blobs: tally.new_blobs.load(Relaxed),
        deduplicated: tally.deduplicated.load(Relaxed),
        from_cache,
        regular_files,
        entries: manifest.totals.entries,
        files: manifest.totals.files,
        bytes: manifest.totals.bytes,
        new_bytes: tally.new_bytes.load(Relaxed),
        duration: tally.started.elapsed(),
    })
}
