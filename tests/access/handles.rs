//! File handles (`name_to_handle_at`), as NFS servers and backup programs use them.

use crate::common::mount::TestMount;
use crate::common::spec::Spec;
use crate::common::wait_until;
use crate::process::Process;
use std::fs;
use std::path::Path;

const CALLS: &str = r#"
exec('''import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def called(result):
    if result < 0: raise OSError(ctypes.get_errno(), '')
    return result
def handle(path):
    room, mount = ctypes.create_string_buffer(bytes([120]) + bytes(135), 136), ctypes.c_int()
    called(libc.name_to_handle_at(-100, path.encode(), room, ctypes.byref(mount), 0))
    return room
def reopen(room, flags=os.O_RDONLY):
    return called(libc.open_by_handle_at(top, room, flags))
def content(room):
    with open(reopen(room)) as file: return file.read(10)
top = os.open('.', os.O_RDONLY)
''', names)"#;

fn caller(dir: &Path) -> Process {
    let mut process = Process::start(dir);
    assert_eq!(process.run(&CALLS.replace('\n', "\\n").replacen("\\n", "", 1)), "None");
    process
}

/// Drops the kernel's names and inodes that nobody uses.
fn drop_caches() {
    fs::write("/proc/sys/vm/drop_caches", "2").unwrap();
}

#[test]
fn a_handle_leads_to_its_file_whatever_happens_to_names() {
    let spec = Spec::new().file("a/file", "content").file("b/linked", "linked").link("linked", "b/linked").dir("a/dir");
    let run = |dir: &Path| {
        let mut process = caller(dir);
        let mut said = Vec::new();
        let mut run = |line: &str| said.push(process.run(line));
        run("h = handle('a/file')");
        run("content(h)");
        drop_caches();
        run("content(h)");
        fs::rename(dir.join("a"), dir.join("moved")).unwrap();
        fs::rename(dir.join("moved/file"), dir.join("b/renamed")).unwrap();
        run("content(h)");
        drop_caches();
        run("content(h)");
        fs::write(dir.join("b/renamed"), "written").unwrap();
        drop_caches();
        run("content(h)");
        run("f = reopen(h, os.O_WRONLY|os.O_APPEND)");
        run("os.write(f, b'+')");
        run("os.close(f)");
        run("content(h)");
        // A directory, and what is above it.
        run("d = handle('moved/dir')");
        drop_caches();
        run("f = reopen(d, os.O_RDONLY|os.O_DIRECTORY)");
        run("os.listdir(f)");
        run("os.stat('..', dir_fd=f).st_ino == os.stat('moved').st_ino");
        run("os.close(f)");
        // All names of an inode have one handle.
        run("l = handle('linked')");
        run("bytes(l) == bytes(handle('b/linked'))");
        fs::remove_file(dir.join("linked")).unwrap();
        drop_caches();
        run("content(l)");
        run("f = reopen(l)");
        run("os.stat('b/linked').st_ino == os.fstat(f).st_ino");
        run("os.close(f)");
        // Removed.
        fs::remove_file(dir.join("b/renamed")).unwrap();
        fs::remove_dir(dir.join("moved/dir")).unwrap();
        drop_caches();
        run("content(h)");
        run("reopen(d)");
        fs::write(dir.join("b/renamed"), "another").unwrap();
        run("content(h)");
        // Open, and without a name.
        run("k = handle('b/linked')");
        run("keep = os.open('b/linked', os.O_RDONLY)");
        fs::remove_file(dir.join("b/linked")).unwrap();
        run("os.pread(keep, 10, 0)");
        run("os.close(keep)");
        // The kernel tells of a close a moment later, and knows the inode till then.
        wait_until("the handle leads nowhere", || {
            drop_caches();
            process.run("content(k)") == "ESTALE"
        });
        said
    };
    let said = crate::places::everywhere(&spec, run);
    assert_eq!(said[1], "content");
    assert!(said.iter().filter(|said| *said == "ESTALE").count() >= 3, "{said:?}");
}

#[test]
fn a_handle_lasts_over_a_remount() {
    let mount = TestMount::writable(&Spec::new().file("clean", "clean"));
    fs::write(mount.at("new"), "new").unwrap();
    let mut process = caller(mount.root());
    let save = "(bytes(handle('clean')), bytes(handle('new')))";
    let handles = process.run(save);
    drop(process);
    let mount = mount.remount();
    let mut process = caller(mount.root());
    process.run(&format!("h = {handles}"));
    let read = |at: u32| format!("content(ctypes.create_string_buffer(h[{at}], 136))");
    assert_eq!((process.run(&read(0)), process.run(&read(1))), ("clean".to_owned(), "new".to_owned()));
    drop(process);
    mount.stop();
}

#[test]
fn a_handle_from_before_a_large_files_first_write_is_stale_while_old_readers_live() {
    let mount = TestMount::writable(&Spec::new().file("large", vec![b'o'; 1 << 20]));
    let mut process = caller(mount.root());
    process.run("h = handle('large')");
    assert_eq!(process.run("content(h)"), "o".repeat(10));
    let reader = fs::File::open(mount.at("large")).unwrap();
    let writer = fs::File::options().write(true).open(mount.at("large")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&writer, b"N", 0).unwrap();
    assert_eq!(process.run("content(h)"), "ESTALE");
    drop((reader, writer));
    drop_caches();
    process.run("h = handle('large')");
    assert_eq!(process.run("content(h)"), format!("N{}", "o".repeat(9)));
    drop(process);
    mount.stop();
}
