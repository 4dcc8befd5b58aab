//! Names and attributes through a mount: lookups, listings, what the kernel caches, who may do what.
#![allow(clippy::unwrap_used, reason = "a test that can't go on shall panic")]

mod common;

use common::as_nobody;
use common::mount::TestMount;
use common::spec::Spec;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::collections::BTreeSet;
use std::fs::{self, File, FileTimes, OpenOptions, Permissions};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::time::{Duration, SystemTime};

fn names(path: &std::path::Path) -> BTreeSet<String> {
    fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_read_only_mount_shows_the_tree_as_it_is() {
    let spec = Spec::new()
        .file("etc/passwd", "root:x:0:0")
        .owner("etc/passwd", 3, 4)
        .mode("etc/passwd", 0o4751)
        .xattr("etc/passwd", "user.note", b"hello")
        .xattr("etc/passwd", "security.capability", &[1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
        .symlink("bin", "usr/bin")
        .fifo("run/pipe")
        .char_device("dev/null", 1, 3)
        .file("a", "linked")
        .link("b", "a");
    let mount = TestMount::read_only(&spec);

    let passwd = fs::metadata(mount.at("etc/passwd")).unwrap();
    assert_eq!((passwd.uid(), passwd.gid(), passwd.mode(), passwd.len()), (3, 4, 0o104_751, 10));
    assert_eq!((passwd.mtime(), passwd.mtime_nsec()), (1_700_000_000, 123_456_789));
    assert_eq!(fs::read(mount.at("etc/passwd")).unwrap(), b"root:x:0:0");
    assert_eq!(xattr::get(mount.at("etc/passwd"), "user.note").unwrap().unwrap(), b"hello");
    assert_eq!(xattr::get(mount.at("etc/passwd"), "user.none").unwrap(), None);
    let listed: BTreeSet<_> = xattr::list(mount.at("etc/passwd")).unwrap().collect();
    assert_eq!(listed, ["security.capability".into(), "user.note".into()].into());

    assert_eq!(fs::read_link(mount.at("bin")).unwrap().as_os_str(), "usr/bin");
    assert!(fs::metadata(mount.at("run/pipe")).unwrap().file_type().is_fifo());
    assert_eq!(fs::metadata(mount.at("dev/null")).unwrap().rdev(), rustix::fs::makedev(1, 3));
    fs::write(mount.at("dev/null"), "a device file of root's mount is a device").unwrap();

    let (a, b) = (fs::metadata(mount.at("a")).unwrap(), fs::metadata(mount.at("b")).unwrap());
    assert_eq!((a.ino(), a.nlink()), (b.ino(), 2));
    assert_eq!(fs::metadata(mount.root()).unwrap().ino(), 1);
    assert_eq!(fs::metadata(mount.root()).unwrap().nlink(), 5);

    let refused = fs::write(mount.at("etc/new"), "").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ReadOnlyFilesystem);
    mount.stop();
}

#[test]
fn the_mount_table_tells_type_source_and_options() {
    let mount = TestMount::read_only(&Spec::new());
    let entry = cairnfs::fuse::mounts().unwrap().into_iter().find(|entry| entry.mountpoint == mount.root()).unwrap();
    assert_eq!(entry.source, "test/ref");
    let table = fs::read_to_string("/proc/self/mounts").unwrap();
    let line = table.lines().find(|line| line.contains(mount.root().to_str().unwrap())).unwrap();
    let fields: Vec<_> = line.split(' ').collect();
    assert_eq!((fields[0], fields[2]), ("test/ref", "fuse.cairnfs"));
    for option in ["ro", "default_permissions", "allow_other"] {
        assert!(fields[3].split(',').any(|have| have == option), "{option} in {line}");
    }
    assert!(!fields[3].contains("nosuid") && !fields[3].contains("nodev"), "{line}");
    mount.stop();
}

#[test]
fn ten_thousand_entries_are_listed_once_each_and_then_cached() {
    let mut spec = Spec::new();
    for number in 0..10_000 {
        spec = spec.file(&format!("many/entry-{number:05}"), if number % 2 == 0 { "even" } else { "odd!" });
    }
    let mount = TestMount::read_only(&spec);
    let expected: BTreeSet<_> = (0..10_000).map(|number| format!("entry-{number:05}")).collect();

    assert_eq!(names(&mount.at("many")), expected);
    let lookups = mount.count("lookup");
    for name in &expected {
        assert_eq!(fs::symlink_metadata(mount.at("many").join(name)).unwrap().len(), 4);
    }
    assert_eq!(mount.count("lookup"), lookups, "the listing brought the attributes");
    let listings = mount.count("readdir");
    assert!(listings < 100, "{listings} requests for one listing");
    // The kernel may be short of memory and drop a listing; it keeps one soon.
    common::wait_until("a listing is the kernel's own", || {
        let before = mount.count("readdir");
        assert_eq!(names(&mount.at("many")), expected);
        mount.count("readdir") == before
    });
    mount.stop();
}

#[test]
fn a_listing_follows_every_change_of_the_directory() {
    let mut spec = Spec::new();
    for number in 0..3000 {
        spec = spec.file(&format!("dir/base-{number}"), "");
    }
    let mount = TestMount::writable(&spec);
    let dir = mount.at("dir");
    assert_eq!(names(&dir).len(), 3000);
    File::create(dir.join("new")).unwrap();
    fs::rename(dir.join("base-7"), dir.join("renamed")).unwrap();
    fs::remove_file(dir.join("base-8")).unwrap();
    let now = names(&dir);
    assert!(now.contains("new") && now.contains("renamed"));
    assert!(!now.contains("base-7") && !now.contains("base-8"));
    assert_eq!(now.len(), 3000);

    // Removing while listing, as rm -r does, skips nothing.
    for entry in fs::read_dir(&dir).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    assert_eq!(names(&dir), BTreeSet::new());
    fs::remove_dir(&dir).unwrap();
    assert_eq!(fs::metadata(&dir).unwrap_err().kind(), ErrorKind::NotFound);
    mount.stop();
}

#[test]
fn absent_names_are_remembered_until_they_are_made() {
    let mount = TestMount::writable(&Spec::new().dir("dir"));
    let path = mount.at("dir/absent");
    assert!(!path.exists());
    let lookups = mount.count("lookup");
    for _ in 0..10 {
        assert!(!path.exists());
    }
    assert_eq!(mount.count("lookup"), lookups);
    fs::write(&path, "now").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "now");
    fs::remove_file(&path).unwrap();
    assert!(!path.exists());
    fs::create_dir(&path).unwrap();
    assert!(path.is_dir());
    mount.stop();
}

#[test]
fn a_read_only_mount_answers_a_repeated_stat_from_the_kernel() {
    let mount = TestMount::read_only(&Spec::new().file("file", "content").symlink("link", "file"));
    let visit = || {
        assert_eq!(fs::read(mount.at("file")).unwrap(), b"content");
        assert_eq!(fs::symlink_metadata(mount.at("file")).unwrap().len(), 7);
        assert_eq!(fs::read_link(mount.at("link")).unwrap().as_os_str(), "file");
    };
    visit();
    let before = ["lookup", "getattr", "readlink"].map(|name| mount.count(name));
    visit();
    assert_eq!(["lookup", "getattr", "readlink"].map(|name| mount.count(name)), before);
    mount.stop();
}

#[test]
fn changes_last_over_a_remount_without_any_sync() {
    let mount = TestMount::writable(&Spec::new().file("old", "old").dir("gone"));
    fs::write(mount.at("new"), "new").unwrap();
    fs::rename(mount.at("old"), mount.at("moved")).unwrap();
    fs::remove_dir(mount.at("gone")).unwrap();
    symlink("target", mount.at("link")).unwrap();
    fs::set_permissions(mount.at("moved"), Permissions::from_mode(0o640)).unwrap();
    let inode = fs::metadata(mount.at("moved")).unwrap().ino();

    let mount = mount.remount();
    assert_eq!(names(mount.root()), ["link", "moved", "new"].map(String::from).into());
    assert_eq!(fs::read_to_string(mount.at("new")).unwrap(), "new");
    assert_eq!(fs::read_to_string(mount.at("moved")).unwrap(), "old");
    let moved = fs::metadata(mount.at("moved")).unwrap();
    assert_eq!((moved.ino(), moved.mode() & 0o7777), (inode, 0o640));
    mount.stop();
}

#[test]
fn rename_has_its_flags() {
    let mount = TestMount::writable(&Spec::new().file("a", "A").file("b", "B").dir("d"));
    let rename = |from: &str, to: &str, flags| renameat_with(CWD, mount.at(from), CWD, mount.at(to), flags);
    assert_eq!(rename("a", "b", RenameFlags::NOREPLACE), Err(rustix::io::Errno::EXIST));
    rename("a", "c", RenameFlags::NOREPLACE).unwrap();
    rename("c", "b", RenameFlags::EXCHANGE).unwrap();
    assert_eq!(fs::read_to_string(mount.at("c")).unwrap(), "B");
    assert_eq!(fs::read_to_string(mount.at("b")).unwrap(), "A");
    rename("d", "b", RenameFlags::EXCHANGE).unwrap();
    assert!(mount.at("b").is_dir() && mount.at("d").is_file());
    assert_eq!(rename("c", "x", RenameFlags::WHITEOUT), Err(rustix::io::Errno::INVAL));
    mount.stop();
}

#[test]
fn the_kernel_checks_permissions_for_others() {
    let spec = Spec::new()
        .file("secret", "s")
        .mode("secret", 0o600)
        .file("public", "p")
        .file("theirs", "t")
        .owner("theirs", 65534, 65534)
        .dir("sticky")
        .mode("sticky", 0o1777)
        .file("sticky/roots", "");
    let mount = TestMount::writable(&spec);
    let root = mount.root();
    fs::set_permissions(root.parent().unwrap(), fs::metadata(root.parent().unwrap()).unwrap().permissions()).unwrap();
    let run = |script: &str| as_nobody(&format!("cd {} && {script}", root.display()));
    assert_eq!(run("cat public").1, "p");
    assert_ne!(run("cat secret").0, 0);
    assert_eq!(run("echo more >> theirs && cat theirs").1, "tmore\n");
    assert_ne!(run("touch new").0, 0);
    assert_eq!(run("umask 022; touch sticky/mine && stat -c '%u %g %a' sticky/mine").1, "65534 65534 644\n");
    assert_ne!(run("rm -f sticky/roots").0, 0);
    assert_eq!(run("rm sticky/mine").0, 0);
    mount.stop();
}

#[test]
fn times_before_the_epoch_are_kept() {
    let mount = TestMount::writable(&Spec::new().file("file", ""));
    let before = SystemTime::UNIX_EPOCH - Duration::new(86_400 * 365, 250_000_000);
    let file = OpenOptions::new().write(true).open(mount.at("file")).unwrap();
    file.set_times(FileTimes::new().set_modified(before).set_accessed(before)).unwrap();
    drop(file);
    let mount = mount.remount();
    let metadata = fs::metadata(mount.at("file")).unwrap();
    assert_eq!(metadata.modified().unwrap(), before);
    assert_eq!(metadata.accessed().unwrap(), before);
    mount.stop();
}

#[test]
fn names_of_any_bytes_and_of_the_full_length() {
    let mount = TestMount::writable(&Spec::new());
    let raw = std::ffi::OsStr::from_bytes(b"\xff\xfe\n\\x");
    fs::write(mount.root().join(raw), "raw").unwrap();
    let long = "n".repeat(255);
    fs::write(mount.at(&long), "long").unwrap();
    let too_long = fs::write(mount.at(&"n".repeat(256)), "").unwrap_err();
    assert_eq!(too_long.raw_os_error(), Some(libc::ENAMETOOLONG));
    let mut found: Vec<_> = fs::read_dir(mount.root()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    found.sort();
    assert_eq!(found, [long.into(), raw.to_owned()]);
    mount.stop();
}

#[test]
fn what_no_filesystem_of_this_kind_does_is_refused_as_elsewhere() {
    let mount = TestMount::writable(&Spec::new().file("file", "x"));
    let file = File::open(mount.at("file")).unwrap();
    let flags = rustix::fs::ioctl_getflags(&file);
    assert_eq!(flags, Err(rustix::io::Errno::NOTTY));
    let totals = rustix::fs::statvfs(mount.root()).unwrap();
    assert_eq!(totals.f_namemax, 255);
    assert!(totals.f_blocks > 0 && totals.f_bsize > 0);
    drop(file);
    mount.stop();
}

#[test]
fn default_lists_replace_the_umask() {
    let mount = TestMount::writable(&Spec::new().dir("dir"));
    // u::rwx,g::r-x,o::--- as POSIX_ACL_XATTR version 2.
    let list: &[u8] =
        &[2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 4, 0, 5, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255];
    xattr::set(mount.at("dir"), "system.posix_acl_default", list).unwrap();
    let script = format!("umask 077; : > {}", mount.at("dir/file").display());
    assert!(std::process::Command::new("sh").arg("-c").arg(script).status().unwrap().success());
    assert_eq!(fs::metadata(mount.at("dir/file")).unwrap().mode() & 0o777, 0o640);
    mount.stop();
}
