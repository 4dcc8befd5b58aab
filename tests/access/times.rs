//! Times: resolution, range, who may set them, and what moves them.

use crate::common::spec::Spec;
use crate::people::{NOBODY, as_nobody, as_user};
use crate::places::{everywhere, said};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, utimensat};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::Path;
use std::time::Duration;

fn at(seconds: i64, nanos: i64) -> Timespec {
    Timespec { tv_sec: seconds, tv_nsec: nanos }
}

fn set(path: &Path, access: Timespec, modified: Timespec) -> rustix::io::Result<()> {
    let times = Timestamps { last_access: access, last_modification: modified };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)
}

fn times(path: &Path) -> [(i64, i64); 2] {
    let metadata = path.symlink_metadata().unwrap();
    [(metadata.atime(), metadata.atime_nsec()), (metadata.mtime(), metadata.mtime_nsec())]
}

#[test]
fn times_are_kept_to_the_nanosecond_from_1901_to_2446() {
    let spec = Spec::new().file("file", "x").dir("dir").symlink("link", "file").fifo("fifo");
    everywhere(&spec, |dir| {
        let mut all = Vec::new();
        for name in ["file", "dir", "link", "fifo"] {
            for seconds in [0, -1, -2_147_483_647, 1_700_000_000, 2_147_483_648, 4_294_967_296, 15_032_385_534] {
                for nanos in [0, 1, 123_456_789, 999_999_999] {
                    set(&dir.join(name), at(seconds, nanos), at(seconds, 999_999_999 - nanos)).unwrap();
                    all.push(times(&dir.join(name)));
                    assert_eq!(all.last(), Some(&[(seconds, nanos), (seconds, 999_999_999 - nanos)]));
                }
            }
        }
        // Dirty content has its time in a host file.
        let file = OpenOptions::new().append(true).open(dir.join("file")).unwrap();
        set(&dir.join("file"), at(-5, 6), at(7_000_000_000, 8)).unwrap();
        drop(file);
        all.push(times(&dir.join("file")));
        all
    });
}

#[test]
fn now_and_omit_mean_what_they_say() {
    everywhere(&Spec::new().file("file", "x").dir("dir"), |dir| {
        let mut all = Vec::new();
        for name in ["file", "dir"] {
            let path = &dir.join(name);
            set(path, at(1, 1), at(2, 2)).unwrap();
            set(path, at(0, UTIME_OMIT), at(5, 5)).unwrap();
            all.push(times(path));
            set(path, at(6, 6), at(0, UTIME_OMIT)).unwrap();
            all.push(times(path));
            let ctime = |path: &Path| {
                let metadata = path.metadata().unwrap();
                (metadata.ctime(), metadata.ctime_nsec())
            };
            let before = ctime(path);
            std::thread::sleep(Duration::from_millis(10));
            set(path, at(0, UTIME_OMIT), at(0, UTIME_OMIT)).unwrap();
            assert_eq!(ctime(path), before, "nothing was set");
            set(path, at(0, UTIME_NOW), at(0, UTIME_OMIT)).unwrap();
            let [access, modified] = times(path);
            assert!(access > before && modified == (5, 5) && ctime(path) > before);
            set(path, at(0, UTIME_NOW), at(0, UTIME_NOW)).unwrap();
            let [access, modified] = times(path);
            assert_eq!(access, modified);
        }
        all.push([(0, 0); 2]);
        (
            all,
            said(set(&dir.join("file"), at(0, 1_000_000_000), at(0, 0))),
            said(set(&dir.join("none"), at(0, 0), at(0, 0))),
        )
    });
}

#[test]
fn who_may_set_which_times() {
    let spec = Spec::new()
        .file("theirs", "")
        .file("writable", "")
        .mode("writable", 0o666)
        .file("own", "")
        .owner("own", NOBODY, NOBODY)
        .mode("own", 0o400)
        .symlink("link", "own");
    everywhere(&spec, |dir| {
        let attempt = || {
            let mut all = Vec::new();
            for name in ["theirs", "writable", "own", "link"] {
                let path = dir.join(name);
                all.push(said(set(&path, at(1, 1), at(2, 2))));
                all.push(said(set(&path, at(0, UTIME_NOW), at(0, UTIME_NOW))));
                all.push(said(set(&path, at(0, UTIME_NOW), at(0, UTIME_OMIT))));
                all.push(said(set(&path, at(0, UTIME_OMIT), at(0, UTIME_OMIT))));
                all.push(said(set(&path, at(3, 3), at(0, UTIME_OMIT))));
            }
            all
        };
        (as_nobody(attempt), as_user(1, 1, &[], attempt))
    });
}

/// Which of (atime, mtime, ctime) of each path moved when `act` ran.
fn moved(paths: &[&Path], act: impl FnOnce()) -> Vec<String> {
    let read = |path: &Path| {
        path.symlink_metadata()
            .ok()
            .map(|metadata| [(metadata.mtime(), metadata.mtime_nsec()), (metadata.ctime(), metadata.ctime_nsec())])
    };
    let before: Vec<_> = paths.iter().map(|path| read(path)).collect();
    // ext4 stamps with the clock of the last tick.
    std::thread::sleep(Duration::from_millis(12));
    act();
    let compare = |(path, before): (&&Path, Option<[(i64, i64); 2]>)| {
        let after = read(path);
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        match (before, after) {
            (Some(before), Some(after)) => {
                format!("{name}: mtime {} ctime {}", before[0] != after[0], before[1] != after[1])
            }
            (before, after) => format!("{name}: {} {}", before.is_some(), after.is_some()),
        }
    };
    paths.iter().zip(before).map(compare).collect()
}

#[test]
fn each_operation_moves_the_times_it_should() {
    let spec = Spec::new()
        .file("a/file", "content")
        .file("a/large", vec![7; 2 << 20])
        .file("a/other", "x")
        .dir("a/sub")
        .dir("b")
        .link("b/linked", "a/other");
    everywhere(&spec, |dir| {
        let p = |name: &str| dir.join(name);
        let (a, b, sub) = (p("a"), p("b"), p("a/sub"));
        let (file, large, other, linked) = (p("a/file"), p("a/large"), p("a/other"), p("b/linked"));
        let all = [a.as_path(), &b, &sub, &file, &large, &other, &linked];
        let write = |path: &Path| OpenOptions::new().write(true).open(path).unwrap();
        let mut said = Vec::new();
        let mut step = |name: &str, act: &mut dyn FnMut()| {
            said.push(name.to_owned());
            said.extend(moved(&all, act));
        };
        step("open to write", &mut || drop(write(&large)));
        step("write nothing", &mut || assert_eq!(write(&file).write_at(b"", 0).unwrap(), 0));
        step("write", &mut || write(&file).write_all_at(b"x", 0).unwrap());
        step("truncate to the same", &mut || write(&file).set_len(7).unwrap());
        step("truncate", &mut || write(&large).set_len(1000).unwrap());
        step("cut an empty file", &mut || {
            write(&file).set_len(0).unwrap();
        });
        step("cut again", &mut || drop(fs::File::create(&file).unwrap()));
        step("chmod", &mut || {
            fs::set_permissions(&other, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap()
        });
        step("chown", &mut || std::os::unix::fs::chown(&other, Some(1), None).unwrap());
        step("xattr", &mut || xattr::set(&other, "user.x", b"y").unwrap());
        step("xattr removed", &mut || xattr::remove(&other, "user.x").unwrap());
        step("link", &mut || fs::hard_link(&other, p("b/third")).unwrap());
        step("rename", &mut || fs::rename(p("b/third"), p("a/third")).unwrap());
        step("unlink", &mut || fs::remove_file(p("a/third")).unwrap());
        step("make", &mut || fs::write(p("a/new"), "").unwrap());
        step("make a directory", &mut || fs::create_dir(p("b/dir")).unwrap());
        step("rename a directory", &mut || fs::rename(&sub, p("b/sub")).unwrap());
        step("and back", &mut || fs::rename(p("b/sub"), &sub).unwrap());
        step("replace", &mut || fs::rename(p("a/new"), &linked).unwrap());
        step("remove a directory", &mut || fs::remove_dir(p("b/dir")).unwrap());
        step("symlink", &mut || symlink("x", p("a/sub/link")).unwrap());
        step("read", &mut || drop(fs::read(&large).unwrap()));
        step("list", &mut || assert_eq!(fs::read_dir(&a).unwrap().count(), 4));
        step("rename to itself", &mut || fs::rename(&file, &file).unwrap());
        step("fallocate", &mut || {
            rustix::fs::fallocate(write(&large), rustix::fs::FallocateFlags::KEEP_SIZE, 0, 100_000).unwrap()
        });
        step("copy_file_range", &mut || {
            rustix::fs::copy_file_range(fs::File::open(&large).unwrap(), None, write(&file), None, 10)
                .map(drop)
                .unwrap()
        });
        said
    });
}
