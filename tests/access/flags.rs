//! Flags of open(2), and files without a name.

use crate::common::spec::Spec;
use crate::people::as_nobody;
use crate::places::{everywhere, said};
use crate::process::Process;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, SeekFrom, linkat, open, openat, seek};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

fn content() -> Vec<u8> {
    (0..2 << 20).map(|at| (at / 3 % 251) as u8).collect()
}

#[test]
fn each_flag_does_what_it_does_elsewhere() {
    let spec = Spec::new()
        .file("file", "content")
        .dir("dir")
        .symlink("link", "file")
        .symlink("dangling", "nowhere")
        .symlink("loop", "loop")
        .symlink("to-dir", "dir")
        .fifo("fifo");
    everywhere(&spec, |dir| {
        let mode = Mode::from_raw_mode(0o644);
        let mut all = Vec::new();
        let mut try_open = |name: &str, flags: OFlags| {
            let opened = open(dir.join(name), flags | OFlags::NONBLOCK, mode);
            all.push(format!("{name} {flags:?}: {}", said(opened.map(drop))));
        };
        for name in ["file", "dir", "link", "dangling", "loop", "to-dir", "fifo", "file/x", "dir/", "file/", "none"] {
            for access in [OFlags::RDONLY, OFlags::WRONLY, OFlags::RDWR] {
                for flags in [
                    OFlags::empty(),
                    OFlags::DIRECTORY,
                    OFlags::NOFOLLOW,
                    OFlags::DIRECTORY | OFlags::NOFOLLOW,
                    OFlags::PATH,
                    OFlags::PATH | OFlags::NOFOLLOW,
                    OFlags::CREATE | OFlags::EXCL,
                    OFlags::CREATE | OFlags::DIRECTORY,
                ] {
                    try_open(name, access | flags);
                    if flags.contains(OFlags::EXCL) {
                        let _not_made = fs::remove_file(dir.join("none"));
                    }
                }
            }
        }
        for name in ["dir", "loop", "to-dir"] {
            for flags in [OFlags::CREATE, OFlags::TRUNC, OFlags::CREATE | OFlags::TRUNC] {
                try_open(name, OFlags::WRONLY | flags);
                try_open(name, OFlags::RDONLY | flags);
            }
        }
        try_open("dangling", OFlags::CREATE | OFlags::WRONLY);
        all.push(said(fs::metadata(dir.join("nowhere")).map(|metadata| metadata.len())));
        all.push(said(fs::read_to_string(dir.join("file"))));
        all
    });
}

#[test]
fn a_descriptor_of_the_path_alone_can_be_opened_and_linked() {
    everywhere(&Spec::new().file("file", "content").symlink("link", "file"), |dir| {
        let path = open(dir.join("file"), OFlags::PATH, Mode::empty()).unwrap();
        let mut room = [0; 10];
        let refused = said(rustix::io::read(&path, &mut room));
        let through = format!("/proc/self/fd/{}", path.as_raw_fd());
        let mut all = vec![refused, said(fs::read_to_string(&through)), said(fs::write(&through, "written"))];
        all.push(said(fs::read_to_string(dir.join("file"))));
        all.push(said(linkat(CWD, &through, CWD, dir.join("second"), AtFlags::SYMLINK_FOLLOW)));
        all.push(said(linkat(&path, "", CWD, dir.join("third"), AtFlags::EMPTY_PATH)));
        all.push(fs::metadata(dir.join("file")).unwrap().nlink().to_string());
        let link = open(dir.join("link"), OFlags::PATH | OFlags::NOFOLLOW, Mode::empty()).unwrap();
        all.push(said(rustix::fs::readlinkat(&link, "", Vec::new())));
        all
    });
}

#[test]
fn two_processes_append_without_loss() {
    everywhere(&Spec::new().file("log", "start\n"), |dir| {
        let mut two = [Process::start(dir), Process::start(dir)];
        for (number, process) in two.iter_mut().enumerate() {
            process.run("f = os.open('log', os.O_WRONLY|os.O_APPEND)");
            process.begin(&format!("[os.write(f, b'{number}' * 50 + b'\\n') for _ in range(500)].count(51)"));
        }
        assert_eq!(two.map(|mut process| process.end()), ["500", "500"]);
        let log = fs::read_to_string(dir.join("log")).unwrap();
        let mut lines: Vec<&str> = log.lines().collect();
        assert_eq!(lines.remove(0), "start");
        assert!(
            lines.iter().all(
                |line| line.len() == 50 && (line.trim_matches('0').is_empty() || line.trim_matches('1').is_empty())
            )
        );
        lines.len()
    });
}

#[test]
fn appending_ignores_the_place_asked_for() {
    everywhere(&Spec::new().file("file", "base"), |dir| {
        let mut file = OpenOptions::new().read(true).append(true).open(dir.join("file")).unwrap();
        file.write_at(b"-one", 0).unwrap();
        file.rewind().unwrap();
        file.write_all(b"-two").unwrap();
        let place = seek(&file, SeekFrom::Current(0)).unwrap();
        (place, fs::read_to_string(dir.join("file")).unwrap())
    });
}

#[test]
fn direct_io_reads_and_writes_blocks() {
    let spec = Spec::new().file("large", content()).file("small", vec![3; 8192]);
    everywhere(&spec, |dir| {
        ["large", "small"].map(|name| {
            let mut options = OpenOptions::new();
            let file = options.read(true).write(true).custom_flags(libc::O_DIRECT).open(dir.join(name)).unwrap();
            let mut room = vec![0u8; 3 * 4096];
            let start = room.as_ptr().align_offset(4096);
            let block = &mut room[start..start + 4096];
            file.read_exact_at(block, 4096).unwrap();
            let before = block.to_vec();
            block.fill(b'd');
            file.write_all_at(block, 4096).unwrap();
            assert!(fs::read(dir.join(name)).unwrap()[4096..8192] == vec![b'd'; 4096]);
            // And what is written through the page cache is seen.
            fs::OpenOptions::new().write(true).open(dir.join(name)).unwrap().write_all_at(&[b'c'; 4096], 0).unwrap();
            file.read_exact_at(block, 0).unwrap();
            assert!(block.iter().all(|byte| *byte == b'c'));
            file.set_len(5000).unwrap();
            (before, said(file.read_at(block, 4096)), said(file.read_at(block, 8192)))
        })
    });
}

#[test]
fn exclusive_creation_is_won_by_one() {
    everywhere(&Spec::new().file("there", ""), |dir| {
        let mut many: Vec<Process> = (0..4).map(|_| Process::start(dir)).collect();
        for process in &mut many {
            process.run("flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY");
            process.begin("won = sum(attempt(os.open, f'new-{n}', flags) != 'EEXIST' for n in range(200))");
        }
        for process in &mut many {
            process.end();
        }
        let won: usize = many.iter_mut().map(|process| process.run("won").parse::<usize>().unwrap()).sum();
        assert_eq!(won, 200);
        said(OpenOptions::new().write(true).create_new(true).open(dir.join("there")))
    });
}

/// Whether a temporary file without a name can be had; what a program gets that asks for one.
#[test]
fn programs_get_temporary_files() {
    everywhere(&Spec::new().dir("dir"), |dir| {
        let mut process = Process::start(dir);
        process.run("import tempfile; t = tempfile.TemporaryFile(dir='dir')");
        process.run("t.write(b'temporary')");
        process.run("t.seek(0)");
        let said = process.run("t.read()");
        assert_eq!(fs::read_dir(dir.join("dir")).unwrap().count(), 0);
        (said, process.run("os.fstat(t.fileno()).st_nlink"))
    });
}

#[test]
fn what_has_no_name_any_more_lives_as_long_as_it_is_open() {
    everywhere(&Spec::new().file("small", "content").file("large", content()).dir("dir"), |dir| {
        let mut all = Vec::new();
        for name in ["small", "large"] {
            let path = dir.join(name);
            let mut file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
            let mut reader = File::open(&path).unwrap();
            fs::remove_file(&path).unwrap();
            all.push(format!("{}", file.metadata().unwrap().nlink()));
            file.write_all_at(b"CHANGED", 0).unwrap();
            let mut seen = [0; 7];
            reader.read_exact(&mut seen).unwrap();
            all.push(format!("{seen:?}"));
            all.push(said(file.set_len(3)));
            all.push(said(file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))));
            let through = format!("/proc/self/fd/{}", file.as_raw_fd());
            all.push(said(fs::read_to_string(&through)));
            all.push(said(OpenOptions::new().append(true).open(&through).and_then(|mut file| file.write_all(b"+"))));
            all.push(said(fs::read_to_string(&through)));
            all.push(said(linkat(CWD, &through, CWD, dir.join("again"), AtFlags::SYMLINK_FOLLOW)));
            all.push(said(fs::metadata(&through).map(|metadata| metadata.nlink())));
            all.push(said(xattr::set(&through, "user.x", b"x")));
            all.push(said(xattr::get(&through, "user.x")));
            // The name is free for another.
            fs::write(&path, "another").unwrap();
            assert_ne!(fs::metadata(&path).unwrap().ino(), file.metadata().unwrap().ino());
            let mut now = String::new();
            file.rewind().unwrap();
            file.read_to_string(&mut now).unwrap();
            all.push(now);
        }
        let sub = open(dir.join("dir"), OFlags::DIRECTORY, Mode::empty()).unwrap();
        fs::remove_dir(dir.join("dir")).unwrap();
        all.push(said(openat(&sub, "new", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).map(drop)));
        all.push(said(openat(&sub, ".", OFlags::DIRECTORY, Mode::empty()).map(drop)));
        all.push(said(openat(&sub, "..", OFlags::PATH, Mode::empty()).map(drop)));
        all.push(said(rustix::fs::fstat(&sub).map(|stat| stat.st_nlink)));
        all.push(said(rustix::fs::mkdirat(&sub, "x", Mode::RWXU)));
        all.push(said(
            rustix::fs::Dir::read_from(&sub).map(|dir| dir.map(|entry| said(entry.map(drop))).collect::<Vec<_>>()),
        ));
        all
    });
}

trait Through {
    fn through(&self) -> String;
}

impl Through for File {
    fn through(&self) -> String {
        format!("/proc/self/fd/{}", self.as_raw_fd())
    }
}

#[test]
fn a_descriptor_is_opened_again_with_other_rights() {
    let spec = Spec::new().file("small", "content").file("large", content()).file("closed", "x").mode("closed", 0o600);
    everywhere(&spec, |dir| {
        let mut all = Vec::new();
        for name in ["small", "large"] {
            let reader = File::open(dir.join(name)).unwrap();
            let again = File::open(reader.through()).unwrap();
            assert_eq!(again.metadata().unwrap().ino(), reader.metadata().unwrap().ino());
            let append = OpenOptions::new().append(true).open(dir.join(name)).unwrap();
            all.push(said(File::open(append.through()).map(|file| file.metadata().unwrap().len())));
        }
        let refused = open_path(&dir.join("closed"));
        all.push(as_nobody(|| said(File::open(&refused.1))));
        all
    });
}

fn open_path(path: &Path) -> (rustix::fd::OwnedFd, String) {
    let fd = open(path, OFlags::PATH, Mode::empty()).unwrap();
    let through = format!("/proc/{}/fd/{}", std::process::id(), fd.as_raw_fd());
    (fd, through)
}
