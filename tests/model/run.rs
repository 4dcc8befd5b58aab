//! One sequence on the model and on real filesystems beside it.

use super::answer::{Expect, Got, check};
use super::fail::Fail;
use super::op::Op;
use super::posix::{Fault, Model};
use super::starting;
use super::tree::{Watch, Whole, compare_snapshot};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// A filesystem that carries operations out.
pub trait System {
    fn name(&self) -> &'static str;
    /// Starts a sequence, on the starting tree.
    fn begin(&mut self);
    fn apply(&mut self, op: &Op) -> Result<Got, Fail>;
    /// All that the sequence's directory holds, and what is open.
    fn whole(&mut self) -> Result<Whole, Fail>;
    /// Ends a sequence: nothing stays open.
    fn end(&mut self);
    /// The sequence ended in a panic: what it used isn't used again.
    fn abandon(&mut self) {}
}

/// Where a filesystem differs from the model.
#[derive(Debug, Clone)]
pub struct Failure {
    pub system: &'static str,
    /// The operation after which it showed; past the last one, the comparison at the end.
    pub at: usize,
    pub why: String,
}

/// What was done, and how it went.
#[derive(Debug, Default, Clone)]
pub struct Counts {
    pub sequences: u64,
    /// By kind: how many succeeded, and how many failed, as they should.
    pub kinds: BTreeMap<&'static str, (u64, u64)>,
    pub fails: BTreeMap<String, u64>,
    pub time: BTreeMap<&'static str, Duration>,
}

impl Counts {
    pub fn add(&mut self, other: &Self) {
        self.sequences += other.sequences;
        for (kind, (good, bad)) in &other.kinds {
            let sum = self.kinds.entry(kind).or_default();
            *sum = (sum.0 + good, sum.1 + bad);
        }
        for (fail, count) in &other.fails {
            *self.fails.entry(fail.clone()).or_default() += count;
        }
        for (system, time) in &other.time {
            *self.time.entry(system).or_default() += *time;
        }
    }

    /// How many operations succeeded, and how many there were.
    pub fn totals(&self) -> (u64, u64) {
        self.kinds.values().fold((0, 0), |sum, (good, bad)| (sum.0 + good, sum.1 + good + bad))
    }

    fn count(&mut self, op: &Op, expect: &Expect) {
        let sum = self.kinds.entry(op.kind()).or_default();
        if let Expect::Fails(fail) = expect {
            sum.1 += 1;
            *self.fails.entry(format!("{fail:?}")).or_default() += 1;
        } else {
            sum.0 += 1;
        }
    }
}

/// A filesystem, and what was seen of it in this sequence.
struct Player<'a> {
    system: &'a mut dyn System,
    watch: Watch,
    time: Duration,
}

impl Player<'_> {
    fn step(&mut self, op: &Op, model: &Model, expect: &Expect) -> Result<(), String> {
        let start = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| self.try_step(op, model, expect)));
        self.time += start.elapsed();
        outcome.unwrap_or_else(|panic| {
            self.system.abandon();
            let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            Err(format!("panicked: {}", text.unwrap_or("without words")))
        })
    }

    fn try_step(&mut self, op: &Op, model: &Model, expect: &Expect) -> Result<(), String> {
        let got = self.system.apply(op);
        if *op == Op::NewLayer {
            self.watch = Watch::default();
        }
        check(expect, &got)?;
        match (expect, got) {
            (Expect::Stat(id), Ok(Got::Stat(seen))) => model.view(*id).check(&seen),
            (Expect::Stat(_), got) => Err(format!("answered {got:?}, not attributes")),
            (Expect::Tree, _) => self.compare(model),
            (Expect::Snapshot, Ok(Got::Tree(taken))) => {
                let live = self.system.whole().map_err(|fail| format!("reading the tree: {fail:?}"))?;
                compare_snapshot(model, &live.tree, &taken)
            }
            _ => Ok(()),
        }
    }

    fn compare(&mut self, model: &Model) -> Result<(), String> {
        let whole = self.system.whole().map_err(|fail| format!("reading the tree: {fail:?}"))?;
        self.watch.compare(model, &whole)
    }
}

/// Plays `ops` on the model and all of `systems`, comparing each answer and the whole tree at the end.
pub fn play(
    ops: &[Op],
    systems: &mut [Box<dyn System>],
    fault: Option<Fault>,
    counts: &mut Counts,
) -> Result<(), Failure> {
    let mut model = starting::model().with_fault(fault);
    let mut players: Vec<Player<'_>> = systems
        .iter_mut()
        .map(|system| {
            system.begin();
            Player { system: &mut **system, watch: Watch::default(), time: Duration::ZERO }
        })
        .collect();
    let mut outcome = Ok(());
    for (at, op) in ops.iter().chain([&Op::Check]).enumerate() {
        let expect = model.apply(op);
        if at < ops.len() {
            counts.count(op, &expect);
        }
        for player in &mut players {
            if let Err(why) = player.step(op, &model, &expect) {
                outcome = Err(Failure { system: player.system.name(), at, why });
                break;
            }
        }
        if outcome.is_err() {
            break;
        }
    }
    for player in &mut players {
        player.system.end();
        *counts.time.entry(player.system.name()).or_default() += player.time;
    }
    counts.sequences += 1;
    outcome
}
