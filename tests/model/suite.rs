//! Many sequences, on all processors.
//!
//! `CAIRNFS_TEST_SEED` sets where the numbers start, `CAIRNFS_TEST_SEQUENCES` how many sequences there are;
//! `CAIRNFS_TEST_SECONDS` ends a run early.

use super::bench::{Bench, CLONES};
use super::generate::{Rates, sequence};
use super::op::Op;
use super::random::{Random, number};
use super::run::{Counts, Failure, System, play};
use super::shrink::{code, shrink};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// Operations of a sequence.
pub const LENGTH: usize = 50;

/// The seed that is asked for, or a fixed one.
pub fn seed() -> u64 {
    number("CAIRNFS_TEST_SEED", 1)
}

pub fn sequences(default: u64) -> u64 {
    number("CAIRNFS_TEST_SEQUENCES", default)
}

/// Sequence `number` of a run.
pub fn nth(seed: u64, number: u64, rates: Rates) -> Vec<Op> {
    sequence(&mut Random(seed.wrapping_mul(1 << 32).wrapping_add(number)), LENGTH, rates)
}

/// Sequences on one disk: what their snapshots leave in the store adds up.
const BATCH: u64 = 10_000;

/// Plays `count` sequences, each worker on systems of its own, made for its number, and fails with the first that differs, made short.
pub fn run(count: u64, rates: Rates, systems: impl Fn(&Arc<Bench>, usize) -> Vec<Box<dyn System>> + Sync) {
    let (started, seconds) = (Instant::now(), number("CAIRNFS_TEST_SECONDS", u64::MAX));
    let over = || started.elapsed().as_secs() >= seconds;
    let mut counts = Counts::default();
    for first in (0..count).step_by(BATCH as usize).take_while(|_| !over()) {
        let bench = Bench::new(CLONES);
        let systems = |worker| systems(&bench, worker);
        let (played, found) = batch(first..count.min(first + BATCH), rates, &systems, &over);
        counts.add(&played);
        report(&counts, started.elapsed().as_secs_f64());
        if let Some(found) = found {
            let short = shrink(&found.ops, || systems(found.worker), None);
            panic!("{}", describe(&found, short));
        }
    }
}

/// A sequence that failed.
struct Found {
    worker: usize,
    number: u64,
    ops: Vec<Op>,
    failure: Failure,
}

fn batch(
    numbers: Range<u64>,
    rates: Rates,
    systems: &(impl Fn(usize) -> Vec<Box<dyn System>> + Sync),
    over: &(impl Fn() -> bool + Sync),
) -> (Counts, Option<Found>) {
    let next = AtomicU64::new(numbers.start);
    let failed = AtomicBool::new(false);
    let all = Mutex::new((Counts::default(), None));
    let work = |worker| {
        let mut machines = systems(worker);
        let mut counts = Counts::default();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= numbers.end || over() || failed.load(Ordering::Relaxed) {
                break;
            }
            let ops = nth(seed(), number, rates);
            if let Err(failure) = play(&ops, &mut machines, None, &mut counts) {
                failed.store(true, Ordering::Relaxed);
                all.lock().unwrap().1.get_or_insert(Found { worker, number, ops, failure });
                break;
            }
        }
        all.lock().unwrap().0.add(&counts);
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let work = &work;
    std::thread::scope(|scope| (0..workers).for_each(|worker| drop(scope.spawn(move || work(worker)))));
    all.into_inner().unwrap()
}

fn describe(found: &Found, short: Option<(Vec<Op>, Failure)>) -> String {
    let (seed, number) = (seed(), found.number);
    let (ops, failure, note) = match &short {
        Some((ops, failure)) => (&**ops, failure, ""),
        None => (&*found.ops, &found.failure, "it doesn't fail by itself: it takes those before it\n"),
    };
    format!(
        "sequence {number} of seed {seed}: {} differs from the model after operation {}: {}\n{note}{}",
        failure.system,
        failure.at,
        failure.why,
        code(ops)
    )
}

fn report(counts: &Counts, seconds: f64) {
    let ((good, all), seed) = (counts.totals(), seed());
    eprintln!(
        "{} sequences of seed {seed}, {all} operations in {seconds:.1} s; {} % succeeded, as they should",
        counts.sequences,
        good * 100 / all.max(1)
    );
    for (kind, (good, bad)) in &counts.kinds {
        eprintln!("  {kind:18} {good:8} succeeded {bad:8} failed");
    }
    for (fail, count) in &counts.fails {
        eprintln!("  {count:8} {fail}");
    }
    for (system, time) in &counts.time {
        eprintln!("  {:8.1} s in {system}", time.as_secs_f64());
    }
}
