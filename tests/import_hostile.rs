//! Archives that are wrong, or mean harm: each gives an error that says what is wrong, or what `tar/tree.rs` documents; never a crash, a hang or a
//! write outside of the store.
#![allow(clippy::unwrap_used, reason = "a test that can't go on shall panic")]

mod ingest_util;

use cairnfs::format::Digest;
use cairnfs::ingest::{Exclude, Imported, Limits, Progress, import_tar};
use ingest_util::*;
use proptest::prelude::*;
use std::fs;
use std::io::Read;
use std::path::PathBuf;

const BLOCK: usize = 512;

/// An archive being written, member by member, right or wrong.
#[derive(Default, Clone)]
struct Archive(Vec<u8>);

impl Archive {
    fn header(kind: u8, path: &str, link: &str, size: u64) -> [u8; BLOCK] {
        let mut header = tar::Header::new_gnu();
        let fields = header.as_old_mut();
        fields.name[..path.len()].copy_from_slice(path.as_bytes());
        fields.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(tar::EntryType::new(kind));
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(7);
        header.set_size(size);
        header.set_cksum();
        *header.as_bytes()
    }

    fn member(mut self, kind: u8, path: &str, link: &str, data: &[u8]) -> Self {
        self.0.extend(Self::header(kind, path, link, data.len() as u64));
        self.data(data)
    }

    fn data(mut self, data: &[u8]) -> Self {
        self.0.extend(data);
        self.0.resize(self.0.len().next_multiple_of(BLOCK), 0);
        self
    }

    fn file(self, path: &str, content: &str) -> Self {
        self.member(b'0', path, "", content.as_bytes())
    }

    fn dir(self, path: &str) -> Self {
        self.member(b'5', path, "", b"")
    }

    fn symlink(self, path: &str, target: &str) -> Self {
        self.member(b'2', path, target, b"")
    }

    fn hard_link(self, path: &str, target: &str) -> Self {
        self.member(b'1', path, target, b"")
    }

    fn pax(self, kind: u8, records: &[(&str, &str)]) -> Self {
        let record = |(key, value): &(&str, &str)| {
            let body = format!(" {key}={value}\n");
            let length = (1..).find(|length: &usize| length.to_string().len() + body.len() == *length).unwrap();
            format!("{length}{body}")
        };
        let records: String = records.iter().map(record).collect();
        self.member(kind, "pax", "", records.as_bytes())
    }

    fn end(mut self) -> Vec<u8> {
        self.0.extend([0; 2 * BLOCK]);
        self.0
    }
}

fn archive() -> Archive {
    Archive::default()
}

fn import(archive: &[u8]) -> Result<(Lab, Imported), String> {
    let lab = Lab::new();
    match lab.import_tar(archive) {
        Ok(imported) => Ok((lab, imported)),
        Err(error) => {
            assert!(lab.store.refs().unwrap().is_empty(), "a failed import must leave no ref");
            Err(error.to_string())
        }
    }
}

/// All that the import must say.
#[track_caller]
fn refused(archive: &[u8], says: &[&str]) {
    let message = import(archive).err().expect("the archive must be refused");
    for part in says {
        assert!(message.contains(part), "`{message}` must say `{part}`");
    }
}

/// The tree that an archive makes, exported: paths, with content, or target, or `/`.
#[track_caller]
fn makes(archive: &[u8], expected: &[(&str, &str)]) {
    let (lab, imported) = import(archive).unwrap();
    let root = lab.export_dir(imported.manifest, "out");
    let mut found = Vec::new();
    let mut dirs = vec![root.clone()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let shown = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            let kind = entry.file_type().unwrap();
            found.push(if kind.is_dir() {
                dirs.push(path);
                (shown, "/".to_owned())
            } else if kind.is_symlink() {
                (shown, fs::read_link(path).unwrap().to_str().unwrap().to_owned())
            } else {
                (shown, fs::read_to_string(path).unwrap())
            });
        }
    }
    found.sort();
    let expected: Vec<_> = expected.iter().map(|(path, what)| (path.to_string(), what.to_string())).collect();
    assert_eq!(found, expected);
}

#[test]
fn paths_that_lead_out_are_refused() {
    refused(&archive().file("../evil", "x").end(), &["member `../evil`", "`..`"]);
    refused(&archive().file("a/../../evil", "x").end(), &["`..`"]);
    refused(&archive().dir("a").hard_link("b", "../../etc/passwd").end(), &["member `b`", "`..`"]);
    refused(&archive().pax(b'x', &[("path", "a/../b")]).file("fine", "x").end(), &["member `a/../b`"]);
    refused(&archive().member(b'L', "././@LongLink", "", b"../long\0").file("fine", "").end(), &["`../long`"]);
}

#[test]
fn leading_slashes_and_dots_are_dropped() {
    makes(
        &archive().file("/etc/./passwd", "x").file(".//b", "y").end(),
        &[("b", "y"), ("etc", "/"), ("etc/passwd", "x")],
    );
    makes(&archive().symlink("abs", "/etc/passwd").end(), &[("abs", "/etc/passwd")]);
}

#[test]
fn nothing_is_put_beneath_a_link_or_a_file() {
    let through = archive().symlink("link", "/tmp").file("link/evil", "x").end();
    refused(&through, &["member `link/evil`", "`link`", "symbolic link", "never followed"]);
    refused(&archive().file("file", "").dir("file/sub/dir").end(), &["member `file/sub/dir`", "`file`", "is a file"]);
    refused(&archive().member(b'6', "pipe", "", b"").file("pipe/x", "").end(), &["is a fifo"]);
    refused(&archive().dir("a").symlink("a/l", "..").hard_link("a/l/x", "a/l").end(), &["`a/l`"]);
}

#[test]
fn a_name_given_twice_is_the_last_one_s() {
    makes(&archive().file("a", "one").file("./a", "two").end(), &[("a", "two")]);
    makes(&archive().file("a", "one").symlink("a", "b").end(), &[("a", "b")]);
    makes(&archive().symlink("a", "b").dir("a").file("a/c", "x").end(), &[("a", "/"), ("a/c", "x")]);
    makes(&archive().dir("a").file("a", "x").end(), &[("a", "x")]);
    makes(&archive().file("a", "1").hard_link("b", "a").file("a", "2").end(), &[("a", "2"), ("b", "1")]);
    makes(&archive().file("a", "1").hard_link("a", "a").end(), &[("a", "1")]);
    refused(&archive().file("d/x", "").file("d", "x").end(), &["member `d`", "isn't empty"]);
    let (lab, imported) = import(&archive().file("d/x", "").dir("d").dir("./").end()).unwrap();
    let manifest = lab.store.read_manifest(imported.manifest).unwrap();
    assert_eq!((manifest.root.meta.mode.bits(), manifest.root.meta.mtime.secs()), (0o644, 7));
    assert_eq!(manifest.totals.entries, 2);
}

#[test]
fn replaced_files_and_links_are_not_counted() {
    let (lab, imported) = import(&archive().file("a", "1").hard_link("b", "a").file("b", "22").end()).unwrap();
    assert_eq!((imported.regular_files, imported.bytes), (2, 3));
    assert_eq!(lab.store.read_manifest(imported.manifest).unwrap().links, None);
}

#[test]
fn the_root_is_a_directory() {
    refused(&archive().file("./", "").symlink(".", "x").end(), &["member `.`", "the root"]);
    refused(&archive().symlink("/", "/etc").end(), &["the root"]);
    refused(&archive().file("", "x").end(), &["names no file"]);
}

#[test]
fn links_need_their_target_before_them() {
    refused(&archive().hard_link("b", "a").file("a", "x").end(), &["member `b`", "`a`", "isn't in the archive before"]);
    refused(&archive().dir("d").hard_link("b", "d").end(), &["`d`", "is a directory"]);
    refused(&archive().hard_link("a", "a").end(), &["`a`", "isn't in the archive"]);
    refused(&archive().symlink("a", "").end(), &["target of a symbolic link is empty"]);
    refused(&archive().pax(b'x', &[("linkpath", &"x".repeat(4096))]).symlink("a", "x").end(), &["4095 bytes"]);
}

#[test]
fn names_that_are_none_are_refused() {
    let long = "n".repeat(256);
    refused(&archive().pax(b'x', &[("path", &long)]).file("x", "").end(), &["longer than 255 bytes"]);
    refused(&archive().pax(b'x', &[("path", "a\0b")]).file("x", "").end(), &["NUL"]);
    refused(&archive().file(".ctl", "").end(), &["`.ctl`", "ctl=off"]);
    refused(&archive().file(".ctl/x", "").end(), &["`.ctl`"]);
    makes(&archive().file("a/.ctl", "x").end(), &[("a", "/"), ("a/.ctl", "x")]);
}

#[test]
fn cut_archives_are_never_taken_for_whole() {
    let whole = archive().dir("d").file("d/a", "some content").pax(b'x', &[("mtime", "1.5")]).file("b", "").end();
    let boundaries: Vec<usize> = [1, 3].iter().map(|blocks| blocks * BLOCK).collect();
    for cut in (0..whole.len() - BLOCK).step_by(37).chain(boundaries) {
        let message = import(&whole[..cut]).err().unwrap_or_else(|| panic!("cut at {cut} of {}", whole.len()));
        let says =
            ["cut short", "not a tar archive", "end marker is missing", "archive is empty", "no member after it"];
        assert!(says.iter().any(|part| message.contains(part)), "{cut}: {message}");
    }
    refused(&whole[..2 * BLOCK + 5], &["cut short", "a member's data"]);
    refused(&whole[..BLOCK + 100], &["cut short", "a header"]);
    refused(b"", &["the archive is empty"]);
}

#[test]
fn an_archive_without_end_marker_is_taken_only_if_allowed() {
    let archive = archive().file("a", "x").0;
    refused(&archive, &["end marker is missing"]);
    let mut options = options();
    options.allow_missing_end = true;
    let lab = Lab::new();
    assert_eq!(import_tar(&lab.store, &archive[..], &options, &Progress::default()).unwrap().entries, 1);
    import_tar(&lab.store, &archive[..archive.len() - 1], &options, &Progress::default()).unwrap_err();
}

#[test]
fn what_follows_the_end_is_ignored_but_not_a_gap() {
    let mut archive_ = archive().file("a", "x").end();
    let single = archive_[..archive_.len() - BLOCK].to_vec();
    makes(&single, &[("a", "x")]);
    archive_.extend(b"garbage that is no header");
    makes(&archive_, &[("a", "x")]);
    let gap = [single, archive().file("b", "y").end()].concat();
    refused(&gap, &["zeros stands where a header should"]);
}

#[test]
fn damage_is_noticed() {
    let mut archive_ = archive().file("a", "x").file("b", "y").end();
    archive_[2 * BLOCK + 3] ^= 1;
    refused(&archive_, &["at byte 1024", "checksum"]);
    refused(&[b'x'; 2000], &["not a tar archive"]);
    refused(b"BZh91AY&SY", &["bzip2"]);
    refused(b"PK\x03\x04............", &["zip"]);
    refused(&archive().member(b'Z', "odd", "", b"").end(), &["member `odd`", "'Z'"]);
    refused(&archive().member(b'M', "part", "", b"").end(), &["'M'"]);
}

/// A header with fields of one's own, and a right checksum.
fn edited(mut header: [u8; BLOCK], at: usize, field: &[u8]) -> Archive {
    header[at..at + field.len()].copy_from_slice(field);
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    Archive(header.to_vec())
}

#[test]
fn numbers_out_of_range_are_refused() {
    let header = Archive::header(b'0', "file", "", 0);
    let huge = [0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    refused(&edited(header, 124, &huge).end(), &["size"]);
    refused(&edited(header, 124, &[0xff; 12]).end(), &["size"]);
    refused(&edited(header, 124, b"9999").end(), &["size"]);
    refused(&edited(header, 108, &[0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]).end(), &["owner"]);
    refused(&archive().pax(b'x', &[("uid", "4294967295")]).file("x", "").end(), &["owner"]);
    refused(&archive().pax(b'x', &[("gid", "-1")]).file("x", "").end(), &["`gid`"]);
    refused(&archive().pax(b'x', &[("size", "99999999999999999999")]).file("x", "").end(), &["`size`"]);
    refused(&archive().pax(b'x', &[("mtime", "soon")]).file("x", "").end(), &["`mtime`"]);
    refused(&archive().pax(b'x', &[("size", "18446744073709551615")]).file("x", "").end(), &["cut short"]);
    let (_, imported) = import(&archive().pax(b'x', &[("uid", "4294967294")]).file("x", "").end()).unwrap();
    assert_eq!(imported.entries, 1);
}

#[test]
fn extended_headers_that_make_no_sense() {
    refused(&archive().member(b'x', "pax", "", b"12 path=\n").file("a", "").end(), &["malformed"]);
    refused(&archive().pax(b'x', &[("path", "b")]).end(), &["no member after it"]);
    refused(&archive().pax(b'g', &[("path", "b")]).file("a", "").end(), &["global", "`path`"]);
    refused(&archive().pax(b'x', &[("SCHILY.acl.access", "user:joe:rwx")]).file("a", "").end(), &["`joe`"]);
    refused(&archive().pax(b'x', &[("SCHILY.xattr.", "v")]).file("a", "").end(), &["extended attributes"]);
    let global = archive().pax(b'g', &[("comment", "0123"), ("mtime", "5.5")]).file("a", "x").file("b", "y").end();
    makes(&global, &[("a", "x"), ("b", "y")]);
}

#[test]
fn long_headers_are_bounded() {
    let lab = Lab::new();
    let mut options = options();
    options.limits = Limits { header_bytes: 1000, path_bytes: 500, ..Limits::default() };
    let fails = |archive: Archive, says: &str| {
        let error = import_tar(&lab.store, &archive.end()[..], &options, &Progress::default()).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    };
    fails(archive().member(b'x', "pax", "", &[b'1'; 1001]).file("a", ""), "longer than 1000 bytes");
    fails(archive().member(b'L', "long", "", &[b'n'; 1001]).file("a", ""), "longer than 1000 bytes");
    fails(archive().member(b'L', "long", "", &[b'n'; 501]).file("a", ""), "longer than 500 bytes");
    // a header that declares 8 GiB is refused by what it says, before any of that is read or reserved
    fails(Archive(Archive::header(b'x', "pax", "", 8 << 30).to_vec()), "longer than 1000 bytes");
}

#[test]
fn the_number_of_entries_is_bounded_by_what_is_there() {
    let lab = Lab::new();
    let mut options = options();
    options.limits.entries = 1000;
    let flood = (0..1001).fold(archive(), |archive, n| archive.member(b'3', &format!("dev{n}"), "", b"")).end();
    let error = import_tar(&lab.store, &flood[..], &options, &Progress::default()).unwrap_err().to_string();
    assert!(error.contains("more than 1000 entries"), "{error}");
    let deep = archive().pax(b'x', &[("path", &"d/".repeat(1500))]).dir("x").end();
    let error = import_tar(&lab.store, &deep[..], &options, &Progress::default()).unwrap_err().to_string();
    assert!(error.contains("more than 1000 entries"), "{error}");
    options.limits.entries = 2000;
    assert_eq!(import_tar(&lab.store, &flood[..], &options, &Progress::default()).unwrap().entries, 1001);
    assert_eq!(import_tar(&lab.store, &deep[..], &options, &Progress::default()).unwrap().entries, 1500);
}

/// The records of a sparse file in the form of version 0.1.
fn sparse(size: &str, map: &str, data: &str) -> Vec<u8> {
    let records = [("GNU.sparse.size", size), ("GNU.sparse.map", map), ("GNU.sparse.name", "sparse")];
    archive().pax(b'x', &records).file("placeholder", data).end()
}

#[test]
fn sparse_maps_that_lie_are_refused() {
    makes(&sparse("5", "1,2", "ab"), &[("sparse", "\0ab\0\0")]);
    makes(&sparse("0", "", ""), &[("sparse", "")]);
    refused(&sparse("5", "1,3", "ab"), &["member `sparse`", "not as long as its data"]);
    refused(&sparse("5", "4,2", "ab"), &["past the end"]);
    refused(&sparse("9", "4,1,2,1", "ab"), &["out of order"]);
    refused(&sparse("5", "1", "ab"), &["`GNU.sparse.map`"]);
    refused(&sparse("x", "1,2", "ab"), &["`GNU.sparse.size`"]);
    let version = [("GNU.sparse.major", "2"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", "5")];
    refused(&archive().pax(b'x', &version).file("a", "").end(), &["unknown version"]);
    let in_data = [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", "5")];
    refused(&archive().pax(b'x', &in_data).file("a", "1\n").end(), &["map is cut short"]);
    refused(&archive().pax(b'x', &in_data).file("a", &"9".repeat(600)).end(), &["bad number"]);
}

#[test]
fn holes_are_bounded() {
    let lab = Lab::new();
    let mut options = options();
    options.limits.hole_bytes = 10 << 20;
    let error = import_tar(&lab.store, &sparse("9000000000000000000", "", "")[..], &options, &Progress::default());
    assert!(error.unwrap_err().to_string().contains("bytes of holes"));
    import_tar(&lab.store, &sparse("10485760", "", "")[..], &options, &Progress::default()).unwrap();
}

#[test]
fn excluded_members_are_left_out() {
    let lab = Lab::new();
    let mut options = options();
    options.exclude = vec![Exclude::new("var/cache").unwrap()];
    let archive = archive().file("var/cache/a/b", "x").file("var/keep", "y").end();
    let imported = import_tar(&lab.store, &archive[..], &options, &Progress::default()).unwrap();
    assert_eq!((imported.entries, imported.regular_files), (2, 1));
}

#[test]
fn a_failed_import_leaves_the_ref_as_it_was() {
    let lab = Lab::new();
    let before = lab.import_tar(&archive().file("a", "1").end()[..]).unwrap().manifest;
    lab.import_tar(&archive().file("a", "2").0[..]).unwrap_err();
    assert_eq!(lab.store.resolve_ref(&"test".parse().unwrap()).unwrap(), before);
    let after = lab.import_tar(&archive().file("a", "2").end()[..]).unwrap();
    assert_eq!(after.replaced, Some(before));
}

/// Fails after so many bytes, as a lost connection does.
struct Broken<'a>(&'a [u8]);

impl Read for Broken<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(std::io::Error::other("the line is dead")),
            got => Ok(got),
        }
    }
}

#[test]
fn a_source_that_fails_is_reported() {
    let lab = Lab::new();
    let big = archive().file("a", &"x".repeat(1 << 20)).0;
    for cut in [100, 5000, big.len() - BLOCK] {
        let error = lab.import_tar(Broken(&big[..cut])).unwrap_err().to_string();
        assert!(error.contains("the line is dead"), "{error}");
    }
    assert_eq!(objects(&lab), Vec::<PathBuf>::new(), "half a file was stored");
}

fn objects(lab: &Lab) -> Vec<PathBuf> {
    let folders = fs::read_dir(lab.store.path().join("objects")).unwrap().map(|folder| folder.unwrap().path());
    folders.flat_map(|folder| fs::read_dir(folder).unwrap().map(|file| file.unwrap().path())).collect()
}

/// A small archive with every kind of member.
fn sample() -> Vec<u8> {
    let pax = [("mtime", "1.25"), ("SCHILY.xattr.user.a", "b"), ("GNU.sparse.size", "5"), ("GNU.sparse.map", "1,2")];
    archive()
        .dir("./")
        .file("d/a", "content")
        .pax(b'g', &[("comment", "c")])
        .pax(b'x', &pax)
        .file("sparse", "ab")
        .symlink("l", "d/a")
        .hard_link("h", "d/a")
        .member(b'L', "././@LongLink", "", &[b'n'; 120])
        .file("short", "x")
        .member(b'3', "null", "", b"")
        .end()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_change_to_an_archive_does_harm(changes in prop::collection::vec((0..sample().len(), any::<u8>()), 1..6), fix: bool) {
        let lab = LAB.with(std::rc::Rc::clone);
        let mut archive = sample();
        for (at, byte) in changes {
            archive[at] = byte;
            if fix {
                let block = at / BLOCK * BLOCK;
                let header: [u8; BLOCK] = archive[block..block + BLOCK].try_into().unwrap();
                archive[block..block + BLOCK].copy_from_slice(&edited(header, 0, &[]).0);
            }
        }
        let mut options = options();
        options.limits.hole_bytes = 1 << 20;
        match import_tar(&lab.store, &archive[..], &options, &Progress::default()) {
            Ok(imported) => prop_assert_ne!(imported.manifest, Digest::of(b"")),
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}

thread_local! {
    static LAB: std::rc::Rc<Lab> = std::rc::Rc::new(Lab::new());
}
