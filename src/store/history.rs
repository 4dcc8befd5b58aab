//! What became of each ref: `history/NAME@`, JSON lines, oldest first.
//!
//! ```text
//! {"time_unix_ms":1700000000000,"op":"set","old":null,"new":"<digest>"}
//! ```
//! A line is on disk before its ref changes. If a crash comes between, the line tells of a change that didn't happen: one counts only if
//! the next one's `old` (for the last one: what the ref names now) is its `new`. A last line that is cut short didn't happen either, and is
//! cut off by the next change. Lines change under the refs lock only.
//!
//! Whoever sets a ref takes the disk for one line more, so that it can be removed on a full disk.

use super::Store;
use super::error::{Context, Result, StoreError, found};
use super::publish::sync_parent;
use crate::format::{Digest, RefName};
use nix::fcntl::{FallocateFlags, fallocate};
use serde::{Deserialize, Serialize};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

/// No line is longer.
const LINE: i64 = 256;

/// Why a ref changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// Made or moved.
    Set,
    /// Removed.
    Remove,
    /// A change was taken back.
    Undo,
}

/// One change of a ref.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Change {
    /// When.
    pub time_unix_ms: u64,
    /// Why.
    pub op: Operation,
    /// What it named before; nothing if it wasn't there.
    pub old: Option<Digest>,
    /// What it named after; nothing if it was removed.
    pub new: Option<Digest>,
}

/// The changes that happened, oldest first, given what the ref names now.
pub(super) fn read(store: &Store, name: &RefName, now: Option<Digest>) -> Result<Vec<Change>> {
    Ok(happened(lines(store, name)?, now))
}

/// All lines, those of changes that didn't happen included.
pub(super) fn lines(store: &Store, name: &RefName) -> Result<Vec<Change>> {
    let path = store.layout().history(name);
    let Some(text) = found(fs::read_to_string(&path)).context("read", &path)? else { return Ok(Vec::new()) };
    let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
    let parse = |(index, line): (usize, &str)| {
        let bad = |why: serde_json::Error| StoreError::BadHistory {
            path: path.clone(),
            line: index + 1,
            why: why.to_string(),
        };
        serde_json::from_str::<Change>(line).map_err(bad)
    };
    whole.lines().enumerate().map(parse).collect()
}

fn happened(lines: Vec<Change>, now: Option<Digest>) -> Vec<Change> {
    let mut after = now;
    let mut changes: Vec<Change> = Vec::new();
    for line in lines.into_iter().rev() {
        if line.new == after {
            after = line.old;
            changes.push(line);
        }
    }
    changes.reverse();
    changes
}

/// Whether the last line may be younger than `grace`. A clock that was set back makes it young.
pub(super) fn changed_within(store: &Store, name: &RefName, grace: Duration) -> Result<bool> {
    // What file times and the clock may differ by.
    const SLACK: Duration = Duration::from_secs(5);
    let path = store.layout().history(name);
    let changed = fs::metadata(&path).and_then(|stat| stat.modified()).context("stat", &path)?;
    Ok(changed.elapsed().map_or(true, |age| age < grace.saturating_add(SLACK)))
}

/// Adds a line, on disk when this returns.
pub(super) fn append(store: &Store, name: &RefName, change: &Change) -> Result<()> {
    let path = store.layout().history(name);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).context("create", folder)?;
    }
    let mut file = OpenOptions::new().read(true).append(true).create(true).open(&path).context("open", &path)?;
    let length = file.metadata().context("stat", &path)?.len();
    cut_short_line(&file, length, &path)?;
    // A plain struct of numbers and text always has a JSON form.
    let mut line = serde_json::to_vec(change).unwrap_or_default();
    line.push(b'\n');
    file.write_all(&line).context("write", &path)?;
    if change.new.is_some() {
        let end = file.metadata().context("stat", &path)?.len().cast_signed();
        // Where that can't be had, a removal does without the line.
        let _ahead = fallocate(&file, FallocateFlags::FALLOC_FL_KEEP_SIZE, end, LINE);
    }
    file.sync_all().context("sync", &path)?;
    if length == 0 { sync_folders(store, &path) } else { Ok(()) }
}

fn cut_short_line(file: &std::fs::File, length: u64, path: &Path) -> Result<()> {
    let mut end = length;
    let mut byte = [b'\n'];
    while end > 0 {
        file.read_exact_at(&mut byte, end - 1).context("read", path)?;
        if byte == [b'\n'] {
            break;
        }
        end -= 1;
    }
    if end == length { Ok(()) } else { file.set_len(end).context("cut", path) }
}

fn sync_folders(store: &Store, path: &Path) -> Result<()> {
    let top = store.layout().histories();
    for folder in path.ancestors().take_while(|folder| **folder != *top) {
        sync_parent(folder)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_that_did_not_happen_are_left_out() {
        let digest = |text: &str| Some(Digest::of(text.as_bytes()));
        let change = |old, new| Change { time_unix_ms: 0, op: Operation::Set, old, new };
        let (a, b, c) = (digest("a"), digest("b"), digest("c"));
        let lines = vec![change(None, a), change(a, c), change(a, b), change(b, c)];
        assert_eq!(happened(lines.clone(), b), vec![change(None, a), change(a, b)]);
        assert_eq!(happened(lines, c), vec![change(None, a), change(a, b), change(b, c)]);
    }
}
