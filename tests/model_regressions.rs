//! Sequences that once showed a difference from the reference model, each as short as it gets.
#![allow(clippy::unwrap_used, reason = "a test that can't go on shall panic")]

mod model;

use model::bench::{Bench, can_run};
use model::direct::Direct;
use model::host::Host;
use model::machine::Plain;
use model::op::{On::*, Op::*, *};
use model::run::{Counts, System, play};

/// The sequence does on ext4 and on the kernel-free filesystem what the model says.
#[track_caller]
fn holds(ops: &[Op]) {
    if !can_run() {
        return;
    }
    let bench = Bench::new(2);
    let plain = Plain::new(bench.disk.join("plain"));
    let mut systems: Vec<Box<dyn System>> = vec![Box::new(Host::new(Box::new(plain))), Box::new(Direct::new(&bench))];
    if let Err(failure) = play(ops, &mut systems, None, &mut Counts::default()) {
        panic!("{} after operation {}: {}", failure.system, failure.at, failure.why);
    }
}

#[test]
fn opening_a_clean_file_for_writing_leaves_its_change_time() {
    holds(&[Check, Open(2, p("L/a"), WRITE, 0), Check, Write(2, 0, 1, 9)]);
}

#[test]
fn changing_neither_owner_nor_group_moves_the_change_time() {
    holds(&[Check, Chown(At(p("L/a")), None, None)]);
}
