//! Garbage collection, safe beside writers, mounts and other collections in any process.
//!
//! ```text
//! roots   what is a root (pure)        mark    what roots reach            survey  what is there
//! plan    what is to go (pure)         sweep   the batches that do it      report  what was done      error  why it was given up
//! ```
//! 1. *Mark*, without a lock, from refs, layers, recent history and live leases. Anything that can't be read ends the collection.
//! 2. *Plan*: objects that no root reaches and that no live writer can need.
//! 3. *Sweep*, in short batches under the exclusive store lock: roots are read again and new ones marked, each object's age is checked
//!    again, then it is renamed into the trash.
//! 4. *Purge*, in such batches too: what is live comes back from the trash, what is older than the grace period goes for good.
//! 5. *Recover*: what was left by writers that were cut off is verified or discarded, so that later writers can trust it; their leases and
//!    unfinished files are removed, and caches of imports whose manifest is gone.
//!
//! Only files that are named as objects are touched; others are reported.

mod error;
mod mark;
mod plan;
mod report;
mod roots;
mod survey;
mod sweep;

pub use error::GcError;
pub use mark::Live;
pub use plan::{Candidate, Plan, is_over, is_young, plan, still_doomed};
pub use report::Report;
pub use roots::{Root, RootKind, kept_since, roots, suspect_since};

use crate::store::Store;
use std::time::{Duration, Instant};

/// How long what was collected, and what a ref named before, can be had back.
pub const GRACE: Duration = Duration::from_secs(600);

/// How to collect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// How long what was collected, and what a ref named before, can be had back.
    pub grace: Duration,
    /// Change nothing, and report what would be done.
    pub dry_run: bool,
    /// Collect also when there is no root at all, that is, everything.
    pub allow_no_roots: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { grace: GRACE, dry_run: false, allow_no_roots: false }
    }
}

/// How far a collection has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// Marking what roots reach.
    Marking {
        /// Roots marked.
        done: u64,
        /// Roots in all.
        total: u64,
        /// Objects found in use.
        live: u64,
    },
    /// Listing objects.
    Listing {
        /// Objects listed.
        objects: u64,
    },
    /// Putting objects into the trash.
    Sweeping {
        /// Objects looked at.
        done: u64,
        /// Objects to look at.
        total: u64,
    },
    /// Going through the trash.
    Purging {
        /// Objects looked at.
        done: u64,
        /// Objects to look at.
        total: u64,
    },
    /// Verifying what writers left that were cut off.
    Verifying {
        /// Objects verified.
        done: u64,
        /// Objects to verify.
        total: u64,
    },
}

/// Collects what nothing refers to.
pub fn collect(store: &Store, options: &Options, progress: &dyn Fn(Progress)) -> Result<Report, GcError> {
    let started = Instant::now();
    let survey = survey::survey(store, options, progress)?;
    let no_roots = survey.live.is_empty() && kept_since(&survey.roots.leases).is_none();
    if no_roots && survey.scanned > 0 && !options.allow_no_roots {
        return Err(GcError::NoRoots { path: store.path().to_owned(), objects: survey.scanned });
    }
    let plan = plan(survey.unreferenced, kept_since(&survey.roots.leases));
    let mut report = Report::new(options, survey.scanned, &survey.live, &plan);
    report.foreign = survey.foreign;
    report.missing = survey.missing;
    if options.dry_run {
        sweep::foretell(store, options, &survey.live, &plan, &mut report)?;
    } else {
        sweep::Collector::new(store, options, survey.live, progress, &mut report).run(plan, &survey.roots.leases)?;
    }
    report.missing = survey::still_missing(store, options, report.missing)?;
    report.duration = started.elapsed();
    Ok(report)
}
