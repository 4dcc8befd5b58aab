//! Archives out: the same bytes for the same manifest, read back to the same manifest by us, and to the same tree by GNU tar.
#![allow(clippy::unwrap_used, reason = "a test that can't go on shall panic")]

mod ingest_util;

use cairnfs::format::Digest;
use cairnfs::ingest::tar::Compression;
use cairnfs::ingest::{IngestError, Progress, export_tar};
use cairnfs::sys::at;
use ingest_util::skip::possible;
use ingest_util::*;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;

fn exported(lab: &Lab, manifest: Digest, compression: Compression) -> Vec<u8> {
    let mut archive = Vec::new();
    export_tar(&lab.store, manifest, &mut archive, compression, &Progress::default()).unwrap();
    archive
}

#[test]
fn an_exported_archive_imports_to_the_same_manifest() {
    if !possible(&[]) {
        return;
    }
    let lab = Lab::new();
    let source = lab.dir("source");
    make_tree(&source);
    let manifest = lab.import_dir(&source).manifest;
    let other = Lab::new();
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd, Compression::Xz] {
        let archive = exported(&lab, manifest, compression);
        assert!(archive.len() < 8 << 20, "{compression:?}: holes must not be written out");
        assert_eq!(exported(&lab, manifest, compression), archive, "{compression:?}");
        assert_eq!(other.import_tar(&archive[..]).unwrap().manifest, manifest, "{compression:?}");
    }
    assert_eq!(exported(&other, manifest, Compression::None), exported(&lab, manifest, Compression::None));
}

#[test]
fn gnu_tar_extracts_the_same_tree() {
    if !possible(&["rsync"]) {
        return;
    }
    let lab = Lab::new();
    let source = lab.dir("source");
    make_tree(&source);
    // an archive has no type for it, and GNU tar no record
    fs::remove_file(source.join("sock")).unwrap();
    let archive = lab.path("archive.tar");
    fs::write(&archive, exported(&lab, lab.import_dir(&source).manifest, Compression::None)).unwrap();
    let out = lab.dir("out");
    let options = ["--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner", "--same-owner", "-xpf"];
    let mut arguments: Vec<&OsStr> = options.iter().map(OsStr::new).collect();
    arguments.extend([archive.as_os_str(), OsStr::new("-C"), out.as_os_str()]);
    run("tar", &arguments);
    assert_eq!(differences(&source, &out), "");
}

#[test]
fn numbers_and_names_at_the_limits() {
    if !possible(&[]) {
        return;
    }
    let lab = Lab::new();
    let source = lab.dir("source");
    let dir = at::open_dir(&source).unwrap();
    let times = [(0, 0), (0o77_777_777_777, 0), (0o100_000_000_000, 1), (-1, 0), (-1, 1), (1, 999_999_999), (2, 1)];
    for (number, time) in times.into_iter().enumerate() {
        let name = format!("time {number}");
        write(&source.join(&name), b"");
        at::set_times_at(&dir, name.as_bytes(), time).unwrap();
    }
    for id in [0o7_777_777, 0o10_000_000, u32::MAX - 1] {
        let name = format!("owner {id}");
        write(&source.join(&name), b"");
        at::chown_at(&dir, name.as_bytes(), id, id - 1).unwrap();
    }
    for length in [98, 99, 100, 101, 255] {
        write(&source.join("n".repeat(length)), b"");
        fs::create_dir(source.join("d".repeat(length))).unwrap();
        at::make_symlink_at(&dir, "l".repeat(length).as_bytes(), "t".repeat(length).as_bytes()).unwrap();
        at::link_at(&dir, "n".repeat(length).as_bytes(), &dir, "z".repeat(length).as_bytes()).unwrap();
    }
    at::make_node_at(&dir, b"far device", at::NodeType::Char(0xfff, 0xfffff)).unwrap();
    let manifest = lab.import_dir(&source).manifest;
    let archive = exported(&lab, manifest, Compression::None);
    assert_eq!(lab.import_tar(&archive[..]).unwrap().manifest, manifest);
}

#[test]
fn a_huge_hole_is_no_work() {
    let lab = Lab::new();
    let source = lab.dir("source");
    let file = File::create(source.join("huge")).unwrap();
    file.write_all_at(b"end", 1 << 30).unwrap();
    let manifest = lab.import_dir(&source).manifest;
    let archive = exported(&lab, manifest, Compression::None);
    assert!(archive.len() < 1 << 20);
    let imported = lab.import_tar(&archive[..]).unwrap();
    assert_eq!(imported.manifest, manifest);
}

/// Takes so much and no more, as a full disk does.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        if self.0 < buffer.len() {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        self.0 -= buffer.len();
        Ok(buffer.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_output_that_fails_is_reported() {
    let lab = Lab::new();
    let source = lab.dir("source");
    write(&source.join("file"), &vec![1; 1 << 20]);
    let manifest = lab.import_dir(&source).manifest;
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd, Compression::Xz] {
        let error = export_tar(&lab.store, manifest, Full(20), compression, &Progress::default()).unwrap_err();
        assert!(matches!(error, IngestError::Output(_)), "{compression:?}: {error}");
    }
}

#[test]
fn a_missing_blob_is_named() {
    let lab = Lab::new();
    let source = lab.dir("source");
    write(&source.join("file"), b"content");
    let manifest = lab.import_dir(&source).manifest;
    let blob = Digest::of(b"content");
    fs::remove_file(lab.store.object_path(blob)).unwrap();
    let error = export_tar(&lab.store, manifest, Vec::new(), Compression::None, &Progress::default()).unwrap_err();
    assert!(error.to_string().contains(&blob.to_string()), "{error}");
    fs::write(lab.store.object_path(blob), b"cont").unwrap();
    let error = export_tar(&lab.store, manifest, Vec::new(), Compression::None, &Progress::default()).unwrap_err();
    assert!(error.to_string().contains("`file`") && error.to_string().contains("another length"), "{error}");
}
