//! A store of its own with one imported root filesystem, the program, and mounts that go away whatever becomes of the test.
#![allow(dead_code, reason = "each test file uses a part")]

use assert_cmd::Command;
use nix::mount::{MntFlags, umount2};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub struct World {
    dir: tempfile::TempDir,
}

impl World {
    /// A store with the ref `debian`: `etc/hello`, a link to it, a hard link, an empty directory.
    pub fn new() -> Self {
        let world = Self::empty();
        world.run(&["init", "-q"]);
        world.make_source();
        world.run(&["import", "-q", "--created", "2024-05-01T00:00:00Z", world.str("src"), "debian"]);
        world
    }

    /// No store yet.
    pub fn empty() -> Self {
        let dir = tempfile::Builder::new().prefix("cairnfs-cli-").tempdir().unwrap();
        // other users must be able to reach mounts in it
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self { dir }
    }

    fn make_source(&self) {
        let src = self.path("src");
        fs::create_dir_all(src.join("etc")).unwrap();
        fs::create_dir(src.join("empty")).unwrap();
        fs::write(src.join("etc/hello"), "hello\n").unwrap();
        symlink("hello", src.join("etc/link")).unwrap();
        fs::hard_link(src.join("etc/hello"), src.join("hard")).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A path as text, for argument lists.
    pub fn str(&self, name: &str) -> &'static str {
        Box::leak(self.path(name).to_str().unwrap().to_owned().into_boxed_str())
    }

    /// An empty directory.
    pub fn dir(&self, name: &str) -> &'static str {
        fs::create_dir_all(self.path(name)).unwrap();
        self.str(name)
    }

    /// The program with this store.
    pub fn cairnfs(&self, args: &[&str]) -> Command {
        let mut command = program();
        command.env("CAIRNFS_STORE", self.path("store")).args(args);
        command
    }

    /// Runs it, which must succeed; standard output.
    pub fn run(&self, args: &[&str]) -> String {
        let output = self.cairnfs(args).assert().success();
        String::from_utf8(output.get_output().stdout.clone()).unwrap()
    }

    /// Runs it with `--json`, which must succeed.
    pub fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.run(&[&["--json"], args].concat())).unwrap()
    }

    /// Runs it, which must fail with `code`; standard error. Nothing may be on standard output.
    pub fn fail(&self, code: i32, args: &[&str]) -> String {
        let assert = self.cairnfs(args).assert().code(code);
        let output = assert.get_output();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{args:?}");
        String::from_utf8(output.stderr.clone()).unwrap()
    }

    /// Runs it with `--json`, which must fail with `code`; the object in `error`.
    pub fn fail_json(&self, code: i32, args: &[&str]) -> Value {
        let text = self.fail(code, &[&["--json"], args].concat());
        let value: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
        value["error"].clone()
    }

    /// Mounts `debian` on a new directory `at` with more arguments.
    pub fn mount(&self, at: &str, more: &[&str]) -> PathBuf {
        self.dir(at);
        self.run(&[&["mount", "-q", "debian", self.str(at)], more].concat());
        self.path(at)
    }

    /// The records of mounts, live and dead.
    pub fn mounts(&self) -> Vec<Value> {
        self.json(&["mounts"])["mounts"].as_array().unwrap().clone()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let places = table.lines().filter_map(|line| line.split(' ').nth(4)).map(Path::new);
        for place in places.filter(|place| place.starts_with(self.dir.path())) {
            let _ = umount2(place, MntFlags::MNT_DETACH);
        }
        let live = || {
            fs::read_dir(self.path("store/run"))
                .into_iter()
                .flatten()
                .flatten()
                .any(|file| file.path().extension().is_some_and(|kind| kind == "sock"))
        };
        let start = Instant::now();
        while live() && start.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The program, without what the environment of the test says.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cairnfs"));
    for variable in ["CAIRNFS_STORE", "CAIRNFS_LOG", "SOURCE_DATE_EPOCH", "XDG_DATA_HOME"] {
        command.env_remove(variable);
    }
    command.timeout(Duration::from_secs(120));
    command
}
