//! Processes that copy up one file at once: the outcome is that of some order, and no write is lost.
#![allow(clippy::unwrap_used, reason = "a test that can't go on shall panic")]

mod common;

use cairnfs::vfs::Copying;
use common::mount::{Bench, TestMount};
use common::spec::Spec;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const ROUNDS: usize = 40;
const SMALL: usize = 5000;
const LARGE: usize = (1 << 20) + 5000;

/// Runs `body` (Python, with `n` the round and `me` the process's number) once a line that it reads, and answers each.
fn racer(dir: &Path, me: usize, body: &str) -> Child {
    let script = format!(
        "import os, sys\nme = {me}\nfor line in sys.stdin:\n    n = int(line)\n    {body}\n    print(flush=True)\n"
    );
    let mut command = Command::new("python3");
    command.args(["-I", "-S", "-c", &script]).current_dir(dir).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().expect("python3 runs")
}

/// Lets two processes loose on file after file, each with its own line of Python; then `check` gets the round and the file's content.
fn race(length: usize, bodies: [&str; 2], check: impl Fn(usize, Vec<u8>)) {
    for copying in [Copying::Auto, Copying::Range] {
        race_by(copying, length, bodies, &check);
    }
}

fn race_by(copying: Copying, length: usize, bodies: [&str; 2], check: &impl Fn(usize, Vec<u8>)) {
    let base = vec![b'.'; length];
    let spec = (0..ROUNDS).fold(Spec::new(), |spec, n| spec.file(&format!("f{n}"), base.clone()));
    let bench = Bench::new(&spec);
    let mount = TestMount::mount(&bench, bench.with_layer("layer"), |options| options.copying = copying, None);
    let mut racers: Vec<Child> = (0..2).map(|me| racer(mount.root(), me, bodies[me])).collect();
    let mut outputs: Vec<_> = racers.iter_mut().map(|racer| BufReader::new(racer.stdout.take().unwrap())).collect();
    for n in 0..ROUNDS {
        // Every second round somebody holds the clean file open.
        let reader = (n % 2 == 0).then(|| File::open(mount.at(&format!("f{n}"))).unwrap());
        for racer in &mut racers {
            writeln!(racer.stdin.as_mut().unwrap(), "{n}").unwrap();
        }
        for output in &mut outputs {
            let mut line = String::new();
            assert!(output.read_line(&mut line).unwrap() > 0, "a racer failed");
        }
        check(n, fs::read(mount.at(&format!("f{n}"))).unwrap());
        drop(reader);
    }
    for mut racer in racers {
        drop(racer.stdin.take());
        assert!(racer.wait().unwrap().success());
    }
    assert_eq!(mount.count("panics"), 0);
    let mount = mount.remount();
    for n in 0..ROUNDS {
        check(n, fs::read(mount.at(&format!("f{n}"))).unwrap());
    }
    mount.stop();
}

const WRITE: &str = "f = os.open(f'f{n}', os.O_WRONLY); os.pwrite(f, b'%d' % me * 100, me * 1000); os.close(f)";
const APPEND: &str = "f = os.open(f'f{n}', os.O_WRONLY | os.O_APPEND); os.write(f, b'%d' % me * 100); os.close(f)";
const CUT: &str = "f = os.open(f'f{n}', os.O_WRONLY | os.O_TRUNC); os.write(f, b'%d' % me * 100); os.close(f)";
const TRUNCATE: &str = "os.truncate(f'f{n}', 2000)";

#[test]
fn both_writes_are_there() {
    for length in [SMALL, LARGE] {
        race(length, [WRITE, WRITE], |n, content| {
            let mut right = vec![b'.'; length];
            right[..100].fill(b'0');
            right[1000..1100].fill(b'1');
            assert!(content == right, "round {n} of {length}");
        });
    }
}

#[test]
fn both_appended_lines_are_there() {
    for length in [SMALL, LARGE] {
        race(length, [APPEND, APPEND], |n, content| {
            assert!(content[..length].iter().all(|byte| *byte == b'.'), "round {n}");
            let tail = String::from_utf8(content[length..].to_vec()).unwrap();
            let (zero, one) = ("0".repeat(100), "1".repeat(100));
            assert!(tail == format!("{zero}{one}") || tail == format!("{one}{zero}"), "round {n}: {tail}");
        });
    }
}

#[test]
fn a_truncation_and_a_write_happen_in_some_order() {
    for length in [SMALL, LARGE] {
        race(length, [WRITE, TRUNCATE], |n, content| {
            let mut right = vec![b'.'; 2000];
            right[..100].fill(b'0');
            assert!(content == right, "round {n} of {length}: {} bytes", content.len());
        });
        race(length, [CUT, WRITE], |n, content| {
            // Cut first, then both wrote; or the cut came last and took the other's write. The opens may come before, the writes after.
            let mut with_hole = vec![b'0'; 100];
            with_hole.resize(1000, 0);
            with_hole.extend([b'1'; 100]);
            assert!(
                content == with_hole || content == vec![b'0'; 100],
                "round {n} of {length}: {} bytes",
                content.len()
            );
        });
    }
}

#[test]
fn metadata_changes_beside_a_copy_up_are_kept() {
    const CHANGE: &str = "os.chmod(f'f{n}', 0o640); os.setxattr(f'f{n}', 'user.x', b'y'); os.link(f'f{n}', f'l{n}')";
    let base = vec![b'.'; LARGE];
    let spec = (0..ROUNDS).fold(Spec::new(), |spec, n| spec.file(&format!("f{n}"), base.clone()));
    let mount = TestMount::writable(&spec);
    let mut racers = [racer(mount.root(), 0, WRITE), racer(mount.root(), 1, CHANGE)];
    for n in 0..ROUNDS {
        for racer in &mut racers {
            writeln!(racer.stdin.as_mut().unwrap(), "{n}").unwrap();
        }
    }
    for racer in &mut racers {
        drop(racer.stdin.take());
        assert!(racer.wait().unwrap().success());
    }
    use std::os::unix::fs::MetadataExt;
    for n in 0..ROUNDS {
        let path = mount.at(&format!("f{n}"));
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!((metadata.mode() & 0o7777, metadata.nlink(), metadata.len()), (0o640, 2, LARGE as u64));
        assert_eq!(xattr::get(&path, "user.x").unwrap().as_deref(), Some(&b"y"[..]));
        assert!(fs::read(mount.at(&format!("l{n}"))).unwrap()[..100].iter().all(|byte| *byte == b'0'));
    }
    mount.stop();
}
