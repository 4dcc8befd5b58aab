//! Control of a live mount: `.ctl`, the socket beside it, and the commands that use it.
#![allow(clippy::unwrap_used, reason = "a test that can't go on shall panic")]

mod cli_util;

use cli_util::World;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Writes a command to `.ctl/cmd` in one write(2); the errno when it fails.
fn command(mnt: &Path, text: &str) -> Result<(), i32> {
    let mut file = fs::File::options().write(true).open(mnt.join(".ctl/cmd")).unwrap();
    file.write_all(text.as_bytes()).map_err(|error| error.raw_os_error().unwrap())
}

fn last(mnt: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(mnt.join(".ctl/cmd")).unwrap()).unwrap()
}

fn stat(mnt: &Path, key: &str) -> Option<String> {
    let text = fs::read_to_string(mnt.join(".ctl/stats")).unwrap();
    text.lines().find_map(|line| line.strip_prefix(&format!("{key} "))).map(str::to_owned)
}

#[test]
fn stats_tell_the_base_and_what_the_layer_holds() {
    let world = World::new();
    let mnt = world.mount("mnt", &["--layer", "work"]);
    assert_eq!(stat(&mnt, "ref").as_deref(), Some("debian"));
    assert_eq!(stat(&mnt, "layer").as_deref(), Some("work"));
    assert_eq!(stat(&mnt, "base_entries").as_deref(), Some("5"));
    assert_eq!(stat(&mnt, "layer_bytes").as_deref(), Some("0"));
    fs::write(mnt.join("etc/new"), "12345").unwrap();
    assert_eq!(stat(&mnt, "layer_bytes").as_deref(), Some("5"));
    assert_ne!(stat(&mnt, "layer_inodes").as_deref(), Some("0"));
    let json: Value = serde_json::from_str(&fs::read_to_string(mnt.join(".ctl/stats.json")).unwrap()).unwrap();
    assert_eq!(json["layer_bytes"], 5);
    let over_socket = world.json(&["stats", world.str("mnt")]);
    assert_eq!(over_socket["manifest"], json["manifest"]);
    assert!(world.run(&["stats", world.str("mnt")]).contains("\nop_lookup "));
    let metrics = fs::read_to_string(mnt.join(".ctl/metrics")).unwrap();
    assert!(metrics.contains("# TYPE cairnfs_layer_bytes gauge\ncairnfs_layer_bytes 5\n"), "{metrics}");
    assert!(fs::read_to_string(mnt.join(".ctl/version")).unwrap().starts_with("cairnfs "));
    assert!(fs::read_to_string(mnt.join(".ctl/help")).unwrap().contains("snapshot NAME"));
    let config: Value = serde_json::from_str(&fs::read_to_string(mnt.join(".ctl/config.json")).unwrap()).unwrap();
    assert_eq!((&config["store"], &config["layer"]), (&world.str("store").into(), &"work".into()));
}

#[test]
fn the_control_directory_is_found_but_not_listed() {
    let world = World::new();
    let mnt = world.mount("mnt", &["--layer", "work"]);
    let names: Vec<_> = fs::read_dir(&mnt).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name == ".ctl") && !names.is_empty());
    assert!(fs::read_dir(mnt.join(".ctl")).unwrap().count() >= 8);
    let off = world.mount("off", &["-o", "ctl=off"]);
    assert!(!off.join(".ctl").exists());
    world.run(&["stats", world.str("off")]);
    let ro = world.mount("ro", &["-o", "ctl=ro"]);
    fs::read_to_string(ro.join(".ctl/stats")).unwrap();
    assert!(fs::File::options().write(true).open(ro.join(".ctl/cmd")).is_err());
}

#[test]
fn commands_run_and_their_failure_is_that_of_the_write() {
    let world = World::new();
    let mnt = world.mount("mnt", &["--layer", "work"]);
    assert_eq!(last(&mnt)["state"], "none");
    assert_eq!(command(&mnt, "gc dry-run\n"), Ok(()));
    assert_eq!((&last(&mnt)["ok"], &last(&mnt)["result"]["dry_run"]), (&true.into(), &true.into()));
    assert_eq!(command(&mnt, "gc grace=0s"), Ok(()));
    assert_eq!(command(&mnt, "sync\n"), Ok(()));
    for (bad, errno) in [
        ("retention\n", libc_einval()),
        ("gc soon", libc_einval()),
        ("\n", libc_einval()),
        ("snapshot ../x", libc_einval()),
    ] {
        assert_eq!(command(&mnt, bad), Err(errno), "{bad:?}");
        let last = last(&mnt);
        assert_eq!((&last["ok"], &last["code"]), (&false.into(), &"usage".into()));
    }
    assert!(last(&mnt)["message"].as_str().unwrap().contains("ref name"));
    command(&mnt, "nosuch").unwrap_err();
    assert!(last(&mnt)["message"].as_str().unwrap().contains("`gc dry-run`"), "it says what there is");
    // a shell sees it too
    let shell = Command::new("sh").args(["-c", "echo nosuch > .ctl/cmd"]).current_dir(&mnt).output().unwrap();
    assert!(!shell.status.success());
}

fn libc_einval() -> i32 {
    nix::errno::Errno::EINVAL as i32
}

#[test]
fn a_read_only_mount_has_nothing_to_snapshot() {
    let world = World::new();
    let mnt = world.mount("mnt", &["-o", "ctl=rw"]);
    assert_eq!(command(&mnt, "snapshot x"), Err(nix::errno::Errno::EROFS as i32));
    assert_eq!(fs::read_to_string(mnt.join(".ctl/diff")).unwrap(), "");
    assert_eq!(command(&mnt, "gc dry-run"), Ok(()));
    let error = fs::write(mnt.join("x"), "").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    let error = fs::File::options().write(true).open(mnt.join("etc/hello")).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    let text = world.fail(4, &["snapshot", world.str("mnt"), "x"]);
    assert!(text.contains("read-only") && text.contains("help: mount with --layer"), "{text}");
}

#[test]
fn a_detached_command_is_read_later() {
    let world = World::new();
    let mnt = world.mount("mnt", &["--layer", "work"]);
    assert_eq!(command(&mnt, "gc async\n"), Ok(()));
    while last(&mnt)["state"] == "running" {
        std::thread::yield_now();
    }
    let last = last(&mnt);
    assert_eq!((&last["command"], &last["ok"]), (&"gc async".into(), &true.into()));
}

#[test]
fn snapshots_by_every_way_and_of_an_unmounted_layer() {
    let world = World::new();
    let mnt = world.mount("mnt", &["--layer", "work"]);
    fs::write(mnt.join("one"), "1").unwrap();
    assert_eq!(fs::read_to_string(mnt.join(".ctl/diff")).unwrap(), world.run(&["diff", world.str("mnt")]));
    assert!(world.run(&["diff", "work"]).contains("A one\n"));
    assert_eq!(command(&mnt, "snapshot one"), Ok(()));
    assert_eq!(last(&mnt)["result"]["name"], "one");
    fs::write(mnt.join("two"), "2").unwrap();
    let two = world.json(&["snapshot", world.str("mnt"), "two"]);
    fs::write(mnt.join("three"), "3").unwrap();
    world.run(&["snapshot", "work", "three"]);
    world.run(&["umount", "-q", world.str("mnt")]);
    let changes = world.json(&["diff", "work"])["changes"].clone();
    assert!(changes.as_array().unwrap().iter().any(|one| one["change"] == "A" && one["path"] == "three"), "{changes}");
    let four = world.json(&["snapshot", "work", "four"]);
    assert_eq!(world.run(&["ls", "two"]), "empty\netc\nhard\none\ntwo\n");
    assert_eq!(world.run(&["ls", "four"]), "empty\netc\nhard\none\nthree\ntwo\n");
    let parent = |name: &str| world.json(&["show", name])["parent"].clone();
    let manifest = |name: &str| world.json(&["show", name])["manifest"].clone();
    assert_eq!((parent("one"), parent("two")), (manifest("debian"), manifest("one")));
    assert_eq!((&parent("three"), &parent("four")), (&two["manifest"], &manifest("three")));
    assert_eq!(four["manifest"], manifest("four"));
    // the layer goes on, on what the snapshots took over, also when their refs are gone
    for name in ["one", "two", "three", "four"] {
        world.run(&["rm", "-q", "ref", name]);
    }
    world.run(&["gc", "-q", "--grace", "0s"]);
    world.mount("mnt", &["--layer", "work"]);
    for (name, content) in [("one", "1"), ("two", "2"), ("three", "3")] {
        assert_eq!(fs::read_to_string(mnt.join(name)).unwrap(), content);
    }
}

#[test]
fn a_collection_keeps_what_is_mounted() {
    let world = World::new();
    let mnt = world.mount("mnt", &[]);
    world.run(&["rm", "-q", "ref", "debian"]);
    world.run(&["gc", "-q", "--grace", "0s"]);
    let error = fs::File::options().write(true).open(mnt.join(".ctl/cmd")).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem, "the kernel lets nothing be written to it");
    assert_eq!(fs::read_to_string(mnt.join("etc/hello")).unwrap(), "hello\n");
    world.run(&["umount", "-q", world.str("mnt")]);
    let text = world.fail(4, &["gc", "--grace", "0s"]);
    assert!(text.contains("help: if that is meant, `cairnfs gc --allow-no-roots`"), "{text}");
    let report = world.json(&["gc", "--grace", "0s", "--allow-no-roots"]);
    assert!(report["purged"].as_u64().unwrap() > 0, "{report}");
}

/// Runs a shell script as a user who has nothing to do with the mount.
fn as_nobody(script: &str) -> std::process::Output {
    Command::new("sh").args(["-c", script]).uid(65534).gid(65534).output().unwrap()
}

#[test]
fn others_may_use_the_mount_but_not_its_control() {
    let world = World::new();
    let mnt = world.mount("mnt", &["--layer", "work"]);
    let place = mnt.to_str().unwrap();
    assert_eq!(as_nobody(&format!("cat {place}/etc/hello")).stdout, b"hello\n");
    for script in [format!("cat {place}/.ctl/stats"), format!("echo gc > {place}/.ctl/cmd"), format!("ls {place}/.ctl")]
    {
        let output = as_nobody(&script);
        assert!(!output.status.success(), "{script}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("ermission denied"), "{output:?}");
    }
    assert_eq!(last(&mnt)["state"], "none");
}

fn open_to_all(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
}

#[test]
fn the_socket_answers_its_owner_alone_whatever_the_permissions_of_its_file() {
    let world = World::new();
    world.mount("mnt", &[]);
    let socket = world.mounts()[0]["socket"].as_str().unwrap().to_owned();
    for path in [world.path("store"), world.path("store/run"), socket.clone().into()] {
        open_to_all(&path);
    }
    let script =
        format!("CAIRNFS_STORE={} {} stats {}", world.str("store"), env!("CARGO_BIN_EXE_cairnfs"), world.str("mnt"));
    let output = as_nobody(&script);
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("only the mount's owner and root"), "{output:?}");
}

#[test]
fn silent_and_rude_clients_hold_up_nobody() {
    let world = World::new();
    world.mount("mnt", &["--layer", "work"]);
    let socket = world.mounts()[0]["socket"].as_str().unwrap().to_owned();
    let connect = || UnixStream::connect(&socket).unwrap();
    let _silent: Vec<UnixStream> = (0..20).map(|_| connect()).collect();
    let mut half = connect();
    half.write_all(b"{\"cmd\":").unwrap();
    world.run(&["stats", world.str("mnt")]);
    let mut rude = connect();
    rude.write_all(b"GET / HTTP/1.1\n").unwrap();
    let mut line = String::new();
    BufReader::new(rude).read_line(&mut line).unwrap();
    assert!(line.contains("\"code\":\"usage\""), "{line}");
    world.run(&["umount", "-q", world.str("mnt")]);
    let mut rest = Vec::new();
    // the process is gone, and with it the connection
    let _ = half.read_to_end(&mut rest);
    assert!(rest.is_empty());
}

#[test]
fn commands_that_take_long_do_not_keep_the_mount_from_being_served() {
    let world = World::new();
    let mnt = world.mount("mnt", &["--layer", "work"]);
    // a collection can't move anything while somebody else holds the store's lock
    fs::write(mnt.join("garbage"), "garbage").unwrap();
    world.run(&["snapshot", "-q", world.str("mnt"), "garbage"]);
    let lock = fs::File::open(world.path("store/lock")).unwrap();
    let held = nix::fcntl::Flock::lock(lock, nix::fcntl::FlockArg::LockExclusive).unwrap();
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let mnt = mnt.clone();
            std::thread::spawn(move || command(&mnt, "gc grace=0s"))
        })
        .collect();
    let tasks = format!("/proc/{}/task", world.mounts()[0]["pid"]);
    let names =
        || fs::read_dir(&tasks).unwrap().flatten().filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    // the kernel lets one write at a time through to a file; the others wait there
    let start = std::time::Instant::now();
    while !names().any(|name| name == "control-write\n") {
        assert!(start.elapsed() < std::time::Duration::from_secs(60), "no command runs");
        std::thread::yield_now();
    }
    let (done, served) = std::sync::mpsc::channel();
    let used = mnt.clone();
    std::thread::spawn(move || {
        for round in 0..50 {
            fs::write(used.join("file"), format!("{round}")).unwrap();
            assert_eq!(fs::read_to_string(used.join("etc/hello")).unwrap(), "hello\n");
        }
        done.send(()).unwrap();
    });
    let served = served.recv_timeout(std::time::Duration::from_secs(60));
    let all_wait = waiting.iter().all(|command| !command.is_finished());
    drop(held);
    served.expect("the mount is served meanwhile");
    assert!(all_wait, "they wait for the lock");
    for command in waiting {
        assert_eq!(command.join().unwrap(), Ok(()));
    }
}
