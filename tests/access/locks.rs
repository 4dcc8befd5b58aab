//! Locks between processes.

use crate::common::spec::Spec;
use crate::places::everywhere;
use crate::process::Process;
use std::path::Path;

/// Two processes with the file open; the lines that each of them runs in turn.
fn between_two(dir: &Path, lines: &[(usize, &str)]) -> Vec<String> {
    let mut two = [Process::start(dir), Process::start(dir)];
    for process in &mut two {
        assert_eq!(process.run("f = os.open('file', os.O_RDWR)"), "None");
        process.run("import signal, struct; from fcntl import *");
        process.run("def ofd(cmd, kind, start=0, length=0): return struct.unpack('hhqqi4x', fcntl(f, cmd, struct.pack('hhqqi4x', kind, 0, start, length, 0)))[0]");
    }
    lines.iter().map(|(process, line)| two[*process].run(line)).collect()
}

fn spec() -> Spec {
    Spec::new().file("file", vec![7; 10_000])
}

#[test]
fn flock_shares_and_excludes() {
    let said = everywhere(&spec(), |dir| {
        let lines = [
            (0, "flock(f, LOCK_SH)"),
            (1, "flock(f, LOCK_SH|LOCK_NB)"),
            (1, "flock(f, LOCK_EX|LOCK_NB)"),
            (1, "flock(f, LOCK_UN)"),
            (0, "flock(f, LOCK_EX|LOCK_NB)"),
            (1, "flock(f, LOCK_SH|LOCK_NB)"),
            (0, "os.close(f)"),
            (1, "flock(f, LOCK_EX|LOCK_NB)"),
        ];
        between_two(dir, &lines)
    });
    assert_eq!(said, ["None", "None", "EAGAIN", "None", "None", "EAGAIN", "None", "None"]);
}

#[test]
fn posix_locks_have_ranges_and_go_with_any_close() {
    let said = everywhere(&spec(), |dir| {
        let lines = [
            (0, "lockf(f, LOCK_EX, 10, 0)"),
            (1, "lockf(f, LOCK_EX|LOCK_NB, 10, 10)"),
            (1, "lockf(f, LOCK_SH|LOCK_NB, 10, 5)"),
            (1, "struct.unpack('hhqq', fcntl(f, F_GETLK, struct.pack('hhqqi4x', F_WRLCK, 0, 0, 0, 0))[:24])"),
            (0, "lockf(f, LOCK_UN, 5, 5)"),
            (1, "lockf(f, LOCK_SH|LOCK_NB, 5, 5)"),
            (0, "os.close(os.open('file', os.O_RDONLY))"),
            (1, "lockf(f, LOCK_EX|LOCK_NB)"),
            (0, "lockf(f, LOCK_SH|LOCK_NB, 1, 5000)"),
        ];
        between_two(dir, &lines)
    });
    assert_eq!(said[2], "EAGAIN");
    assert_eq!(said[7], "None", "closing another descriptor of the file lets go of the locks");
}

#[test]
fn open_file_descriptions_have_locks_of_their_own() {
    let said = everywhere(&spec(), |dir| {
        let lines = [
            (0, "ofd(F_OFD_SETLK, F_WRLCK, 0, 10)"),
            (1, "ofd(F_OFD_SETLK, F_RDLCK, 0, 1)"),
            (1, "ofd(F_OFD_SETLK, F_RDLCK, 10, 1)"),
            (0, "os.close(os.open('file', os.O_RDONLY))"),
            (1, "ofd(F_OFD_SETLK, F_RDLCK, 0, 1)"),
            (1, "lockf(f, LOCK_SH|LOCK_NB, 1, 0)"),
            (0, "g = os.dup(f)"),
            (0, "os.close(f)"),
            (1, "ofd(F_OFD_SETLK, F_RDLCK, 0, 1)"),
            (0, "os.close(g)"),
            (1, "ofd(F_OFD_SETLK, F_WRLCK, 0, 1)"),
        ];
        between_two(dir, &lines)
    });
    assert_eq!((said[1].as_str(), said[4].as_str(), said[10].as_str()), ("EAGAIN", "EAGAIN", "1"));
}

#[test]
fn a_waiting_lock_is_granted_and_a_deadlock_is_found() {
    for (lock, unlock) in [("flock(f, LOCK_EX)", "flock(f, LOCK_UN)"), ("lockf(f, LOCK_EX)", "lockf(f, LOCK_UN)")] {
        everywhere(&spec(), |dir| {
            let mut two = [Process::start(dir), Process::start(dir)];
            for process in &mut two {
                process.run("import signal, struct; from fcntl import *");
                process.run("f = os.open('file', os.O_RDWR)");
            }
            assert_eq!(two[0].run(lock), "None");
            two[1].begin(lock);
            assert_eq!(two[0].run(unlock), "None");
            assert_eq!(two[1].end(), "None");
            assert_eq!(two[0].run(&lock.replace("LOCK_EX", "LOCK_EX|LOCK_NB")), "EAGAIN");
            // A dead process holds nothing.
            two[1] = Process::start(dir);
            assert_eq!(two[0].run(lock), "None");
        });
    }
    let said = everywhere(&spec(), |dir| {
        let mut two = [Process::start(dir), Process::start(dir)];
        for (number, process) in two.iter_mut().enumerate() {
            process.run("import signal, struct; from fcntl import *");
            process.run("f = os.open('file', os.O_RDWR)");
            assert_eq!(process.run(&format!("lockf(f, LOCK_EX, 1, {number})")), "None");
        }
        two[0].begin("lockf(f, LOCK_EX, 1, 1)");
        // The kernel shows who waits, so that the second surely asks when the first waits already.
        let waits = format!("-> POSIX  ADVISORY  WRITE {}", two[0].id());
        crate::common::wait_until("the first waits", || {
            std::fs::read_to_string("/proc/locks").unwrap().contains(&waits)
        });
        let second = two[1].run("lockf(f, LOCK_EX, 1, 0)");
        two[1].run("lockf(f, LOCK_UN)");
        // Python calls EDEADLK by its other name.
        (second, two[0].end())
    });
    assert_eq!(said, ("EDEADLOCK".to_owned(), "None".to_owned()));
}

#[test]
fn leases_are_given_and_broken() {
    everywhere(&spec(), |dir| {
        let lines = [
            (0, "os.close(f)"),
            (1, "os.close(f)"),
            (0, "f = os.open('file', os.O_RDONLY)"),
            (0, "signal.signal(signal.SIGIO, lambda *_: globals().update(told=True))"),
            (0, "fcntl(f, F_SETLEASE, F_RDLCK)"),
            (0, "fcntl(f, F_GETLEASE)"),
            (1, "os.open('file', os.O_WRONLY|os.O_NONBLOCK)"),
            (0, "told"),
            (0, "fcntl(f, F_SETLEASE, F_UNLCK)"),
            (1, "os.close(os.open('file', os.O_WRONLY|os.O_NONBLOCK))"),
        ];
        between_two(dir, &lines)
    });
}
