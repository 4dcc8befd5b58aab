//! What holds when `cairnfs umount` has returned, and what an unmount does to what still runs. As root, on a real `/dev/fuse`.
#![allow(clippy::unwrap_used, reason = "a test that can't go on shall panic")]
#![allow(unsafe_code, reason = "ending one thread of a process has no safe form")]

mod cli_util;

use cairnfs::format::LayerName;
use cairnfs::store::{LeaseKind, MountRecord, Store};
use cli_util::World;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Waits until `condition` holds.
fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn work() -> LayerName {
    "work".parse().unwrap()
}

#[test]
fn the_layer_is_free_when_umount_has_returned() {
    let world = World::new();
    let store = Store::open(&world.path("store")).unwrap();
    for round in 0..10 {
        let mnt = world.mount("mnt", &["--layer", "work"]);
        std::fs::write(mnt.join(format!("new{round}")), vec![7; 100_000]).unwrap();
        world.run(&["umount", "-q", world.str("mnt")]);
        drop(store.lock_layer(&work(), "a test").unwrap());
        assert!(store.leases().unwrap().is_empty());
    }
}

#[test]
fn two_who_unmount_at_once_both_succeed_when_the_layer_is_free() {
    let world = World::new();
    let store = Store::open(&world.path("store")).unwrap();
    for _ in 0..8 {
        world.mount("mnt", &["--layer", "work"]);
        let unmount = || {
            Command::new(env!("CARGO_BIN_EXE_cairnfs"))
                .args(["--store", world.str("store"), "umount", "-q", world.str("mnt")])
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        };
        let both = [unmount(), unmount()];
        for one in both {
            let output = one.wait_with_output().unwrap();
            // The later one may have come when there was nothing to unmount any more.
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success() || said.contains("no cairnfs is mounted there"), "{said}");
        }
        drop(store.lock_layer(&work(), "a test").unwrap());
    }
}

extern "C" fn end_this_thread(_: libc::c_int) {
    // SAFETY: a system call that ends the calling thread alone; it touches no memory.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
}

/// Not a test of its own: a mount's process whose first thread has ended, and which then lets go of its record, and a while later of the layer.
#[test]
#[ignore = "run by another test, as a process of its own"]
fn a_process_that_ends_slowly() {
    let Some(store) = std::env::var_os("TEST_STORE") else { return };
    let store = Store::open(&PathBuf::from(store)).unwrap();
    let _lock = store.lock_layer(&work(), "mounted by a test").unwrap();
    let config = store.layer(&work()).unwrap();
    let pid = std::process::id();
    let guard = store
        .publish_mount(&MountRecord {
            id: "slow".into(),
            pid,
            mountpoint: std::env::var_os("TEST_MOUNTPOINT").unwrap().into(),
            reference: "debian".into(),
            manifest: config.base,
            layer: Some(work()),
            tmpfs: false,
            socket: store.socket_path("slow"),
            log: store.log_path("slow"),
            started_unix_ms: 1,
        })
        .unwrap();
    // SAFETY: the handler makes one system call, which may be made at any point of a thread.
    unsafe { libc::signal(libc::SIGUSR1, end_this_thread as *const () as libc::sighandler_t) };
    // SAFETY: takes three numbers; the first thread has the process's number.
    unsafe { libc::syscall(libc::SYS_tgkill, i64::from(pid), i64::from(pid), i64::from(libc::SIGUSR1)) };
    let _told = std::io::stdin().read(&mut [0]);
    drop(guard);
    std::thread::sleep(Duration::from_millis(300)); // for an unmount that doesn't wait to show itself
    std::process::exit(0);
}

#[test]
fn umount_waits_for_the_last_thread_of_the_process() {
    let world = World::new();
    world.mount("mnt", &["--layer", "work"]);
    world.run(&["umount", "-q", world.str("mnt")]);
    let store = Store::open(&world.path("store")).unwrap();
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_process_that_ends_slowly", "--ignored"])
        .env("TEST_STORE", world.path("store"))
        .env("TEST_MOUNTPOINT", world.path("mnt").canonicalize().unwrap())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let stat = format!("/proc/{}/stat", process.id());
    wait_for("its first thread ends", || std::fs::read_to_string(&stat).unwrap().contains(") Z "));
    wait_for("it has a record", || store.mounts().unwrap().iter().any(|mount| mount.alive));
    let umount = Command::new(env!("CARGO_BIN_EXE_cairnfs"))
        .env("CAIRNFS_STORE", world.path("store"))
        .args(["umount", "-q", world.str("mnt")])
        .stderr(Stdio::null())
        .spawn();
    let mut umount = umount.unwrap();
    // It has looked at the record when it has opened the process, or asked for its state.
    wait_for("umount waits", || waits(umount.id()));
    drop(process.stdin.take());
    assert!(umount.wait().unwrap().success());
    drop(store.lock_layer(&work(), "a test").expect("the layer is free"));
    process.wait().unwrap();
}

/// Whether the process sleeps in poll(2) or between two looks.
fn waits(pid: u32) -> bool {
    let call = std::fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    let number: i64 = call.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(-1);
    // The older of the two calls isn't there on every machine.
    #[cfg(target_arch = "x86_64")]
    if number == libc::SYS_poll {
        return true;
    }
    [libc::SYS_ppoll, libc::SYS_nanosleep, libc::SYS_clock_nanosleep].contains(&number)
}

/// A mount whose layer has a file that takes hours to hash.
fn mount_with_huge_file(world: &World) -> PathBuf {
    let mnt = world.mount("mnt", &["--layer", "work"]);
    std::fs::write(mnt.join("small"), "small").unwrap();
    std::fs::File::create(mnt.join("huge")).unwrap().set_len(15 << 40).unwrap();
    mnt
}

fn wait_for_snapshot(world: &World) {
    let store = Store::open(&world.path("store")).unwrap();
    let writes = || store.leases().unwrap().iter().any(|lease| lease.kind == LeaseKind::Writer);
    wait_for("the snapshot is being taken", writes);
}

/// Starts a snapshot over the socket, and waits until it is being taken.
fn snapshot(world: &World) -> std::process::Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cairnfs"));
    command.env("CAIRNFS_STORE", world.path("store")).args(["snapshot", world.str("mnt"), "huge"]);
    let child = command.stderr(Stdio::piped()).spawn().unwrap();
    wait_for_snapshot(world);
    child
}

/// It failed as one that was cancelled, published nothing, and the layer can be mounted and give a snapshot.
fn assert_cancelled(world: &World, snapshot: std::process::Child) {
    let output = snapshot.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("cancelled: nothing was published"), "{said}");
    world.fail(3, &["show", "huge"]);
}

fn assert_layer_goes_on(world: &World) {
    let mnt = world.path("mnt");
    assert_eq!(std::fs::read_to_string(mnt.join("small")).unwrap(), "small");
    let huge = std::fs::File::options().write(true).open(mnt.join("huge")).unwrap();
    huge.set_len(1 << 20).unwrap();
    drop(huge);
    let report = world.json(&["snapshot", world.str("mnt"), "after"]);
    assert_eq!(report["bytes"], (1 << 20) + 11, "{report}");
    world.run(&["umount", "-q", world.str("mnt")]);
    world.run(&["gc", "--grace", "0s"]);
    world.run(&["fsck", "-q"]);
}

#[test]
fn a_snapshot_is_cancelled_by_command() {
    let world = World::new();
    let mnt = mount_with_huge_file(&world);
    let taken = snapshot(&world);
    std::fs::write(mnt.join(".ctl/cmd"), "cancel").unwrap();
    assert_cancelled(&world, taken);
    let taken = snapshot(&world);
    let cancelled = world.json(&["snapshot", "--cancel", world.str("mnt")]);
    assert_eq!(cancelled["mountpoint"], world.str("mnt"));
    assert_cancelled(&world, taken);
    world.fail(3, &["snapshot", "--cancel", world.str("mnt")]);
    assert_layer_goes_on(&world);
}

#[test]
fn a_snapshot_is_cancelled_by_an_unmount() {
    let world = World::new();
    mount_with_huge_file(&world);
    let taken = snapshot(&world);
    world.run(&["umount", "-q", world.str("mnt")]);
    assert_cancelled(&world, taken);
    world.mount("mnt", &["--layer", "work"]);
    assert_layer_goes_on(&world);
}

#[test]
fn a_snapshot_that_somebody_waits_for_in_the_mount_is_cancelled_by_a_signal() {
    let world = World::new();
    let mnt = mount_with_huge_file(&world);
    let pid = i32::try_from(world.mounts()[0]["pid"].as_i64().unwrap()).unwrap();
    let mut waits =
        Command::new("sh").arg("-c").arg(format!("echo snapshot huge > {}/.ctl/cmd", mnt.display())).spawn().unwrap();
    wait_for_snapshot(&world);
    let text = world.fail(4, &["umount", world.str("mnt")]);
    assert!(text.contains("cairnfs snapshot --cancel"), "{text}");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(!waits.wait().unwrap().success());
    wait_for("the process ends", || world.mounts().is_empty());
    world.fail(3, &["show", "huge"]);
    world.mount("mnt", &["--layer", "work"]);
    assert_layer_goes_on(&world);
}
