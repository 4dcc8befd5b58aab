//! Names and directories: long, odd, many, and in use.

use crate::common::spec::Spec;
use crate::people::apart;
use crate::places::{everywhere, said};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, mkdirat, openat, unlinkat};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

#[test]
fn names_are_bytes_up_to_255_of_them() {
    everywhere(&Spec::new().dir("dir"), |dir| {
        let mut all = Vec::new();
        let names: [&[u8]; 9] =
            [&[b'n'; 255], &[b'n'; 256], b"\xff\xfe", b" ", b"\n", b"\\", b".x", b"..x", "e\u{301}".as_bytes()];
        for name in names {
            let path = &dir.join(OsStr::from_bytes(name));
            all.push(said(fs::write(path, "x")));
            all.push(said(fs::create_dir(dir.join("dir").join(OsStr::from_bytes(name)))));
            all.push(said(fs::rename(path, dir.join("renamed"))));
            all.push(said(fs::rename(dir.join("renamed"), path)));
            all.push(said(fs::hard_link(path, dir.join("linked"))));
            all.push(said(fs::remove_file(dir.join("linked"))));
            all.push(said(fs::metadata(path).map(|metadata| metadata.len())));
            all.push(said(symlink("x", path)));
        }
        all.push(said(fs::write(dir.join("\u{e9}"), "composed").map(|()| fs::read_to_string(dir.join("e\u{301}")))));
        let mut found: Vec<_> =
            fs::read_dir(dir).unwrap().map(|entry| format!("{:?}", entry.unwrap().file_name())).collect();
        found.sort();
        all.extend(found);
        for length in [4095, 4096] {
            all.push(said(symlink("t".repeat(length), dir.join("target"))));
            all.push(said(fs::read_link(dir.join("target")).map(|target| target.as_os_str().len())));
            all.push(said(fs::metadata(dir.join("x".repeat(length)))));
        }
        all.push(said(symlink("", dir.join("nothing"))));
        for end in ["dir/.", "dir/..", "dir/", "."] {
            all.push(said(fs::create_dir(dir.join(end))));
            all.push(said(fs::remove_dir(dir.join(end))));
            all.push(said(fs::rename(dir.join(end), dir.join("moved"))));
            all.push(said(fs::rename(dir.join("moved"), dir.join("dir"))));
        }
        all
    });
}

#[test]
fn trees_deeper_than_any_path_can_be_made_and_removed() {
    everywhere(&Spec::new(), |dir| {
        let name = "d".repeat(200);
        let open = |at: &rustix::fd::OwnedFd, name: &str| openat(at, name, OFlags::DIRECTORY, Mode::empty()).unwrap();
        let mut chain = vec![openat(CWD, dir, OFlags::DIRECTORY, Mode::empty()).unwrap()];
        for _ in 0..40 {
            let last = chain.last().unwrap();
            mkdirat(last, name.as_str(), Mode::RWXU).unwrap();
            chain.push(open(last, &name));
        }
        let last = chain.last().unwrap();
        drop(openat(last, "file", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap());
        let working = apart(|| {
            rustix::process::fchdir(last).unwrap();
            (said(fs::metadata("file").map(|metadata| metadata.len())), said(std::env::current_dir().map(drop)))
        });
        let deepest = rustix::fs::fstat(last).unwrap().st_ino;
        // From the bottom up again by `..`.
        let mut at = open(last, "..");
        for _ in 0..39 {
            at = open(&at, "..");
        }
        assert_eq!(rustix::fs::fstat(&at).unwrap().st_ino, fs::metadata(dir).unwrap().ino());
        assert_ne!(deepest, 0);
        unlinkat(last, "file", AtFlags::empty()).unwrap();
        while chain.len() > 1 {
            chain.pop();
            unlinkat(chain.last().unwrap(), name.as_str(), AtFlags::REMOVEDIR).unwrap();
        }
        working
    });
}

#[test]
fn a_place_in_a_listing_can_be_sought_again() {
    let spec = (0..500).fold(Spec::new(), |spec, n| spec.file(&format!("dir/base-{n}"), ""));
    everywhere(&spec, |dir| {
        for n in 0..500 {
            fs::write(dir.join(format!("dir/new-{n}")), "").unwrap();
        }
        let path = dir.join("dir");
        // By the raw call: positions are what each entry says comes next.
        let fd = openat(CWD, &path, OFlags::DIRECTORY, Mode::empty()).unwrap();
        let mut room = vec![std::mem::MaybeUninit::uninit(); 4096];
        let mut entries = Vec::new();
        {
            let mut raw = rustix::fs::RawDir::new(&fd, &mut room);
            while let Some(entry) = raw.next() {
                let entry = entry.unwrap();
                entries.push((entry.file_name().to_str().unwrap().to_owned(), entry.next_entry_cookie()));
            }
        }
        assert_eq!(entries.len(), 1002);
        // Entries come and go; what stays is still found after each place.
        for n in (0..500).step_by(3) {
            fs::remove_file(dir.join(format!("dir/new-{n}"))).unwrap();
        }
        let gone = |name: &str| name.strip_prefix("new-").is_some_and(|n| n.parse::<u32>().unwrap() % 3 == 0);
        for at in [0, 1, 2, 10, 499, 500, 501, 700, 1000] {
            rustix::fs::seek(&fd, rustix::fs::SeekFrom::Start(entries[at].1)).unwrap();
            let mut raw = rustix::fs::RawDir::new(&fd, &mut room);
            let mut rest = Vec::new();
            while let Some(entry) = raw.next() {
                rest.push(entry.unwrap().file_name().to_str().unwrap().to_owned());
            }
            // Whether it tells of what was removed since the start is left open by POSIX.
            rest.retain(|name| !gone(name));
            let expected = entries[at + 1..].iter().map(|(name, _)| name).filter(|name| !gone(name));
            assert!(rest.iter().eq(expected), "from place {at}: {rest:?}");
        }
        rustix::fs::seek(&fd, rustix::fs::SeekFrom::Start(0)).unwrap();
        let mut raw = rustix::fs::RawDir::new(&fd, &mut room);
        let mut count = 0;
        while let Some(entry) = raw.next() {
            assert!(!gone(entry.unwrap().file_name().to_str().unwrap()));
            count += 1;
        }
        assert_eq!(count, 1002 - 167, "from the start, it is as it is now");
    });
}

#[test]
fn directories_in_use_are_renamed_and_removed() {
    let spec = Spec::new().file("a/b/c/file", "x").dir("empty").dir("target").file("full/x", "");
    everywhere(&spec, |dir| {
        let mut all = apart(|| {
            std::env::set_current_dir(dir.join("a/b/c")).unwrap();
            let open = fs::File::open(dir.join("a/b/c/file")).unwrap();
            let mut all = vec![said(fs::rename(dir.join("a"), dir.join("moved")))];
            all.push(said(fs::metadata("file").map(|metadata| metadata.len())));
            all.push(said(fs::metadata("../../b/c/file").map(|metadata| metadata.len())));
            all.push(said(std::env::current_dir().map(|at| at.strip_prefix(dir).unwrap().to_owned())));
            all.push(said(fs::rename("file", "renamed")));
            all.push(said(open.metadata().map(|metadata| metadata.nlink())));
            all.push(said(fs::write("new", "x")));
            all
        });
        all.extend(apart(|| {
            std::env::set_current_dir(dir.join("empty")).unwrap();
            [
                said(fs::remove_dir(dir.join("empty"))),
                said(fs::write("new", "x")),
                said(fs::metadata(".").map(|metadata| metadata.nlink())),
                said(fs::metadata("..").map(drop)),
                said(std::env::current_dir()),
                said(fs::read_dir(".").map(|list| list.count())),
            ]
        }));
        let rename = |from: &str, to: &str| said(fs::rename(dir.join(from), dir.join(to)));
        all.extend([
            rename("moved", "moved/b/c/inside"),
            rename("moved", "moved"),
            rename("moved", "full"),
            rename("full", "target"),
            rename("target", "target/x/y"),
            rename("target/x", "moved"),
            rename("moved", "target/x"),
            rename("moved/b", "moved"),
            rename("none", "x"),
            rename("moved", "none/x"),
            said(fs::remove_dir(dir.join("moved"))),
            said(fs::remove_file(dir.join("moved"))),
            said(fs::remove_dir(dir.join("target/x"))),
            said(fs::hard_link(dir.join("moved"), dir.join("hard"))),
            said(fs::hard_link(dir.join("target/x"), dir.join("hard"))),
        ]);
        all
    });
}

#[test]
fn a_file_has_up_to_65000_names() {
    use crate::common::mount::TestMount;
    // ext4's limit, of which the base has all.
    let spec = (1..65_000).fold(Spec::new().file("file", "x"), |spec, n| spec.link(&format!("names/{n}"), "file"));
    let mount = TestMount::writable(&spec);
    let link = || said(fs::hard_link(mount.at("names/77"), mount.at("more")));
    assert_eq!(fs::metadata(mount.at("names/64999")).unwrap().nlink(), 65_000);
    assert_eq!(link(), "EMLINK");
    fs::remove_file(mount.at("names/5")).unwrap();
    assert_eq!((link().as_str(), link().as_str()), ("()", "EEXIST"));
    assert_eq!(said(fs::hard_link(mount.at("file"), mount.at("other"))), "EMLINK");
    mount.stop();
}

#[test]
fn a_directory_holds_100_000_entries() {
    use crate::common::mount::TestMount;
    const COUNT: usize = 100_000;
    let spec = (0..COUNT).fold(Spec::new(), |spec, n| spec.fifo(&format!("dir/{n}")));
    let mount = TestMount::writable(&spec);
    let list = |path: &Path| {
        let number =
            |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().to_str().unwrap().parse().unwrap();
        let mut names: Vec<usize> = fs::read_dir(path).unwrap().map(number).collect();
        names.sort_unstable();
        names
    };
    assert!(list(&mount.at("dir")).into_iter().eq(0..COUNT));
    let dir = openat(CWD, mount.at("dir"), OFlags::DIRECTORY, Mode::empty()).unwrap();
    for n in COUNT..COUNT + 2000 {
        rustix::fs::mknodat(&dir, format!("{n}"), rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
        unlinkat(&dir, format!("{}", n - COUNT), AtFlags::empty()).unwrap();
    }
    drop(dir);
    assert!(list(&mount.at("dir")).into_iter().eq(2000..COUNT + 2000));
    let mount = mount.remount();
    assert!(list(&mount.at("dir")).into_iter().eq(2000..COUNT + 2000));
    mount.stop();
}
