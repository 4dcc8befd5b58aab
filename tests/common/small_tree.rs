//! A store with a small tree for tests without a mount, and a filesystem over it spoken to by path.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test file uses its own part of this")]
#![allow(clippy::unwrap_used, reason = "a test that can't go on shall panic")]

use cairnfs::format::{Digest, Mode, Name};
use cairnfs::ingest::{ImportOptions, Progress, import_dir};
use cairnfs::snapshot;
use cairnfs::store::Store;
use cairnfs::vfs::{Attr, Caller, Fs, Ino, Make, OpenMode};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

pub const ROOT: Caller = Caller { uid: 0, gid: 0, pid: 0 };

/// Makes `a/b/c` (file), `a/link` and `twin` (one inode), `dir/0..9`, `sym`, `empty/` in a new directory.
pub fn plant(source: &Path) {
    fs::create_dir_all(source.join("a/b")).unwrap();
    fs::write(source.join("a/b/c"), "clean content").unwrap();
    fs::write(source.join("twin"), "two names").unwrap();
    fs::hard_link(source.join("twin"), source.join("a/link")).unwrap();
    fs::create_dir(source.join("dir")).unwrap();
    for n in 0..10 {
        fs::write(source.join(format!("dir/{n}")), format!("file {n}")).unwrap();
    }
    symlink("a/b/c", source.join("sym")).unwrap();
    fs::create_dir(source.join("empty")).unwrap();
}

pub fn import(store: &Store, source: &Path, name: &str) -> Digest {
    let mut options = ImportOptions::new(name.parse().unwrap());
    options.created_at = Some("2026-01-01T00:00:00Z".to_owned());
    import_dir(store, source, &options, &Progress::default()).unwrap().manifest
}

pub fn take_snapshot(fs: &Fs, reference: &str) -> snapshot::Report {
    let request = snapshot::Request {
        name: reference.parse().unwrap(),
        labels: Default::default(),
        created_at: Some("2026-01-02T00:00:00Z".to_owned()),
        parent: None,
    };
    snapshot::take(fs, &request, &mut |_| Ok(())).unwrap()
}

pub fn name(text: &str) -> Name<'_> {
    Name::new(text.as_bytes()).unwrap()
}

pub fn find(fs: &Fs, path: &str) -> Option<Attr> {
    let mut attr = fs.attr(Ino::ROOT).unwrap();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        attr = fs.lookup(attr.ino, name(part)).unwrap()?;
    }
    Some(attr)
}

pub fn ino(fs: &Fs, path: &str) -> Ino {
    find(fs, path).unwrap_or_else(|| panic!("no {path}")).ino
}

/// The directory of a path, and its last name.
pub fn at<'a>(fs: &Fs, path: &'a str) -> (Ino, Name<'a>) {
    let (dir, last) = path.rsplit_once('/').unwrap_or(("", path));
    (ino(fs, dir), name(last))
}

pub fn read(fs: &Fs, path: &str) -> String {
    let opened = fs.open(ino(fs, path), OpenMode::default()).unwrap();
    let mut buffer = vec![0; 1 << 16];
    let count = fs.read(opened.handle, 0, &mut buffer).unwrap();
    fs.release(opened.handle);
    String::from_utf8(buffer[..count].to_vec()).unwrap()
}

pub fn create(fs: &Fs, path: &str, text: &str) -> Ino {
    let (dir, last) = at(fs, path);
    let open = OpenMode { write: true, truncate: false };
    let (attr, opened) = fs.create(ROOT, dir, last, Mode::from_bits(0o644), 0, open).unwrap();
    fs.write(opened.handle, 0, text.as_bytes()).unwrap();
    fs.release(opened.handle);
    attr.ino
}

pub fn make(fs: &Fs, path: &str, what: Make) -> Ino {
    let (dir, last) = at(fs, path);
    fs.make(ROOT, dir, last, what, Mode::from_bits(0o755), 0).unwrap().ino
}

pub fn mkdir(fs: &Fs, path: &str) -> Ino {
    make(fs, path, Make::Dir)
}

pub fn list(fs: &Fs, path: &str) -> Vec<String> {
    let mut names = Vec::new();
    fs.read_dir(ino(fs, path), 0, true, &mut |entry| {
        names.push(String::from_utf8_lossy(entry.name).into_owned());
        true
    })
    .unwrap();
    names.retain(|name| name != "." && name != "..");
    names
}
