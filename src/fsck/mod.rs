//! Checks a layer against its data files and its base, and mends it.
//!
//! ```text
//! scan     everything that the layer says, read from a copy of its database, which thereby stays as it is
//! state    that, in memory, with what repair changes        tree     what is in each directory, from the root (parallel)
//! check    names, numbers, structure, counts (pure)         content  data files and blobs (pure); facts about blobs (parallel)
//! plan     problems into changes, round by round (pure)     repair   the changes, in one batch
//! problem  what can be wrong, and the report                pool     work in parallel, in order
//! error    why a layer can't be checked or mended at all
//! ```
//! 1. *Scan.* Records that can't be decoded are kept apart, and their inodes are treated as there but unknown.
//! 2. *Walk* the merged tree from the root: which inodes have which names. What isn't reached is walked from its own tops.
//! 3. *Check* each record, name and file against that.
//! 4. *Plan*: mend in memory the problems of the first stage that has any, check again, and so on, until nothing is left that can be mended.
//!    What a repair does is thus what a dry run shows, and a check after it finds nothing that could be mended.
//! 5. *Repair*: what differs in memory now is one batch.
//!
//! Nothing is deleted on doubt: an inode that nothing names goes to `lost+found` at the root, a data file that nothing names to `lost/` in
//! the layer's folder. A layer that wasn't closed isn't damaged: what its recovery will do is told, and done by a repair.
//!
//! Locking: none here; the caller holds the layer's lock. Two checks at a time disturb nothing, a repair needs the layer for itself.

mod check;
mod content;
mod error;
mod plan;
mod pool;
mod problem;
mod repair;
mod scan;
mod state;
mod tree;

pub use error::FsckError;
pub use problem::{Code, Problem, Recovery, Report};
pub use scan::is_database_thread;

use crate::format::Digest;
use crate::store::Store;
use crate::vfs::Base;
use problem::Found;
use state::State;
use std::path::Path;
use std::time::Instant;

/// How to check.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// Hash the blobs that the layer refers to, and not only look at their sizes.
    pub hash: bool,
}

/// What is to become of the problems.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mending {
    /// Nothing: they are told, each with what a repair would do first about it.
    Off,
    /// A repair is planned to its end, and told.
    Planned,
    /// It is planned and done.
    Done,
}

/// How far it has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// Copying and reading the database.
    Reading,
    /// Walking the tree.
    Walking {
        /// Directories seen.
        dirs: u64,
    },
    /// Looking at blobs.
    Blobs {
        /// Looked at.
        done: u64,
        /// To look at.
        total: u64,
    },
    /// Changing the layer.
    Mending,
}

/// Whom a check tells how far it has come, and who can try things in a process of their own.
pub trait Host: Sync {
    /// How far it has come.
    fn progress(&self, _progress: Progress) {}

    /// Calls [`probe`] in another process, and says why that process couldn't read the database. The database library may abort its
    /// process on damaged files, and with a host that doesn't do this it is this one.
    fn probe(&self, _layer: &Path) -> Result<(), String> {
        Ok(())
    }
}

/// A host that tells nobody and tries nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl Host for Alone {}

/// Checks the layer in folder `layer`, which stands on manifest `base`. Nothing is changed, and the layer may not be open.
pub fn check_layer(store: &Store, base: Digest, layer: &Path, options: Options) -> Result<Report, FsckError> {
    run(store, base, layer, options, Mending::Off, &Alone)
}

/// Reads the database of the layer in folder `layer` from end to end, as a check does. What is wrong with it is for the check to tell: this is
/// to find out whether a process survives it.
pub fn probe(layer: &Path) -> Result<(), FsckError> {
    scan::scan(layer).map(drop)
}

/// Checks the layer in folder `layer`, and mends it when `mending` says so. The caller has the layer for itself.
pub fn run(
    store: &Store,
    base: Digest,
    layer: &Path,
    options: Options,
    mending: Mending,
    host: &dyn Host,
) -> Result<Report, FsckError> {
    let started = Instant::now();
    host.progress(Progress::Reading);
    let mut report = Report::default();
    if let Err(why) = host.probe(layer) {
        report.add(Found::database_panic(&layer.join("index"), &why));
        report.unplanned(mending);
        return Ok(report.finished(started));
    }
    let mut state = match scan::scan(layer)? {
        Ok(state) => state,
        Err(found) => {
            report.add(found);
            report.unplanned(mending);
            return Ok(report.finished(started));
        }
    };
    report.records = state.len();
    report.recovery = state.recovery();
    match Base::open(store, base) {
        Err(error) => {
            report.add(Found::base_missing(base, &error));
            report.extend(check::undecoded(&state));
            report.unplanned(mending);
        }
        Ok(base) => {
            let mut checker = Checker { base: &base, options, blobs: content::Blobs::default(), host };
            let found = checker.check(&state);
            let plan = (mending != Mending::Off).then(|| plan::plan(&mut checker, &mut state, found.clone()));
            report.extend(found);
            if let Some(plan) = plan {
                report.planned(&plan);
                if mending == Mending::Done {
                    host.progress(Progress::Mending);
                    repair::repair(layer, &state, &plan, &mut report)?;
                }
            }
        }
    }
    Ok(report.finished(started))
}

/// What a check needs, and keeps from one round to the next.
struct Checker<'a> {
    base: &'a Base,
    options: Options,
    blobs: content::Blobs,
    host: &'a dyn Host,
}

impl Checker<'_> {
    /// All that is wrong with `state`.
    fn check(&mut self, state: &State) -> Vec<Found> {
        let census = tree::walk(state, self.base, self.host);
        self.blobs.learn(state, self.base.store(), self.options.hash, self.host);
        let mut found = check::check(state, self.base, &census);
        found.extend(content::check(state, &census, &self.blobs));
        found
    }
}
