//! The one way in which a file of the store comes into being: written where nobody sees it, then given its name in one step.
//!
//! A pending file is unnamed (O_TMPFILE) where the filesystem can, else in `tmp/`. Whatever is in `tmp/` is flocked by who writes it, and
//! gets its name there under the shared store lock, so that a collection (which holds the exclusive one) can tell leftovers from work.

use super::error::{Context, Result, StoreError};
use super::{Store, layout::Layout};
use crate::sys::{flock, tmpfile};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A file that has no name in the store yet. Dropped without one, it is gone.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) file: File,
    named: Option<PathBuf>,
}

impl Pending {
    pub(super) fn create(store: &Store) -> Result<Self> {
        let objects = store.layout().objects();
        match tmpfile::unnamed(&objects) {
            Ok(Some(file)) => Ok(Self { file, named: None }),
            Ok(None) => Self::create_named(store),
            Err(source) => Err(unwritable(store.layout(), source)),
        }
    }

    /// For filesystems without unnamed files.
    pub(super) fn create_named(store: &Store) -> Result<Self> {
        let _shared = store.shared()?;
        let path = store.layout().tmp_file(&unique());
        let made = OpenOptions::new().read(true).write(true).create_new(true).open(&path);
        let file = made.map_err(|source| unwritable(store.layout(), source))?;
        flock::exclusive(&file).context("lock", &path)?;
        Ok(Self { file, named: Some(path) })
    }

    /// Names the file `to`, if nothing has that name. `false`: something has.
    pub(super) fn publish_new(&self, to: &Path) -> Result<bool> {
        let linked = match &self.named {
            None => tmpfile::link(&self.file, to),
            Some(path) => fs::hard_link(path, to),
        };
        match linked {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(StoreError::io("create", to, error)),
        }
    }

    /// Names the file `to`, in place of what has that name.
    pub(super) fn publish_over(mut self, store: &Store, to: &Path) -> Result<()> {
        let from = match self.named.take() {
            Some(path) => path,
            None => {
                let path = store.layout().tmp_file(&unique());
                flock::exclusive(&self.file).context("lock", &path)?;
                tmpfile::link(&self.file, &path).context("create", &path)?;
                path
            }
        };
        self.named = Some(from.clone());
        fs::rename(&from, to).context("replace", to)?;
        self.named = None;
        Ok(())
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(path) = &self.named {
            // What can't be removed now is removed by a collection.
            let _ = fs::remove_file(path);
        }
    }
}

/// Replaces the small file `to` by one with `bytes`: atomic, and on disk when this returns.
pub(super) fn replace_durably(store: &Store, to: &Path, bytes: &[u8]) -> Result<()> {
    let mut pending = Pending::create(store)?;
    pending.file.write_all(bytes).context("write", to)?;
    set_mode(&pending.file, 0o644).context("write", to)?;
    pending.file.sync_all().context("sync", to)?;
    pending.publish_over(store, to)?;
    sync_parent(to)
}

/// Makes names in the folder of `path` durable.
pub(super) fn sync_parent(path: &Path) -> Result<()> {
    let folder = path.parent().unwrap_or(path);
    sync_folder(folder)
}

/// Makes names in `folder` durable.
pub(super) fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|folder| folder.sync_all()).context("sync", folder)
}

pub(super) fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(fs::Permissions::from_mode(mode))
}

/// A name that no other file of this store has: time, process, and a count.
pub(super) fn unique() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    format!("{nanos}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The time now, in milliseconds since the epoch: what leases, histories and batches of the trash are dated by.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn unwritable(layout: &Layout, source: io::Error) -> StoreError {
    match source.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            StoreError::NotWritable { path: layout.root().to_owned(), source }
        }
        _ => StoreError::io("create a file in", layout.root(), source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both kinds of pending files do the same.
    #[test]
    fn pending_files_appear_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::init(&folder.path().join("store")).unwrap();
        let to = store.layout().lease("file");
        let left = || fs::read_dir(store.layout().tmp()).unwrap().count();
        for create in [Pending::create, Pending::create_named] {
            let write = |text: &str| {
                let mut pending = create(&store).unwrap();
                pending.file.write_all(text.as_bytes()).unwrap();
                pending
            };
            assert!(write("one").publish_new(&to).unwrap());
            assert!(!write("two").publish_new(&to).unwrap());
            assert_eq!(fs::read_to_string(&to).unwrap(), "one");
            write("three").publish_over(&store, &to).unwrap();
            assert_eq!(fs::read_to_string(&to).unwrap(), "three");
            drop(write("never"));
            assert_eq!(left(), 0);
            fs::remove_file(&to).unwrap();
        }
    }

    #[test]
    fn a_collection_leaves_a_pending_file_alone() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::init(&folder.path().join("store")).unwrap();
        let pending = Pending::create_named(&store).unwrap();
        assert_eq!(store.sweep().unwrap().tidy_tmp().unwrap(), 0);
        assert!(pending.publish_new(&store.layout().lease("file")).unwrap());
        fs::write(store.layout().tmp_file("left"), "").unwrap();
        assert_eq!(store.sweep().unwrap().tidy_tmp().unwrap(), 1);
    }
}
