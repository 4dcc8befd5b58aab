//! Looking at what is there, without a lock: roots move meanwhile, and other collections take what those that went kept.

use super::{Candidate, GcError, Live, Options, Progress, Root, roots};
use crate::format::Digest;
use crate::store::{Listed, Roots, Store, now_ms};
use std::collections::HashSet;
use std::path::PathBuf;

/// How often the roots may change under a survey before it takes its last look for what is.
const ROUNDS: u32 = 10;

/// What was seen before anything is done.
pub(super) struct Survey {
    pub(super) roots: Roots,
    pub(super) live: Live,
    pub(super) scanned: u64,
    pub(super) unreferenced: Vec<Candidate>,
    pub(super) foreign: Vec<PathBuf>,
    /// What roots reach but wasn't there when it was looked for.
    pub(super) missing: Vec<Digest>,
}

pub(super) fn survey(store: &Store, options: &Options, progress: &dyn Fn(Progress)) -> Result<Survey, GcError> {
    let (roots, mut live) = mark(store, options, progress)?;
    // Objects are listed after the mark: every live one was there by then, or is missing.
    let mut unseen: HashSet<Digest> = live.iter().collect();
    let (mut loose, mut foreign, mut scanned) = (Vec::new(), Vec::new(), 0);
    store.list_objects(&mut |listed| match listed {
        Listed::Foreign(path) => foreign.push(path),
        Listed::Object(digest) => {
            scanned += 1;
            if scanned % 1024 == 0 {
                progress(Progress::Listing { objects: scanned });
            }
            if !unseen.remove(&digest) && !live.contains(digest) {
                loose.push(digest);
            }
        }
    })?;
    let mut unreferenced = Vec::with_capacity(loose.len());
    for digest in loose {
        if let Some(stat) = store.object_stat(digest)? {
            unreferenced.push(Candidate { digest, stat, manifest: store.is_manifest(digest)? });
        }
    }
    let held = held(store, &mut live, &unreferenced)?;
    if held {
        unreferenced.retain(|candidate| !live.contains(candidate.digest));
    }
    foreign.sort_unstable();
    Ok(Survey { roots, live, scanned, unreferenced, foreign, missing: unseen.into_iter().collect() })
}

/// Marks what mounts hold that could write no lease; returns whether there are any.
fn held(store: &Store, live: &mut Live, unreferenced: &[Candidate]) -> Result<bool, GcError> {
    let mut any = false;
    for candidate in unreferenced.iter().filter(|candidate| candidate.manifest) {
        if store.is_held(candidate.digest)? {
            live.mark(store, &Root::held(candidate.digest))?;
            any = true;
        }
    }
    Ok(any)
}

/// Marks what all roots reach. A root that can't be read ends it, unless it is none any more.
fn mark(store: &Store, options: &Options, progress: &dyn Fn(Progress)) -> Result<(Roots, Live), GcError> {
    let mut live = Live::default();
    let (mut all, mut todo) = read(store, options)?;
    for round in 1.. {
        let Err(error) = mark_each(store, &mut live, &todo, progress) else { break };
        let before = std::mem::take(&mut todo);
        (all, todo) = read(store, options)?;
        if todo == before || round == ROUNDS {
            return Err(error);
        }
    }
    Ok((all, live))
}

fn read(store: &Store, options: &Options) -> Result<(Roots, Vec<Root>), GcError> {
    let all = store.roots(options.grace).map_err(GcError::Roots)?;
    let todo = roots(&all, now_ms(), options.grace);
    Ok((all, todo))
}

fn mark_each(store: &Store, live: &mut Live, todo: &[Root], progress: &dyn Fn(Progress)) -> Result<(), GcError> {
    for (done, root) in (0..).zip(todo) {
        progress(Progress::Marking { done, total: todo.len() as u64, live: live.len() as u64 });
        live.mark(store, root)?;
    }
    Ok(())
}

/// Of what seemed to be missing, what a root still reaches and what still isn't there, sorted.
pub(super) fn still_missing(
    store: &Store,
    options: &Options,
    mut missing: Vec<Digest>,
) -> Result<Vec<Digest>, GcError> {
    let (_, mut before) = read(store, options)?;
    for _ in 0..ROUNDS {
        let trashed: HashSet<Digest> = store.trashed()?.into_iter().map(|one| one.digest).collect();
        // A dry run has brought nothing back. What any other has left in the trash is torn.
        missing.retain(|digest| !(store.contains(*digest) || options.dry_run && trashed.contains(digest)));
        if missing.is_empty() {
            break;
        }
        let (_, live) = mark(store, options, &|_| {})?;
        missing.retain(|digest| live.contains(*digest));
        let (_, after) = read(store, options)?;
        if std::mem::replace(&mut before, after) == before {
            break;
        }
    }
    missing.sort_unstable();
    missing.dedup();
    Ok(missing)
}
