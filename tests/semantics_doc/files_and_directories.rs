//! Section "Files and directories".

use crate::common::mount::TestMount;
use crate::common::spec::Spec;
use crate::support::{append, errno};
use rustix::fs::{
    AtFlags, CWD, FallocateFlags, FileType, Mode, OFlags, RenameFlags, fallocate, renameat_with, statvfs,
};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};

#[test]
fn names_are_any_bytes_and_case_matters() {
    let mount = TestMount::writable(&Spec::new().file("name", "lower"));
    fs::write(mount.at("NAME"), "upper").unwrap();
    fs::write(mount.at("e\u{301}"), "two").unwrap();
    assert_eq!(errno(fs::read(mount.at("\u{e9}"))), libc::ENOENT);
    assert_eq!(fs::read_to_string(mount.at("name")).unwrap(), "lower");
    fs::write(mount.at(&"n".repeat(255)), "").unwrap();
    assert_eq!(errno(fs::write(mount.at(&"n".repeat(256)), "")), libc::ENAMETOOLONG);
    mount.stop();
}

#[test]
fn a_device_with_number_0_is_an_ordinary_device() {
    let mount = TestMount::writable(&Spec::new().char_device("base", 0, 0).dir("dir"));
    rustix::fs::mknodat(CWD, mount.at("dir/new"), FileType::CharacterDevice, Mode::RUSR, 0).unwrap();
    for name in ["base", "dir/new"] {
        let metadata = fs::metadata(mount.at(name)).unwrap();
        assert!(metadata.file_type().is_char_device() && metadata.rdev() == 0);
    }
    assert_eq!(fs::read_dir(mount.at("dir")).unwrap().count(), 1);
    mount.stop();
}

#[test]
fn all_names_are_one_inode_and_any_type_but_directories_has_more() {
    let mount =
        TestMount::writable(&Spec::new().file("a/one", "x").link("b/two", "a/one").symlink("link", "x").fifo("fifo"));
    append(&mount.at("a/one"), "+");
    assert_eq!(fs::read_to_string(mount.at("b/two")).unwrap(), "x+");
    for name in ["link", "fifo", "a/one"] {
        fs::hard_link(mount.at(name), mount.at("more")).unwrap();
        fs::remove_file(mount.at("more")).unwrap();
    }
    assert_eq!(errno(fs::hard_link(mount.at("a"), mount.at("more"))), libc::EPERM);
    mount.stop();
}

#[test]
fn a_directory_has_2_links_and_one_for_each_inside_and_4096_bytes() {
    let spec = Spec::new().dir("dir/a").dir("dir/b").file("dir/file", "");
    let mount = TestMount::writable(&spec);
    let look = || {
        let metadata = fs::metadata(mount.at("dir")).unwrap();
        (metadata.nlink(), metadata.len(), metadata.blocks())
    };
    assert_eq!(look(), (4, 4096, 8));
    fs::create_dir(mount.at("dir/c")).unwrap();
    assert_eq!(look(), (5, 4096, 8));
    mount.stop();
}

#[test]
fn blocks_of_a_clean_file_are_its_length_and_of_a_dirty_one_the_hosts() {
    let mount = TestMount::writable(&Spec::new().file("zeros", vec![0; 100_001]));
    assert_eq!(fs::metadata(mount.at("zeros")).unwrap().blocks(), 100_001u64.div_ceil(4096) * 8);
    let sparse = File::create(mount.at("sparse")).unwrap();
    sparse.set_len(1 << 30).unwrap();
    assert_eq!(sparse.metadata().unwrap().blocks(), 0);
    drop(sparse);
    mount.stop();
}

#[test]
fn attributes_have_four_namespaces_and_64_kib_each() {
    let mount = TestMount::writable(&Spec::new().file("file", ""));
    let path = mount.at("file");
    for name in ["user.x", "trusted.x", "security.x"] {
        xattr::set(&path, name, &[1; 65536]).unwrap();
    }
    assert_eq!(errno(xattr::set(&path, "user.y", &[1; 65537])), libc::E2BIG);
    for name in ["system.x", "other.x", "x"] {
        assert_eq!(errno(xattr::set(&path, name, b"")), libc::EOPNOTSUPP);
    }
    let listed =
        crate::common::as_nobody(&format!("python3 -c 'import os; print(os.listxattr(\"{}\"))'", path.display()));
    assert_eq!(listed.1.trim(), "['security.x', 'user.x']", "names of trusted are for root");
    mount.stop();
}

#[test]
fn renaming_is_atomic_in_its_modes_and_never_exdev() {
    let mount = TestMount::writable(&Spec::new().file("dir/deep/file", "x").file("other", "y"));
    fs::rename(mount.at("dir"), mount.at("moved")).unwrap();
    assert_eq!(fs::read_to_string(mount.at("moved/deep/file")).unwrap(), "x");
    let rename = |flags| renameat_with(CWD, mount.at("moved"), CWD, mount.at("other"), flags);
    assert_eq!(errno(rename(RenameFlags::NOREPLACE)), libc::EEXIST);
    let whiteout = renameat_with(CWD, mount.at("other"), CWD, mount.at("new"), RenameFlags::WHITEOUT);
    assert_eq!(errno(whiteout), libc::EINVAL);
    rename(RenameFlags::EXCHANGE).unwrap();
    assert_eq!(fs::read_to_string(mount.at("moved")).unwrap(), "y");
    assert_eq!(fs::read_to_string(mount.at("other/deep/file")).unwrap(), "x");
    mount.stop();
}

#[test]
fn a_file_without_a_name_cannot_be_made() {
    let mount = TestMount::writable(&Spec::new());
    let made = rustix::fs::open(mount.root(), OFlags::TMPFILE | OFlags::RDWR, Mode::RUSR);
    assert_eq!(errno(made), libc::EOPNOTSUPP);
    mount.stop();
}

#[test]
fn room_is_reserved_punched_and_zeroed_but_not_collapsed_or_inserted() {
    let mount = TestMount::writable(&Spec::new().file("clean", vec![7; 20_000]));
    let file = OpenOptions::new().write(true).open(mount.at("clean")).unwrap();
    let keep = FallocateFlags::KEEP_SIZE;
    for mode in [FallocateFlags::empty(), keep, FallocateFlags::PUNCH_HOLE | keep, FallocateFlags::ZERO_RANGE] {
        fallocate(&file, mode, 4096, 4096).unwrap();
    }
    for mode in [FallocateFlags::COLLAPSE_RANGE, FallocateFlags::INSERT_RANGE] {
        assert_eq!(errno(fallocate(&file, mode, 4096, 4096)), libc::EOPNOTSUPP);
    }
    drop(file);
    mount.stop();
}

#[test]
fn df_tells_the_filesystem_that_new_content_goes_to() {
    let mount = TestMount::writable(&Spec::new());
    let host = mount.bench.layer_path("layer");
    let tell = |path: &std::path::Path| {
        let totals = statvfs(path).unwrap();
        (totals.f_blocks, totals.f_bfree, totals.f_bavail, totals.f_files, totals.f_ffree, totals.f_frsize)
    };
    // Others use that filesystem too, so the two calls may meet different moments.
    let same = || crate::common::wait_until("df agrees", || tell(mount.root()) == tell(&host));
    same();
    let file = File::create(mount.at("file")).unwrap();
    fallocate(&file, FallocateFlags::empty(), 0, 64 << 20).unwrap();
    same();
    let totals = statvfs(mount.root()).unwrap();
    assert_eq!((totals.f_namemax, totals.f_fsid), (255, 0));
    drop(file);
    mount.stop();
}

#[test]
fn there_are_no_inode_flags() {
    let mount = TestMount::writable(&Spec::new().file("file", ""));
    assert_eq!(errno(rustix::fs::ioctl_getflags(File::open(mount.at("file")).unwrap())), libc::ENOTTY);
    mount.stop();
}

#[test]
fn a_listing_goes_on_while_entries_come_and_go() {
    let spec = (0..2000).fold(Spec::new(), |spec, n| spec.file(&format!("dir/stay-{n}"), ""));
    let mount = TestMount::writable(&spec);
    for n in 0..2000 {
        rustix::fs::mknodat(CWD, mount.at(&format!("dir/go-{n}")), FileType::Fifo, Mode::RUSR, 0).unwrap();
    }
    let mut gone = 0;
    let mut stayed = 0;
    for entry in fs::read_dir(mount.at("dir")).unwrap() {
        stayed += usize::from(entry.unwrap().file_name().to_str().unwrap().starts_with("stay"));
        if gone < 2000 {
            rustix::fs::unlinkat(CWD, mount.at(&format!("dir/go-{gone}")), AtFlags::empty()).unwrap();
            gone += 1;
        }
    }
    assert_eq!(stayed, 2000, "each once");
    mount.stop();
}

#[test]
fn holes_are_told_as_the_hosts_filesystem_tells_them() {
    let mount = TestMount::writable(&Spec::new());
    let file = File::create(mount.at("sparse")).unwrap();
    file.write_all_at(b"end", 1 << 20).unwrap();
    assert_eq!(rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(0)).unwrap(), 1 << 20);
    drop(file);
    mount.stop();
}

#[test]
fn the_attributes_of_an_inode_have_room_for_64_kib_of_names_and_1_mib_in_all() {
    let spec = (0..17).fold(Spec::new().file("over", "").file("values", "").file("names", ""), |spec, n| {
        spec.xattr("over", &format!("user.{n:02}"), &[n; 65_536])
    });
    let mount = TestMount::writable(&spec);
    let path = mount.at("values");
    for n in 0..15 {
        xattr::set(&path, format!("user.{n:02}"), &[n; 65_536]).unwrap();
    }
    assert_eq!(errno(xattr::set(&path, "user.15", &[1; 65_536])), libc::ENOSPC);
    xattr::set(&path, "user.15", &[1; 65_000]).unwrap();
    assert_eq!(xattr::get(&path, "user.14").unwrap().unwrap(), [14; 65_536]);
    xattr::remove(&path, "user.00").unwrap();
    xattr::set(&path, "user.16", &[1; 65_536]).unwrap();

    let path = mount.at("names");
    let name = |n: usize| format!("user.{n:0250}");
    (0..256).for_each(|n| xattr::set(&path, name(n), b"").unwrap());
    assert_eq!(errno(xattr::set(&path, "user.x", b"")), libc::ENOSPC);
    assert_eq!(xattr::list(&path).unwrap().count(), 256);
    xattr::set(&path, name(7), b"changed").unwrap();
    xattr::remove(&path, name(8)).unwrap();
    xattr::set(&path, "user.x", b"").unwrap();

    let path = mount.at("over");
    assert_eq!(xattr::list(&path).unwrap().count(), 17);
    assert_eq!(errno(xattr::set(&path, "user.more", b"x")), libc::ENOSPC);
    xattr::set(&path, "user.00", b"shorter").unwrap();
    xattr::remove(&path, "user.01").unwrap();
    xattr::set(&path, "user.more", b"x").unwrap();
    mount.stop();
}
