//! A snapshot: a manifest made out of a layer, mounted or not. See `vfs::freeze` for what is held still, and when.
//!
//! 1. *freeze*: the layer at one instant;
//! 2. *ingest*: dirty content into the store; sealed files become blobs by hard link, without copying (`ingest`);
//! 3. *encode*: the tree of every directory that changed, or has something changed beneath (`touched`), deepest first (`encode`); all else is shared
//!    with the base by digest, or with this daemon's last snapshot (`vfs::since`);
//! 4. *publish*: one barrier; the layer is made to keep the manifest; the ref;
//! 5. *rebase*: what is in the store now is clean content of the layer.
//!
//! It can be stopped until 4 (`store::Course`), at every file, every few megabytes of content and every directory.
//!
//! All or nothing: before 4 nothing names what was stored, and after it the snapshot is whole, whether or not 5 happened.
//!
//! `diff` tells what a snapshot would take, by path; `error` why none could be taken.

mod diff;
mod encode;
mod error;
mod ingest;
mod touched;

pub use diff::{Change, ChangeKind, diff};
pub use error::SnapshotError;

use crate::format::{Digest, Ino, Manifest, ManifestKind, RefName, Subtree, Timestamp};
use crate::layer::NameRecord;
use crate::store::Course;
use crate::vfs::Fs;
use crate::vfs::freeze::Frozen;
use crate::vfs::since::{Left, is_linked};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What to make.
#[derive(Debug, Clone)]
pub struct Request {
    /// The ref that will name it.
    pub name: RefName,
    /// Labels of the manifest.
    pub labels: BTreeMap<String, String>,
    /// When it was made, RFC 3339 in UTC; now when `None`.
    pub created_at: Option<String>,
    /// The manifest it follows: the layer's last snapshot; its base when `None`.
    pub parent: Option<Digest>,
}

/// What was made.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The manifest.
    pub manifest: Digest,
    /// The ref that names it.
    pub name: RefName,
    /// What the ref named before.
    pub replaced: Option<Digest>,
    /// Blobs that the store didn't have.
    pub new_blobs: u64,
    /// Their bytes.
    pub new_bytes: u64,
    /// Dirty files whose content the store had.
    pub deduplicated: u64,
    /// Trees made anew; all others are shared with the base, or with the snapshot before.
    pub new_trees: u64,
    /// Entries of the snapshot in all.
    pub entries: u64,
    /// Inodes of the snapshot that aren't directories, a hard-linked one counted once.
    pub files: u64,
    /// Bytes of the snapshot's files in all.
    pub bytes: u64,
    /// Files that were open for writing: the snapshot has them as they were at its instant, which their writers didn't choose.
    pub being_written: Vec<String>,
    /// What content the layer has of the store is, on disk too, of this snapshot or the base: no former one is needed for it.
    #[serde(skip)]
    pub rebased: bool,
    /// How long operations of the mount were held up for the instant.
    #[serde(rename = "freeze_seconds", serialize_with = "crate::format::seconds")]
    pub freeze: Duration,
    /// How long they were held up once more, when dirty content became clean.
    #[serde(rename = "rebase_seconds", serialize_with = "crate::format::seconds")]
    pub rebase: Duration,
    /// How long all of it took.
    #[serde(rename = "duration_seconds", serialize_with = "crate::format::seconds")]
    pub duration: Duration,
}

/// Takes a snapshot of `fs`, which must have a layer. `pin` is called with the manifest's digest before the layer comes to depend on it:
/// it must make a collection keep the manifest for as long as the layer lives, durably.
pub fn take(
    fs: &Fs,
    request: &Request,
    pin: &mut dyn FnMut(Digest) -> Result<(), SnapshotError>,
) -> Result<Report, SnapshotError> {
    take_on_course(fs, request, &Arc::default(), pin)
}

/// The same, but `course` tells how far it is, and stops it until the layer comes to depend on it.
pub fn take_on_course(
    fs: &Fs,
    request: &Request,
    course: &Arc<Course>,
    pin: &mut dyn FnMut(Digest) -> Result<(), SnapshotError>,
) -> Result<Report, SnapshotError> {
    let started = Instant::now();
    let store = fs.base().store().clone();
    let writer = store.writer(&format!("snapshot {}", request.name))?.on_course(Arc::clone(course));
    // Trees of the snapshot before are relied on. The layer keeps it, but for one that a person unpinned.
    if fs.last_taken().is_some_and(|before| writer.keep(before).is_err()) {
        fs.forget_taken();
    }
    let mut frozen = fs.freeze_on_course(course)?;
    let being_written = frozen.written.iter().filter_map(|&ino| frozen.records.path(fs.base(), ino)).collect();
    let ingested = ingest::ingest(&writer, &frozen.content)?;
    let encoded = encode::encode(fs.base(), &frozen, &ingested.blobs, &writer)?;
    let manifest = Manifest {
        name: request.name.clone(),
        created_at: request.created_at.clone().unwrap_or_else(|| rfc3339(Timestamp::now())),
        parent: Some(request.parent.unwrap_or(fs.base().digest())),
        kind: ManifestKind::Snapshot,
        labels: request.labels.clone(),
        root: encoded.root,
        links: encoded.links,
        totals: encoded.totals,
    };
    let digest = writer.put_manifest(&manifest)?;
    writer.barrier()?;
    writer.check()?;
    pin(digest)?;
    let replaced = writer.set_ref(&request.name, digest)?;
    // The snapshot is whole and named by now: what stays with the layer costs room, and the next one finds it again.
    let rebase = fs.rebase(&ingested.sealed).map_err(|error| {
        tracing::warn!(name = %request.name, %error, "the snapshot is taken, but the layer keeps content that the store has now too");
    });
    if let Err(error) = leave(&mut frozen, digest, encoded.trees) {
        tracing::warn!(%error, "the next snapshot looks at everything");
    }
    let freeze = frozen.held;
    drop(frozen); // frees the data files that are blobs now
    let is_on_disk = || fs.layer().is_some_and(|layer| layer.db().persist().is_ok());
    Ok(Report {
        manifest: digest,
        name: request.name.clone(),
        replaced,
        new_blobs: ingested.new_blobs,
        new_bytes: ingested.new_bytes,
        deduplicated: ingested.deduplicated,
        new_trees: encoded.new_trees,
        entries: manifest.totals.entries,
        files: manifest.totals.files,
        bytes: manifest.totals.bytes,
        being_written,
        rebased: rebase.is_ok() && is_on_disk(),
        freeze,
        rebase: rebase.unwrap_or_default(),
        duration: started.elapsed(),
    })
}

/// Keeps for the next snapshot what it needs to know of this one.
fn leave(frozen: &mut Frozen<'_>, manifest: Digest, trees: HashMap<Ino, Subtree>) -> Result<(), SnapshotError> {
    let before = frozen.since.as_mut().map(|since| std::mem::take(&mut since.taken.holders));
    let mut holders = before.unwrap_or_default();
    for (&dir, names) in &frozen.records.names {
        holders.extend(names.values().filter_map(|name| match name {
            NameRecord::Child(child) => Some((child.ino, dir)),
            NameRecord::Removed => None,
        }));
    }
    let linked = frozen.records.inodes.iter().filter(|(ino, record)| is_linked(**ino, record));
    let linked = linked.map(|(&ino, _)| ino).collect();
    Ok(frozen.leave(Left { manifest, trees, holders, linked })?)
}

/// RFC 3339 in UTC, to the second.
pub fn rfc3339(time: Timestamp) -> String {
    jiff::Timestamp::from_second(time.secs()).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}
