//! The rules by which files copied up by range lose nothing, each with the crash that it is against: `src/vfs/partial`. Without a mount; the disk is shut down
//! with what it hadn't written, but for the log where that makes names newer than content.
#![allow(clippy::unwrap_used, reason = "a test may end so")]

#[path = "store_util/bench.rs"]
mod bench;
#[path = "store_util/disk.rs"]
mod disk;
#[path = "common/skip.rs"]
mod skip;

use bench::{Bench, LENGTH, ROOT, WRITE, base, name};
use cairnfs::format::{Ino, Mode};
use cairnfs::fsck::{self, Code, Mending, Options};
use cairnfs::layer::{BlobRef, Body, DataId, FileContent, Layer, LayerError, Partial, Space};
use cairnfs::vfs::freeze::Source;
use cairnfs::vfs::{Copying, Fs, OpenMode, SetAttr};
use std::io::Read;
use std::os::unix::fs::MetadataExt;

fn bench() -> Option<Bench> {
    Bench::new(Copying::Range)
}

fn check(bench: &Bench, mending: Mending) -> Vec<Code> {
    let report =
        fsck::run(&bench.store(), bench.manifest, &bench.layer(), Options::default(), mending, &fsck::Alone).unwrap();
    if mending == Mending::Done {
        assert!(report.repaired && report.unmended.is_empty(), "{report:?}");
    }
    report.problems.iter().map(|problem| problem.code).collect()
}

fn ino(fs: &Fs) -> Ino {
    fs.lookup(Ino::ROOT, name("base")).unwrap().unwrap().ino
}

fn read(fs: &Fs) -> Vec<u8> {
    let opened = fs.open(ino(fs), OpenMode::default()).unwrap();
    let mut bytes = vec![0; 1 << 20];
    let count = fs.read(opened.handle, 0, &mut bytes).unwrap();
    bytes.truncate(count);
    fs.release(opened.handle);
    bytes
}

fn write(fs: &Fs, at: u64, content: &[u8], sync: bool) {
    let opened = fs.open(ino(fs), WRITE).unwrap();
    fs.write(opened.handle, at, content).unwrap();
    if sync {
        fs.fsync(opened.handle, false).unwrap();
    }
    fs.release(opened.handle);
}

fn truncate(fs: &Fs, size: u64) {
    fs.set_attr(ROOT, ino(fs), &SetAttr { size: Some(size), ..SetAttr::default() }).unwrap();
}

/// Puts the layer's records on disk, and no content of `base`.
fn sync_records(fs: &Fs, number: usize) {
    let made = fs.create(ROOT, Ino::ROOT, name(&format!("other{number}")), Mode::from_bits(0o644), 0, WRITE).unwrap();
    fs.write(made.1.handle, 0, b"x").unwrap();
    fs.fsync(made.1.handle, false).unwrap();
    fs.release(made.1.handle);
}

fn with(mut content: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    content[at..at + bytes.len()].copy_from_slice(bytes);
    content
}

fn partial(fs: &Fs) -> Partial {
    fs.layer().unwrap().db().inode(ino(fs)).unwrap().unwrap().partial().expect("partial content").1
}

fn held(fs: &Fs) -> u64 {
    let (layer, of) = (fs.layer().unwrap(), ino(fs));
    let generation = layer.db().inode(of).unwrap().unwrap().data_generation().unwrap();
    let id = DataId { ino: of, generation };
    layer.data().metadata(id).unwrap().blocks() * 512
}

#[test]
fn only_what_is_touched_comes_into_the_layer() {
    let Some(bench) = bench() else { return };
    let fs = bench.open();
    write(&fs, LENGTH as u64, b"!", false);
    let mut right = [base(), b"!".to_vec()].concat();
    assert!(read(&fs) == right && held(&fs) <= 4096, "{} bytes", held(&fs));
    write(&fs, 50_000, b"page", false);
    right = with(right, 50_000, b"page");
    assert!(read(&fs) == right && held(&fs) <= 3 * 4096, "{} bytes", held(&fs));
}

#[test]
fn blocks_that_were_not_synced_go_back_to_the_base_one_by_one() {
    let Some(bench) = bench() else { return };
    for (number, flush_log) in [false, true].into_iter().enumerate() {
        let fs = bench.open();
        let synced = format!("synced{number}");
        write(&fs, 5000, synced.as_bytes(), true);
        let right = read(&fs);
        write(&fs, 50_000 + 8192 * number as u64, b"NOT SYNCED", false);
        sync_records(&fs, number);
        let fs = bench.cut(fs, flush_log);
        assert!(read(&fs) == right, "what comes back is neither the blob nor what was synced");
        fs.close().unwrap();
        drop(fs);
        assert_eq!(check(&bench, Mending::Off), []);
    }
}

#[test]
fn a_file_whose_first_write_was_not_synced_is_the_bases() {
    let Some(bench) = bench() else { return };
    let fs = bench.open();
    write(&fs, 5000, b"NEW", false);
    assert!(!partial(&fs).settled);
    sync_records(&fs, 0);
    let fs = bench.cut(fs, true);
    assert!(read(&fs) == base());
    assert_eq!(fs.layer().unwrap().recovered().reverted, 1);
    fs.close().unwrap();
    drop(fs);
    assert_eq!(check(&bench, Mending::Off), []);
}

#[test]
fn what_was_cut_off_does_not_come_back() {
    let Some(bench) = bench() else { return };
    for killed in [true, false] {
        let fs = bench.open();
        write(&fs, 5000, b"synced", true);
        truncate(&fs, 10_000);
        // As by a daemon that is killed before anything else.
        let fs = if killed {
            drop(fs);
            bench.open()
        } else {
            fs
        };
        truncate(&fs, 60_000);
        let right = [&with(base(), 5000, b"synced")[..10_000], &[0; 50_000]].concat();
        assert!(read(&fs) == right);
        sync_records(&fs, usize::from(killed));
        let fs = bench.cut(fs, !killed);
        let found = read(&fs);
        let is_cut = found.len() <= 60_000 && found[..10_000] == right[..10_000];
        assert!(is_cut && found[10_000..].iter().all(|&byte| byte == 0), "{} bytes", found.len());
        truncate(&fs, 0);
        fs.close().unwrap();
        drop(fs);
        std::fs::remove_dir_all(bench.layer()).unwrap();
    }
}

#[test]
fn what_was_cut_off_stays_so_when_the_new_length_reaches_the_disk_before_the_records() {
    let Some(bench) = bench() else { return };
    let fs = bench.open();
    write(&fs, 5000, b"synced", true);
    truncate(&fs, 10_000);
    write(&fs, 6000, b"synced too", true);
    truncate(&fs, 60_000);
    // As the host writes files out in an order of its own.
    let generation = fs.layer().unwrap().db().inode(ino(&fs)).unwrap().unwrap().data_generation().unwrap();
    let path = fs.layer().unwrap().data().file_path(DataId { ino: ino(&fs), generation });
    std::fs::File::open(path).unwrap().sync_all().unwrap();
    let fs = bench.cut(fs, false);
    let found = read(&fs);
    assert!(found.len() >= 10_000 && found[10_000..].iter().all(|&byte| byte == 0), "{} bytes", found.len());
    assert!(found[..10_000] == with(with(base(), 5000, b"synced"), 6000, b"synced too")[..10_000]);
}

#[test]
fn what_is_written_while_a_snapshot_is_taken_needs_no_older_one() {
    let Some(bench) = bench() else { return };
    let fs = bench.open();
    write(&fs, 5000, b"before", false);
    let frozen = fs.freeze().unwrap();
    let (id, source) = frozen.content.iter().next().unwrap();
    let Source::Partial(parts) = source else { panic!("partial content") };
    let mut bytes = Vec::new();
    parts.reader().read_to_end(&mut bytes).unwrap();
    let put = bench.store().writer("test").unwrap().put_bytes(&bytes).unwrap();
    let blob = BlobRef { digest: put.digest, size: put.size };
    let id = *id;
    write(&fs, 50_000, b"meanwhile", false);
    truncate(&fs, 60_000);
    truncate(&fs, 70_000);
    let right = [&with(with(base(), 5000, b"before"), 50_000, b"meanwhile")[..60_000], &[0; 10_000]].concat();
    fs.rebase(&[(id, blob)].into()).unwrap();
    drop(frozen);
    assert_eq!(partial(&fs).blob, blob, "in the layer, the rest is in what was taken");
    assert!(read(&fs) == right);
    fs.close().unwrap();
    drop(fs);
    assert!(read(&bench.open()) == right);
}

#[test]
fn a_write_beside_a_snapshot_loses_nothing_that_was_synced() {
    let Some(bench) = bench() else { return };
    let fs = bench.open();
    write(&fs, 5000, b"synced", true);
    {
        // A snapshot that fails: the content stays the layer's own.
        let _frozen = fs.freeze().unwrap();
        write(&fs, 50_000, b"NEW", false);
    }
    sync_records(&fs, 0);
    let fs = bench.cut(fs, true);
    let right = with(base(), 5000, b"synced");
    assert!([&right, &with(right.clone(), 50_000, b"NEW")].contains(&&read(&fs)));
}

#[test]
fn a_program_that_does_not_know_partial_content_refuses_the_layer() {
    let Some(bench) = bench() else { return };
    let fs = bench.open();
    let format = |fs: &Fs| fs.layer().unwrap().db().meta_number("format").unwrap();
    assert_eq!(format(&fs), Some(1));
    write(&fs, 5000, b"NEW", false);
    assert_eq!(format(&fs), Some(2));
    fs.close().unwrap();
    drop(fs);
    let fs = bench.open();
    assert_eq!(format(&fs), Some(2), "opening it changes nothing of that");
    let mut batch = fs.layer().unwrap().db().batch();
    batch.put_number("format", 3);
    batch.commit().unwrap();
    drop(fs);
    let refused = Layer::open(&bench.layer()).unwrap_err();
    assert!(matches!(refused, LayerError::Version { found: 3, known: 2, .. }), "{refused}");
}

#[test]
fn a_check_knows_blocks_and_mends_them() {
    let Some(bench) = bench() else { return };
    let fs = bench.open();
    write(&fs, 5000, b"first", true);
    write(&fs, 50_000, b"second", true);
    let (right, of) = (read(&fs), ino(&fs));
    let layer = fs.layer().unwrap();
    let (mut key, mut keys) = (Vec::new(), 0);
    layer
        .db()
        .each_chunk(|found, _| {
            key = found.to_vec();
            keys += 1;
        })
        .unwrap();
    assert_eq!(keys, 1);
    let mut stray = key.clone();
    stray[10] ^= 1; // of another inode
    let mut batch = layer.db().batch();
    batch.put_raw(Space::Meta, &key, b"nonsense");
    batch.put_raw(Space::Meta, &stray, &[0; 1024]);
    batch.put_raw(Space::Meta, b"blocks?", b"");
    batch.commit().unwrap();
    let opened = fs.open(of, OpenMode::default()).unwrap();
    assert!(fs.read(opened.handle, 0, &mut [0; 10]).is_err(), "what can't be told isn't guessed");
    fs.release(opened.handle);
    layer.close().unwrap();
    drop(fs);
    let mut codes = check(&bench, Mending::Done);
    codes.sort();
    assert_eq!(codes, [Code::BadKey, Code::BadBlocks, Code::BlocksStray]);
    assert_eq!(check(&bench, Mending::Off), []);
    let fs = bench.open();
    assert!(read(&fs) == right);
    // Without its data file it is the base's.
    let generation = fs.layer().unwrap().db().inode(of).unwrap().unwrap().data_generation().unwrap();
    let path = fs.layer().unwrap().data().file_path(DataId { ino: of, generation });
    fs.close().unwrap();
    drop(fs);
    std::fs::remove_file(path).unwrap();
    assert_eq!(check(&bench, Mending::Done), [Code::DataMissing]);
    let fs = bench.open();
    assert!(read(&fs) == base());
    let record = fs.layer().unwrap().db().inode(of).unwrap().unwrap();
    assert!(matches!(record.body, Body::File { content: FileContent::Blob(_), .. }));
}
