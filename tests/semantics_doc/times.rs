//! Section "Times". What each operation moves is compared with ext4 in `tests/access/times.rs`.

use crate::common::mount::TestMount;
use crate::common::spec::Spec;
use crate::support::append;
use rustix::fs::{AtFlags, CWD, StatxFlags, Timespec, Timestamps, statx, utimensat};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

fn set(path: &Path, seconds: i64, nanos: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanos };
    utimensat(CWD, path, &Timestamps { last_access: time, last_modification: time }, AtFlags::SYMLINK_NOFOLLOW)
        .unwrap();
}

fn times(path: &Path) -> [(i64, i64); 2] {
    let metadata = fs::symlink_metadata(path).unwrap();
    [(metadata.atime(), metadata.atime_nsec()), (metadata.mtime(), metadata.mtime_nsec())]
}

#[test]
fn times_are_64_bit_seconds_and_nanoseconds() {
    let mount = TestMount::writable(&Spec::new().file("file", "x").dir("dir"));
    for (seconds, nanos) in [(-70_000_000_000, 1), (-1, 999_999_999), (4_294_967_297, 5), (70_000_000_000, 123_456_789)]
    {
        for path in ["file", "dir"] {
            set(&mount.at(path), seconds, nanos);
            assert_eq!(times(&mount.at(path)), [(seconds, nanos); 2]);
        }
    }
    let mount = mount.remount();
    assert_eq!(times(&mount.at("file")), [(70_000_000_000, 123_456_789); 2]);
    mount.stop();
}

#[test]
fn the_mtime_of_dirty_content_is_kept_as_the_hosts_filesystem_keeps_it() {
    let mount = TestMount::writable(&Spec::new().file("file", "x"));
    append(&mount.at("file"), "+");
    let host = tempfile::NamedTempFile::new_in(mount.bench.layer_path("layer")).unwrap();
    for seconds in [-70_000_000_000, -1, 4_294_967_297, 70_000_000_000] {
        set(&mount.at("file"), seconds, 7);
        set(host.path(), seconds, 7);
        assert_eq!(times(&mount.at("file"))[1], times(host.path())[1], "{seconds}");
        assert_eq!(times(&mount.at("file"))[0], (seconds, 7));
    }
    mount.stop();
}

#[test]
fn reading_does_not_move_atime() {
    let mount = TestMount::writable(&Spec::new().file("file", "x").file("large", vec![1; 2 << 20]).file("dir/x", ""));
    fs::write(mount.at("new"), "x").unwrap();
    for path in ["file", "large", "dir", "new"] {
        // Older than the mtime, so that relatime would move it.
        set(&mount.at(path), 1_000, 1);
        let path = mount.at(path);
        if path.is_dir() {
            drop(fs::read_dir(&path).unwrap().map(drop).collect::<Vec<()>>())
        } else {
            drop(fs::read(&path))
        }
        assert_eq!(times(&path)[0], (1_000, 1));
    }
    mount.stop();
}

#[test]
fn atime_and_ctime_of_a_clean_file_are_its_mtime() {
    let mount = TestMount::writable(&Spec::new().file("file", "x"));
    let metadata = fs::metadata(mount.at("file")).unwrap();
    let mtime = (metadata.mtime(), metadata.mtime_nsec());
    assert_eq!((metadata.atime(), metadata.atime_nsec()), mtime);
    assert_eq!((metadata.ctime(), metadata.ctime_nsec()), mtime);
    xattr::set(mount.at("file"), "user.x", b"x").unwrap();
    let changed = fs::metadata(mount.at("file")).unwrap();
    assert!((changed.ctime(), changed.ctime_nsec()) > mtime);
    assert_eq!((changed.mtime(), changed.mtime_nsec()), mtime);
    mount.stop();
}

#[test]
fn birth_time_is_not_offered() {
    let mount = TestMount::writable(&Spec::new().file("file", "x"));
    let told = statx(CWD, mount.at("file"), AtFlags::empty(), StatxFlags::BTIME | StatxFlags::BASIC_STATS).unwrap();
    assert_eq!(told.stx_mask & StatxFlags::BTIME.bits(), 0);
    mount.stop();
}
