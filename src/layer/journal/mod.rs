//! The database's journal as files: what every change is written to first, and so what says after a crash which batches happened.
//!
//! ```text
//! index/N.jnl   batches, one after the other, then zeros (`bytes`): a journal is made with 64 MiB of holes and cut to its length when it is
//!               opened again
//! ```
//! Only the journal with the highest number is written to: the others were synced before the next one was made. What a failed sync means is in
//! `syncs`, what a full disk in `room`.
//!
//! Torn ends ([`mend`], before the database reads its journal). What may follow the last whole batch:
//! * zeros, or the end: nothing happened.
//! * A batch cut short and then zeros: the daemon was killed while it wrote.
//! * After a power cut, anything: of what wasn't synced, any page may be on disk and any other zeros. All from the first batch that isn't
//!   whole was never synced, so it goes; what is left is how the layer was at one instant.
//!
//! Anything else is damage, and so is any of it in a journal that was synced: the layer isn't opened, for what is after the damage had
//! happened. fjall itself would drop all that follows a bad tag, whatever it is, and refuse a torn batch whose length happens to be right.
//!
//! Locking: none here. [`mend`] and [`rewrite`] need the database closed; the others are called while it is open.

mod bytes;
mod room;
mod syncs;

pub(super) use room::{Ahead, has_room, probe};
pub(super) use syncs::{Witness, rewrite};

use super::error::LayerError;
use crate::sys::sparse;
use bytes::{is_cut_short, last_number, whole_batches};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Mends the journals of the database in `index`. `torn`: the disk may have lost what wasn't synced; `least`: the number of the last batch that must be
/// there. Returns how many bytes of unfinished batches were dropped.
pub(super) fn mend(index: &Path, torn: bool, least: u64) -> Result<u64, LayerError> {
    let mut journals = journals(index).map_err(data_error("list", index))?;
    let Some((_, last)) = journals.pop() else { return Ok(0) };
    for (_, sealed) in journals {
        let (bytes, _) = read(&sealed).map_err(data_error("read", &sealed))?;
        let whole = whole_batches(&bytes);
        if bytes[whole..].iter().any(|&byte| byte != 0) {
            return Err(LayerError::Damaged { path: sealed, offset: whole as u64 });
        }
    }
    let (bytes, length) = read(&last).map_err(data_error("read", &last))?;
    let whole = whole_batches(&bytes);
    let rest = &bytes[whole..];
    if rest.iter().all(|&byte| byte == 0) {
        return Ok(0);
    }
    if !torn && !is_cut_short(rest) {
        return Err(LayerError::Damaged { path: last, offset: whole as u64 });
    }
    // What is left of a batch that had happened isn't touched.
    if let Some(last) = last_number(&bytes[..whole]).filter(|&last| last < least) {
        return Err(LayerError::Short { path: index.to_owned(), missing: least - last });
    }
    let cut = || {
        let file = File::options().write(true).open(&last)?;
        file.set_len(whole as u64)?;
        file.sync_all()
    };
    cut().map_err(data_error("cut an unfinished batch off", &last))?;
    tracing::warn!(path = %last.display(), whole, length, "dropped an unfinished batch of the journal");
    Ok(rest.len() as u64)
}

fn data_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LayerError + use<> {
    let path = path.to_owned();
    move |source| LayerError::Data { action, path, source }
}

/// The journals of the database in `index` with their numbers, the one in use last; none where there is no folder yet.
fn journals(index: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let entries = match fs::read_dir(index) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let number = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".jnl")?.parse().ok());
        found.extend(number.map(|number| (number, path)));
    }
    found.sort_unstable();
    Ok(found)
}

/// Whether the database in `index` has a journal.
pub(super) fn exists(index: &Path) -> Result<bool, LayerError> {
    Ok(!journals(index).map_err(data_error("list", index))?.is_empty())
}

/// How many batches the database in `index` was given, as far as its journals tell.
pub(super) fn batches(index: &Path) -> Result<u64, LayerError> {
    let mut most = 0;
    for (_, path) in journals(index).map_err(data_error("list", index))? {
        let (bytes, _) = read(&path).map_err(data_error("read", &path))?;
        most = most.max(last_number(&bytes[..whole_batches(&bytes)]).unwrap_or(0));
    }
    Ok(most)
}

/// All up to the last byte that was written, and the length of the file.
fn read(path: &Path) -> io::Result<(Vec<u8>, u64)> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut bytes = Vec::new();
    // Holes between are read as zeros; the one at the end, most of a new journal, isn't read.
    while let Some(start) = sparse::data(&file, bytes.len() as u64)? {
        let end = sparse::hole(&file, start)?.unwrap_or(length);
        bytes.resize(usize::try_from(end).map_err(io::Error::other)?, 0);
        file.read_exact_at(&mut bytes[usize::try_from(start).map_err(io::Error::other)?..], start)?;
    }
    Ok((bytes, length))
}

#[cfg(test)]
mod tests {
    use super::bytes::{Part, batch};
    use super::*;
    use crate::format::Ino;
    use crate::layer::Layer;
    use std::collections::BTreeMap;

    /// A layer whose folder is as a killed daemon leaves it, with so many numbers in as many batches, and its only journal.
    fn killed(folder: &Path, count: u64, text: &str) -> PathBuf {
        let layer = Layer::open(&folder.join("first")).unwrap();
        for number in 0..count {
            let mut batch = layer.db().batch();
            batch.put_number(&format!("number {number}"), number);
            batch.put_text(&format!("text {number}"), text);
            batch.commit().unwrap();
        }
        let copied =
            std::process::Command::new("cp").arg("-a").arg(folder.join("first")).arg(folder.join("copy")).status();
        assert!(copied.unwrap().success());
        let mut found = journals(&folder.join("copy/index")).unwrap();
        assert_eq!(found.len(), 1);
        found.remove(0).1
    }

    /// How many of the numbers are there: the first so many, or it fails.
    fn prefix(folder: &Path, count: u64) -> u64 {
        // Of batches that hadn't returned, and of a power cut: what is missing isn't missed.
        let _gone = fs::remove_file(folder.join("copy/index.mark"));
        let layer = Layer::open(&folder.join("copy")).unwrap();
        let found: BTreeMap<u64, u64> = (0..count)
            .filter_map(|number| Some((number, layer.db().meta_number(&format!("number {number}")).unwrap()?)))
            .collect();
        let prefix = found.len() as u64;
        for number in 0..prefix {
            assert_eq!(found.get(&number), Some(&number), "a gap");
            assert!(layer.db().meta_text(&format!("text {number}")).unwrap().is_some());
        }
        assert_eq!(layer.db().inode(Ino(1)).unwrap(), None);
        prefix
    }

    #[test]
    fn a_journal_of_this_version_is_read_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let journal = killed(folder.path(), 100, "text");
        let (bytes, length) = read(&journal).unwrap();
        assert_eq!(length, 64 << 20);
        let whole = whole_batches(&bytes);
        assert!(whole > 100 * 50, "{whole}");
        assert!(bytes[whole..].iter().all(|&byte| byte == 0));
        assert_eq!(mend(journal.parent().unwrap(), false, 0).unwrap(), 0);
        assert_eq!(prefix(folder.path(), 100), 100);
    }

    #[test]
    fn a_batch_that_a_kill_cut_short_never_happened() {
        // Long enough for every cut to be tried in reasonable time, with the lengths of an item among them.
        let folder = tempfile::tempdir().unwrap();
        let journal = killed(folder.path(), 3, "text");
        let (bytes, _) = read(&journal).unwrap();
        let whole = whole_batches(&bytes);
        let last = (1..whole).rev().find(|&start| batch(&bytes[start..whole]) == Part::Batch(whole - start)).unwrap();
        for end in last + 1..whole {
            let file = File::options().write(true).open(&journal).unwrap();
            file.set_len(0).unwrap();
            file.write_all_at(&bytes[..end], 0).unwrap();
            file.set_len(64 << 20).unwrap();
            mend(journal.parent().unwrap(), false, 0).unwrap();
            let (left, _) = read(&journal).unwrap();
            assert_eq!(whole_batches(&left), last);
            assert!(left[last..].iter().all(|&byte| byte == 0), "{end}");
        }
        assert_eq!(prefix(folder.path(), 3), 2);
    }

    #[test]
    fn any_pages_that_a_power_cut_took_leave_a_prefix() {
        // Values of more than a page, so that a lost page can leave lengths right and bytes wrong.
        for (text, count) in [("a".repeat(9000), 8), ("short".to_owned(), 400)] {
            let folder = tempfile::tempdir().unwrap();
            let journal = killed(folder.path(), count, &text);
            let (bytes, _) = read(&journal).unwrap();
            let pages = whole_batches(&bytes).div_ceil(4096);
            assert!(pages > 4);
            for lost in 0..pages {
                let mut torn = bytes.clone();
                let end = torn.len().min((lost + 1) * 4096);
                torn[lost * 4096..end].fill(0);
                fs::write(&journal, &torn).unwrap();
                let dropped = mend(journal.parent().unwrap(), true, 0).unwrap();
                let (left, _) = read(&journal).unwrap();
                let whole = whole_batches(&left);
                assert!(whole <= lost * 4096 && left[whole..].iter().all(|&byte| byte == 0));
                assert!(lost + 1 == pages || dropped > 0);
                if lost > 0 {
                    assert!(prefix(folder.path(), count) < count);
                }
            }
        }
    }

    #[test]
    fn damage_is_refused_where_nothing_can_be_torn() {
        let folder = tempfile::tempdir().unwrap();
        let journal = killed(folder.path(), 50, "text");
        let (bytes, _) = read(&journal).unwrap();
        let whole = whole_batches(&bytes);
        for at in (0..whole - 200).step_by(17) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x55;
            fs::write(&journal, &damaged).unwrap();
            match mend(journal.parent().unwrap(), false, 0) {
                Err(LayerError::Damaged { offset, .. }) => assert!(offset <= at as u64),
                // A batch's sequence number is under no checksum.
                Ok(0) => assert!(whole_batches(&damaged) >= whole, "{at}"),
                other => panic!("{at}: {other:?}"),
            }
            assert_eq!(fs::read(&journal).unwrap(), damaged, "nothing is changed on doubt");
        }
        // A journal that isn't the last was synced, power cut or not.
        fs::write(&journal, &bytes[..whole - 3]).unwrap();
        fs::write(journal.with_file_name("9999.jnl"), []).unwrap();
        assert!(matches!(mend(journal.parent().unwrap(), true, 0), Err(LayerError::Damaged { .. })));
    }
}
