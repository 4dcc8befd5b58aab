//! Random operations on the kernel-free filesystem and on a real ext4, both held to a reference model (`tests/model`).
//!
//! `CAIRNFS_TEST_SEQUENCES` sets how many sequences, `CAIRNFS_TEST_SEED` where they start.

mod model;

use model::bench::{Bench, CLONES, can_run};
use model::direct::Direct;
use model::generate::Rates;
use model::host::Host;
use model::machine::Plain;
use model::posix::Fault;
use model::run::{Counts, System, play};
use model::shrink::{code, shrink};
use model::suite;

fn run(count: u64, rates: Rates) {
    if !can_run() {
        return;
    }
    suite::run(count, rates, |bench, _| {
        let plain = Plain::new(bench.disk.join(format!("plain{}", bench.number())));
        let all: Vec<Box<dyn System>> = vec![Box::new(Host::new(Box::new(plain))), Box::new(Direct::new(bench))];
        all
    });
}

#[test]
fn random_sequences_do_what_the_model_and_ext4_do() {
    run(
        suite::sequences(10_000),
        Rates { check: 8, snapshot: 2, remount: 1, crash: 2, failed_snapshot: 1, new_layer: 1 },
    );
}

/// The same with what takes long in every sequence.
#[test]
fn random_sequences_go_on_through_snapshots_crashes_and_remounts() {
    run(
        suite::sequences(10_000) / 200,
        Rates { check: 100, snapshot: 80, remount: 60, crash: 60, failed_snapshot: 50, new_layer: 50 },
    );
}

/// The comparison can fail: whichever rule of the model is broken, a sequence shows it, and becomes short.
#[test]
fn a_model_that_is_wrong_is_found_out_in_few_operations() {
    if !can_run() {
        return;
    }
    let bench = Bench::new(CLONES);
    let rates = Rates { check: 8, ..Rates::default() };
    for (number, fault) in Fault::ALL.into_iter().enumerate() {
        let systems = || -> Vec<Box<dyn System>> {
            if number % 2 == 0 {
                return vec![Box::new(Direct::new(&bench))];
            }
            let plain = Plain::new(bench.disk.join(format!("plain{}", bench.number())));
            vec![Box::new(Host::new(Box::new(plain)))]
        };
        let mut machines = systems();
        let mut sequences = (0..2000).map(|number| suite::nth(suite::seed(), number, rates));
        let found = sequences.find(|ops| play(ops, &mut machines, Some(fault), &mut Counts::default()).is_err());
        let found = found.unwrap_or_else(|| panic!("no sequence shows {fault:?}"));
        let (short, failure) = shrink(&found, systems, Some(fault)).expect("a sequence that failed fails again");
        eprintln!("{fault:?}: {}\n{}", failure.why, code(&short));
        assert!(short.len() <= 8, "{fault:?}: {} operations are left:\n{}", short.len(), code(&short));
    }
}
