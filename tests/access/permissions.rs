//! Permission bits: what makes them, and what takes them away.

use crate::common::spec::Spec;
use crate::people::{NOBODY, as_nobody, as_user, with_umask};
use crate::places::{everywhere, mode, said};
use rustix::fs::{AtFlags, CWD, FallocateFlags, FileType, Mode, OFlags, access, fallocate, mkdirat, mknodat, open};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown, symlink};
use std::path::Path;

#[test]
fn the_umask_takes_bits_from_all_that_is_made() {
    everywhere(&Spec::new(), |dir| {
        let make = |mask| {
            with_umask(mask, || {
                let at = |name: &str| dir.join(format!("{name}-{mask:o}"));
                OpenOptions::new().write(true).create_new(true).mode(0o6777).open(at("file")).unwrap();
                fs::DirBuilder::new().mode(0o1777).create(at("dir")).unwrap();
                mknodat(CWD, at("fifo"), FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap();
                mknodat(CWD, at("node"), FileType::RegularFile, Mode::from_raw_mode(0o644), 0).unwrap();
                symlink("target", at("link")).unwrap();
                std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
                ["file", "dir", "fifo", "node", "link", "socket"].map(|name| format!("{name} {:o}", mode(&at(name))))
            })
        };
        [0o022, 0o077, 0o777, 0].map(make)
    });
}

#[test]
fn a_setgid_directory_hands_its_group_down() {
    let spec = Spec::new().dir("shared").owner("shared", 0, 1234).mode("shared", 0o2777);
    everywhere(&spec, |dir| {
        let shared = dir.join("shared");
        as_user(NOBODY, NOBODY, &[], || {
            fs::write(shared.join("file"), "x").unwrap();
            fs::create_dir(shared.join("sub")).unwrap();
            symlink("x", shared.join("link")).unwrap();
            fs::create_dir(shared.join("sub/sub")).unwrap();
            // A stranger to the group can't make a program that runs as it.
            OpenOptions::new().write(true).create_new(true).mode(0o2775).open(shared.join("program")).unwrap();
        });
        as_user(NOBODY, NOBODY, &[1234], || {
            OpenOptions::new().write(true).create_new(true).mode(0o2775).open(shared.join("ours")).unwrap();
        });
        ["file", "sub", "link", "sub/sub", "program", "ours"].map(|name| {
            let metadata = shared.join(name).symlink_metadata().unwrap();
            format!("{name} {:o} {} {}", metadata.mode(), metadata.uid(), metadata.gid())
        })
    });
}

#[test]
fn in_a_sticky_directory_only_owners_remove() {
    let spec = Spec::new().dir("tmp").mode("tmp", 0o1777).file("tmp/of-root", "").file("tmp/theirs", "").owner(
        "tmp/theirs",
        1000,
        1000,
    );
    let said = everywhere(&spec, |dir| {
        let at = |name: &str| dir.join("tmp").join(name);
        let mut all = as_nobody(|| {
            fs::write(at("mine"), "").unwrap();
            vec![
                said(fs::remove_file(at("of-root"))),
                said(fs::rename(at("theirs"), at("taken"))),
                said(fs::rename(at("mine"), at("theirs"))),
                said(fs::rename(at("mine"), at("still-mine"))),
                said(fs::remove_file(at("still-mine"))),
            ]
        });
        all.push(as_user(1000, 1000, &[], || said(fs::remove_file(at("theirs")))));
        all
    });
    assert_eq!(said, ["EPERM", "EPERM", "EPERM", "()", "()", "()"]);
}

/// All ways of changing content.
const CHANGES: [&str; 9] = ["write", "append", "cut", "truncate", "ftruncate", "fallocate", "punch", "copy", "nothing"];

fn change(path: &Path, how: &str, source: &Path) {
    let writer = || OpenOptions::new().read(true).write(true).open(path).unwrap();
    match how {
        "write" => writer().write_all_at(b"x", 0).unwrap(),
        "append" => OpenOptions::new().append(true).open(path).unwrap().write_all(b"x").unwrap(),
        "cut" => drop(File::create(path).unwrap()),
        "truncate" => rustix::fs::open(path, OFlags::WRONLY | OFlags::TRUNC, Mode::empty()).map(drop).unwrap(),
        "ftruncate" => writer().set_len(3).unwrap(),
        "fallocate" => fallocate(writer(), FallocateFlags::empty(), 0, 4096).unwrap(),
        "punch" => fallocate(writer(), FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 0, 2).unwrap(),
        "copy" => {
            let source = File::open(source).unwrap();
            rustix::fs::copy_file_range(source, None, writer(), Some(&mut 0), 3).unwrap();
        }
        "nothing" => drop(writer()),
        _ => unreachable!(),
    }
}

#[test]
fn setuid_and_setgid_go_when_content_changes() {
    let mut spec = Spec::new().file("source", "source");
    for bits in [0o6777, 0o6767, 0o4755, 0o2775, 0o2767] {
        for how in CHANGES {
            let name = format!("{how}-{bits:o}");
            spec = spec.file(&name, "program").mode(&name, bits).owner(&name, NOBODY, 4321);
        }
    }
    let after = everywhere(&spec, |dir| {
        let mut after = Vec::new();
        for bits in [0o6777, 0o6767, 0o4755, 0o2775, 0o2767] {
            for how in CHANGES {
                let path = dir.join(format!("{how}-{bits:o}"));
                as_nobody(|| change(&path, how, &dir.join("source")));
                after.push(format!("{how} {bits:o}: {:o}", mode(&path)));
            }
        }
        after
    });
    assert!(after.contains(&"write 6777: 777".to_owned()) && after.contains(&"nothing 6777: 6777".to_owned()));
}

#[test]
fn root_keeps_setuid_when_it_writes() {
    let spec = CHANGES
        .iter()
        .fold(Spec::new().file("source", "source"), |spec, how| spec.file(how, "program").mode(how, 0o6755));
    let after = everywhere(&spec, |dir| {
        CHANGES.map(|how| {
            change(&dir.join(how), how, &dir.join("source"));
            format!("{how} {:o}", mode(&dir.join(how)))
        })
    });
    assert!(after.iter().all(|after| after.ends_with(" 6755")), "{after:?}");
}

#[test]
fn the_capability_of_a_program_goes_when_it_changes_even_by_root() {
    // VFS_CAP_REVISION_2, effective, CAP_NET_RAW.
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let changes: Vec<&str> = CHANGES.into_iter().chain(["chown", "chmod"]).collect();
    let spec = changes.iter().fold(Spec::new().file("source", "source"), |spec, how| {
        spec.file(how, "program").mode(how, 0o755).xattr(how, "security.capability", &capability)
    });
    let after = everywhere(&spec, |dir| {
        let each = changes.iter().map(|&how| {
            let path = dir.join(how);
            match how {
                "chown" => chown(&path, Some(1), None).unwrap(),
                "chmod" => fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap(),
                _ => change(&path, how, &dir.join("source")),
            }
            (how.to_owned(), xattr::get(&path, "security.capability").unwrap().is_some())
        });
        each.collect::<Vec<_>>()
    });
    let kept: Vec<&str> = after.iter().filter(|(_, kept)| *kept).map(|(how, _)| how.as_str()).collect();
    assert_eq!(kept, ["nothing", "chmod"]);
}

#[test]
fn chown_and_chmod_by_others_take_the_special_bits() {
    let mut spec = Spec::new();
    for name in ["to-group", "to-same", "by-root", "foreign-group", "own-group", "dir"] {
        spec = if name == "dir" { spec.dir(name) } else { spec.file(name, "") };
        spec = spec.mode(name, 0o6755).owner(name, NOBODY, NOBODY);
    }
    spec = spec.owner("foreign-group", NOBODY, 7777);
    everywhere(&spec, |dir| {
        let at = |name: &str| dir.join(name);
        let mut all = as_user(NOBODY, NOBODY, &[1234], || {
            vec![
                said(chown(at("to-group"), None, Some(1234))),
                said(chown(at("to-same"), None, None)),
                said(chown(at("own-group"), None, Some(4444))),
                said(chown(at("own-group"), Some(1), None)),
                said(chown(at("dir"), None, Some(1234))),
                said(fs::set_permissions(at("foreign-group"), Permissions::from_mode(0o6755))),
                said(fs::set_permissions(at("own-group"), Permissions::from_mode(0o6711))),
            ]
        });
        chown(at("by-root"), Some(5), Some(5)).unwrap();
        for name in ["to-group", "to-same", "by-root", "foreign-group", "own-group", "dir"] {
            let metadata = fs::metadata(at(name)).unwrap();
            all.push(format!("{name} {:o} {} {}", metadata.mode(), metadata.uid(), metadata.gid()));
        }
        all
    });
}

#[test]
fn others_are_refused_what_the_bits_refuse() {
    let spec = Spec::new()
        .file("secret", "x")
        .mode("secret", 0o600)
        .file("group", "x")
        .owner("group", 0, 1234)
        .mode("group", 0o640)
        .file("run", "#!/bin/sh\n")
        .mode("run", 0o644)
        .dir("closed")
        .mode("closed", 0o700)
        .file("closed/in", "x")
        .dir("listed")
        .mode("listed", 0o744)
        .file("listed/in", "x")
        .dir("passed")
        .mode("passed", 0o711)
        .file("passed/in", "x");
    everywhere(&spec, |dir| {
        let at = |name: &str| dir.join(name);
        let look = || {
            vec![
                said(fs::read(at("secret"))),
                said(fs::read(at("group"))),
                said(fs::read(at("closed/in"))),
                said(fs::read_dir(at("closed")).map(Iterator::count)),
                said(fs::read_dir(at("listed")).map(Iterator::count)),
                said(fs::metadata(at("listed/in")).map(|metadata| metadata.len())),
                said(fs::read_dir(at("passed")).map(Iterator::count)),
                said(fs::read(at("passed/in"))),
                said(fs::write(at("passed/in"), "y")),
                said(fs::write(at("passed/new"), "y")),
                said(fs::remove_file(at("passed/in"))),
                said(access(at("run"), rustix::fs::Access::EXEC_OK)),
                said(access(at("secret"), rustix::fs::Access::EXISTS)),
                said(std::process::Command::new(at("run")).status()),
                said(mkdirat(CWD, at("closed/new"), Mode::from_raw_mode(0o777))),
                said(rustix::fs::unlinkat(CWD, at("closed/in"), AtFlags::empty())),
            ]
        };
        let open_by_root = open(at("secret"), OFlags::RDONLY, Mode::empty()).unwrap();
        let reopened = as_nobody(|| {
            use std::os::fd::AsRawFd;
            said(File::open(format!("/proc/self/task/{}/fd/{}", nix::unistd::gettid(), open_by_root.as_raw_fd())))
        });
        (as_nobody(look), as_user(NOBODY, NOBODY, &[1234], look), look(), reopened)
    });
}
