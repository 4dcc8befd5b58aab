//! Programs, libraries, sockets and fifos.

use crate::common::spec::Spec;
use crate::places::{everywhere, said};
use crate::process::Process;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};

#[test]
fn programs_run_and_cannot_be_written_meanwhile() {
    let program = fs::read("/bin/cat").unwrap();
    let mut large = program.clone();
    large.resize(2 << 20, 0);
    let spec = Spec::new()
        .file("small", program)
        .mode("small", 0o755)
        .file("large", large)
        .mode("large", 0o755)
        .file("script", "#!/bin/sh\necho \"$0\" | tail -c 7\n")
        .mode("script", 0o755)
        .file("closed", "#!/bin/sh\n")
        .mode("closed", 0o644);
    everywhere(&spec, |dir| {
        let mut all = Vec::new();
        for name in ["small", "large"] {
            let path = dir.join(name);
            let mut running = Command::new(&path).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            let mut input = running.stdin.take().unwrap();
            let mut output = running.stdout.take().unwrap();
            input.write_all(b"x").unwrap();
            output.read_exact(&mut [0]).unwrap();
            all.push(said(OpenOptions::new().write(true).open(&path).map(drop)));
            all.push(said(File::create(&path).map(drop)));
            all.push(said(nix::unistd::truncate(&path, 5)));
            let cut_without_writing = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::TRUNC;
            all.push(said(rustix::fs::open(&path, cut_without_writing, rustix::fs::Mode::empty()).map(drop)));
            assert_ne!(fs::metadata(&path).unwrap().len(), 0);
            // But it can be replaced, and goes on.
            fs::copy(&path, dir.join("next")).unwrap();
            all.push(said(fs::rename(dir.join("next"), &path)));
            input.write_all(b"y").unwrap();
            let mut echoed = [0];
            output.read_exact(&mut echoed).unwrap();
            assert_eq!(&echoed, b"y");
            drop(input);
            assert!(running.wait().unwrap().success());
            // What is open for writing can't be run.
            let writer = OpenOptions::new().append(true).open(&path).unwrap();
            all.push(said(Command::new(&path).stdin(Stdio::null()).status()));
            drop(writer);
            all.push(said(Command::new(&path).stdin(Stdio::null()).status()));
        }
        all.push(said(Command::new(dir.join("script")).output().map(|output| output.stdout)));
        all.push(said(Command::new(dir.join("closed")).status()));
        all
    });
}

#[test]
fn libraries_are_loaded() {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let libc =
        maps.lines().find_map(|line| line.split_whitespace().last().filter(|path| path.contains("libc.so"))).unwrap();
    let spec = Spec::new().file("lib/libc.so.6", fs::read(libc).unwrap()).mode("lib/libc.so.6", 0o755);
    everywhere(&spec, |dir| {
        let mut process = Process::start(dir);
        process.run("import ctypes; library = ctypes.CDLL('./lib/libc.so.6')");
        let length = process.run("library.strlen(b'12345')");
        let mut with_path = Command::new("/bin/ls");
        let listed = with_path.env("LD_LIBRARY_PATH", dir.join("lib")).arg(dir).output().unwrap();
        // A library isn't a program: it can be written while it is loaded, and nobody should.
        (length, listed.stdout == b"lib\n")
    });
}

#[test]
fn sockets_and_fifos_connect_processes() {
    let spec = Spec::new().fifo("old-fifo").dir("dir");
    everywhere(&spec, |dir| {
        let mut all = Vec::new();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            dir.join("new-fifo"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
            0,
        )
        .unwrap();
        for name in ["old-fifo", "new-fifo"] {
            let mut other = Process::start(dir);
            let nobody_reads = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(dir.join(name));
            all.push(said(nobody_reads));
            other.begin(&format!("os.write(os.open('{name}', os.O_WRONLY), b'through')"));
            let mut read = [0; 7];
            File::open(dir.join(name)).unwrap().read_exact(&mut read).unwrap();
            assert_eq!((&read, other.end().as_str()), (b"through", "7"));
        }
        // A relative path, for that of a socket has 107 bytes.
        let listener = crate::people::apart(|| {
            std::env::set_current_dir(dir).unwrap();
            UnixListener::bind("dir/socket").unwrap()
        });
        assert!(fs::metadata(dir.join("dir/socket")).unwrap().file_type().is_socket());
        fs::rename(dir.join("dir/socket"), dir.join("s")).unwrap();
        let mut other = Process::start(dir);
        other.run("import socket; s = socket.socket(socket.AF_UNIX)");
        other.run("s.connect('s')");
        let (mut stream, _) = listener.accept().unwrap();
        other.run("s.sendall(b'hello')");
        let mut read = [0; 5];
        stream.read_exact(&mut read).unwrap();
        all.push(format!("{read:?}"));
        drop(listener);
        all.push(other.run("attempt(socket.socket(socket.AF_UNIX).connect, 's')"));
        all.push(said(UnixListener::bind(dir.join("s")).map(drop)));
        all.push(said(File::open(dir.join("s"))));
        fs::remove_file(dir.join("s")).unwrap();
        all.push(said(UnixStream::connect(dir.join("s")).map(drop)));
        all
    });
}
