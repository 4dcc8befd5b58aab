//! Carrying a plan out, in short batches under the exclusive store lock.

use super::plan::{Candidate, Plan, is_over, still_doomed};
use super::roots::{Root, RootKind, kept_since, suspect_since};
use super::{GcError, Live, Options, Progress, Report, roots};
use crate::format::Digest;
use crate::store::{LeaseInfo, Store, StoreError, Sweep, Trashed, now_ms};
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// How long a batch holds the lock, about.
const BATCH: Duration = Duration::from_millis(20);
/// How often new roots are marked without the lock before they are marked under it.
const POLITE: u32 = 3;

/// What a dry run tells of sweep and purge.
pub(super) fn foretell(
    store: &Store,
    options: &Options,
    live: &Live,
    plan: &Plan,
    report: &mut Report,
) -> Result<(), GcError> {
    report.deleted = plan.doomed.len() as u64;
    report.trashed_bytes = plan.bytes();
    report.unreferenced = plan.doomed.iter().map(|candidate| candidate.digest).collect();
    let now = now_ms();
    for trashed in store.trashed()? {
        if live.contains(trashed.digest) && !store.contains(trashed.digest) {
            report.restored += 1;
        } else if is_over(trashed.batch, now, options.grace) {
            report.purged += 1;
            report.freed_bytes += store.trashed_size(trashed)?.unwrap_or(0);
        }
    }
    if options.grace.is_zero() {
        report.purged += report.deleted;
        report.freed_bytes += report.trashed_bytes;
    }
    Ok(())
}

fn no_trash(source: StoreError) -> GcError {
    if source.is_full() { GcError::NoTrash { source } } else { source.into() }
}

pub(super) struct Collector<'a> {
    store: &'a Store,
    options: &'a Options,
    live: Live,
    progress: &'a dyn Fn(Progress),
    report: &'a mut Report,
}

/// A batch whose roots are all marked.
struct Batch<'a> {
    sweep: Sweep<'a>,
    kept_since: Option<i64>,
    until: Instant,
}

impl Batch<'_> {
    fn is_full(&self) -> bool {
        Instant::now() >= self.until
    }
}

impl<'a> Collector<'a> {
    pub(super) fn new(
        store: &'a Store,
        options: &'a Options,
        live: Live,
        progress: &'a dyn Fn(Progress),
        report: &'a mut Report,
    ) -> Self {
        Self { store, options, live, progress, report }
    }

    pub(super) fn run(mut self, plan: Plan, leases: &[LeaseInfo]) -> Result<(), GcError> {
        self.sweep(&plan.doomed)?;
        self.purge()?;
        self.recover(&plan, leases)?;
        self.store.remove_trashed_layers();
        let batch = self.batch()?;
        batch.sweep.tidy_trash();
        self.report.unfinished = batch.sweep.tidy_tmp()?;
        batch.sweep.tidy_caches()?;
        for lease in leases {
            batch.sweep.remove_lease(lease)?;
        }
        Ok(())
    }

    /// Waits for the lock, with every root marked. New roots are marked without it at first, for they may reach much.
    fn batch(&mut self) -> Result<Batch<'a>, GcError> {
        let mut attempts = 0;
        loop {
            let sweep = self.store.sweep()?;
            let started = Instant::now();
            let all = sweep.roots(self.options.grace).map_err(GcError::Roots)?;
            let mut new = roots(&all, now_ms(), self.options.grace);
            new.retain(|root| !self.live.has_root(root));
            let locked = (new.is_empty() || attempts == POLITE).then_some(sweep);
            let marked = new.iter().try_for_each(|root| self.live.mark(self.store, root));
            if let Some(sweep) = locked {
                // Without the lock, what can't be read may be of a root that went.
                marked?;
                // Where reading the roots takes long, a batch does more.
                let until = Instant::now() + started.elapsed().max(BATCH);
                return Ok(Batch { sweep, kept_since: kept_since(&all.leases), until });
            }
            attempts += 1;
        }
    }

    fn sweep(&mut self, doomed: &[Candidate]) -> Result<(), GcError> {
        if doomed.is_empty() {
            return Ok(());
        }
        let trash = self.new_trash()?;
        let total = doomed.len() as u64;
        let mut left = doomed.iter();
        while left.len() > 0 {
            (self.progress)(Progress::Sweeping { done: total - left.len() as u64, total });
            let batch = self.batch()?;
            for candidate in left.by_ref() {
                self.discard(&batch, candidate, trash)?;
                if batch.is_full() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// A batch of the trash; `None` when there is no room for one and what it would hold is to go at once anyway.
    fn new_trash(&mut self) -> Result<Option<u64>, GcError> {
        match self.store.new_batch() {
            Err(error) if error.is_full() && self.options.grace.is_zero() => Ok(None),
            Err(error) if error.is_full() => {
                // What has lain there long enough makes room.
                self.purge()?;
                self.store.new_batch().map(Some).map_err(no_trash)
            }
            made => Ok(Some(made?)),
        }
    }

    fn discard(&mut self, batch: &Batch<'_>, candidate: &Candidate, trash: Option<u64>) -> Result<(), GcError> {
        let digest = candidate.digest;
        if self.live.contains(digest) || !still_doomed(candidate, batch.sweep.stat(digest)?, batch.kept_since) {
            return Ok(());
        }
        if candidate.manifest && self.store.is_held(digest)? {
            return self.live.mark(self.store, &Root::held(digest));
        }
        let discarded = trash.map_or(Ok(false), |trash| batch.sweep.discard(digest, trash));
        let (gone, for_good) = match discarded {
            Err(error) if !(error.is_full() && self.options.grace.is_zero()) => return Err(no_trash(error)),
            Ok(discarded) if trash.is_some() => (discarded, false),
            _ => (batch.sweep.remove(digest)?, true),
        };
        if gone {
            self.report.deleted += 1;
            self.report.trashed_bytes += candidate.stat.size;
            self.report.unreferenced.push(digest);
        }
        if gone && for_good {
            self.report.purged += 1;
            self.report.freed_bytes += candidate.stat.size;
        }
        Ok(())
    }

    /// Manifests come back after what they reach, and go before it.
    fn purge(&mut self) -> Result<(), GcError> {
        let mut others = Vec::new();
        let mut manifests = Vec::new();
        for trashed in self.store.trashed()? {
            let manifest = self.store.trashed_is_manifest(trashed)?;
            if manifest { manifests.push(trashed) } else { others.push(trashed) }
        }
        self.each_trashed(others.iter().chain(&manifests), Self::restore_live)?;
        self.each_trashed(manifests.iter().chain(&others), Self::purge_old)
    }

    fn each_trashed<'b>(
        &mut self,
        all: impl Iterator<Item = &'b Trashed> + Clone,
        act: fn(&mut Self, &Batch<'_>, Trashed) -> Result<(), GcError>,
    ) -> Result<(), GcError> {
        let total = all.clone().count() as u64;
        let mut left = all.copied().peekable();
        let mut done = 0;
        while left.peek().is_some() {
            (self.progress)(Progress::Purging { done, total });
            let batch = self.batch()?;
            for trashed in left.by_ref() {
                done += 1;
                act(self, &batch, trashed)?;
                if batch.is_full() {
                    break;
                }
            }
        }
        Ok(())
    }

    fn restore_live(&mut self, batch: &Batch<'_>, trashed: Trashed) -> Result<(), GcError> {
        let digest = trashed.digest;
        if !self.live.contains(digest) || batch.sweep.stat(digest)?.is_some() {
            return Ok(());
        }
        if batch.sweep.restore(trashed)? {
            self.report.restored += 1;
        } else {
            self.report.missing.push(digest);
        }
        Ok(())
    }

    /// What is live is in `objects/` too, unless it is torn here: then it stays for a person to look at.
    fn purge_old(&mut self, batch: &Batch<'_>, trashed: Trashed) -> Result<(), GcError> {
        let needed = self.live.contains(trashed.digest) && batch.sweep.stat(trashed.digest)?.is_none();
        if needed || !is_over(trashed.batch, now_ms(), self.options.grace) {
            return Ok(());
        }
        if let Some(size) = self.store.trashed_size(trashed)? {
            batch.sweep.purge(trashed)?;
            self.report.purged += 1;
            self.report.freed_bytes += size;
        }
        Ok(())
    }

    /// Verifies what stays of the time since a writer was cut off. What a ref, a layer or a history reaches was made durable before that
    /// came to be. In the end all is durable, so that the leases of the dead, which made it suspect, can go.
    fn recover(&mut self, plan: &Plan, leases: &[LeaseInfo]) -> Result<(), GcError> {
        let Some(since) = suspect_since(leases) else { return Ok(()) };
        let leased = self.live.iter().filter(|digest| self.live.kept_by(*digest) == Some(RootKind::Lease));
        let unreferenced = plan.doomed.iter().chain(&plan.young).map(|candidate| candidate.digest);
        let suspects: HashSet<Digest> = leased.chain(unreferenced).collect();
        for (done, &digest) in (0..).zip(&suspects) {
            (self.progress)(Progress::Verifying { done, total: suspects.len() as u64 });
            let stat = self.store.object_stat(digest)?;
            if stat.is_some_and(|stat| stat.mtime >= since) && self.is_torn(digest)? {
                self.discard_torn(digest)?;
            }
        }
        Ok(self.store.sync()?)
    }

    fn is_torn(&self, digest: Digest) -> Result<bool, GcError> {
        match self.store.verify_object(digest) {
            Ok(()) | Err(StoreError::MissingObject { .. }) => Ok(false),
            Err(StoreError::CorruptObject { .. }) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    fn discard_torn(&mut self, digest: Digest) -> Result<(), GcError> {
        let trash = self.store.new_batch()?;
        let sweep = self.store.sweep()?;
        // A writer may have replaced it in the meantime.
        if sweep.stat(digest)?.is_some() && sweep.is_torn(digest)? && sweep.discard(digest, trash)? {
            self.report.torn.push(digest);
        }
        Ok(())
    }
}
