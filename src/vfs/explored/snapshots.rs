//! A snapshot's three steps against all that changes content.

use super::*;
use crate::format::Digest;
use crate::layer::BlobRef;
use crate::vfs::freeze::{Frozen, Source};
use std::collections::HashMap;
use std::io::Read;

impl Setting {
    /// Freezes, takes content in, rebases, lets go, as `snapshot::take` does; returns what it took of `case`. Where the file is written, it
    /// may be anything that the file was.
    pub(crate) fn snapshot(&self, case: &Case) -> Vec<u8> {
        let frozen = self.fs.freeze().unwrap();
        let (taken, sealed) = self.take_in(&frozen, case);
        self.fs.rebase(&sealed).unwrap();
        drop(frozen);
        for blob in sealed.values() {
            self.assert_blob(*blob);
        }
        taken
    }

    /// Takes in what is frozen; returns what it is of `case`, and the blobs of what is sealed.
    pub(super) fn take_in(&self, frozen: &Frozen<'_>, case: &Case) -> (Vec<u8>, HashMap<DataId, BlobRef>) {
        let (mut taken, mut sealed) = (Vec::new(), HashMap::new());
        for (id, source) in &frozen.content {
            let mut content = Vec::new();
            match source {
                Source::Sealed(path) => {
                    std::fs::File::open(path).unwrap().read_to_end(&mut content).unwrap();
                    let digest = Digest::of(&content);
                    let put = self.writer.adopt(path, digest).unwrap();
                    sealed.insert(*id, BlobRef { digest, size: put.size });
                }
                Source::Partial(parts) => {
                    parts.reader().read_to_end(&mut content).unwrap();
                    let put = self.writer.put_bytes(&content).unwrap();
                    sealed.insert(*id, BlobRef { digest: put.digest, size: put.size });
                }
                Source::Copy(file) => {
                    content = vec![0; file.metadata().unwrap().len() as usize];
                    file.read_exact_at(&mut content, 0).unwrap();
                }
            }
            if id.ino == case.ino {
                taken = content;
            }
        }
        (taken, sealed)
    }

    /// Content of its own for every order, so that a snapshot really takes the data file for the blob.
    pub(crate) fn own(&self, case: &Case, text: &str) -> Vec<u8> {
        format!("{text} {}", case.name).into_bytes()
    }

    /// A blob is never written.
    fn assert_blob(&self, blob: BlobRef) {
        let mut content = Vec::new();
        self.fs.base.store().open_blob(blob.digest, blob.size).unwrap().read_to_end(&mut content).unwrap();
        assert_eq!(Digest::of(&content), blob.digest, "a blob was written");
    }
}

fn snapshots(setting: &Arc<Setting>, case: &Case, may_be: Vec<Vec<u8>>) -> Box<dyn FnOnce() + Send> {
    let setting = setting.clone();
    case.task(move |case| {
        let taken = setting.snapshot(&case);
        assert!(may_be.contains(&taken), "the snapshot has {:?}", String::from_utf8_lossy(&taken));
    })
}

/// `tree_lock`, `frozen`, `copy_locks`, open files: what is written is read back and stays; the snapshot's blobs are never written; no
/// data file is left or missing.
#[test]
fn open_for_writing_against_a_snapshot() {
    explore(Setting::new, |setting| {
        let case = setting.clean();
        let (old, new) = (setting.own(&case, "old"), setting.own(&case, "new"));
        case.overwrite(&old).unwrap();
        let written = new.clone();
        let writes = case.task(move |case| {
            let opened = case.fs.open(case.ino, WRITE).unwrap();
            assert!(opened.writable);
            case.fs.write(opened.handle, 0, &written).unwrap();
            assert_eq!(case.read(opened.handle), written, "a write isn't read back");
            case.fs.release(opened.handle);
        });
        together(vec![writes, snapshots(setting, &case, vec![old, new.clone()])]);
        assert_eq!(case.content(), new, "a write is lost");
        case.assert_whole();
        assert!(setting.fs.upper().unwrap().frozen.lock().is_empty());
        // Once more without a writer: what was copied up again is sealed and becomes clean.
        let was_clean = case.generations().is_empty();
        let taken = setting.snapshot(&case);
        assert_eq!(taken, if was_clean { &b""[..] } else { &new });
        assert_eq!(case.content(), new);
        case.assert_whole();
    });
}

/// `copy_locks` > `tree_lock` of a copy-up, against the end of a snapshot that has sealed what is copied.
#[test]
fn copy_up_against_the_end_of_a_snapshot() {
    explore(Setting::new, |setting| {
        let case = setting.clean();
        let (old, new) = (setting.own(&case, "old"), setting.own(&case, "new"));
        case.overwrite(&old).unwrap();
        let frozen = setting.fs.freeze().unwrap();
        let sealed = setting.take_in(&frozen, &case).1;
        shuttle::thread::scope(|scope| {
            scope.spawn(|| {
                let opened = case.fs.open(case.ino, WRITE).unwrap();
                case.fs.write(opened.handle, 0, &new).unwrap();
                case.fs.release(opened.handle);
            });
            scope.spawn(|| {
                setting.fs.rebase(&sealed).unwrap();
                drop(frozen);
            });
        });
        assert_eq!(case.content(), new, "a write is lost");
        case.assert_whole();
    });
}

/// The same with an open that truncates.
#[test]
fn truncation_against_a_snapshot() {
    explore(Setting::new, |setting| {
        let case = setting.clean();
        let (old, new) = (setting.own(&case, "old"), setting.own(&case, "new"));
        case.overwrite(&old).unwrap();
        let written = new.clone();
        let writes = case.task(move |case| case.overwrite(&written).unwrap());
        together(vec![writes, snapshots(setting, &case, vec![old, new.clone(), Vec::new()])]);
        assert_eq!(case.content(), new, "a write is lost");
        case.assert_whole();
    });
}

/// A reader, with a handle from before and with new ones, always finds the bytes, whoever holds them at the moment.
#[test]
fn readers_against_a_snapshot() {
    explore(Setting::new, |setting| {
        let case = setting.clean();
        let content = setting.own(&case, "read");
        case.overwrite(&content).unwrap();
        let before = case.fs.open(case.ino, READ).unwrap().handle;
        let (first, second) = (content.clone(), content.clone());
        let reads = case.task(move |case| {
            assert_eq!(case.read(before), first);
            let opened = case.fs.open(case.ino, READ).unwrap();
            if let Some(host) = case.host_content(&opened) {
                assert_eq!(host, first);
            }
            assert_eq!(case.read(opened.handle), first);
            case.fs.release(opened.handle);
        });
        let opens = case.task(move |case| assert_eq!(case.content(), second));
        together(vec![reads, opens, snapshots(setting, &case, vec![content.clone()])]);
        assert_eq!(case.read(before), content);
        case.fs.release(before);
        case.assert_whole();
        assert_eq!(case.generations(), Vec::<u32>::new(), "the data file is a blob now");
    });
}

/// A file that loses its name while a snapshot holds its content: the snapshot has it whole, and nothing stays.
#[test]
fn unlink_and_forget_against_a_snapshot() {
    explore(Setting::new, |setting| {
        let case = setting.clean();
        let content = setting.own(&case, "goes");
        case.overwrite(&content).unwrap();
        let opened = case.fs.open(case.ino, READ).unwrap().handle;
        let goes = case.task(move |case| {
            case.fs.unlink(case.dir, case.name()).unwrap();
            case.fs.release(opened);
            case.fs.forget(case.ino);
        });
        // One that was unlinked before has nothing to take.
        together(vec![goes, snapshots(setting, &case, vec![content, Vec::new()])]);
        case.assert_gone();
    });
}

/// A sync of what a snapshot makes clean at the same time.
#[test]
fn fsync_against_a_snapshot_and_a_copy_up() {
    explore(Setting::new, |setting| {
        let case = setting.clean();
        let (old, new) = (setting.own(&case, "old"), setting.own(&case, "new"));
        case.overwrite(&old).unwrap();
        let reader = case.fs.open(case.ino, READ).unwrap().handle;
        let sync = case.task(move |case| case.fs.fsync(reader, true).unwrap());
        let written = new.clone();
        let writes = case.task(move |case| {
            let opened = case.fs.open(case.ino, WRITE).unwrap();
            case.fs.write(opened.handle, 0, &written).unwrap();
            case.fs.release(opened.handle);
        });
        together(vec![sync, writes, snapshots(setting, &case, vec![old, new.clone()])]);
        case.fs.release(reader);
        assert_eq!(case.content(), new);
        case.assert_whole();
    });
}
