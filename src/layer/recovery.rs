//! What opening a layer mends after a crash. Pure decisions first, then the changes, in one batch.

use super::data::{DataDir, DataId};
use super::db::Db;
use super::error::LayerError;
use super::record::{Body, FileContent, InodeRecord};
use crate::format::Ino;
use std::collections::HashSet;

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
}

/// What becomes of one inode record.
enum Verdict {
    Keep(Option<DataId>),
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
        FileContent::Sealed => &None,
        FileContent::Data { origin } => origin,
    };
    match origin {
        Some(blob) if power_cut || !exists(id) => {
            let content = FileContent::Blob(*blob);
            Verdict::Revert(InodeRecord { body: Body::File { generation: *generation, content }, ..record })
        }
        None if !exists(id) => Verdict::Empty(id),
        _ => Verdict::Keep(Some(id)),
    }
}

/// Mends `db` and `data`. `power_cut`: the machine was started anew since the layer was opened last.
pub fn recover(db: &Db, data: &DataDir, power_cut: bool) -> Result<Recovered, LayerError> {
    let mut report = Recovered::default();
    let mut wanted = HashSet::new();
    let mut empty = Vec::new();
    let mut batch = db.batch();
    db.each_inode(|ino, record| match judge(ino, record, power_cut, |id| data.metadata(id).is_ok()) {
        Verdict::Keep(id) => wanted.extend(id),
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
    })?;
    for id in empty {
        data.create(id)?;
    }
    batch.commit()?;
    report.stray_files = data.sweep(|id| wanted.contains(&id))?;
    if report != Recovered::default() {
        tracing::warn!(?report, "the layer was not closed; recovered");
    }
    Ok(report)
}

/// Names this start of the machine (proc_sys_kernel(5), `random/boot_id`); empty when it can't be read.
pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}
