//! What a collection keeps, what it takes, and when it gives up.
#![allow(clippy::unwrap_used, reason = "a test may end so")]

#[path = "store_util/mod.rs"]
mod util;

use cairnfs::format::Digest;
use cairnfs::gc::{GcError, Options, Report, RootKind, collect};
use cairnfs::store::{ErrorClass, LayerConfig, Store, StoreError};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;
use util::{name, objects, put_child, put_manifest, put_tree, store, verify};

const NOW: Options = Options { grace: Duration::ZERO, dry_run: false, allow_no_roots: false };
/// Manifest, root tree, inner tree and its file, table of links and its file.
const FRAME: usize = 6;

fn gc(store: &Store, options: Options) -> Report {
    collect(store, &options, &|_| {}).unwrap()
}

/// A ref to a manifest with two files in its root.
fn import(store: &Store, to: &str) -> Digest {
    let writer = store.writer("import").unwrap();
    let manifest = put_manifest(&writer, to, &[to.as_bytes(), b"shared"]);
    writer.set_ref(&name(to), manifest).unwrap();
    manifest
}

/// Puts a manifest that no root names. The writer is gone, so that nothing keeps it.
fn garbage(store: &Store, label: &str) -> Digest {
    let writer = store.writer("garbage").unwrap();
    put_manifest(&writer, label, &[label.as_bytes(), b"shared"])
}

#[test]
fn a_ref_keeps_all_it_reaches_and_the_rest_goes_byte_exact() {
    let (_folder, store) = store();
    let kept = import(&store, "kept");
    let before = objects(&store);
    let gone = garbage(&store, "gone");
    let extra: Vec<Digest> = objects(&store).into_iter().filter(|digest| !before.contains(digest)).collect();
    let bytes: u64 = extra.iter().map(|digest| store.object_stat(*digest).unwrap().unwrap().size).sum();

    let foretold = gc(&store, Options { dry_run: true, ..NOW });
    assert_eq!(objects(&store).len(), before.len() + extra.len(), "a dry run changes nothing");
    let report = gc(&store, NOW);
    let facts = |report: &Report| {
        (report.scanned, report.live, report.deleted, report.trashed_bytes, report.purged, report.freed_bytes)
    };
    let count = extra.len() as u64;
    assert_eq!(facts(&report), (before.len() as u64 + count, before.len() as u64, count, bytes, count, bytes));
    assert_eq!(facts(&report), facts(&foretold));
    let sorted = |mut digests: Vec<Digest>| {
        digests.sort();
        digests
    };
    assert_eq!(sorted(report.unreferenced.clone()), sorted(extra));
    assert_eq!(sorted(foretold.unreferenced), sorted(report.unreferenced));
    assert_eq!(report.kept_by.get(&RootKind::Ref), Some(&(before.len() as u64)));
    assert_eq!(verify(&store, kept), FRAME + 2);
    assert!(matches!(store.read_manifest(gone), Err(StoreError::MissingObject { .. })));

    let second = gc(&store, NOW);
    assert_eq!((second.deleted, second.purged, second.young), (0, 0, 0));
    assert_eq!(fs::read_dir(store.path().join("trash")).unwrap().count(), 0);
}

#[test]
fn what_was_collected_can_be_had_back_until_the_grace_period_is_over() {
    let (_folder, store) = store();
    import(&store, "kept");
    let gone = garbage(&store, "gone");
    let blob = Digest::of(b"gone");
    let report = gc(&store, Options::default());
    assert_eq!((report.deleted, report.purged, report.freed_bytes), (FRAME as u64 + 1, 0, 0));
    assert!(!store.contains(gone) && !store.contains(blob));
    // A reader finds a blob and puts it back; a manifest is read where it is, for what it reaches isn't back.
    assert_eq!(store.read_object(blob).unwrap(), b"gone");
    assert!(store.contains(blob));
    store.read_manifest(gone).unwrap();
    assert!(!store.contains(gone));
    // A root brings all of it back.
    let lease = store.lease("mount", &[gone]).unwrap();
    assert!(store.contains(gone));
    assert_eq!(verify(&store, gone), FRAME + 2);
    assert_eq!(gc(&store, NOW).deleted, 0);
    drop(lease);
    assert_eq!(gc(&store, NOW).purged, FRAME as u64 + 1);
    assert!(matches!(store.lease("mount", &[gone]), Err(StoreError::MissingObject { .. })));
}

#[test]
fn a_trash_entry_that_became_live_comes_back() {
    let (_folder, store) = store();
    let kept = import(&store, "kept");
    // As if a collection had taken a blob of a live manifest.
    let blob = Digest::of(b"shared");
    let hex = blob.to_string();
    let batch = store.path().join("trash/5").join(&hex[..2]);
    fs::create_dir_all(&batch).unwrap();
    fs::rename(store.object_path(blob), batch.join(&hex[2..])).unwrap();
    let foretold = gc(&store, Options { dry_run: true, ..NOW });
    assert_eq!((foretold.restored, foretold.purged, foretold.missing.len()), (1, 0, 0));
    let report = gc(&store, NOW);
    assert_eq!((report.restored, report.purged, report.missing.len()), (1, 0, 0));
    assert!(store.contains(blob));
    verify(&store, kept);
}

#[test]
fn layers_leases_and_recent_history_keep_what_they_name() {
    let (_folder, store) = store();
    import(&store, "kept");
    let [base, parent, pin, leased, moved] =
        ["base", "parent", "pin", "leased", "moved"].map(|name| import(&store, name));
    let mut config = LayerConfig::new("work".parse().unwrap(), base, "2024-01-02T03:04:05Z".to_owned());
    (config.parent, config.pins) = (Some(parent), vec![pin]);
    store.create_layer(&config).unwrap();
    let lease = store.lease("mount", &[]).unwrap();
    lease.keep(leased).unwrap();
    for gone in ["base", "parent", "pin", "leased", "moved"] {
        store.remove_ref(&name(gone)).unwrap();
    }
    // Grace: what refs named a moment ago stays.
    let report = gc(&store, Options::default());
    assert_eq!(report.deleted, 0);
    assert_eq!(report.kept_by[&RootKind::History], 2 * (FRAME as u64 + 1), "what neither layer nor ref keeps");
    assert_eq!(store.undo_ref(&name("moved")).unwrap(), moved);
    store.remove_ref(&name("moved")).unwrap();
    // None: only layer and lease keep theirs.
    let report = gc(&store, NOW);
    assert_eq!(report.deleted, FRAME as u64 + 1);
    assert_eq!(report.kept_by[&RootKind::Layer], 3 * (FRAME as u64 + 1));
    assert_eq!(report.kept_by[&RootKind::Lease], FRAME as u64 + 1);
    for kept in [base, parent, pin, leased] {
        assert_eq!(verify(&store, kept), FRAME + 2);
    }
    assert!(matches!(store.undo_ref(&name("moved")), Err(StoreError::UndoTooLate { .. })));
    // What history alone would keep, but is gone, ends no collection.
    assert_eq!(gc(&store, Options::default()).deleted, 0);
    drop(lease);
    store.remove_layer(&config.name).unwrap();
    assert_eq!(gc(&store, NOW).deleted, 4 * (FRAME as u64 + 1));
}

#[test]
fn a_live_writer_keeps_what_it_put_and_what_it_relies_on() {
    let (_folder, store) = store();
    import(&store, "kept");
    let old = garbage(&store, "old");
    let age = |digest: Digest| {
        let long_ago = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        fs::File::open(store.object_path(digest)).unwrap().set_modified(long_ago).unwrap();
    };
    objects(&store).into_iter().for_each(age);
    let writer = store.writer("import").unwrap();
    let new = writer.put_bytes(b"new").unwrap();
    assert!(!new.existed);
    let doomed = writer.put_bytes(b"old").unwrap(); // found, and relied on from here
    assert!(doomed.existed);
    let report = gc(&store, NOW);
    assert_eq!((report.young, report.deleted), (2, FRAME as u64));
    assert!(store.contains(new.digest) && store.contains(doomed.digest) && !store.contains(old));
    drop(writer);
    assert_eq!(gc(&store, NOW).deleted, 2);
}

#[test]
fn a_parent_is_information_and_keeps_nothing() {
    let (_folder, store) = store();
    let parent = import(&store, "parent");
    let child = {
        let writer = store.writer("snapshot").unwrap();
        let child = put_child(&writer, "child", &[b"child"], Some(parent));
        writer.set_ref(&name("child"), child).unwrap();
        child
    };
    store.remove_ref(&name("parent")).unwrap();
    assert_eq!(gc(&store, NOW).deleted, FRAME as u64 + 2);
    assert!(!store.contains(parent));
    // and that it is gone ends no later collection
    assert_eq!(gc(&store, NOW).deleted, 0);
    assert_eq!(verify(&store, child), FRAME + 1);
}

/// Everything in the store, to show that a collection that gave up took nothing.
fn files(store: &Store) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = objects(store).into_iter().map(|digest| store.object_path(digest)).collect();
    all.sort();
    all
}

#[test]
fn what_cannot_be_read_ends_a_collection_and_nothing_is_taken() {
    let (_folder, store) = store();
    let manifest = import(&store, "good");
    garbage(&store, "gone");
    let config = LayerConfig::new("work".parse().unwrap(), manifest, "2024-01-02T03:04:05Z".to_owned());
    store.create_layer(&config).unwrap();
    let tree = store.read_manifest(manifest).unwrap().root.subtree.tree;
    let links = store.read_manifest(manifest).unwrap().links.unwrap();
    let top = |path: &str| store.path().join(path);
    let damaged = [
        (store.object_path(manifest), "manifest"),
        (store.object_path(tree), "tree"),
        (store.object_path(links), "links"),
        (top("refs/good"), "ref"),
        (top("history/good@"), "history"),
        (top("layers/work/layer.json"), "layer"),
    ];
    for (path, what) in damaged {
        for remove in [true, false] {
            if remove && ["ref", "history"].contains(&what) {
                continue; // one that isn't there is none
            }
            let kept = top("kept");
            fs::rename(&path, &kept).unwrap();
            if !remove {
                fs::write(&path, "damaged\n").unwrap();
            }
            let before = files(&store);
            for dry_run in [true, false] {
                let error = collect(&store, &Options { dry_run, ..Options::default() }, &|_| {}).unwrap_err();
                assert!(matches!(error, GcError::Unreadable { .. } | GcError::Roots(_)), "{what}: {error}");
                assert_eq!(error.class(), ErrorClass::Corrupt, "{what}: {error}");
                let text = error.to_string();
                let file = path.file_name().unwrap().to_str().unwrap();
                assert!(text.contains(file) && text.contains("given up"), "{what}: {text}");
            }
            assert_eq!(files(&store), before, "{what}");
            fs::rename(&kept, &path).unwrap();
        }
    }
    assert_eq!(gc(&store, NOW).deleted, FRAME as u64 + 1);
}

#[test]
fn a_missing_blob_is_reported() {
    let (_folder, store) = store();
    import(&store, "a");
    fs::remove_file(store.object_path(Digest::of(b"shared"))).unwrap();
    assert_eq!(gc(&store, NOW).missing, [Digest::of(b"shared")]);
}

#[test]
fn a_store_without_roots_is_not_emptied_unless_that_is_meant() {
    let (_folder, store) = store();
    assert_eq!(gc(&store, NOW).scanned, 0);
    garbage(&store, "all");
    let before = files(&store);
    let error = collect(&store, &NOW, &|_| {}).unwrap_err();
    assert!(matches!(error, GcError::NoRoots { .. }), "{error}");
    assert_eq!(error.class(), ErrorClass::Refused);
    assert_eq!(files(&store), before);
    gc(&store, Options { allow_no_roots: true, ..NOW });
    assert_eq!(objects(&store), []);
}

#[test]
fn foreign_files_stay_and_are_told_of() {
    let (_folder, store) = store();
    import(&store, "kept");
    let foreign = ["objects/README", "objects/ab/notes.txt", "objects/zz", "objects/00/deadbeef"]
        .map(|path| store.path().join(path));
    for path in &foreign {
        fs::write(path, "mine").unwrap();
    }
    let folder = store.path().join("objects/ab").join("c".repeat(62)); // named as an object, but a folder
    fs::create_dir(&folder).unwrap();
    let report = gc(&store, NOW);
    let mut expected: Vec<PathBuf> = foreign.to_vec();
    expected.push(folder.clone());
    expected.sort();
    assert_eq!(report.foreign, expected);
    assert_eq!(report.deleted, 0);
    assert!(foreign.iter().all(|path| fs::read(path).unwrap() == b"mine") && folder.is_dir());
}

#[test]
fn leftovers_of_the_dead_go_and_work_of_the_living_stays() {
    let (_folder, store) = store();
    import(&store, "kept");
    let writer = store.writer("cut off").unwrap();
    let [torn, whole] = [&b"torn by a power cut"[..], b"whole"].map(|bytes| writer.put_bytes(bytes).unwrap().digest);
    let leases = store.path().join("leases");
    let dead = fs::read_dir(&leases).unwrap().next().unwrap().unwrap().path();
    let text = fs::read(&dead).unwrap();
    let living = store.writer("living").unwrap(); // keeps both, being young
    drop(writer);
    fs::write(&dead, text).unwrap();
    let path = store.object_path(torn);
    fs::remove_file(&path).unwrap();
    fs::write(&path, "TORN BY A POWER CUT").unwrap();
    let tmp = store.path().join("tmp/leftover");
    fs::write(&tmp, "half").unwrap();
    let used = store.path().join("tmp/used");
    let file = fs::File::create(&used).unwrap();
    file.lock().unwrap();
    fs::create_dir_all(store.path().join("trash/layer-5-old/data")).unwrap();

    let report = gc(&store, NOW);
    assert_eq!(report.torn, [torn]);
    assert!(store.contains(whole) && !store.contains(torn));
    assert!(!dead.exists() && !tmp.exists() && used.exists() && report.unfinished == 1);
    assert_eq!(store.leases().unwrap().len(), 1);
    assert!(!store.path().join("trash/layer-5-old").exists());
    assert!(!living.put_bytes(b"torn by a power cut").unwrap().existed);
}

#[test]
fn one_object_can_be_a_tree_and_a_file() {
    let (_folder, store) = store();
    let writer = store.writer("import").unwrap();
    let inside = put_tree(&writer, &[b"deep"], None);
    let bytes = store.read_object(inside.tree).unwrap();
    // The folder's own tree object is also the content of a file that is marked before the folder.
    let root = put_tree(&writer, &[&bytes], Some(inside));
    let manifest = writer.put_manifest(&util::manifest(root, "both", None, None)).unwrap();
    drop(writer);
    // Collected, and brought back by a lease: with what lies beneath the tree.
    assert_eq!(gc(&store, Options { allow_no_roots: true, ..Options::default() }).deleted, 4);
    let _lease = store.lease("mount", &[manifest]).unwrap();
    assert!(store.contains(Digest::of(b"deep")));
    assert_eq!(gc(&store, NOW).deleted, 0);
    assert_eq!(verify(&store, manifest), 4);
}
