//! What opening a layer mends after a crash. Pure decisions first, then the changes, in one batch.
//!
//! What can come back after a power cut. The database's journal is synced by every fsync in the mount; otherwise the kernel writes it out when it
//! likes. What comes back is the layer's records at one instant at or after the last fsync (`journal` sees to that), and beside them data files
//! of which any part may be older or newer than that instant. Hence these rules, which hold on any filesystem:
//!
//! * A data file is removed after the record that named it is *durably* gone (`vfs::settle`): an older record that comes back finds its file.
//! * A copy-up keeps its blob as `origin` until the copy was synced; one that has it after a power cut goes back to the blob.
//! * A copy of content that isn't in the store (sealed by a snapshot) is synced before its record is written.
//! * Of a file that was copied up by range, blocks that weren't synced go back to the blob one by one (`blocks`); what was held at all goes back
//!   while the data file itself isn't known to be on disk.
//! * Data files that no record names are removed after what this recovery found and changed is on disk.
//!
//! So what was synced is there, under a name that it had then or later; and of what wasn't, a file made new or written to may be older, shorter or
//! partly new, as the host's filesystem leaves it:
//!
//! * ext4 (`data=ordered`): a file's length reaches the disk after the bytes it covers. Nobody's old bytes are seen; bytes overwritten
//!   in place may be old or new, page by page. A new file that was never written out is empty, for its blocks are allocated late.
//! * xfs: the same by its own means: lengths move on when the bytes are on disk, blocks unwritten till then read as zeros.
//! * btrfs: file extents appear when their bytes are on disk; unsynced writes of some pages may be there without earlier ones.
//!
//! A file that is renamed over another is the usual way of replacing one whole, often without fsync. ext4 starts writing such a file out
//! at once (`auto_da_alloc`), so does a rename here (`vfs::namespace`), before its record is written. The journal is on disk with it only by a
//! sync or later writing back, and on ext4 a sync commits the file's blocks and length too, its bytes first; on xfs it is likely, not certain.

use super::blocks::{Chunk, parse_key};
use super::data::{DataDir, DataId};
use super::db::{Batch, Db, Space};
use super::error::LayerError;
use super::record::{BadRecord, Body, FileContent, InodeRecord};
use crate::format::Ino;
use crate::sys::failure::is_full;
use std::collections::{BTreeSet, HashSet};

/// What was mended.
#[derive(Debug, Default, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Recovered {
    /// Inodes without a name that were still open when the daemon died.
    pub orphans: u64,
    /// Data files that no record named.
    pub stray_files: u64,
    /// Files that went back to the blob they were copied up from, for the copy wasn't on disk.
    pub reverted: u64,
    /// Files whose content never reached the disk: they are empty now.
    pub emptied: u64,
    /// Bytes of the database's journal that were no whole batch.
    pub journal_cut: u64,
}

/// What becomes of one inode record.
#[derive(Debug)]
enum Verdict {
    Keep(Option<DataId>),
    /// Kept, and its copy-up isn't known to be on disk yet.
    Unsettled(DataId),
    /// Its content is missing, which nothing explains.
    Missing,
    Reclaim,
    Bury(InodeRecord),
    Revert(InodeRecord),
    Empty(DataId),
}

fn judge(ino: Ino, record: InodeRecord, power_cut: bool, exists: impl Fn(DataId) -> bool) -> Verdict {
    if record.is_unnamed() {
        return if ino.is_linked_range() { Verdict::Bury(record.tombstone()) } else { Verdict::Reclaim };
    }
    let Body::File { generation, content } = &record.body else { return Verdict::Keep(None) };
    let id = DataId { ino, generation: *generation };
    let origin = match content {
        FileContent::Blob(_) => return Verdict::Keep(None),
        FileContent::Partial(partial) if partial.settled && exists(id) => return Verdict::Keep(Some(id)),
        // It was on disk, so no power cut explains that it isn't.
        FileContent::Partial(partial) if partial.settled => return Verdict::Missing,
        FileContent::Partial(partial) => &Some(partial.blob),
        FileContent::Sealed => &None,
        FileContent::Data { origin } => origin,
    };
    match origin {
        Some(blob) if power_cut || !exists(id) => {
            let content = FileContent::Blob(*blob);
            Verdict::Revert(InodeRecord { body: Body::File { generation: *generation, content }, ..record })
        }
        Some(_) => Verdict::Unsettled(id),
        None if !exists(id) && power_cut => Verdict::Empty(id),
        None if !exists(id) => Verdict::Missing,
        None => Verdict::Keep(Some(id)),
    }
}

/// Mends `db` and `data`. `power_cut`: what wasn't synced since the layer was opened last may be gone. Returns also the copy-ups that aren't
/// known to be on disk yet.
pub fn recover(db: &Db, data: &DataDir, power_cut: bool) -> Result<(Recovered, Vec<DataId>), LayerError> {
    let mut report = Recovered::default();
    let mut unsettled = Vec::new();
    let mut wanted = HashSet::new();
    let mut empty = Vec::new();
    let mut missing = 0;
    let mut partial = HashSet::new();
    let mut batch = db.freeing_batch();
    let mut note = |ino, record: &InodeRecord| {
        partial.extend(record.partial().map(|(generation, _)| DataId { ino, generation }));
    };
    db.each_inode(|ino, record| match judge(ino, record.clone(), power_cut, |id| data.metadata(id).is_ok()) {
        Verdict::Keep(id) => {
            note(ino, &record);
            wanted.extend(id);
        }
        Verdict::Unsettled(id) => {
            note(ino, &record);
            wanted.insert(id);
            unsettled.push(id);
        }
        Verdict::Reclaim => {
            report.orphans += 1;
            batch.remove_inode(ino);
        }
        Verdict::Bury(record) => batch.put_inode(ino, &record),
        Verdict::Revert(record) => {
            report.reverted += 1;
            batch.put_inode(ino, &record);
        }
        Verdict::Empty(id) => {
            report.emptied += 1;
            wanted.insert(id);
            empty.push(id);
        }
        Verdict::Missing => missing += 1,
    })?;
    if missing > 0 {
        return Err(LayerError::Missing { path: data.path().to_owned(), files: missing });
    }
    for id in empty {
        data.create(id)?;
    }
    unsettled.extend(recover_blocks(db, &mut batch, &partial, power_cut)?);
    match batch.commit() {
        // Inodes without names can wait for the next opening, and what follows may make room for that.
        Err(error) if report.reverted == 0 && error.io().is_some_and(is_full) => {
            tracing::warn!(%error, "no room to forget inodes without names");
        }
        outcome => outcome?,
    }
    // Records that are on disk may still name what is swept.
    db.persist()?;
    report.stray_files = data.sweep(|id| wanted.contains(&id))?;
    Ok((report, unsettled))
}

/// Blocks of files that are no more partial, or never were, are forgotten; after a power cut, so are blocks that weren't known to be on disk:
/// they are the blob's again. Returns the files with blocks that aren't known to be on disk still.
fn recover_blocks(
    db: &Db,
    batch: &mut Batch<'_>,
    partial: &HashSet<DataId>,
    power_cut: bool,
) -> Result<BTreeSet<DataId>, LayerError> {
    let mut unsettled = BTreeSet::new();
    let mut bad = None;
    db.each_chunk(|key, value| match (parse_key(key), Chunk::decode(value)) {
        (Some((id, _)), _) if !partial.contains(&id) => batch.remove_raw(Space::Meta, key),
        (Some((id, number)), Ok(mut chunk)) if !chunk.is_settled() => {
            if power_cut {
                chunk.drop_unsettled();
                batch.put_chunk(id, number, &chunk);
            } else {
                unsettled.insert(id);
            }
        }
        (Some(_), Ok(_)) => {}
        (id, why) => {
            bad = Some((id.map_or(Ino(0), |(id, _)| id.ino), why.err().unwrap_or(BadRecord::Damaged("blocks"))));
        }
    })?;
    match bad {
        // What it can't be told of which blocks are whose, a power cut may have made worse.
        Some((ino, source)) if power_cut => Err(LayerError::Record { path: db.path().to_owned(), ino, source }),
        _ => Ok(unsettled),
    }
}

/// What [`recover`] would mend, told without changing anything. `files`: the data files that are there.
pub fn foretell<'a>(
    records: impl Iterator<Item = (Ino, &'a InodeRecord)>,
    files: &BTreeSet<DataId>,
    power_cut: bool,
) -> Recovered {
    let mut report = Recovered::default();
    let mut wanted = HashSet::new();
    for (ino, record) in records {
        match judge(ino, record.clone(), power_cut, |id| files.contains(&id)) {
            Verdict::Keep(id) => wanted.extend(id),
            Verdict::Unsettled(id) => {
                wanted.insert(id);
            }
            Verdict::Reclaim => report.orphans += 1,
            // The check tells what is missing by itself.
            Verdict::Bury(_) | Verdict::Missing => {}
            Verdict::Revert(_) => report.reverted += 1,
            Verdict::Empty(id) => {
                report.emptied += 1;
                wanted.insert(id);
            }
        }
    }
    report.stray_files = files.iter().filter(|id| !wanted.contains(id)).count() as u64;
    report
}
