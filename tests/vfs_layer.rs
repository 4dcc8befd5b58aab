//! The kernel-free filesystem over a real store and a real layer: no mount.
#![allow(clippy::unwrap_used, reason = "a test that can't go on shall panic")]

#[path = "common/small_tree.rs"]
mod small_tree;

use cairnfs::format::{Device, Digest, Kind, Mode, Timestamp};
use cairnfs::layer::Layer;
use cairnfs::snapshot::{self, ChangeKind};
use cairnfs::store::{Store, StoreError};
use cairnfs::vfs::{
    Caller, ContentKey, Copying, Fs, Ino, Make, OpenMode, RenameMode, SetAttr, SetTime, VfsError, XattrMode,
};
use small_tree::{ROOT, at, create, find, import, ino, list, mkdir, name, read, take_snapshot};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

struct Bench {
    folder: TempDir,
    store: Store,
    base: Digest,
}

impl Bench {
    /// A store with one manifest: `a/b/c` (file), `a/link` and `twin` (one inode), `dir/0..9`, `sym`, `empty/`.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        small_tree::plant(&source);
        fs::set_permissions(source.join("dir/3"), fs::Permissions::from_mode(0o4755)).unwrap();
        let store = Store::init(&folder.path().join("store")).unwrap();
        let base = import(&store, &source, "base");
        Self { folder, store, base }
    }

    fn layer_path(&self) -> PathBuf {
        self.folder.path().join("layer")
    }

    /// The filesystem with its layer, opened anew.
    fn open(&self) -> Fs {
        Fs::with_layer(&self.store, self.base, Layer::open(&self.layer_path()).unwrap()).unwrap()
    }
}

fn write(fs: &Fs, path: &str, offset: u64, text: &str) {
    let opened = fs.open(ino(fs, path), OpenMode { write: true, truncate: false }).unwrap();
    assert_eq!(fs.write(opened.handle, offset, text.as_bytes()).unwrap(), text.len());
    fs.release(opened.handle);
}

#[test]
fn a_read_only_filesystem_shows_the_base_and_refuses_changes() {
    let bench = Bench::new();
    let fs = Fs::read_only(&bench.store, bench.base).unwrap();
    assert_eq!(read(&fs, "a/b/c"), "clean content");
    assert_eq!(find(&fs, "dir/3").unwrap().mode.bits(), 0o4755);
    assert_eq!(find(&fs, "").unwrap().nlink, 5);
    assert_eq!(find(&fs, "twin").unwrap(), find(&fs, "a/link").unwrap());
    assert_eq!(find(&fs, "twin").unwrap().nlink, 2);
    assert_eq!(&*fs.read_link(ino(&fs, "sym")).unwrap(), b"a/b/c");
    assert_eq!(list(&fs, ""), ["a", "dir", "empty", "sym", "twin"]);
    assert!(find(&fs, "nothing").is_none());
    let (dir, last) = at(&fs, "new");
    assert!(matches!(fs.make(ROOT, dir, last, Make::Dir, Mode::default(), 0), Err(VfsError::ReadOnly)));
    let write = OpenMode { write: true, truncate: false };
    assert!(matches!(fs.open(ino(&fs, "twin"), write), Err(VfsError::ReadOnly)));
}

#[test]
fn every_number_of_the_base_leads_back_to_its_entry() {
    let bench = Bench::new();
    let fs = Fs::read_only(&bench.store, bench.base).unwrap();
    let mut pending = vec![Ino::ROOT];
    let mut seen = std::collections::HashSet::new();
    while let Some(dir) = pending.pop() {
        let mut children = Vec::new();
        fs.read_dir(dir, 0, true, &mut |entry| {
            if let Some(attr) = entry.attr {
                assert_eq!(attr.ino, entry.ino);
                children.push(attr);
            }
            true
        })
        .unwrap();
        for child in children {
            assert_eq!(fs.attr(child.ino).unwrap(), child);
            assert!(seen.insert(child.ino) || child.nlink == 2, "{child:?}");
            if child.kind == Kind::Dir {
                pending.push(child.ino);
            }
        }
    }
    assert_eq!(seen.len(), 17);
    assert!(matches!(fs.attr(Ino(1000)), Err(VfsError::Stale(_))));
}

#[test]
fn changes_come_back_after_a_crash_and_after_closing() {
    let bench = Bench::new();
    let numbers = {
        let fs = bench.open();
        create(&fs, "a/new", "made");
        write(&fs, "a/b/c", 0, "DIRTY");
        fs.rename(at(&fs, "dir"), at(&fs, "a/moved"), RenameMode::Replace).unwrap();
        fs.unlink(ino(&fs, ""), name("sym")).unwrap();
        mkdir(&fs, "d");
        (ino(&fs, "a/new"), ino(&fs, "a/b/c"), ino(&fs, "a/moved/7"), ino(&fs, "d"))
        // dropped without closing, as when the daemon is killed
    };
    for round in 0..2 {
        let fs = bench.open();
        assert_eq!(read(&fs, "a/new"), "made");
        assert_eq!(read(&fs, "a/b/c"), "DIRTY content");
        assert_eq!(read(&fs, "a/moved/7"), "file 7");
        assert!(find(&fs, "sym").is_none() && find(&fs, "dir").is_none(), "round {round}");
        assert_eq!((ino(&fs, "a/new"), ino(&fs, "a/b/c"), ino(&fs, "a/moved/7"), ino(&fs, "d")), numbers);
        assert!(ino(&fs, "d") < create(&fs, &format!("fresh{round}"), ""), "numbers aren't given out twice");
        fs.close().unwrap();
    }
    assert_eq!(read(&Fs::read_only(&bench.store, bench.base).unwrap(), "a/b/c"), "clean content");
}

#[test]
fn a_directory_moves_as_one_record() {
    let bench = Bench::new();
    let fs = bench.open();
    let before = (ino(&fs, "dir"), ino(&fs, "dir/5"));
    fs.rename(at(&fs, "dir"), at(&fs, "a/b/deep"), RenameMode::Replace).unwrap();
    assert_eq!((ino(&fs, "a/b/deep"), ino(&fs, "a/b/deep/5")), before);
    assert_eq!(fs.parent(before.0).unwrap(), ino(&fs, "a/b"));
    assert_eq!((find(&fs, "").unwrap().nlink, find(&fs, "a/b").unwrap().nlink), (4, 3));
    let records = fs.records().unwrap();
    assert_eq!(records.inodes.len(), 3, "the moved directory and the two that held it: {:?}", records.inodes.keys());
}

#[test]
fn all_names_of_a_linked_inode_are_one_inode() {
    let bench = Bench::new();
    let fs = bench.open();
    write(&fs, "twin", 4, "NAMES");
    assert_eq!(read(&fs, "a/link"), "two NAMES");
    assert_eq!(find(&fs, "a/link").unwrap(), find(&fs, "twin").unwrap());
    fs.unlink(ino(&fs, ""), name("twin")).unwrap();
    assert_eq!((find(&fs, "a/link").unwrap().nlink, read(&fs, "a/link").as_str()), (1, "two NAMES"));
    let (dir, last) = at(&fs, "third");
    fs.link(ino(&fs, "a/link"), dir, last).unwrap();
    assert_eq!(find(&fs, "third").unwrap().nlink, 2);
    let before = ino(&fs, "a/b/c");
    fs.link(before, dir, name("second")).unwrap();
    assert_eq!((ino(&fs, "second"), find(&fs, "a/b/c").unwrap().nlink), (before, 2));
    assert!(matches!(fs.link(ino(&fs, "a"), dir, name("x")), Err(VfsError::NotPermitted)));
}

#[test]
fn rename_replaces_exchanges_and_refuses() {
    let bench = Bench::new();
    let fs = bench.open();
    let (c, five) = (ino(&fs, "a/b/c"), ino(&fs, "dir/5"));
    fs.rename(at(&fs, "a/b/c"), at(&fs, "dir/5"), RenameMode::Exchange).unwrap();
    assert_eq!((ino(&fs, "a/b/c"), ino(&fs, "dir/5")), (five, c));
    assert!(matches!(fs.rename(at(&fs, "dir/5"), at(&fs, "dir/6"), RenameMode::NoReplace), Err(VfsError::Exists)));
    fs.rename(at(&fs, "dir/5"), at(&fs, "dir/6"), RenameMode::Replace).unwrap();
    assert_eq!((ino(&fs, "dir/6"), find(&fs, "dir/5")), (c, None));
    assert!(matches!(fs.rename(at(&fs, "empty"), at(&fs, "dir"), RenameMode::Replace), Err(VfsError::NotEmpty)));
    assert!(matches!(fs.rename(at(&fs, "dir/6"), at(&fs, "empty"), RenameMode::Replace), Err(VfsError::IsDir)));
    assert!(matches!(fs.rename(at(&fs, "empty"), at(&fs, "dir/6"), RenameMode::Replace), Err(VfsError::NotDir)));
    fs.rename(at(&fs, "dir"), at(&fs, "empty"), RenameMode::Replace).unwrap();
    assert_eq!(list(&fs, "empty").len(), 9);
    // Two names of one inode: nothing happens.
    fs.rename(at(&fs, "twin"), at(&fs, "a/link"), RenameMode::Replace).unwrap();
    assert!(find(&fs, "twin").is_some());
}

#[test]
fn directories_are_emptied_and_removed() {
    let bench = Bench::new();
    let fs = bench.open();
    assert!(matches!(fs.rmdir(ino(&fs, ""), name("dir")), Err(VfsError::NotEmpty)));
    for entry in list(&fs, "dir") {
        fs.unlink(ino(&fs, "dir"), name(&entry)).unwrap();
    }
    create(&fs, "dir/x", "");
    assert!(matches!(fs.rmdir(ino(&fs, ""), name("dir")), Err(VfsError::NotEmpty)));
    fs.unlink(ino(&fs, "dir"), name("x")).unwrap();
    fs.rmdir(ino(&fs, ""), name("dir")).unwrap();
    assert!(find(&fs, "dir").is_none());
    mkdir(&fs, "dir");
    assert_eq!(list(&fs, "dir"), [""; 0], "deleted names don't come back");
    assert!(matches!(fs.unlink(ino(&fs, ""), name("dir")), Err(VfsError::IsDir)));
    assert!(matches!(fs.rmdir(ino(&fs, ""), name("twin")), Err(VfsError::NotDir)));
}

#[test]
fn listings_go_on_while_entries_come_and_go() {
    let bench = Bench::new();
    let fs = bench.open();
    for n in 0..5 {
        create(&fs, &format!("dir/new{n}"), "");
    }
    let dir = ino(&fs, "dir");
    let (mut seen, mut cookie) = (Vec::new(), 0);
    loop {
        let before = seen.len();
        fs.read_dir(dir, cookie, false, &mut |entry| {
            if seen.len() >= before + 2 {
                return false;
            }
            seen.push(String::from_utf8_lossy(entry.name).into_owned());
            cookie = entry.cookie;
            true
        })
        .unwrap();
        if seen.len() == before {
            break;
        }
        // As rm -r does: what was listed goes.
        for entry in seen[before..].iter().filter(|entry| !entry.starts_with('.')) {
            fs.unlink(dir, name(entry)).unwrap();
        }
    }
    let mut unique = seen.clone();
    unique.sort();
    unique.dedup();
    assert_eq!((seen.len(), unique.len()), (17, 17), "{seen:?}");
}

#[test]
fn metadata_changes_leave_content_clean() {
    let bench = Bench::new();
    let fs = bench.open();
    let c = ino(&fs, "a/b/c");
    let time = Timestamp::new(-5, 123_456_789).unwrap();
    let change = SetAttr {
        mode: Some(Mode::from_bits(0o600)),
        uid: Some(5),
        gid: Some(6),
        mtime: Some(SetTime::To(time)),
        ..SetAttr::default()
    };
    fs.set_attr(ROOT, c, &change).unwrap();
    fs.set_xattr(ROOT, c, b"user.k", b"v", XattrMode::Create).unwrap();
    assert!(matches!(fs.set_xattr(ROOT, c, b"user.k", b"", XattrMode::Create), Err(VfsError::Exists)));
    assert!(matches!(fs.set_xattr(ROOT, c, b"user.n", b"", XattrMode::Replace), Err(VfsError::NoAttribute)));
    let attr = fs.attr(c).unwrap();
    assert_eq!((attr.mode.bits(), attr.uid, attr.gid, attr.mtime), (0o600, 5, 6, time));
    let opened = fs.open(c, OpenMode::default()).unwrap();
    assert!(matches!(opened.content, ContentKey::Blob(_)));
    fs.release(opened.handle);
    // Opening for writing copies up and changes no time.
    let opened = fs.open(c, OpenMode { write: true, truncate: false }).unwrap();
    assert!(matches!(opened.content, ContentKey::Data(..)));
    assert_eq!(fs.attr(c).unwrap().mtime, time);
    fs.write(opened.handle, 0, b"x").unwrap();
    assert!(fs.attr(c).unwrap().mtime > time);
    fs.set_attr(ROOT, c, &SetAttr { mtime: Some(SetTime::To(time)), ..SetAttr::default() }).unwrap();
    assert_eq!(fs.attr(c).unwrap().mtime, time);
    fs.release(opened.handle);
}

#[test]
fn truncation_keeps_what_it_should() {
    let bench = Bench::new();
    let fs = bench.open();
    let change = |size| SetAttr { size: Some(size), ..SetAttr::default() };
    assert_eq!(fs.set_attr(ROOT, ino(&fs, "a/b/c"), &change(5)).unwrap().size, 5);
    assert_eq!(read(&fs, "a/b/c"), "clean");
    assert_eq!(fs.set_attr(ROOT, ino(&fs, "dir/1"), &change(8)).unwrap().size, 8);
    assert_eq!(read(&fs, "dir/1"), "file 1\0\0");
    let opened = fs.open(ino(&fs, "dir/2"), OpenMode { write: true, truncate: true }).unwrap();
    fs.release(opened.handle);
    assert_eq!(read(&fs, "dir/2"), "");
    assert!(matches!(fs.set_attr(ROOT, ino(&fs, "a"), &change(0)), Err(VfsError::IsDir)));
    assert!(matches!(fs.set_attr(ROOT, ino(&fs, "a/b/c"), &change(u64::MAX)), Err(VfsError::TooLarge)));
}

#[test]
fn an_open_file_outlives_its_name() {
    let bench = Bench::new();
    let fs = bench.open();
    create(&fs, "gone", "still here");
    let gone = ino(&fs, "gone");
    let opened = fs.open(gone, OpenMode::default()).unwrap();
    fs.unlink(ino(&fs, ""), name("gone")).unwrap();
    assert_eq!(fs.attr(gone).unwrap().nlink, 0);
    fs.forget(gone);
    let mut buffer = [0; 10];
    assert_eq!(fs.read(opened.handle, 0, &mut buffer).unwrap(), 10);
    fs.release(opened.handle);
    assert!(matches!(fs.attr(gone), Err(VfsError::Stale(_))));
    // Not before what is on disk has forgotten it too.
    fs.sync().unwrap();
    let left = walk(&bench.layer_path().join("data"));
    assert_eq!(left, 0, "the data file went with the last handle");
}

fn walk(dir: &Path) -> usize {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { walk(&path) } else { 1 }).sum()
}

#[test]
fn orphans_and_stray_files_of_a_killed_daemon_are_reclaimed() {
    let bench = Bench::new();
    {
        let fs = bench.open();
        create(&fs, "gone", "x");
        create(&fs, "kept", "y");
        fs.open(ino(&fs, "gone"), OpenMode::default()).unwrap();
        fs.unlink(ino(&fs, ""), name("gone")).unwrap();
        fs.unlink(ino(&fs, ""), name("twin")).unwrap();
        fs.unlink(ino(&fs, "a"), name("link")).unwrap();
    }
    fs::write(bench.layer_path().join("data/ff/ff.9"), "stray").unwrap_or_else(|_| {
        fs::create_dir_all(bench.layer_path().join("data/ff")).unwrap();
        fs::write(bench.layer_path().join("data/ff/ff.9"), "stray").unwrap();
    });
    let fs = bench.open();
    let recovered = fs.layer().unwrap().recovered().clone();
    assert_eq!((recovered.orphans, recovered.stray_files), (1, 2), "{recovered:?}");
    assert_eq!(read(&fs, "kept"), "y");
    assert_eq!(walk(&bench.layer_path().join("data")), 1);
    // The linked inode is dead, though the base has it.
    let report = take_snapshot(&fs, "after");
    assert!(bench.store.read_manifest(report.manifest).unwrap().links.is_none());
}

/// The tree beneath, as text: whatever a manifest keeps of each entry.
fn describe(fs: &Fs) -> Vec<String> {
    let mut lines = Vec::new();
    let mut pending = vec![(Ino::ROOT, String::new())];
    while let Some((dir, path)) = pending.pop() {
        let mut entries = Vec::new();
        fs.read_dir(dir, 0, true, &mut |entry| {
            if let Some(attr) = entry.attr {
                entries.push((String::from_utf8_lossy(entry.name).into_owned(), attr));
            }
            true
        })
        .unwrap();
        for (name, attr) in entries {
            let path = format!("{path}/{name}");
            let content = match attr.kind {
                Kind::File => read(fs, &path),
                Kind::Symlink => String::from_utf8_lossy(&fs.read_link(attr.ino).unwrap()).into_owned(),
                _ => String::new(),
            };
            let xattrs = String::from_utf8_lossy(&fs.list_xattr(ROOT, attr.ino).unwrap()).into_owned();
            lines.push(format!(
                "{path} {:?} {:o} {} {}:{} {:?} {:?} {content:?} {xattrs:?}",
                attr.kind,
                attr.mode.bits(),
                attr.nlink,
                attr.uid,
                attr.gid,
                attr.rdev,
                attr.mtime,
            ));
            if attr.kind == Kind::Dir {
                pending.push((attr.ino, path));
            }
        }
    }
    lines.sort();
    lines
}

fn change_much(fs: &Fs) {
    create(fs, "a/new", "made");
    write(fs, "a/b/c", 0, "DIRTY");
    fs.rename(at(fs, "dir"), at(fs, "a/moved"), RenameMode::Replace).unwrap();
    write(fs, "a/moved/4", 0, "FILE");
    fs.unlink(ino(fs, ""), name("sym")).unwrap();
    mkdir(fs, "d");
    mkdir(fs, "d/e");
    create(fs, "d/e/f", "deep");
    let (dir, last) = at(fs, "d/second");
    fs.link(ino(fs, "d/e/f"), dir, last).unwrap();
    fs.link(ino(fs, "a/moved/8"), dir, name("eight")).unwrap();
    write(fs, "twin", 0, "TWO");
    let device = Device { major: 1, minor: 3 };
    fs.make(ROOT, dir, name("null"), Make::Node(Kind::Char, device), Mode::from_bits(0o666), 0).unwrap();
    fs.make(ROOT, dir, name("ln"), Make::Symlink(b"../x".as_slice().into()), Mode::default(), 0).unwrap();
    fs.set_xattr(ROOT, ino(fs, "a/moved/9"), b"user.k", b"v", XattrMode::Set).unwrap();
    fs.rmdir(ino(fs, ""), name("empty")).unwrap();
}

#[test]
fn a_snapshot_is_what_the_mount_showed_and_the_mount_goes_on() {
    let bench = Bench::new();
    let fs = bench.open();
    change_much(&fs);
    let before = describe(&fs);
    let reader = fs.open(ino(&fs, "a/new"), OpenMode::default()).unwrap();
    let report = take_snapshot(&fs, "snap");
    assert_eq!(describe(&fs), before, "the snapshot doesn't show in the mount");
    let taken = Fs::read_only(&bench.store, report.manifest).unwrap();
    assert_eq!(describe(&taken), before);
    let manifest = bench.store.read_manifest(report.manifest).unwrap();
    assert_eq!(manifest.parent, Some(bench.base));
    // twin, d/e/f and a/moved/8 have two names each.
    assert_eq!((report.entries, report.files), (before.len() as u64, before.len() as u64 - 3 - 5));
    assert_eq!(walk(&bench.layer_path().join("data")), 0, "the layer's data became blobs");
    let mut buffer = [0; 4];
    fs.read(reader.handle, 0, &mut buffer).unwrap();
    assert_eq!(&buffer, b"made");
    fs.release(reader.handle);
    // What is clean now is copied up by the next write, and the snapshot stays as it was.
    write(&fs, "a/new", 0, "MADE");
    assert_eq!((read(&fs, "a/new"), read(&taken, "a/new")), ("MADE".into(), "made".into()));
    fs.close().unwrap();
    drop(fs);
    let fs = bench.open();
    assert_eq!((read(&fs, "a/new"), read(&fs, "a/b/c")), ("MADE".into(), "DIRTY content".into()));
}

#[test]
fn a_snapshot_of_no_change_has_the_tree_of_the_base() {
    let bench = Bench::new();
    let fs = bench.open();
    let report = take_snapshot(&fs, "same");
    let (base, same) = (bench.base, report.manifest);
    let tree = |digest| bench.store.read_manifest(digest).unwrap().root.subtree;
    assert_eq!(tree(base), tree(same));
    assert_eq!((report.new_trees, report.new_blobs), (0, 0));
    assert_eq!(bench.store.read_manifest(base).unwrap().totals, bench.store.read_manifest(same).unwrap().totals);
}

#[test]
fn a_file_that_is_being_written_is_copied_and_named() {
    let bench = Bench::new();
    let fs = bench.open();
    create(&fs, "log", "one");
    let writer = fs.open(ino(&fs, "log"), OpenMode { write: true, truncate: false }).unwrap();
    fs.write(writer.handle, 3, b" two").unwrap();
    let report = take_snapshot(&fs, "snap");
    assert_eq!(report.being_written, ["log"]);
    fs.write(writer.handle, 7, b" three").unwrap();
    fs.release(writer.handle);
    let taken = Fs::read_only(&bench.store, report.manifest).unwrap();
    assert_eq!((read(&taken, "log"), read(&fs, "log")), ("one two".into(), "one two three".into()));
}

#[test]
fn a_snapshot_that_fails_leaves_the_layer_whole() {
    let bench = Bench::new();
    let fs = bench.open();
    create(&fs, "x", "content");
    let request =
        snapshot::Request { name: "snap".parse().unwrap(), labels: Default::default(), created_at: None, parent: None };
    // The last step before the layer changes fails: what was sealed stays readable, and is copied up by a write.
    let failing = &mut |_| Err(VfsError::ShuttingDown.into());
    assert!(snapshot::take(&fs, &request, failing).is_err());
    write(&fs, "x", 0, "CON");
    assert_eq!(read(&fs, "x"), "CONtent");
    let report = take_snapshot(&fs, "snap");
    assert_eq!(read(&Fs::read_only(&bench.store, report.manifest).unwrap(), "x"), "CONtent");
    for (_, digest) in bench.store.refs().unwrap() {
        bench.store.check_closure(digest).unwrap();
    }
}

#[test]
fn changes_are_listed_by_path() {
    let bench = Bench::new();
    let fs = bench.open();
    change_much(&fs);
    let lines: Vec<String> = snapshot::diff(&fs).unwrap().iter().map(ToString::to_string).collect();
    let expected = [
        "M /",
        "M a/",
        "M a/b/c",
        "M a/link",
        "A a/moved/",
        "A a/new",
        "A d/",
        "A d/e/",
        "A d/e/f",
        "A d/eight",
        "A d/ln",
        "A d/null",
        "A d/second",
        "D dir/",
        "D empty/",
        "D sym",
        "M twin",
        "M a/moved/4",
        "M a/moved/8",
        "M a/moved/9",
    ];
    let mut expected = expected.to_vec();
    expected.sort_by_key(|line| line.split_once(' ').unwrap().1);
    assert_eq!(lines, expected);
    assert!(snapshot::diff(&fs).unwrap().iter().any(|change| change.kind == ChangeKind::Deleted));
}

#[test]
fn what_is_new_inherits_from_its_directory() {
    let bench = Bench::new();
    let fs = bench.open();
    let shared = mkdir(&fs, "shared");
    let change = SetAttr { mode: Some(Mode::from_bits(0o2775)), gid: Some(50), ..SetAttr::default() };
    fs.set_attr(ROOT, shared, &change).unwrap();
    let caller = Caller { uid: 7, gid: 8, pid: 0 };
    let inside = fs.make(caller, shared, name("d"), Make::Dir, Mode::from_bits(0o777), 0o022).unwrap();
    assert_eq!((inside.uid, inside.gid, inside.mode.bits()), (7, 50, 0o2755));
    let (file, opened) =
        fs.create(caller, shared, name("f"), Mode::from_bits(0o666), 0o027, OpenMode::default()).unwrap();
    assert_eq!((file.uid, file.gid, file.mode.bits()), (7, 50, 0o640));
    fs.release(opened.handle);
}

#[test]
fn holes_stay_holes_when_a_file_is_copied_up() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    fs::create_dir(&source).unwrap();
    let sparse = fs::File::create(source.join("sparse")).unwrap();
    sparse.set_len(64 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"end", (64 << 20) - 3).unwrap();
    let store = Store::init(&folder.path().join("store")).unwrap();
    let base = import(&store, &source, "base");
    let fs = Fs::with_layer(&store, base, Layer::open(&folder.path().join("layer")).unwrap()).unwrap();
    fs.copy_by(Copying::Whole);
    write(&fs, "sparse", 0, "start");
    let attr = find(&fs, "sparse").unwrap();
    assert_eq!(attr.size, 64 << 20);
    assert!(attr.blocks * 512 < 1 << 20, "{} blocks", attr.blocks);
    assert!(sparse.metadata().unwrap().blocks() > 0);
}

#[test]
fn a_layer_without_its_database_is_damaged_and_not_new() {
    let bench = Bench::new();
    {
        let fs = bench.open();
        mkdir(&fs, "d");
        fs.close().unwrap();
    }
    let index = bench.layer_path().join("index");
    fs::rename(&index, bench.layer_path().join("away")).unwrap();
    let error = Layer::open(&bench.layer_path()).unwrap_err();
    assert!(error.to_string().contains("is gone"), "{error}");
    fs::create_dir(&index).unwrap();
    assert!(Layer::open(&bench.layer_path()).is_err(), "nor is an empty folder a database");
    fs::remove_dir(&index).unwrap();
    fs::rename(bench.layer_path().join("away"), &index).unwrap();
    assert!(find(&bench.open(), "d").is_some());
}

fn files_beneath(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_beneath(&path) } else { vec![path] }).collect()
}

#[test]
fn a_damaged_database_is_refused_or_whole() {
    let bench = Bench::new();
    {
        let fs = bench.open();
        for n in 0..50 {
            create(&fs, &format!("dir/new{n}"), "content");
        }
        fs.close().unwrap();
    }
    let (layer, spare) = (bench.layer_path(), bench.folder.path().join("spare"));
    let copy = |from: &Path, to: &Path| {
        let status = std::process::Command::new("cp").args(["-a".as_ref(), from, to]).status().unwrap();
        assert!(status.success());
    };
    copy(&layer, &spare);
    let files: Vec<PathBuf> =
        files_beneath(&layer.join("index")).iter().map(|path| path.strip_prefix(&layer).unwrap().to_owned()).collect();
    assert!(files.len() > 3, "{files:?}");
    for file in files {
        for empty in [false, true] {
            fs::remove_dir_all(&layer).unwrap();
            copy(&spare, &layer);
            if empty { fs::write(layer.join(&file), "") } else { fs::remove_file(layer.join(&file)) }.unwrap();
            let Ok(opened) = Layer::open(&layer) else { continue };
            let fs = Fs::with_layer(&bench.store, bench.base, opened).unwrap();
            assert_eq!(list(&fs, "dir").len(), 60, "{file:?} {empty}");
            assert_eq!(read(&fs, "dir/new49"), "content");
        }
    }
}

#[test]
fn a_blob_of_the_wrong_length_is_not_read_as_if_it_were_whole() {
    let bench = Bench::new();
    let fs = bench.open();
    let blob = bench.store.object_path(Digest::of(b"clean content"));
    fs::write(&blob, "clean").unwrap();
    let opened = fs.open(ino(&fs, "a/b/c"), OpenMode::default()).unwrap();
    let error = fs.read(opened.handle, 0, &mut [0; 100]).unwrap_err();
    assert!(matches!(error, VfsError::Store(StoreError::CorruptObject { .. })), "{error}");
    let write = OpenMode { write: true, truncate: false };
    assert!(fs.open(ino(&fs, "a/b/c"), write).is_err(), "nor is it copied up");
    assert_eq!(read(&fs, "dir/1"), "file 1");
}

#[test]
fn a_damaged_inode_leaves_its_directory_listable() {
    let bench = Bench::new();
    let fs = bench.open();
    create(&fs, "dir/bad", "x");
    create(&fs, "dir/good", "y");
    let bad = files_beneath(&bench.layer_path().join("data"))
        .into_iter()
        .find(|path| fs::read(path).unwrap() == b"x")
        .unwrap();
    fs::remove_file(bad).unwrap();
    assert_eq!(list(&fs, "dir").len(), 12);
    assert!(fs.lookup(ino(&fs, "dir"), name("bad")).is_err());
    assert_eq!(read(&fs, "dir/good"), "y");
}
