//! Mounting and unmounting by the command line and by mount(8)'s helper form. As root, on a real `/dev/fuse`.
#![allow(clippy::unwrap_used, reason = "a test that can't go on shall panic")]

mod cli_util;

use cli_util::World;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

fn table_line(path: &Path) -> Option<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.lines().find(|line| line.split(' ').nth(4) == path.to_str()).map(str::to_owned)
}

/// Waits until `condition` holds.
fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_read_only_mount_answers_when_the_command_returns() {
    let world = World::new();
    let mnt = world.mount("mnt", &[]);
    assert_eq!(fs::read_to_string(mnt.join("etc/hello")).unwrap(), "hello\n");
    let line = table_line(&mnt).unwrap();
    assert!(line.contains(" ro") && line.contains(" - fuse.cairnfs debian "), "{line}");
    assert!(fs::write(mnt.join("x"), "").is_err());
    let mounts = world.mounts();
    assert_eq!(
        (&mounts[0]["mode"], &mounts[0]["state"], &mounts[0]["ref"]),
        (&"ro".into(), &"live".into(), &"debian".into())
    );
    assert!(world.run(&["mounts"]).contains(mnt.to_str().unwrap()));
    symlink(&mnt, world.path("link")).unwrap();
    world.run(&["stats", world.str("link")]);
    world.run(&["umount", world.str("link")]);
    assert_eq!(table_line(&mnt), None);
    assert!(world.mounts().is_empty());
    assert_eq!(fs::read_dir(world.path("store/run")).unwrap().count(), 0, "nothing is left in run/");
}

#[test]
fn a_layer_keeps_what_is_written_and_can_be_used_again_at_once() {
    let world = World::new();
    let mnt = world.mount("mnt", &["--layer", "work", "--project", "web"]);
    for round in 0..3 {
        fs::write(mnt.join(format!("new{round}")), "new\n").unwrap();
        world.run(&["umount", "-q", world.str("mnt")]);
        assert!(!mnt.join("etc").exists());
        let layers = world.json(&["layers"])["layers"].clone();
        assert_eq!(
            (&layers[0]["name"], &layers[0]["mountpoint"], &layers[0]["project"]),
            (&"work".into(), &serde_json::Value::Null, &"web".into())
        );
        world.mount("mnt", &["--layer", "work"]);
        assert_eq!(fs::read_to_string(mnt.join(format!("new{round}"))).unwrap(), "new\n");
    }
    let shown = world.json(&["show", "work"]);
    assert_eq!((&shown["mountpoint"], &shown["base_refs"][0]), (&world.str("mnt").into(), &"debian".into()));
    let text = world.fail(4, &["rm", "layer", "work"]);
    assert!(text.contains(world.str("mnt")) && text.contains("help: `cairnfs umount"), "{text}");
    world.run(&["umount", "-q", world.str("mnt")]);
    assert_eq!(world.json(&["rm", "layer", "work", "-n"])["dry_run"], true);
    world.run(&["rm", "layer", "work"]);
    world.fail(3, &["show", "work"]);
}

#[test]
fn a_layer_unmounted_by_umount_8_can_be_mounted_again_at_once() {
    let world = World::new();
    let mnt = world.mount("mnt", &["--layer", "work"]);
    for round in 0..5 {
        fs::write(mnt.join(format!("new{round}")), "new\n").unwrap();
        nix::mount::umount(&mnt).unwrap();
        world.mount("mnt", &["--layer", "work"]);
        assert_eq!(fs::read_to_string(mnt.join(format!("new{round}"))).unwrap(), "new\n");
    }
    nix::mount::umount(&mnt).unwrap();
    wait_for("the process ends", || world.mounts().is_empty());
}

#[test]
fn what_goes_to_memory_is_dropped() {
    let world = World::new();
    let mnt = world.mount("mnt", &["--tmpfs"]);
    fs::write(mnt.join("new"), "new\n").unwrap();
    assert_eq!(world.mounts()[0]["mode"], "tmpfs");
    world.run(&["umount", world.str("mnt")]);
    assert!(!world.mount("mnt", &["--tmpfs"]).join("new").exists());
    assert!(world.json(&["layers"])["layers"].as_array().unwrap().is_empty());
}

#[test]
fn a_second_mount_of_a_layer_names_who_has_it() {
    let world = World::new();
    world.mount("one", &["--layer", "work"]);
    let pid = world.mounts()[0]["pid"].to_string();
    let text = world.fail(32, &["mount", "debian", world.dir("two"), "--layer", "work"]);
    assert!(text.contains(&pid) && text.contains(world.str("one")) && text.contains("help: "), "{text}");
    let error = world.fail_json(32, &["mount", "debian", world.dir("two"), "--layer", "work"]);
    assert_eq!(error["code"], "refused");
    assert_eq!(world.mounts().len(), 1);
}

#[test]
fn a_layer_on_another_base_is_refused_with_both_named() {
    let world = World::new();
    world.mount("mnt", &["--layer", "work"]);
    world.run(&["umount", "-q", world.str("mnt")]);
    fs::write(world.path("src/more"), "").unwrap();
    let base = world.json(&["show", "debian"])["manifest"].as_str().unwrap()[..12].to_owned();
    let other = world.json(&["import", world.str("src"), "other"])["manifest"].as_str().unwrap()[..12].to_owned();
    let text = world.fail(32, &["mount", "other", world.str("mnt"), "--layer", "work"]);
    assert!(
        text.contains(&base) && text.contains(&other) && text.contains("help: mount it on what it stands on"),
        "{text}"
    );
    world.run(&["mount", "-q", &base, world.str("mnt"), "--layer", "work"]);
}

#[test]
fn a_mountpoint_that_cannot_be_used_is_named_and_no_layer_is_left_behind() {
    let world = World::new();
    let text = world.fail(32, &["mount", "debian", world.str("nosuch"), "--layer", "work"]);
    assert!(text.contains(world.str("nosuch")) && text.contains("mkdir"), "{text}");
    fs::write(world.path("file"), "").unwrap();
    let text = world.fail(32, &["mount", "debian", world.str("file")]);
    assert!(text.contains("isn't a directory"), "{text}");
    assert!(world.json(&["layers"])["layers"].as_array().unwrap().is_empty());
    world.mount("mnt", &[]);
    let text = world.fail(32, &["mount", "debian", world.str("mnt")]);
    assert!(text.contains("mounted there already") && text.contains("help: "), "{text}");
    assert_eq!(world.mounts().len(), 1);
    for (dir, why) in
        [(world.str("store/tmp"), "inside the store"), (world.path("").to_str().unwrap(), "hidden beneath")]
    {
        let text = world.fail(32, &["mount", "debian", dir]);
        assert!(text.contains(why), "{text}");
    }
}

#[test]
fn a_mount_in_use_is_not_unmounted_unless_lazily() {
    let world = World::new();
    let mnt = world.mount("mnt", &["--layer", "work"]);
    let open = File::create(mnt.join("open")).unwrap();
    let text = world.fail(4, &["umount", world.str("mnt")]);
    assert!(text.contains(&format!("process {}", std::process::id())) && text.contains("--lazy"), "{text}");
    world.run(&["umount", "--lazy", world.str("mnt")]);
    assert_eq!(table_line(&mnt), None);
    assert_eq!(world.mounts().len(), 1, "it is served until its last user leaves");
    drop(open);
    wait_for("the process ends", || world.mounts().is_empty());
}

/// Kills the process of the only mount.
fn kill_daemon(world: &World) {
    let pid = i32::try_from(world.mounts()[0]["pid"].as_i64().unwrap()).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    wait_for("the record is dead", || world.mounts()[0]["state"] == "dead");
}

#[test]
fn what_hides_a_dead_mount_is_not_taken_away_with_it() {
    let world = World::new();
    let mnt = world.mount("mnt", &[]);
    kill_daemon(&world);
    let none = None::<&str>;
    let flags = nix::mount::MsFlags::empty();
    nix::mount::mount(Some("none"), &mnt, Some("tmpfs"), flags, none).unwrap();
    fs::write(mnt.join("mine"), "").unwrap();
    world.fail(32, &["mount", "debian", world.str("mnt")]);
    assert!(mnt.join("mine").exists());
    nix::mount::umount(&mnt).unwrap();
    world.run(&["mount", "-q", "debian", world.str("mnt")]);
    assert!(mnt.join("etc/hello").exists());
}

#[test]
fn a_dead_mount_is_shown_cleared_away_and_nothing_is_lost() {
    let world = World::new();
    let mnt = world.mount("mnt", &["--layer", "work"]);
    fs::write(mnt.join("kept"), "kept\n").unwrap();
    let pid = i32::try_from(world.mounts()[0]["pid"].as_i64().unwrap()).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    wait_for("the record is dead", || world.mounts()[0]["state"] == "dead");
    let text = world.fail(1, &["stats", world.str("mnt")]);
    assert!(
        text.contains("dead") && text.contains("help: mount it there again") && text.contains("`cairnfs umount"),
        "{text}"
    );
    world.run(&["umount", world.str("mnt")]);
    assert!(world.mounts().is_empty());
    world.mount("mnt", &["--layer", "work"]);
    assert_eq!(fs::read_to_string(mnt.join("kept")).unwrap(), "kept\n");
    // mounting again does the same
    kill_daemon(&world);
    let args = ["mount", "debian", world.str("mnt"), "--layer", "work"];
    let assert = world.cairnfs(&args).assert().success();
    let text = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    assert!(text.contains("had died") && text.contains(world.str("mnt")), "{text}");
    assert_eq!(fs::read_to_string(mnt.join("kept")).unwrap(), "kept\n");
    assert_eq!(world.mounts().len(), 1, "the dead one's record is gone");
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert_eq!(table.lines().filter(|line| line.split(' ').nth(4) == mnt.to_str()).count(), 1);
    world.fail(32, &args);
    // cleared away by umount(8), its record goes with the next mount
    let pid = i32::try_from(world.mounts()[0]["pid"].as_i64().unwrap()).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    wait_for("the record is dead", || world.mounts()[0]["state"] == "dead");
    nix::mount::umount(&mnt).unwrap();
    world.mount("other", &[]);
    assert_eq!(world.mounts().len(), 1);
}

#[test]
fn the_process_in_the_background_holds_nothing_of_the_command() {
    let world = World::new();
    let script = format!(
        "{} mount -q debian {} 9>&1 >/dev/null 2>&1 </dev/null",
        env!("CARGO_BIN_EXE_cairnfs"),
        world.dir("mnt")
    );
    let mut child = Command::new("sh")
        .args(["-c", &script])
        .env("CAIRNFS_STORE", world.path("store"))
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdout.take().unwrap();
    assert!(child.wait().unwrap().success());
    let (done, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || done.send(std::io::copy(&mut pipe, &mut std::io::sink()).is_ok()));
    assert_eq!(ended.recv_timeout(Duration::from_secs(30)), Ok(true), "nobody holds the pipe open any more");
    let pid = world.mounts()[0]["pid"].to_string();
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let session: Vec<&str> = status.rsplit_once(") ").unwrap().1.split(' ').collect();
    assert_eq!(session[3], pid, "it leads a session of its own");
    assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).unwrap(), Path::new("/"));
}

#[test]
fn sigterm_unmounts_in_good_order() {
    let world = World::new();
    let mnt = world.mount("mnt", &["--layer", "work"]);
    let pid = i32::try_from(world.mounts()[0]["pid"].as_i64().unwrap()).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM).unwrap();
    wait_for("it is unmounted", || table_line(&mnt).is_none() && world.mounts().is_empty());
}

#[test]
fn the_foreground_serves_until_it_is_unmounted() {
    let world = World::new();
    world.dir("mnt");
    let mut child = Command::new(env!("CARGO_BIN_EXE_cairnfs"))
        .env("CAIRNFS_STORE", world.path("store"))
        .args(["mount", "-f", "debian", world.str("mnt")])
        .spawn()
        .unwrap();
    wait_for("it answers", || world.path("mnt/etc/hello").exists());
    wait_for("it is known", || !world.mounts().is_empty());
    world.run(&["umount", "-q", world.str("mnt")]);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// The helper as mount(8) calls it: by its own name, the store among the options.
fn helper(world: &World) -> Command {
    let link = world.path("mount.fuse.cairnfs");
    if !link.exists() {
        symlink(env!("CARGO_BIN_EXE_cairnfs"), &link).unwrap();
    }
    let mut command = Command::new(link);
    command.env_remove("CAIRNFS_STORE");
    command
}

#[test]
fn the_helper_form_mounts_with_the_options_of_fstab() {
    let world = World::new();
    let options = format!("rw,nosuid,store={},layer=work,_netdev,x-a=b", world.str("store"));
    let done = helper(&world).args(["debian", world.dir("mnt"), "-o", &options]).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    fs::write(world.path("mnt/new"), "").unwrap();
    assert!(table_line(&world.path("mnt")).unwrap().contains("nosuid"));
    // mount(8) says rw even where there is nothing to write to
    let options = format!("rw,store={}", world.str("store"));
    assert!(helper(&world).args(["debian", world.dir("ro"), "-o", &options]).status().unwrap().success());
    assert!(table_line(&world.path("ro")).unwrap().contains(" ro"));
}

#[test]
fn the_helper_form_remounts_as_mount_8_asks_for_it() {
    let world = World::new();
    let mnt = world.mount("mnt", &["--layer", "work"]);
    // what mount(8) passes for `mount -o remount,ro mnt`: no store, and all that the mount table has
    let remount = |flags: &str| {
        let options = format!("{flags},relatime,remount,user_id=0,group_id=0,default_permissions,allow_other");
        let done = helper(&world).args(["debian", world.str("mnt"), "-o", &options]).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    remount("ro,nosuid");
    let error = fs::write(mnt.join("new"), "").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    assert!(table_line(&mnt).unwrap().contains("nosuid"));
    remount("rw");
    fs::write(mnt.join("new"), "").unwrap();
    world.run(&["mount", "debian", world.str("mnt"), "-o", "remount,ro"]);
    assert!(fs::write(mnt.join("newer"), "").is_err());
    world.run(&["umount", "-q", world.str("mnt")]);
    let text = world.fail(32, &["mount", "debian", world.str("mnt"), "-o", "remount,ro"]);
    assert!(text.contains(world.str("mnt")), "{text}");
}

#[test]
fn a_remount_refuses_what_it_cannot_change() {
    let world = World::new();
    world.run(&["refs", "set", "other", "debian"]);
    world.mount("mnt", &["--layer", "work", "-o", "threads=2"]);
    world.mount("ro", &[]);
    world.mount("off", &["-o", "ctl=off"]);
    let remount = |reference, at, options: &str, code| {
        let options = format!("remount,{options}");
        let assert = world.cairnfs(&["mount", reference, world.str(at), "-o", &options]).assert().code(code);
        String::from_utf8(assert.get_output().stderr.clone()).unwrap()
    };
    let store = format!("store={}", world.str("store"));
    for same in ["layer=work", "threads=2", "io=auto", "ctl=rw", "allow_other", store.as_str()] {
        remount("debian", "mnt", &format!("ro,{same}"), 0);
    }
    remount("debian", "off", "ro,ctl=off,threads=4", 0);
    let elsewhere = format!("store={}", world.dir("elsewhere"));
    for other in ["layer=nosuch", "tmpfs", "threads=3", "io=cached", "ctl=off", "project=x", "log=debug", &elsewhere] {
        let text = remount("debian", "mnt", other, 32);
        assert!(text.contains("can't be changed by a remount") && text.contains("help: unmount it"), "{other}: {text}");
    }
    let text = remount("other", "mnt", "ro", 32);
    assert!(text.contains("what is mounted, `debian`, can't be changed by a remount"), "{text}");
    let text = remount("debian", "off", "ro,ctl=rw", 32);
    assert!(text.contains("`ctl=rw` can't be changed"), "{text}");
    for at in ["ro", "off"] {
        let text = remount("debian", at, "rw", 32);
        assert!(text.contains("nothing to write to") && text.contains("help: "), "{text}");
        assert!(table_line(&world.path(at)).unwrap().contains(" ro"), "{at}");
    }
    remount("debian", "mnt", "rw", 0);
    let open = File::create(world.path("mnt/open")).unwrap();
    let text = remount("debian", "mnt", "ro", 32);
    assert!(text.contains("help: files are open for writing"), "{text}");
    drop(open);
    remount("debian", "mnt", "nosuid", 0);
    let line = table_line(&world.path("mnt")).unwrap();
    assert!(line.contains(" rw,nosuid"), "it stays writable: {line}");
    world.mount("commands", &["-o", "ctl=rw"]);
    remount("debian", "commands", "rw", 0);
}

#[test]
fn the_helper_form_pretends_and_fails_as_mount_8_has_it() {
    let world = World::new();
    let run = |args: &[&str]| helper(&world).args(args).output().unwrap();
    let store = format!("store={}", world.str("store"));
    assert_eq!(run(&["debian", world.dir("mnt"), "-f", "-o", &store]).status.code(), Some(0));
    assert_eq!(table_line(&world.path("mnt")), None);
    assert_eq!(run(&["debian"]).status.code(), Some(1));
    assert_eq!(run(&["debian", world.str("mnt"), "-o", "nosuch"]).status.code(), Some(1));
    let failed = run(&["debain", world.str("mnt"), "-o", &store]);
    assert_eq!(failed.status.code(), Some(32));
    assert!(String::from_utf8_lossy(&failed.stderr).contains("did you mean `debian`?"));
}

#[test]
fn a_truncated_layer_database_is_told_and_the_store_stays_usable() {
    let world = World::new();
    let mnt = world.mount("mnt", &["--layer", "work"]);
    fs::write(mnt.join("new"), "x").unwrap();
    world.run(&["umount", "-q", world.str("mnt")]);
    let index = world.path("store/layers/work/index");
    let damaged: Vec<_> =
        fs::read_dir(&index).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect();
    for file in &damaged {
        File::options().write(true).open(file).unwrap().set_len(3).unwrap();
    }
    let text = world.fail(32, &["mount", "debian", world.str("mnt"), "--layer", "work"]);
    assert!(
        text.contains("layers/work/index") && text.contains("help: ") && text.contains("`cairnfs fsck work`"),
        "{text}"
    );
    world.mount("mnt", &["--layer", "other"]);
}

#[test]
fn a_snapshot_that_misses_a_data_file_says_how_to_check_the_layer() {
    let world = World::new();
    let mnt = world.mount("mnt", &["--layer", "work"]);
    fs::write(mnt.join("new"), vec![b'x'; 1 << 20]).unwrap();
    world.run(&["umount", "-q", world.str("mnt")]);
    world.mount("mnt", &["--layer", "work"]);
    let removed = remove_files(&world.path("store/layers/work/data"));
    assert_eq!(removed, 1);
    for target in [world.str("mnt"), "work"] {
        let text = world.fail(5, &["snapshot", target, "new"]);
        assert!(text.contains("help: unmount, then `cairnfs fsck work`"), "{text}");
        if target != "work" {
            world.run(&["umount", "-q", target]);
        }
    }
    world.fail(3, &["show", "new"]);
}

/// Removes all files in `dir` and beneath; how many.
fn remove_files(dir: &Path) -> usize {
    let mut removed = 0;
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            removed += remove_files(&path);
        } else {
            fs::remove_file(path).unwrap();
            removed += 1;
        }
    }
    removed
}
