//! What an import takes from the cache of an earlier one, and what it must not.
#![allow(clippy::unwrap_used, reason = "a test that can't go on shall panic")]

#[path = "store_util/disk.rs"]
mod disk;
mod ingest_util;
#[path = "common/map.rs"]
#[allow(dead_code, reason = "each test file uses a part of it")]
mod map;

use cairnfs::format::Digest;
use cairnfs::gc::{self, Options};
use cairnfs::ingest::{ImportOptions, Imported, Progress, Remember, import_dir};
use cairnfs::store::Store;
use disk::Disk;
use ingest_util::skip::{possible, skipped};
use ingest_util::*;
use map::Map;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A source on a filesystem whose change times are relied on, with a store beside it.
struct Place {
    /// Unmounted before the folder goes.
    disk: Disk,
    lab: Lab,
    store: Store,
    source: PathBuf,
}

impl Place {
    fn on(kind: &str) -> Option<Self> {
        let lab = Lab::new();
        let Some(disk) = Disk::make(lab.temp.path(), kind) else {
            skipped(&format!("no {kind} can be made and mounted"));
            return None;
        };
        let (store, source) = (Store::init(&disk.store()).unwrap(), disk.at.join("source"));
        fs::create_dir(&source).unwrap();
        Some(Self { disk, lab, store, source })
    }

    fn new() -> Option<Self> {
        Self::on("ext4")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.source.join(name)
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).unwrap();
    }

    fn import_as(&self, change: impl FnOnce(&mut ImportOptions)) -> Imported {
        let mut options = options();
        change(&mut options);
        import_dir(&self.store, &self.source, &options, &Progress::default()).unwrap()
    }

    fn import(&self) -> Imported {
        self.import_as(|_| ())
    }

    /// Imports once all that was changed so far lies far enough in the past to be remembered.
    fn import_settled(&self) -> Imported {
        settle(&self.source);
        self.import()
    }

    /// The manifest without any cache.
    fn truth(&self) -> Digest {
        self.import_as(|options| options.remember = Remember::Nothing).manifest
    }

    fn caches(&self) -> Vec<PathBuf> {
        let Ok(listing) = fs::read_dir(self.store.path().join("cache")) else { return Vec::new() };
        listing.map(|entry| entry.unwrap().path()).collect()
    }

    fn collect(&self, grace: Duration) {
        gc::collect(&self.store, &Options { grace, allow_no_roots: true, ..Options::default() }, &|_| {}).unwrap();
    }
}

/// Waits until every change beneath `source` is more than a second old.
fn settle(source: &Path) {
    let changed = |path: &Path| {
        let stat = fs::symlink_metadata(path).unwrap();
        SystemTime::UNIX_EPOCH + Duration::new(stat.ctime() as u64, stat.ctime_nsec() as u32)
    };
    let latest = fs::read_dir(source).unwrap().map(|entry| changed(&entry.unwrap().path())).max();
    while latest.is_some_and(|latest| SystemTime::now() <= latest + Duration::from_millis(1010)) {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Sets the modification time to what it was.
fn restore_mtime(path: &Path, stat: &fs::Metadata) {
    File::open(path).unwrap().set_modified(stat.modified().unwrap()).unwrap();
}

#[test]
fn what_did_not_change_is_not_read_and_the_manifest_is_the_same() {
    for kind in ["ext4", "xfs", "btrfs"] {
        let Some(place) = Place::on(kind) else { continue };
        place.write("a", "one");
        place.write("b", "two");
        place.write("empty", "");
        fs::write(place.path("long"), vec![7; 3 << 20]).unwrap();
        fs::set_permissions(place.path("b"), fs::Permissions::from_mode(0o4751)).unwrap();
        fs::hard_link(place.path("a"), place.path("linked")).unwrap();
        set_xattr(&place.path("b"), "user.of_b", b"value");
        assert_eq!(place.import_settled().from_cache, 0);
        let again = place.import();
        assert_eq!(
            (again.from_cache, again.regular_files, again.deduplicated, again.new_bytes),
            (4, 4, 4, 0),
            "{kind}"
        );
        assert_eq!(again.manifest, place.truth());
        // What was taken from the cache is in the cache again.
        assert_eq!(place.import().from_cache, 4);
        // Elsewhere in the source it is the same file, though a rename moves its change time on some filesystems.
        fs::create_dir(place.path("moved")).unwrap();
        fs::rename(place.path("long"), place.path("moved/long")).unwrap();
        let moved = place.import();
        assert!(moved.from_cache >= 3, "{kind}");
        assert_eq!(moved.manifest, place.truth());
    }
}

#[test]
fn every_change_is_found_whatever_hides_it() {
    for kind in ["ext4", "xfs", "btrfs"] {
        let Some(place) = Place::on(kind) else { continue };
        for name in ["restored", "attribute", "removed attribute", "mode", "replaced", "mapped", "written", "untouched"]
        {
            place.write(name, "before");
        }
        set_xattr(&place.path("removed attribute"), "user.a", b"1");
        let stat = |name: &str| fs::metadata(place.path(name)).unwrap();
        let before: Vec<_> = ["restored", "replaced", "mapped", "written"].map(|name| (name, stat(name))).into();
        place.import_settled();
        // A backup that was restored: the same length and modification time.
        place.write("restored", "after!");
        // Another file in its place: nothing but its number can differ, and that may be given out again.
        fs::remove_file(place.path("replaced")).unwrap();
        place.write("replaced", "after!");
        write_mapped(&place.path("mapped"), b"after!");
        File::options().write(true).open(place.path("written")).unwrap().write_all_at(b"A", 5).unwrap();
        before.iter().for_each(|(name, stat)| restore_mtime(&place.path(name), stat));
        set_xattr(&place.path("attribute"), "user.a", b"1");
        remove_xattr(&place.path("removed attribute"), "user.a");
        fs::set_permissions(place.path("mode"), fs::Permissions::from_mode(0o600)).unwrap();
        let changed = place.import();
        assert_eq!((changed.from_cache, changed.manifest), (1, place.truth()), "{kind}");
        for (name, content) in
            [("restored", "after!"), ("replaced", "after!"), ("mapped", "after!"), ("written", "beforA")]
        {
            assert_eq!(content_of(&place, changed.manifest, name), content, "{kind}: {name}");
        }
    }
}

#[test]
fn a_file_changed_a_moment_ago_is_read_again() {
    let Some(place) = Place::new() else { return };
    place.write("old", "settled");
    settle(&place.source);
    place.write("young", "1");
    let first = place.import();
    assert_eq!(first.from_cache, 0);
    // Within the tick of the clock in which it was read, a change leaves no trace: here it is as if it had been so.
    let again = place.import();
    assert_eq!((again.from_cache, again.regular_files), (1, 2));
    settle(&place.source);
    place.import();
    assert_eq!(place.import().from_cache, 2);
}

#[test]
fn a_file_that_is_open_or_mapped_for_writing_is_read_again() {
    let Some(place) = Place::new() else { return };
    for name in ["open", "mapped", "read"] {
        place.write(name, "before");
    }
    settle(&place.source);
    let writer = File::options().append(true).open(place.path("open")).unwrap();
    let mapping = mapped(&place.path("mapped"));
    let reader = File::open(place.path("read")).unwrap();
    place.import();
    assert_eq!(place.import().from_cache, 1);
    drop((writer, mapping, reader));
    place.import();
    assert_eq!(place.import().from_cache, 3);
}

#[test]
fn a_change_time_to_come_and_one_in_whole_seconds_are_not_relied_on() {
    let Some(place) = Place::new() else { return };
    place.write("future", "1");
    place.write("whole", "2");
    place.write("usual", "3");
    settle(&place.source);
    // No program can set change times; the filesystem's own debugger does.
    let (image, _) = (place.disk.at.with_extension("img"), fs::create_dir(place.lab.path("other")));
    let ino = |name: &str| fs::metadata(place.path(name)).unwrap().ino();
    let commands = [
        format!("set_inode_field <{}> ctime 21000101000000", ino("future")),
        format!("set_inode_field <{}> ctime 20200101000000", ino("whole")),
        format!("set_inode_field <{}> ctime_extra 0", ino("whole")),
    ];
    if !possible(&["debugfs"]) {
        return;
    }
    assert!(disk::run("umount", &[place.disk.at.to_str().unwrap()]));
    for command in commands {
        assert!(disk::run("debugfs", &["-w", "-R", &command, image.to_str().unwrap()]));
    }
    assert!(disk::run("mount", &["-o", "loop", image.to_str().unwrap(), place.disk.at.to_str().unwrap()]));
    let stat = fs::metadata(place.path("whole")).unwrap();
    assert_eq!((stat.ctime(), stat.ctime_nsec()), (1_577_836_800, 0));
    assert!(fs::metadata(place.path("future")).unwrap().ctime() > 4_000_000_000);
    place.import();
    assert_eq!(place.import().from_cache, 1);
}

#[test]
fn a_filesystem_mounted_anew_is_read_anew() {
    let Some(place) = Place::new() else { return };
    place.write("a", "1");
    settle(&place.source);
    // A store on the disk itself would keep it from being unmounted.
    let import = || import_dir(&place.lab.store, &place.source, &options(), &Progress::default()).unwrap().from_cache;
    assert_eq!((import(), import()), (0, 1));
    place.disk.restart();
    assert_eq!((import(), import()), (0, 1));
}

#[test]
fn memory_is_not_relied_on() {
    let lab = Lab::new();
    let Ok(source) = tempfile::tempdir_in("/dev/shm") else { return skipped("no memory filesystem at /dev/shm") };
    write(&source.path().join("a"), b"1");
    settle(source.path());
    lab.import_dir(source.path());
    assert_eq!(lab.import_dir(source.path()).from_cache, 0);
}

#[test]
fn a_list_of_access_control_is_read_again() {
    let Some(place) = Place::new() else { return };
    place.write("a", "1");
    place.write("b", "1");
    let entry =
        |tag: u16, bits: u16, id: u32| [&tag.to_le_bytes()[..], &bits.to_le_bytes(), &id.to_le_bytes()].concat();
    let none = u32::MAX;
    let list =
        [entry(1, 6, none), entry(2, 4, 1000), entry(4, 4, none), entry(16, 4, none), entry(32, 0, none)].concat();
    set_xattr(&place.path("a"), "system.posix_acl_access", &[&2_u32.to_le_bytes()[..], &list].concat());
    place.import_settled();
    assert_eq!(place.import().from_cache, 1);
}

#[test]
fn whoever_wants_has_all_read() {
    let Some(place) = Place::new() else { return };
    place.write("a", "1");
    settle(&place.source);
    let remember = |remember| place.import_as(|options| options.remember = remember).from_cache;
    assert_eq!(remember(Remember::Nothing), 0);
    assert_eq!(place.caches().len(), 0);
    assert_eq!(remember(Remember::Renew), 0);
    assert_eq!(remember(Remember::Use), 1);
    assert_eq!(remember(Remember::Renew), 0);
    assert_eq!(remember(Remember::Nothing), 0);
    assert_eq!(remember(Remember::Use), 1);
}

#[test]
fn a_damaged_cache_costs_time_alone() {
    let Some(place) = Place::new() else { return };
    place.write("a", "1");
    place.write("b", "2");
    let truth = place.import_settled().manifest;
    assert_eq!(place.import().from_cache, 2);
    let [cache] = &place.caches()[..] else { panic!("{:?}", place.caches()) };
    let whole = fs::read(cache).unwrap();
    let mut swapped = whole.clone();
    // The digests of the two files change places.
    let digest = 76 - 4 - 32..76 - 4;
    let second = whole[76 + digest.start..76 + digest.end].to_vec();
    swapped[76 + digest.start..76 + digest.end].copy_from_slice(&whole[digest.clone()]);
    swapped[digest].copy_from_slice(&second);
    for damaged in [swapped, whole[..whole.len() / 2].to_vec(), Vec::new(), vec![0; whole.len()], b"text".to_vec()] {
        fs::write(cache, &damaged).unwrap();
        let imported = place.import();
        assert_eq!((imported.from_cache, imported.manifest), (0, truth));
        assert_eq!(place.import().from_cache, 2, "it is made anew");
    }
    fs::remove_file(cache).unwrap();
    fs::create_dir(cache).unwrap();
    assert_eq!(place.import().manifest, truth);
    fs::remove_dir(cache).unwrap();
    nix::unistd::mkfifo(cache, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(place.import().manifest, truth);
    assert_eq!(place.import().from_cache, 2, "it is made anew");
}

#[test]
fn a_blob_that_is_gone_or_torn_is_stored_again() {
    let Some(place) = Place::new() else { return };
    place.write("a", "content of a");
    place.write("b", "content of b");
    place.write("c", "content of c");
    let manifest = place.import_settled().manifest;
    fs::remove_file(place.store.object_path(Digest::of(b"content of a"))).unwrap();
    fs::set_permissions(place.store.object_path(Digest::of(b"content of b")), fs::Permissions::from_mode(0o644))
        .unwrap();
    fs::write(place.store.object_path(Digest::of(b"content of b")), "cont").unwrap();
    let again = place.import();
    assert_eq!((again.from_cache, again.manifest, again.new_blobs), (1, manifest, 2));
    for content in ["content of a", "content of b", "content of c"] {
        place.store.verify_object(Digest::of(content.as_bytes())).unwrap();
    }
}

#[test]
fn what_a_collection_took_comes_back_or_is_read_again() {
    let Some(place) = Place::new() else { return };
    place.write("a", "1");
    place.write("b", "2");
    let reference = "test".parse().unwrap();
    let manifest = place.import_settled().manifest;
    place.store.remove_ref(&reference).unwrap();
    place.collect(Duration::ZERO);
    assert!(!place.store.contains(manifest), "nothing named it any more");
    assert_eq!(place.caches().len(), 0, "a cache goes with its manifest");
    assert_eq!(place.import().from_cache, 0);
    assert_eq!(place.import().from_cache, 2);
    // One whose manifest is in the trash, as it is while a collection is at work.
    let [cache] = &place.caches()[..] else { panic!("{:?}", place.caches()) };
    let saved = fs::read(cache).unwrap();
    place.store.remove_ref(&reference).unwrap();
    take_into_trash(&place.store, manifest);
    fs::write(cache, saved).unwrap();
    let back = place.import();
    assert_eq!((back.from_cache, back.manifest), (2, manifest));
    for digest in place.store.closure(manifest).unwrap() {
        place.store.verify_object(digest).unwrap();
        assert!(place.store.contains(digest));
    }
}

/// As a collection does that finds nothing naming it.
fn take_into_trash(store: &Store, manifest: Digest) {
    let mut all = store.closure(manifest).unwrap();
    all.remove(&manifest);
    let batch = store.new_batch().unwrap();
    let sweep = store.sweep().unwrap();
    for digest in [manifest].into_iter().chain(all) {
        assert!(sweep.discard(digest, batch).unwrap());
    }
}

#[test]
fn what_is_relied_on_is_kept_from_a_collection_though_it_is_old() {
    let Some(place) = Place::new() else { return };
    place.write("a", "1");
    let manifest = place.import_settled().manifest;
    let blob = Digest::of(b"1");
    let age = |digest: Digest| {
        let path = place.store.object_path(digest);
        File::open(path).unwrap().set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1)).unwrap();
    };
    place.store.closure(manifest).unwrap().into_iter().for_each(age);
    let writer = place.store.writer("test").unwrap();
    writer.keep(manifest).unwrap();
    assert!(writer.rely_on_kept(blob, 1).unwrap().is_some());
    place.store.remove_ref(&"test".parse().unwrap()).unwrap();
    place.collect(Duration::ZERO);
    assert!(place.store.contains(blob));
    drop(writer);
    place.collect(Duration::ZERO);
    assert!(!place.store.contains(blob));
}

#[test]
fn imports_and_collections_at_once_share_a_cache() {
    let Some(place) = Place::new() else { return };
    (0..200).for_each(|n| place.write(&n.to_string(), &(n / 2).to_string()));
    let truth = place.import_settled().manifest;
    std::thread::scope(|scope| {
        let imports: Vec<_> =
            (0..3).map(|_| scope.spawn(|| (0..10).map(|_| place.import()).collect::<Vec<_>>())).collect();
        scope.spawn(|| (0..10).for_each(|_| place.collect(Duration::ZERO)));
        for made in imports.into_iter().flat_map(|import| import.join().unwrap()) {
            assert_eq!(made.manifest, truth);
        }
    });
    let last = place.import();
    assert_eq!((last.from_cache, last.manifest), (200, truth));
    place.store.closure(truth).unwrap().into_iter().for_each(|digest| place.store.verify_object(digest).unwrap());
}

#[test]
fn another_user_or_source_has_another_cache_and_the_oldest_go() {
    let Some(place) = Place::new() else { return };
    for n in 0..70 {
        let source = place.path(&n.to_string());
        fs::create_dir(&source).unwrap();
        write(&source.join("a"), b"1");
        import_dir(&place.store, &source, &options(), &Progress::default()).unwrap();
    }
    assert_eq!(place.caches().len(), 64);
    settle(&place.source);
    let source = place.path("69");
    let import = || import_dir(&place.store, &source, &options(), &Progress::default()).unwrap().from_cache;
    assert_eq!((import(), import()), (0, 1));
}

fn content_of(place: &Place, manifest: Digest, name: &str) -> String {
    let target = place.lab.path(&format!("exported {name}"));
    let (from, progress) = (&place.store, Progress::default());
    cairnfs::ingest::export_dir(from, manifest, &target, &Default::default(), &progress).unwrap();
    let content = fs::read_to_string(target.join(name)).unwrap();
    fs::remove_dir_all(target).unwrap();
    content
}

fn remove_xattr(path: &Path, name: &str) {
    xattr::remove(path, name).unwrap();
}

/// A shared mapping of a file, for writing; its descriptor is closed.
fn mapped(path: &Path) -> Map {
    Map::read_write(&File::options().read(true).write(true).open(path).unwrap())
}

fn write_mapped(path: &Path, content: &[u8]) {
    let map = mapped(path);
    content.iter().enumerate().for_each(|(at, &byte)| map.set(at, byte));
}
