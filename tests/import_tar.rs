//! Archives of GNU tar in all its forms: the same manifest as from the directory that they were made of.
#![allow(clippy::unwrap_used, reason = "a test that can't go on shall panic")]

mod ingest_util;

use cairnfs::format::{Content, Entry, Node};
use cairnfs::ingest::{IngestError, Progress, import_tar};
use ingest_util::skip::{has, possible};
use ingest_util::*;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

/// A tree that GNU tar can hold: it leaves out sockets, and the links between fifos.
fn tree(lab: &Lab) -> PathBuf {
    let source = lab.dir("source");
    make_tree(&source);
    let time = cairnfs::sys::at::stat_at(File::open(lab.temp.path()).unwrap(), b"source").unwrap().mtime;
    fs::remove_file(source.join("sock")).unwrap();
    fs::remove_file(source.join("linked fifo 2")).unwrap();
    cairnfs::sys::at::set_times_fd(File::open(&source).unwrap(), time).unwrap();
    source
}

/// What GNU tar makes of a directory.
fn gnu_tar(source: &Path, arguments: &[&str]) -> Vec<u8> {
    let mut all: Vec<&OsStr> = ["--create", "--file=-", "--numeric-owner"].iter().map(OsStr::new).collect();
    all.extend(arguments.iter().map(OsStr::new));
    all.extend([OsStr::new("-C"), source.as_os_str(), OsStr::new(".")]);
    run("tar", &all)
}

const POSIX: [&str; 3] = ["--format=posix", "--xattrs", "--xattrs-include=*"];

#[test]
fn posix_archives_keep_all() {
    if !possible(&[]) {
        return;
    }
    let lab = Lab::new();
    let source = tree(&lab);
    let expected = lab.import_dir(&source);
    let imported = lab.import_tar(Cursor::new(gnu_tar(&source, &POSIX))).unwrap();
    assert_eq!(imported.manifest, expected.manifest);
    assert_eq!((imported.entries, imported.bytes), (expected.entries, expected.bytes));
    assert_eq!((imported.regular_files, imported.new_blobs), (expected.regular_files, 0));
}

#[test]
fn all_forms_of_sparse_files() {
    if !possible(&[]) {
        return;
    }
    let lab = Lab::new();
    let source = tree(&lab);
    let expected = lab.import_dir(&source).manifest;
    for version in ["0.0", "0.1", "1.0"] {
        let sparse = format!("--sparse-version={version}");
        let archive = gnu_tar(&source, &[&POSIX[..], &["--sparse", &sparse]].concat());
        assert!(archive.len() < 10 << 20, "{version}: the archive isn't sparse");
        assert_eq!(lab.import_tar(Cursor::new(archive)).unwrap().manifest, expected, "{version}");
    }
}

/// Names, types, owners and content, but for what old formats can't hold.
fn shape(lab: &Lab, manifest: cairnfs::format::Digest) -> Vec<String> {
    let manifest = lab.store.read_manifest(manifest).unwrap();
    let links = lab.store.read_links(&manifest).unwrap();
    let mut lines = Vec::new();
    let mut dirs = vec![(String::new(), manifest.root.subtree.tree)];
    while let Some((path, tree)) = dirs.pop() {
        for (name, entry) in lab.store.read_tree(tree).unwrap().iter() {
            let path = format!("{path}/{name}");
            let (meta, content) = match entry {
                Entry::Inode(meta, Node::Dir(subtree)) => {
                    dirs.push((path.clone(), subtree.tree));
                    (meta, None)
                }
                Entry::Inode(meta, Node::Leaf(content)) => (meta, Some(content)),
                Entry::Linked(number) => {
                    let inode = links.get(number).unwrap();
                    (inode.meta, Some(inode.content))
                }
            };
            let secs = meta.mtime.secs();
            lines.push(format!("{path} {:o} {} {} {secs} {content:?}", meta.mode.bits(), meta.uid, meta.gid));
        }
    }
    lines.sort();
    lines
}

#[test]
fn gnu_archives_keep_all_but_nanoseconds_and_attributes() {
    if !possible(&[]) {
        return;
    }
    let lab = Lab::new();
    let source = tree(&lab);
    let expected = shape(&lab, lab.import_dir(&source).manifest);
    for arguments in [&["--format=gnu"][..], &["--format=gnu", "--sparse"], &["--format=oldgnu", "--sparse"]] {
        let imported = lab.import_tar(Cursor::new(gnu_tar(&source, arguments))).unwrap();
        assert_eq!(shape(&lab, imported.manifest), expected, "{arguments:?}");
    }
}

#[test]
fn a_sparse_file_with_many_pieces() {
    let lab = Lab::new();
    let source = lab.dir("source");
    let file = File::create(source.join("pieces")).unwrap();
    for piece in 0..500_u64 {
        std::os::unix::fs::FileExt::write_all_at(&file, &[piece as u8 | 1; 5000], piece * 131_072).unwrap();
    }
    drop(file);
    let expected = shape(&lab, lab.import_dir(&source).manifest);
    for arguments in [
        &["--format=gnu"][..],
        &["--format=posix", "--sparse-version=0.0"],
        &["--format=posix", "--sparse-version=0.1"],
        &["--format=posix", "--sparse-version=1.0"],
    ] {
        let archive = gnu_tar(&source, &[arguments, &["--sparse"]].concat());
        assert!(archive.len() < 8 << 20);
        let imported = lab.import_tar(Cursor::new(archive)).unwrap();
        assert_eq!(shape(&lab, imported.manifest), expected, "{arguments:?}");
    }
}

#[test]
fn old_formats_are_read() {
    let lab = Lab::new();
    let source = lab.dir("source");
    let long = source.join("d".repeat(90)).join("e".repeat(90));
    fs::create_dir_all(&long).unwrap();
    write(&long.join("file"), b"content");
    let expected = shape(&lab, lab.import_dir(&source).manifest);
    let imported = lab.import_tar(Cursor::new(gnu_tar(&source, &["--format=ustar"]))).unwrap();
    assert_eq!(shape(&lab, imported.manifest), expected);
    fs::rename(&long, source.join("short")).unwrap();
    fs::remove_dir(source.join("d".repeat(90))).unwrap();
    let expected = shape(&lab, lab.import_dir(&source).manifest);
    let imported = lab.import_tar(Cursor::new(gnu_tar(&source, &["--format=v7"]))).unwrap();
    assert_eq!(shape(&lab, imported.manifest), expected);
}

fn compressed(program: &str, archive: &Path) -> Vec<u8> {
    run(program, &[OsStr::new("-c"), archive.as_os_str()])
}

#[test]
fn compressions_are_recognised_and_may_come_in_parts() {
    let lab = Lab::new();
    let source = lab.dir("source");
    let noise: Vec<u8> = (0..600_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    write(&source.join("noise"), &noise);
    write(&source.join("text"), b"text");
    let archive = gnu_tar(&source, &["--format=posix"]);
    let expected = lab.import_tar(&archive[..]).unwrap().manifest;
    let (first, second) = (lab.path("first"), lab.path("second"));
    fs::write(&first, &archive[..200_000]).unwrap();
    fs::write(&second, &archive[200_000..]).unwrap();
    for program in ["gzip", "zstd", "xz"].into_iter().filter(|program| has(program)) {
        let parts = [compressed(program, &first), compressed(program, &second)];
        let progress = Progress::default();
        let whole = parts.concat();
        let imported = import_tar(&lab.store, &whole[..], &options(), &progress).unwrap();
        assert_eq!(imported.manifest, expected, "{program}");
        assert_eq!((progress.input(), progress.entries(), progress.bytes()), (whole.len() as u64, 3, 600_004));
        for cut in [whole.len() / 3, parts[0].len() + 20, whole.len() - 3] {
            let error = lab.import_tar(&whole[..cut]).unwrap_err().to_string();
            assert!(
                error.contains("cut short") || error.contains("can't read the archive"),
                "{program} {cut}: {error}"
            );
        }
        let mut damaged = whole.clone();
        damaged[whole.len() / 2] ^= 0x10;
        lab.import_tar(&damaged[..]).unwrap_err();
    }
    let padded = [compressed("gzip", &first), compressed("gzip", &second), vec![0; 4096]].concat();
    assert_eq!(lab.import_tar(&padded[..]).unwrap().manifest, expected);
}

/// Gives one byte at a time, as a slow pipe may.
struct Trickle<R>(R);

impl<R: Read> Read for Trickle<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = buffer.len().min(1);
        self.0.read(&mut buffer[..length])
    }
}

#[test]
fn a_slow_pipe_is_no_different() {
    let lab = Lab::new();
    let source = lab.dir("source");
    write(&source.join("file"), &vec![7; 300_000]);
    let archive = gnu_tar(&source, &["--format=posix"]);
    let expected = lab.import_tar(&archive[..]).unwrap().manifest;
    assert_eq!(lab.import_tar(Trickle(&archive[..])).unwrap().manifest, expected);
}

#[test]
fn owners_by_name_in_an_acl_are_refused_with_advice() {
    if !possible(&["setfacl"]) {
        return;
    }
    let lab = Lab::new();
    let source = lab.dir("source");
    write(&source.join("file"), b"");
    run(
        "setfacl",
        &["-m", "u:daemon:r"].map(OsStr::new).into_iter().chain([source.join("file").as_os_str()]).collect::<Vec<_>>(),
    );
    let arguments = ["--format=posix", "--acls"].map(OsStr::new);
    let tail = [OsStr::new("-C"), source.as_os_str(), OsStr::new(".")];
    let archive = run("tar", &[&["--create", "--file=-"].map(OsStr::new)[..], &arguments, &tail].concat());
    let error = lab.import_tar(&archive[..]).unwrap_err();
    assert!(matches!(error, IngestError::Archive { .. }));
    assert!(error.to_string().contains("`daemon`") && error.to_string().contains("--xattrs-include='*'"), "{error}");
    let both = gnu_tar(&source, &[&POSIX[..], &["--acls"]].concat());
    assert_eq!(lab.import_tar(&both[..]).unwrap().manifest, lab.import_dir(&source).manifest);
}

#[test]
fn a_debian_style_archive_made_elsewhere() {
    let lab = Lab::new();
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(3);
    header.set_mode(0o644);
    builder.append_data(&mut header, format!("{}/file", "long".repeat(40)), &b"abc"[..]).unwrap();
    let mut link = tar::Header::new_ustar();
    link.set_entry_type(tar::EntryType::Symlink);
    link.set_size(0);
    builder.append_link(&mut link, "link", "target").unwrap();
    let imported = lab.import_tar(&builder.into_inner().unwrap()[..]).unwrap();
    assert_eq!((imported.entries, imported.bytes), (3, 3));
    let tree = lab.store.read_manifest(imported.manifest).unwrap().root.subtree.tree;
    let tree = lab.store.read_tree(tree).unwrap();
    assert!(matches!(tree.entry(0), Entry::Inode(_, Node::Leaf(Content::Symlink(target))) if &*target == b"target"));
    assert!(matches!(tree.entry(1), Entry::Inode(meta, Node::Dir(_)) if meta.mode.bits() == 0o755));
}
