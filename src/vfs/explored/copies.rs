//! Copy-up, open files and their end.

use super::*;
use crate::vfs::ContentKey;

/// `copy_locks` > `tree_lock` > open files. Two writers of one clean file: it is copied once, and keeps what both wrote.
#[test]
fn copy_up_against_copy_up() {
    explore(Setting::new, |setting| {
        let case = setting.clean();
        let write = |at: u64, byte: &'static [u8]| {
            case.task(move |case| {
                let opened = case.fs.open(case.ino, WRITE).unwrap();
                case.fs.write(opened.handle, at, byte).unwrap();
                case.fs.release(opened.handle);
            })
        };
        together(vec![write(0, b"1"), write(1, b"2")]);
        assert_eq!(case.content(), [b"12", &CLEAN[2..]].concat());
        assert_eq!(case.generations(), [1], "copied once");
        case.assert_whole();
    });
}

/// The same with truncation: what is left is what a writer wrote, without a byte of the base.
#[test]
fn copy_up_against_truncating_open() {
    explore(Setting::new, |setting| {
        let case = setting.clean();
        let end = case.task(|case| {
            let opened = case.fs.open(case.ino, WRITE).unwrap();
            case.fs.write(opened.handle, CLEAN.len() as u64, b"!").unwrap();
            case.fs.release(opened.handle);
        });
        together(vec![end, case.task(|case| case.overwrite(b"new").unwrap())]);
        let content = case.content();
        let padded = [b"new", &[0; CLEAN.len() - 3][..], b"!"].concat();
        assert!(content == b"new" || content == padded, "{content:?}");
        case.assert_whole();
    });
}

/// `tree_lock` > open files, against the kernel's last words: an inode that has no name is gone, whoever speaks last.
#[test]
fn copy_up_against_unlink_then_release_against_forget() {
    explore(Setting::new, |setting| {
        let case = setting.clean();
        let handles = Arc::new(std::sync::Mutex::new(Vec::new()));
        let opens = |handles: &Arc<std::sync::Mutex<Vec<HandleId>>>| {
            let handles = handles.clone();
            case.task(move |case| {
                let opened = case.fs.open(case.ino, WRITE).unwrap();
                case.fs.write(opened.handle, 0, b"unseen").unwrap();
                handles.lock().unwrap().push(opened.handle);
            })
        };
        let unlink = case.task(|case| case.fs.unlink(case.dir, case.name()).unwrap());
        together(vec![opens(&handles), unlink, opens(&handles)]);
        assert!(case.lookup().is_none());
        let mut ends: Vec<_> =
            handles.lock().unwrap().drain(..).map(|handle| case.task(move |case| case.fs.release(handle))).collect();
        ends.push(case.task(|case| case.fs.forget(case.ino)));
        together(ends);
        case.assert_gone();
    });
}

/// A handle that was opened before a copy-up reads what was written by the time its read began: `tree_lock`, `inodes`, the file's `source`.
#[test]
fn a_reader_against_the_switch_to_the_copy() {
    explore(Setting::new, |setting| {
        let case = setting.clean();
        let written = Arc::new(AtomicUsize::new(0));
        let (seen, told) = (written.clone(), written);
        let reads = case.task(move |case| {
            let opened = case.fs.open(case.ino, READ).unwrap();
            for _ in 0..3 {
                let before = seen.load(Ordering::SeqCst);
                let content = case.read(opened.handle);
                let new = content == [b"N", &CLEAN[1..]].concat();
                assert!(new || content == CLEAN, "{content:?}");
                assert!(new || before == 0, "a read after the write doesn't see it");
            }
            case.fs.release(opened.handle);
        });
        let writes = case.task(move |case| {
            let opened = case.fs.open(case.ino, WRITE).unwrap();
            case.fs.write(opened.handle, 0, b"N").unwrap();
            told.store(1, Ordering::SeqCst);
            case.fs.release(opened.handle);
        });
        together(vec![reads, writes]);
        case.assert_whole();
    });
}

/// The host file of an open is that of the content it was told, or none: the adapter keeps one for the other. Another reader keeps the
/// inode's open file alive from before the copy-up.
#[test]
fn the_host_file_of_an_open_against_copy_up() {
    explore(Setting::new, |setting| {
        let case = setting.clean();
        let first = case.fs.open(case.ino, READ).unwrap();
        let looks = |case: &Case| {
            case.task(|case| {
                let opened = case.fs.open(case.ino, READ).unwrap();
                let content = case.host_content(&opened);
                match (opened.content, content) {
                    (_, None) => {}
                    (ContentKey::Partial(..), Some(_)) => panic!("a host file for what none has all of"),
                    (ContentKey::Blob(_), Some(content)) => assert_eq!(content, CLEAN, "the layer's file for the blob"),
                    (ContentKey::Data(..), Some(content)) => {
                        let data = opened.file(&case.fs).unwrap();
                        let id = DataId { ino: case.ino, generation: 1 };
                        let path = case.fs.upper().unwrap().layer.data().file_path(id);
                        assert!(data.is_none_or(|data| same_file(&data, &path)), "the blob for the layer's file");
                        assert_eq!(content.len(), CLEAN.len());
                    }
                }
                case.fs.release(opened.handle);
            })
        };
        let writes = case.task(|case| {
            let opened = case.fs.open(case.ino, WRITE).unwrap();
            case.fs.write(opened.handle, 0, b"N").unwrap();
            case.fs.release(opened.handle);
        });
        together(vec![looks(&case), writes, looks(&case)]);
        case.fs.release(first.handle);
        case.assert_whole();
    });
}

fn same_file(file: &std::fs::File, path: &std::path::Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    file.metadata().unwrap().ino() == std::fs::metadata(path).unwrap().ino()
}

/// `inodes` > `handles` > the file's `source`: the data file is open for writing only while a handle for writing is.
#[test]
fn a_writing_file_against_the_last_release() {
    explore(Setting::new, |setting| {
        let case = setting.dirty(b"old");
        let reader = case.fs.open(case.ino, READ).unwrap();
        let write = |byte: &'static [u8]| {
            case.task(move |case| {
                let opened = case.fs.open(case.ino, WRITE).unwrap();
                case.fs.write(opened.handle, 0, byte).unwrap();
                case.fs.release(opened.handle);
            })
        };
        together(vec![write(b"1"), write(b"2")]);
        let id = DataId { ino: case.ino, generation: 1 };
        let file = case.fs.upper().unwrap().layer.data().open_to_read(id).unwrap();
        assert!(!crate::sys::lease::has_writers(&file).unwrap(), "still open for writing");
        case.fs.release(reader.handle);
        case.assert_whole();
    });
}

/// `tree_lock` of the copy-up and of the sync: a copy has its origin until it is known to be on disk.
#[test]
fn fsync_against_copy_up() {
    explore(Setting::new, |setting| {
        let case = setting.clean();
        let reader = case.fs.open(case.ino, READ).unwrap().handle;
        let sync = case.task(move |case| case.fs.fsync(reader, true).unwrap());
        let writes = case.task(|case| {
            let opened = case.fs.open(case.ino, WRITE).unwrap();
            case.fs.write(opened.handle, 0, b"N").unwrap();
            assert!(recorded(&case).is_some_and(|content| matches!(content, FileContent::Data { .. })));
            case.fs.fsync(opened.handle, true).unwrap();
            assert_eq!(recorded(&case), Some(FileContent::Data { origin: None }), "synced, and not settled");
            case.fs.release(opened.handle);
        });
        together(vec![sync, writes]);
        case.fs.release(reader);
        case.assert_whole();
    });
}
