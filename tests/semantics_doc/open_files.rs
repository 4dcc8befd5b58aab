//! Section "Open files while the content changes". Every call that changes content is gone through in `tests/copy_up_open.rs`, processes that
//! race in `tests/copy_up_race.rs`.

use crate::common::mount::TestMount;
use crate::common::spec::Spec;
use crate::common::wait_until;
use crate::support::{LARGE, append, cached, errno, take};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirEntryExt, FileExt, MetadataExt};
use std::process::Stdio;

fn first(file: &File) -> u8 {
    let mut byte = [0];
    file.read_exact_at(&mut byte, 0).unwrap();
    byte[0]
}

fn change(mount: &TestMount, path: &str) {
    OpenOptions::new().write(true).open(mount.at(path)).unwrap().write_all_at(b"N", 0).unwrap();
}

#[test]
fn the_table_of_what_a_reader_of_a_clean_file_goes_on_reading() {
    let spec = Spec::new().file("small", vec![b'o'; LARGE - 1]).file("large", vec![b'o'; LARGE]);
    for (mount, path, goes_on_with) in [
        (TestMount::writable(&spec), "small", b'N'),
        (TestMount::writable(&spec), "large", b'o'),
        (cached(&spec), "small", b'N'),
        (cached(&spec), "large", b'N'),
    ] {
        let reader = File::open(mount.at(path)).unwrap();
        assert_eq!(first(&reader), b'o');
        change(&mount, path);
        assert_eq!(first(&reader), goes_on_with, "{path}");
        assert_eq!(first(&File::open(mount.at(path)).unwrap()), b'N', "opened after the write");
        assert_eq!(reader.metadata().unwrap().ino(), fs::metadata(mount.at(path)).unwrap().ino());
        drop(reader);
        mount.stop();
    }
}

#[test]
fn dirty_files_have_no_such_difference_until_a_snapshot() {
    let mount = TestMount::writable(&Spec::new());
    fs::write(mount.at("log"), vec![b'o'; LARGE]).unwrap();
    let reader = File::open(mount.at("log")).unwrap();
    change(&mount, "log");
    assert_eq!(first(&reader), b'N');
    // The kernel tells of a close when it has time for it, and until then the file is one that is being written.
    wait_until("nobody writes it", || take(&mount, "snap").being_written.is_empty());
    append(&mount.at("log"), "+");
    assert_eq!(reader.read_at(&mut [0; 10], LARGE as u64).unwrap(), 0, "the line isn't seen by who follows the file");
    assert_eq!(fs::metadata(mount.at("log")).unwrap().len(), LARGE as u64 + 1);
    drop(reader);
    mount.stop();
}

#[test]
fn old_content_cannot_be_opened_again_for_writing_by_its_descriptor() {
    let spec = Spec::new().file("large", vec![b'o'; LARGE]);
    let mount = TestMount::writable(&spec);
    let reader = File::open(mount.at("large")).unwrap();
    let again = format!("/proc/self/fd/{}", reader.as_raw_fd());
    assert_eq!(errno(OpenOptions::new().write(true).open(&again)), libc::ESTALE);
    change(&mount, "large");
    assert_eq!(errno(File::open(&again)), libc::ESTALE);
    drop(reader);
    mount.stop();
    let mount = cached(&spec);
    let reader = File::open(mount.at("large")).unwrap();
    let again = format!("/proc/self/fd/{}", reader.as_raw_fd());
    OpenOptions::new().write(true).open(again).unwrap();
    drop(reader);
    mount.stop();
}

#[test]
fn locks_and_watches_of_old_descriptors_are_apart_from_those_of_new_ones() {
    let mount = TestMount::writable(&Spec::new().file("large", vec![b'o'; LARGE]));
    let path = mount.at("large");
    let old = File::open(&path).unwrap();
    let inotify = Inotify::init(InitFlags::IN_NONBLOCK).unwrap();
    inotify.add_watch(&path, AddWatchFlags::IN_MODIFY).unwrap();
    inotify.add_watch(mount.root(), AddWatchFlags::IN_MODIFY).unwrap();
    old.lock().unwrap();
    change(&mount, "large");
    let new = File::open(&path).unwrap();
    new.try_lock().unwrap();
    let events = inotify.read_events().unwrap();
    assert_eq!(events.len(), 1, "the directory's watch tells of it, the file's doesn't");
    assert_eq!(events[0].name.as_deref(), Some("large".as_ref()));
    drop((old, new));
    mount.stop();
}

#[test]
fn listings_tell_the_same_number_as_stat() {
    let mount = TestMount::writable(&Spec::new().file("dir/large", vec![b'o'; LARGE]));
    let reader = File::open(mount.at("dir/large")).unwrap();
    change(&mount, "dir/large");
    fs::write(mount.at("dir/new"), "").unwrap();
    for entry in fs::read_dir(mount.at("dir")).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.ino(), entry.metadata().unwrap().ino());
    }
    drop(reader);
    mount.stop();
}

#[test]
fn a_running_program_is_replaced_but_not_written() {
    let spec = Spec::new().file("cat", fs::read("/bin/cat").unwrap()).mode("cat", 0o755);
    let mount = TestMount::writable(&spec);
    let path = mount.at("cat");
    let mut running = std::process::Command::new(&path).stdin(Stdio::piped()).spawn().unwrap();
    wait_until("it runs", || fs::read_link(format!("/proc/{}/exe", running.id())).is_ok_and(|exe| exe == path));
    assert_eq!(errno(OpenOptions::new().write(true).open(&path)), libc::ETXTBSY);
    fs::write(mount.at("next"), "next").unwrap();
    fs::rename(mount.at("next"), &path).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "next");
    running.kill().unwrap();
    running.wait().unwrap();
    mount.stop();
}
