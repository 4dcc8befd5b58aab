//! Several processes import, mount, remove and collect at once, without grace, and some are killed. Nothing that is referred to is lost.
#![allow(clippy::unwrap_used, reason = "a test may end so")]

#[path = "common/random.rs"]
mod random;
#[path = "store_util/mod.rs"]
mod util;

use cairnfs::gc::{GcError, Options, collect};
use cairnfs::store::{Store, StoreError};
use random::Random;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use util::{name, put_manifest, store, verify};

const RUN: Duration = Duration::from_millis(4000);
const NOW: Options = Options { grace: Duration::ZERO, dry_run: false, allow_no_roots: false };

/// Runs as a child of the tests below, in the role that the environment names.
#[test]
fn child() {
    let Ok(role) = std::env::var("CAIRNFS_TEST_ROLE") else { return };
    let path = std::env::var("CAIRNFS_TEST_STORE").unwrap();
    let seed = std::env::var("CAIRNFS_TEST_SEED").unwrap().parse().unwrap();
    let store = Store::open(Path::new(&path)).unwrap();
    let mut random = Random(seed);
    let end = Instant::now() + RUN;
    let mut rounds = 0;
    while Instant::now() < end {
        match &*role {
            "import" => import(&store, &mut random),
            "use" => look(&store, &mut random),
            _ => gc(&store),
        }
        rounds += 1;
    }
    assert!(rounds > 3, "{role}: {rounds} rounds");
}

/// Puts manifests that share most of their content, and moves a ref to each.
fn import(store: &Store, random: &mut Random) {
    let writer = store.writer("import").unwrap();
    let label = random.below(12).to_string();
    let contents: Vec<Vec<u8>> = (0..8).map(|_| vec![random.below(30) as u8; 2000]).collect();
    let slices: Vec<&[u8]> = contents.iter().map(|content| &**content).collect();
    let manifest = put_manifest(&writer, &label, &slices);
    let to = name(&format!("r/{}", random.below(6)));
    writer.set_ref(&to, manifest).unwrap();
    // The ref may be moved on by another by now; the writer's lease keeps the manifest.
    verify(store, manifest);
}

/// Leases what a ref names, as a mount does, and reads it; or removes the ref, or takes a change back.
fn look(store: &Store, random: &mut Random) {
    let of = name(&format!("r/{}", random.below(6)));
    match random.below(8) {
        0 => match store.remove_ref(&of) {
            Ok(_) | Err(StoreError::NoRef { .. }) => {}
            Err(error) => panic!("{error}"),
        },
        1 => match store.undo_ref(&of) {
            Ok(_) | Err(StoreError::NothingToUndo { .. } | StoreError::UndoTooLate { .. }) => {}
            Err(error) => panic!("{error}"),
        },
        _ => {
            let Ok(manifest) = store.resolve_ref(&of) else { return };
            match store.lease("mount", &[manifest]) {
                Ok(lease) => {
                    verify(store, manifest);
                    assert!(store.contains(manifest));
                    drop(lease);
                }
                // Right only if the ref was moved on meanwhile.
                Err(error) => assert_ne!(store.resolve_ref(&of).ok(), Some(manifest), "{error}"),
            }
        }
    }
}

fn gc(store: &Store) {
    match collect(store, &NOW, &|_| {}) {
        Ok(report) => assert_eq!((report.missing, report.torn), (vec![], vec![])),
        Err(GcError::NoRoots { .. }) => {}
        Err(error) => panic!("{error}"),
    }
}

fn spawn(store: &Store, role: &str, seed: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env("CAIRNFS_TEST_ROLE", role)
        .env("CAIRNFS_TEST_STORE", store.path())
        .env("CAIRNFS_TEST_SEED", seed.to_string())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn processes_at_once_lose_nothing() {
    let folder = tempfile::tempdir_in(memory()).unwrap();
    let store = Store::init(&folder.path().join("store")).unwrap();
    let roles = ["import", "import", "use", "gc", "gc"];
    let mut children: Vec<Child> = (1..).zip(roles).map(|(seed, role)| spawn(&store, role, seed)).collect();
    // Some are killed at whatever they are doing.
    let started = Instant::now();
    for seed in 100..108 {
        let mut victim = spawn(&store, ["import", "gc", "use"][seed as usize % 3], seed);
        while store.leases().unwrap().len() < 2 && started.elapsed() < RUN {
            std::thread::yield_now();
        }
        victim.kill().unwrap();
        victim.wait().unwrap();
    }
    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
    let refs = store.refs().unwrap();
    for (_, manifest) in &refs {
        verify(&store, *manifest);
    }
    gc(&store);
    for digest in util::objects(&store) {
        store.verify_object(digest).unwrap();
    }
    let live: std::collections::HashSet<_> =
        refs.iter().flat_map(|(_, manifest)| store.closure(*manifest).unwrap()).collect();
    assert!(refs.is_empty() || util::objects(&store).len() == live.len(), "what is left is what is referred to");
    assert_eq!(store.leases().unwrap(), [], "the leases of the dead are gone");
    assert_eq!(std::fs::read_dir(store.path().join("tmp")).unwrap().count(), 0);
}

/// Where syncs are free, so that the time goes into races.
fn memory() -> &'static Path {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory } else { Path::new("/tmp") }
}

#[test]
fn threads_at_once_lose_nothing() {
    let (_folder, store) = store();
    let end = Instant::now() + RUN / 2;
    std::thread::scope(|scope| {
        for seed in 1..4 {
            let store = &store;
            scope.spawn(move || {
                let mut random = Random(seed);
                while Instant::now() < end {
                    match seed {
                        1 => import(store, &mut random),
                        2 => look(store, &mut random),
                        _ => gc(store),
                    }
                }
            });
        }
    });
    for (_, manifest) in store.refs().unwrap() {
        verify(&store, manifest);
    }
}
