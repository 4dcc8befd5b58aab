//! What the tests of the check share: a store with a base, a layer made through the filesystem, and ways to damage it.

#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test file uses its own part of this")]
#![allow(clippy::unwrap_used, reason = "a test that can't go on shall panic")]

#[path = "../common/random.rs"]
pub mod random;
#[path = "../common/small_tree.rs"]
mod small_tree;

#[allow(unused_imports, reason = "each test file uses its own part of this")]
pub use small_tree::{ROOT, at, create, find, ino, list, make, mkdir, name, read, take_snapshot};

use cairnfs::format::{Digest, Kind};
use cairnfs::fsck::{self, Alone, Code, Mending, Options, Report};
use cairnfs::layer::{Child, DataDir, DataId, Db, InodeRecord, Layer, NameRecord, Space};
use cairnfs::store::Store;
use cairnfs::vfs::{Fs, Ino, Make, OpenMode, RenameMode};
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

pub struct Bench {
    pub folder: TempDir,
    pub store: Store,
    pub base: Digest,
}

impl Bench {
    /// A store with one manifest: `a/b/c` (file), `a/link` and `twin` (one inode), `dir/0..9`, `sym`, `empty/`, `deep/x/y/z/leaf`.
    pub fn new() -> Self {
        // In memory, where syncing takes no time.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let source = folder.path().join("source");
        small_tree::plant(&source);
        fs::create_dir_all(source.join("deep/x/y/z")).unwrap();
        fs::write(source.join("deep/x/y/z/leaf"), "leaf").unwrap();
        let store = Store::init(&folder.path().join("store")).unwrap();
        let base = small_tree::import(&store, &source, "base");
        Self { folder, store, base }
    }

    pub fn layer(&self) -> PathBuf {
        self.folder.path().join("layer")
    }

    /// The filesystem with its layer, opened anew.
    pub fn open(&self) -> Fs {
        fs::create_dir_all(self.layer()).unwrap();
        Fs::with_layer(&self.store, self.base, Layer::open(&self.layer()).unwrap()).unwrap()
    }

    /// A layer with some of everything, closed in good order.
    pub fn with_changes() -> Self {
        let bench = Self::new();
        let fs = bench.open();
        write(&fs, "a/b/c", "dirty content");
        create(&fs, "new", "new content");
        mkdir(&fs, "made");
        create(&fs, "made/file", "made content");
        mkdir(&fs, "made/sub");
        rename(&fs, "deep/x", "made/moved");
        rename(&fs, "dir/1", "dir/one");
        unlink(&fs, "dir/2");
        unlink(&fs, "a/link");
        link(&fs, "twin", "made/twin");
        link(&fs, "new", "made/new");
        make(&fs, "made/link", Make::Symlink(b"target"[..].into()));
        make(&fs, "made/fifo", Make::Node(Kind::Fifo, Default::default()));
        close(fs);
        bench
    }

    /// Changes the layer's database behind the filesystem's back.
    pub fn damage(&self, act: impl FnOnce(&Db)) {
        let db = Db::open(&self.layer().join("index")).unwrap();
        act(&db);
        db.persist().unwrap();
    }

    pub fn check(&self) -> Report {
        fsck::check_layer(&self.store, self.base, &self.layer(), Options::default()).unwrap()
    }

    pub fn run(&self, mending: Mending) -> Report {
        fsck::run(&self.store, self.base, &self.layer(), Options::default(), mending, &Alone).unwrap()
    }

    /// Checks that exactly these problems are there, by code and path; mends them; checks that nothing is wrong then.
    pub fn expect(&self, expected: &[(Code, Option<&str>)]) -> Report {
        let before = tree_of(&self.layer());
        let report = self.check();
        let mut found: Vec<_> = report.problems.iter().map(|told| (told.code, told.path.as_deref())).collect();
        let mut expected = expected.to_vec();
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{:#?}", report.problems);
        let planned = self.run(Mending::Planned);
        assert!(!planned.repaired);
        assert_eq!(tree_of(&self.layer()), before, "a check changed the layer");
        let repaired = self.run(Mending::Done);
        assert_eq!(repaired.actions, planned.actions);
        assert!(repaired.repaired && repaired.is_sound(), "{repaired:#?}");
        self.expect_clean();
        repaired
    }

    pub fn expect_clean(&self) {
        let report = self.check();
        assert!(report.problems.is_empty() && report.notes.is_empty(), "{report:#?}");
    }
}

/// Every file beneath a folder, with its bytes.
pub fn tree_of(folder: &std::path::Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let bytes = fs::read(&path).unwrap();
                all.push((path, bytes));
            }
        }
    }
    all.sort();
    all
}

/// Closes the layer in good order, and frees it.
pub fn close(fs: Fs) {
    fs.close().unwrap();
}

pub fn write(fs: &Fs, path: &str, text: &str) {
    let opened = fs.open(ino(fs, path), OpenMode { write: true, truncate: true }).unwrap();
    fs.write(opened.handle, 0, text.as_bytes()).unwrap();
    fs.release(opened.handle);
}

pub fn unlink(fs: &Fs, path: &str) {
    let (dir, last) = at(fs, path);
    let gone = ino(fs, path);
    fs.unlink(dir, last).unwrap();
    fs.forget(gone);
}

pub fn link(fs: &Fs, path: &str, new: &str) {
    let (dir, last) = at(fs, new);
    fs.link(ino(fs, path), dir, last).unwrap();
}

pub fn rename(fs: &Fs, from: &str, to: &str) {
    fs.rename(at(fs, from), at(fs, to), RenameMode::Replace).unwrap();
}

/// Inodes of a bench's paths, asked before it is damaged.
pub fn inos<const N: usize>(bench: &Bench, paths: [&str; N]) -> [Ino; N] {
    let fs = bench.open();
    let inos = paths.map(|path| ino(&fs, path));
    close(fs);
    inos
}

pub fn change(db: &Db, ino: Ino, change: impl FnOnce(&mut InodeRecord)) {
    let mut record = db.inode(ino).unwrap().unwrap();
    change(&mut record);
    let mut batch = db.batch();
    batch.put_inode(ino, &record);
    batch.commit().unwrap();
}

pub fn child(db: &Db, dir: Ino, text: &str) -> Child {
    match db.name(dir, name(text)).unwrap() {
        Some(NameRecord::Child(child)) => child,
        other => panic!("{text} is {other:?}"),
    }
}

pub fn put_name(db: &Db, dir: Ino, text: &str, record: NameRecord) {
    let mut batch = db.batch();
    batch.put_name(dir, text.as_bytes(), record);
    batch.commit().unwrap();
}

pub fn remove_name(db: &Db, dir: Ino, text: &str) {
    let mut batch = db.batch();
    batch.remove_name(dir, text.as_bytes());
    batch.commit().unwrap();
}

pub fn remove_inode(db: &Db, ino: Ino) {
    let mut batch = db.batch();
    batch.remove_inode(ino);
    batch.commit().unwrap();
}

pub fn inode_key(ino: Ino) -> Vec<u8> {
    ino.0.to_be_bytes().to_vec()
}

pub fn name_key(dir: Ino, text: &str) -> Vec<u8> {
    [&dir.0.to_be_bytes()[..], text.as_bytes()].concat()
}

pub fn put_raw(db: &Db, space: Space, key: &[u8], value: &[u8]) {
    let mut batch = db.batch();
    batch.put_raw(space, key, value);
    batch.commit().unwrap();
}

pub fn data_path(bench: &Bench, ino: Ino, generation: u32) -> PathBuf {
    DataDir::open(bench.layer().join("data")).unwrap().file_path(DataId { ino, generation })
}

pub fn lost(bench: &Bench) -> Vec<String> {
    let files = fs::read_dir(bench.layer().join("lost")).into_iter().flatten();
    files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect()
}
