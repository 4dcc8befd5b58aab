//! Files copied up by range: changes against each other, snapshots, settling and the end of the file's being partial.

use super::*;
use crate::format::Digest;
use crate::vfs::{ContentKey, Copying, SetAttr};
use std::collections::HashMap;

impl Setting {
    fn by_range() -> Self {
        let setting = Self::new();
        setting.fs.copy_by(Copying::Range);
        setting
    }
}

impl Case {
    /// Writes `bytes` at `at`, and closes.
    fn put(&self, at: u64, bytes: &[u8]) {
        let opened = self.fs.open(self.ino, WRITE).unwrap();
        assert_eq!(self.fs.write(opened.handle, at, bytes).unwrap(), bytes.len());
        let mut found = vec![0; bytes.len()];
        self.fs.read(opened.handle, at, &mut found).unwrap();
        assert_eq!(found, bytes, "a write isn't read back");
        self.fs.release(opened.handle);
    }

    fn puts(&self, at: u64, bytes: &'static [u8]) -> Box<dyn FnOnce() + Send> {
        self.task(move |case| case.put(at, bytes))
    }

    fn truncate(&self, size: u64) {
        self.fs.set_attr(CALLER, self.ino, &SetAttr { size: Some(size), ..SetAttr::default() }).unwrap();
    }

    fn settles(&self) -> Box<dyn FnOnce() + Send> {
        self.task(|case| case.fs.upper().unwrap().settle().unwrap())
    }
}

/// `copy_locks` > `partials` > `tree_lock`: each block comes over once, and keeps what both wrote.
#[test]
fn writes_against_each_other() {
    explore(Setting::by_range, |setting| {
        let case = setting.clean();
        together(vec![case.puts(0, b"1"), case.puts(1, b"2")]);
        assert_eq!(case.content(), [b"12", &CLEAN[2..]].concat());
        assert_eq!(case.generations(), [1], "copied once");
        case.assert_whole();
    });
}

/// A pass of settling makes the file ordinary when its only block is there and known to be on disk, whoever writes meanwhile.
#[test]
fn writes_against_settling() {
    explore(Setting::by_range, |setting| {
        let case = setting.clean();
        let reader = case.fs.open(case.ino, READ).unwrap();
        together(vec![case.puts(0, b"1"), case.settles(), case.puts(1, b"2")]);
        let right = [b"12", &CLEAN[2..]].concat();
        assert_eq!((case.content(), case.read(reader.handle)), (right.clone(), right.clone()));
        case.fs.upper().unwrap().settle().unwrap();
        assert_eq!(recorded(&case), Some(FileContent::Data { origin: None }), "all of it is there");
        let opened = case.fs.open(case.ino, READ).unwrap();
        assert!(matches!(opened.content, ContentKey::Data(..)));
        case.fs.release(opened.handle);
        case.fs.release(reader.handle);
        assert_eq!(case.content(), right);
        case.assert_whole();
    });
}

/// What was cut off doesn't come back when the file grows, whatever comes in between.
#[test]
fn cutting_against_writes() {
    explore(Setting::by_range, |setting| {
        let case = setting.clean();
        let cut = case.task(|case| case.truncate(3));
        let writes = case.task(|case| {
            let opened = case.fs.open(case.ino, WRITE).unwrap();
            case.fs.write(opened.handle, 6, b"!").unwrap();
            case.fs.release(opened.handle);
        });
        together(vec![cut, writes, case.settles()]);
        let grown = [&CLEAN[..3], &[0; 3], b"!"].concat();
        let content = case.content();
        assert!(content == CLEAN[..3] || content == grown, "{content:?}");
        case.assert_whole();
    });
}

/// A length from after a file has grown isn't put together with what was visible of the blob before it.
#[test]
fn a_reader_against_growing() {
    explore(Setting::by_range, |setting| {
        let case = setting.clean();
        // Partial content of which no block is held.
        case.put(0, b"");
        case.truncate(3);
        let reader = case.fs.open(case.ino, READ).unwrap().handle;
        let cut = CLEAN[..3].to_vec();
        let grown = [&cut[..], &[0; 3], b"!"].concat();
        let reads = case.task(move |case| {
            let found = case.read(reader);
            assert!([&cut, &grown].contains(&&found), "{found:?}");
        });
        together(vec![case.puts(6, b"!"), reads]);
        case.fs.release(reader);
        case.assert_whole();
    });
}

/// `frozen` under `tree_lock`: a file that a snapshot makes clean isn't cut as if it were partial still.
#[test]
fn cutting_against_the_end_of_a_snapshot() {
    explore(Setting::by_range, |setting| {
        let case = setting.clean();
        // No block of it is held, so that settling doesn't make it ordinary.
        case.put(0, b"");
        let (with, (begun, begins)) = (setting.clone(), shuttle::sync::mpsc::channel());
        let takes = case.task(move |case| {
            let frozen = case.fs.freeze().unwrap();
            let (_, sealed) = with.take_in(&frozen, &case);
            begun.send(()).unwrap();
            case.fs.rebase(&sealed).unwrap();
        });
        let cuts = case.task(move |case| {
            begins.recv().unwrap();
            case.truncate(3);
        });
        together(vec![takes, cuts]);
        assert_eq!(case.content(), CLEAN[..3], "a truncation is lost");
        case.assert_whole();
    });
}

/// `partials`: a snapshot reads one instant of a file that is open for writing throughout; what is written later goes elsewhere.
#[test]
fn writes_against_a_snapshot() {
    // With its only block the file is ordinary once it is settled; without, it stays partial.
    for old in [&b"old"[..], b""] {
        explore(Setting::by_range, move |setting| writes_against_a_snapshot_of(setting, old));
    }
}

fn writes_against_a_snapshot_of(setting: &Arc<Setting>, old: &'static [u8]) {
    let case = setting.clean();
    case.put(0, old);
    let opened = case.fs.open(case.ino, WRITE).unwrap();
    let handle = opened.handle;
    let writes = case.task(move |case| {
        case.fs.write(handle, 0, b"new").unwrap();
    });
    let (with, changed) = (setting.clone(), case.clone());
    let takes = case.task(move |case| {
        let frozen = case.fs.freeze().unwrap();
        let mut blobs = HashMap::new();
        for (id, source) in &frozen.content {
            let crate::vfs::freeze::Source::Partial(parts) = source else { continue };
            let put = with.writer.put_reader(&mut parts.reader()).unwrap();
            let before = Digest::of(&[old, &CLEAN[old.len()..]].concat());
            let after = Digest::of(&[b"new", &CLEAN[3..]].concat());
            assert!(id.ino != changed.ino || [before, after].contains(&put.digest), "torn");
            blobs.insert(*id, crate::layer::BlobRef { digest: put.digest, size: put.size });
        }
        case.fs.rebase(&blobs).unwrap();
    });
    together(vec![writes, takes]);
    assert_eq!(case.content(), [b"new", &CLEAN[3..]].concat(), "a write is lost");
    // The handle goes on, whatever the content has become.
    case.fs.write(handle, 4, b"!").unwrap();
    case.fs.release(handle);
    assert_eq!(case.content(), [b"new", &CLEAN[3..4], b"!", &CLEAN[5..]].concat());
    case.assert_whole();
}
