//! Damage to what records hang on: data files, blobs, the base, the database's own files; and layers that weren't closed.
#![allow(clippy::unwrap_used, reason = "a test that can't go on shall panic")]

mod fsck_util;

use cairnfs::format::Digest;
use cairnfs::fsck::Code;
use cairnfs::layer::{BlobRef, Body, FileContent, Layer, LayerError, NameRecord, Space};
use cairnfs::vfs::Ino;
use fsck_util::*;
use std::fs;
use std::path::PathBuf;

#[test]
fn content_that_is_gone_is_told_and_the_name_stays() {
    let bench = Bench::with_changes();
    let [file, clean] = inos(&bench, ["made/file", "a/b/c"]);
    fs::remove_file(data_path(&bench, file, 1)).unwrap();
    fs::remove_file(data_path(&bench, clean, 1)).unwrap();
    // As a daemon that is killed leaves a copy that isn't known to be on disk.
    bench.damage(|db| {
        let origin = Some(BlobRef { digest: Digest::of(b"clean content"), size: 13 });
        let mut record = db.inode(clean).unwrap().unwrap();
        record.body = Body::File { generation: 1, content: FileContent::Data { origin } };
        let mut batch = db.batch();
        batch.put_inode(clean, &record);
        batch.commit().unwrap();
    });
    let report = bench.expect(&[(Code::DataMissing, Some("/made/file")), (Code::DataMissing, Some("/a/b/c"))]);
    let of =
        |path: &str| report.problems.iter().find(|told| told.path.as_deref() == Some(path)).unwrap().repair.clone();
    assert!(of("/made/file").contains("lost"), "{report:#?}");
    assert!(of("/a/b/c").contains("copied up from"), "{report:#?}");
    let fs = bench.open();
    assert_eq!(read(&fs, "made/file"), "");
    assert_eq!(read(&fs, "a/b/c"), "clean content");
    close(fs);
}

#[test]
fn something_else_in_place_of_a_data_file_is_set_aside() {
    let bench = Bench::with_changes();
    let [file] = inos(&bench, ["made/file"]);
    let path = data_path(&bench, file, 1);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let report = bench.expect(&[(Code::DataNotFile, Some("/made/file"))]);
    assert!(report.set_aside[0].is_dir(), "{report:#?}");
}

#[test]
fn a_stray_data_file_of_a_closed_layer_is_kept_aside() {
    let bench = Bench::with_changes();
    let [file, fifo] = inos(&bench, ["made/file", "made/fifo"]);
    fs::write(data_path(&bench, file, 9), "of another generation").unwrap();
    fs::create_dir_all(data_path(&bench, fifo, 1).parent().unwrap()).unwrap();
    fs::write(data_path(&bench, fifo, 1), "of no file").unwrap();
    bench.expect(&[(Code::DataStray, Some("/made/file")), (Code::DataStray, Some("/made/fifo"))]);
    let mut kept = lost(&bench);
    kept.sort();
    assert_eq!(kept, ["of another generation", "of no file"]);
}

#[test]
fn a_foreign_file_is_noted_and_left() {
    let bench = Bench::with_changes();
    let path = bench.layer().join("data/readme");
    fs::write(&path, "foreign").unwrap();
    let report = bench.run(cairnfs::fsck::Mending::Done);
    assert!(report.problems.is_empty() && report.is_sound());
    assert_eq!(report.notes[0].code, Code::ForeignFile);
    assert_eq!(fs::read_to_string(path).unwrap(), "foreign");
}

#[test]
fn an_inode_that_a_closed_layer_should_have_reclaimed_goes() {
    let bench = Bench::with_changes();
    let [file, twin, made] = inos(&bench, ["made/file", "twin", "made"]);
    bench.damage(|db| {
        remove_name(db, made, "file");
        change(db, file, |record| record.nlink = 0);
        let mut batch = db.batch();
        batch.put_name(Ino::ROOT, b"twin", NameRecord::Removed);
        batch.remove_name(made, b"twin");
        batch.commit().unwrap();
        change(db, twin, |record| record.nlink = 0);
    });
    bench.expect(&[(Code::Orphan, None), (Code::Orphan, None), (Code::DataStray, None)]);
    assert_eq!(lost(&bench), ["made content"]);
    let fs = bench.open();
    assert_eq!((find(&fs, "made/file"), find(&fs, "twin")), (None, None));
    close(fs);
}

#[test]
fn blobs_are_looked_for_and_nothing_is_changed_for_want_of_them() {
    let bench = Bench::with_changes();
    let [twin, clean] = inos(&bench, ["twin", "a/b/c"]);
    let blob = BlobRef { digest: Digest::of(b"nowhere"), size: 7 };
    bench.damage(|db| {
        change(db, twin, |record| record.body = Body::File { generation: 0, content: FileContent::Blob(blob) });
        change(db, clean, |record| {
            record.body = Body::File { generation: 1, content: FileContent::Data { origin: Some(blob) } };
        });
    });
    let report = bench.run(cairnfs::fsck::Mending::Done);
    let codes: Vec<_> = report.problems.iter().map(|told| told.code).collect();
    assert_eq!(codes.len(), 2, "{report:#?}");
    assert!(codes.contains(&Code::BlobMissing) && codes.contains(&Code::OriginMissing));
    assert!(!report.is_sound());
    assert_eq!(report.unmended.iter().map(|told| told.code).collect::<Vec<_>>(), [Code::BlobMissing]);
    let fs = bench.open();
    assert_eq!(read(&fs, "a/b/c"), "dirty content");
    close(fs);
    let left = bench.check().problems;
    assert_eq!(left.iter().map(|told| told.code).collect::<Vec<_>>(), [Code::BlobMissing]);
}

#[test]
fn damaged_blobs_are_found_by_their_size_or_by_hashing() {
    let bench = Bench::with_changes();
    let fs = bench.open();
    fs.set_attr(ROOT, ino(&fs, "dir/5"), &cairnfs::vfs::SetAttr { uid: Some(5), ..Default::default() }).unwrap();
    close(fs);
    let path = bench.store.object_path(Digest::of(b"file 5"));
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    fs::write(&path, "fily 5").unwrap();
    bench.expect_clean();
    let options = cairnfs::fsck::Options { hash: true };
    let report = cairnfs::fsck::check_layer(&bench.store, bench.base, &bench.layer(), options).unwrap();
    assert_eq!((report.problems.len(), report.problems[0].code), (1, Code::BlobDamaged), "{report:#?}");
    fs::write(&path, "longer than it was").unwrap();
    let report = bench.check();
    assert_eq!((report.problems.len(), report.problems[0].path.as_deref()), (1, Some("/dir/5")), "{report:#?}");
}

#[test]
fn a_base_that_is_not_whole_is_told_and_stops_repair_of_what_hangs_on_it() {
    let bench = Bench::with_changes();
    let fs = bench.open();
    let [made] = [ino(&fs, "made")];
    close(fs);
    bench.damage(|db| remove_name(db, made, "file"));
    // The tree of `deep/x/y`, which is `made/moved/y` now.
    let manifest = bench.store.read_manifest(bench.base).unwrap();
    let mut tree = bench.store.read_tree(manifest.root.subtree.tree).unwrap();
    let mut digest = manifest.root.subtree.tree;
    for part in ["deep", "x", "y"] {
        let entry = tree.entry(tree.find(name(part)).unwrap());
        let cairnfs::format::Entry::Inode(_, cairnfs::format::Node::Dir(subtree)) = entry else { panic!("{part}") };
        digest = subtree.tree;
        tree = bench.store.read_tree(digest).unwrap();
    }
    fs::rename(bench.store.object_path(digest), bench.folder.path().join("tree")).unwrap();
    let report = bench.run(cairnfs::fsck::Mending::Done);
    let told: Vec<_> = report.problems.iter().map(|told| (told.code, told.path.as_deref())).collect();
    assert_eq!(told, [(Code::BaseUnreadable, Some("/made/moved/y"))]);
    assert!(report.actions.is_empty() && !report.is_sound());
    fs::rename(bench.folder.path().join("tree"), bench.store.object_path(digest)).unwrap();
    bench.expect(&[(Code::Unreachable, None)]);
    fs::remove_file(bench.store.object_path(bench.base)).unwrap();
    let report = bench.run(cairnfs::fsck::Mending::Done);
    assert_eq!(report.problems.iter().map(|told| told.code).collect::<Vec<_>>(), [Code::BaseMissing]);
    assert!(!report.is_sound());
}

#[test]
fn the_database_that_is_gone_is_told_and_left() {
    let bench = Bench::with_changes();
    fs::remove_dir_all(bench.layer().join("index")).unwrap();
    let before = tree_of(&bench.layer());
    let report = bench.run(cairnfs::fsck::Mending::Done);
    assert_eq!(report.problems.iter().map(|told| told.code).collect::<Vec<_>>(), [Code::DatabaseUnreadable]);
    assert!(!report.is_sound() && !report.repaired);
    assert_eq!(tree_of(&bench.layer()), before);
}

#[test]
fn after_a_power_cut_recovery_is_told_and_what_it_does_is_no_damage() {
    let bench = Bench::with_changes();
    let fs = bench.open();
    write(&fs, "dir/4", "not synced");
    let gone = create(&fs, "made/gone", "to be gone");
    let (dir, last) = at(&fs, "made/gone");
    fs.unlink(dir, last).unwrap();
    let unsynced = create(&fs, "made/unsynced", "never reached the disk");
    drop(fs);
    fs::remove_file(data_path(&bench, unsynced, 1)).unwrap();
    fs::write(data_path(&bench, gone, 5), "stray").unwrap();
    fs::write(bench.layer().join("instance"), "another start of the machine").unwrap();
    let report = bench.check();
    assert!(report.problems.is_empty(), "{report:#?}");
    let recovery = report.recovery.unwrap();
    assert!(recovery.power_cut);
    let repaired = bench.run(cairnfs::fsck::Mending::Done);
    assert!(repaired.is_sound());
    bench.expect_clean();
    assert!(lost(&bench).is_empty());
    let fs = bench.open();
    assert_eq!((read(&fs, "dir/4"), read(&fs, "made/unsynced")), ("file 4".to_owned(), String::new()));
    assert_eq!((recovery.will.orphans, recovery.will.emptied), (1, 1));
    assert!(recovery.will.stray_files > 0 && recovery.will.reverted > 0, "{recovery:?}");
    close(fs);
}

#[test]
fn what_recovery_would_remove_is_kept_when_records_are_lost() {
    let bench = Bench::with_changes();
    let fs = bench.open();
    let file = create(&fs, "made/late", "late content");
    let made = ino(&fs, "made");
    drop(fs);
    bench.damage(|db| {
        remove_inode(db, file);
        remove_name(db, made, "late");
        put_raw(db, Space::Names, &name_key(made, "other"), b"\x07");
    });
    let report = bench.run(cairnfs::fsck::Mending::Done);
    assert!(report.is_sound(), "{report:#?}");
    assert_eq!(lost(&bench), ["late content"]);
    bench.expect_clean();
}

/// A killed daemon leaves no such journal, so what is behind the damage had happened: opening the layer refuses it, and so a check must tell it.
#[test]
fn a_damaged_journal_of_a_layer_that_was_not_closed_is_no_torn_end() {
    let bench = Bench::with_changes();
    let fs = bench.open();
    for number in 0..20 {
        create(&fs, &format!("made/late {number}"), "late");
    }
    drop(fs);
    let is_journal = |path: &PathBuf| path.extension().is_some_and(|kind| kind == "jnl");
    let index = tree_of(&bench.layer().join("index"));
    let (path, mut bytes) = index.into_iter().rfind(|(path, _)| is_journal(path)).unwrap();
    // The first byte of the batch that has the name: the database takes that for the journal's end.
    let name = bytes.windows(6).position(|part| part == b"late 5").unwrap();
    let end_before = bytes[..name].windows(4).rposition(|part| part == b"FJL\x03").unwrap();
    bytes[end_before + 4] = 9;
    fs::write(&path, bytes).unwrap();
    assert!(matches!(Layer::open(&bench.layer()), Err(LayerError::Damaged { .. })));
    let report = bench.run(cairnfs::fsck::Mending::Planned);
    assert!(report.recovery.is_some());
    assert!(report.problems.iter().any(|told| told.code == Code::JournalCut), "{report:#?}");
    assert!(report.actions.iter().any(|told| told.code == Code::JournalCut), "{report:#?}");
    assert!(bench.run(cairnfs::fsck::Mending::Done).is_sound());
    bench.expect_clean();
    let fs = bench.open();
    assert!(find(&fs, "made/late 4").is_some() && find(&fs, "made/late 5").is_none());
    close(fs);
    assert!(lost(&bench).iter().any(|content| content == "late"), "content behind the damage is kept");
}
