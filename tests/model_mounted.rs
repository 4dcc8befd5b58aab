//! Random operations through real mounts, beside a real ext4, held to the reference model (`tests/model`): by passthrough, and through the daemon.
//!
//! `CAIRNFS_TEST_SEQUENCES` sets how many sequences, of which a tenth is played here and all are in `model_random.rs`;
//! `CAIRNFS_TEST_SEED` where they start.

mod common;
#[path = "model/daemon.rs"]
mod daemon;
mod model;

use daemon::Daemon;
use model::bench::{Bench, CLONES, can_run};
use model::direct::Direct;
use model::generate::Rates;
use model::host::Host;
use model::machine::Plain;
use model::op::{Mode, Node, On::*, Op, Op::*, READ, Set, Time, WRITE, p};
use model::random::Random;
use model::run::{Counts, System, play};
use model::shrink::code;
use model::suite;
use std::sync::Arc;

fn run(count: u64, rates: Rates) {
    if !can_run() {
        return;
    }
    suite::run(count, rates, |bench, worker| {
        let plain = Plain::new(bench.disk.join(format!("plain{}", bench.number())));
        let options: &[&str] = if worker % 2 == 0 { &[] } else { &["-o", "io=cached"] };
        let daemon = Daemon::new(bench, options);
        let all: Vec<Box<dyn System>> =
            vec![Box::new(Host::new(Box::new(plain))), Box::new(Host::new(Box::new(daemon)))];
        all
    });
}

#[test]
fn mounts_do_what_the_model_and_ext4_do() {
    run(
        suite::sequences(10_000) / 10,
        Rates { check: 8, snapshot: 1, remount: 1, crash: 1, failed_snapshot: 0, new_layer: 1 },
    );
}

/// The same with what takes long in every sequence.
#[test]
fn mounts_go_on_through_snapshots_crashes_and_remounts() {
    run(
        suite::sequences(10_000) / 500,
        Rates { check: 100, snapshot: 80, remount: 60, crash: 60, failed_snapshot: 0, new_layer: 50 },
    );
}

/// What is compared: a plain directory, the filesystem without a mount, and a mount.
fn systems(bench: &Arc<Bench>) -> Vec<Box<dyn System>> {
    let plain = Plain::new(bench.disk.join("plain"));
    let daemon = Daemon::new(bench, &[]);
    vec![Box::new(Host::new(Box::new(plain))), Box::new(Direct::new(bench)), Box::new(Host::new(Box::new(daemon)))]
}

/// Fixed sequences about inodes with names in several directories of the base, after each of which all is compared: one inode, however it
/// changes and by whichever name, with the right link count at all times.
#[test]
fn links_across_directories_of_the_base_are_one_inode() {
    if !can_run() {
        return;
    }
    let bench = Bench::new(CLONES);
    let mut systems = systems(&bench);
    // `a/a`, `b/a` and `a/c/d/a` are one inode of the starting tree.
    let changes = [
        vec![Open(0, p("b/a"), WRITE, 0), Write(0, 50, 10, 9), Ftruncate(0, 70)],
        vec![Truncate(p("a/c/d/a"), 0)],
        vec![Chmod(At(p("a/a")), 0o600), Chown(At(p("b/a")), Some(5), Some(6))],
        vec![SetXattr(At(p("b/a")), "user.one".into(), 3, b'x', Set::Any)],
        vec![Utimens(At(p("b/a")), Time::To(1, 0), Time::To(2, 0))],
        vec![Link(p("b/a"), p("d/a")), Unlink(p("a/a"))],
        vec![Rename(p("a/a"), p("b/a"), Mode::Plain), Rename(p("a/a"), p("d/d"), Mode::Plain)],
        vec![Rename(p("a/a"), p("c"), Mode::Exchange)],
        vec![Rename(p("a/c"), p("d/c"), Mode::Plain), Unlink(p("b/a"))],
        vec![Rename(p("c"), p("a/a"), Mode::Plain)],
        vec![Unlink(p("a/a")), Unlink(p("b/a")), Open(1, p("a/c/d/a"), READ, 0), Unlink(p("a/c/d/a")), Stat(Slot(1))],
    ];
    let between = [None, Some(Snapshot), Some(Remount), Some(Crash), Some(NewLayer)];
    for (first, change) in changes.iter().enumerate() {
        for (second, other) in changes.iter().enumerate() {
            // Each change meets each of what may come between, before it and after it.
            let middle = &between[(first + second) % between.len()];
            let mut ops = vec![Check];
            ops.extend(change.iter().flat_map(|op| [op.clone(), Check]));
            ops.extend(middle.iter().flat_map(|op| [op.clone(), Check]));
            ops.extend(other.iter().flat_map(|op| [op.clone(), Check]));
            if let Err(failure) = play(&ops, &mut systems, None, &mut Counts::default()) {
                panic!("{} after operation {}: {}\n{}", failure.system, failure.at, failure.why, code(&ops));
            }
        }
    }
}

/// Large directories are listed in pieces while their entries come, go and are renamed: some are the base's, some the layer's.
#[test]
fn each_entry_of_a_directory_that_changes_is_listed_once() {
    if !can_run() {
        return;
    }
    let bench = Bench::new(4);
    let mut systems = systems(&bench);
    for round in 0..3 {
        let ops = churn(&mut Random(suite::seed() + round));
        if let Err(failure) = play(&ops, &mut systems, None, &mut Counts::default()) {
            panic!("round {round}: {} after operation {}: {}", failure.system, failure.at, failure.why);
        }
    }
}

fn churn(rng: &mut Random) -> Vec<Op> {
    let file = |number: u64| p(&format!("d/n{number:03}"));
    let mut ops: Vec<Op> = (0..200).map(|number| Mknod(file(number), Node::File, 0o644)).collect();
    ops.push(NewLayer);
    ops.extend((200..300).map(|number| Mknod(file(number), Node::File, 0o644)));
    for _ in 0..3 {
        ops.push(ListStart(0, p("d")));
        for step in 0..120 {
            ops.push(if step % 2 == 0 { ListSome(0) } else { ListSome(1) });
            let (one, other) = (file(rng.below(400)), file(rng.below(400)));
            ops.push(match rng.below(6) {
                0 => Unlink(one),
                1 => Mknod(one, Node::File, 0o644),
                2 => Rename(one, other, Mode::Plain),
                3 => Rename(one, other, Mode::Exchange),
                4 => Link(one, other),
                _ => Stat(At(one)),
            });
            if step == 60 {
                ops.push(ListStart(1, p("d")));
            }
        }
        ops.extend([ListEnd(0), Snapshot, ListEnd(1), List(p("d"))]);
    }
    ops
}
