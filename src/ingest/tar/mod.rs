//! Import of tar archives, without extracting them anywhere.
//!
//! ```text
//! compression ── members ──┬── content ── pool: hash and store
//!   header, pax, acl,      │
//!   sparse                 └── tree: what the archive describes ── builder
//!
//! problem: what can be wrong with an archive      write: members in PAX form, for `export`
//! ```
//! The caller's thread reads and decompresses; workers hash and store. Read are v7, ustar, GNU, PAX and star archives, with GNU long names, PAX
//! records of times, owners, sizes, attributes (`SCHILY.xattr`, `LIBARCHIVE.xattr`) and ACLs, and all forms of sparse files. Owners are the numbers,
//! names of users and groups are not looked at. Whiteouts (`.wh.`) mean nothing here.

pub(in crate::ingest) mod acl;
mod compression;
mod content;
mod header;
mod members;
mod pax;
mod problem;
mod sparse;
mod tree;
pub(in crate::ingest) mod write;

pub use compression::Compression;
pub use problem::Problem;

use self::content::{ContentJob, ContentWorker, SendError};
use self::members::{Member, Members, What};
use self::tree::{Refusal, Rules, TarTree};
use super::builder::TreeBuilder;
use super::known::Known;
use super::pool::{self, Pool};
use super::publish::publish;
use super::{ImportOptions, Imported, IngestError, Progress, Tally};
use crate::store::Store;
use parking_lot::Mutex;
use std::io::Read;

/// Files that wait for a worker, each of at most `content::SMALL` bytes.
const QUEUE: usize = 64;

/// Imports an archive, plain or compressed by gzip, zstd or xz, and points a ref at the manifest. Nothing is visible before all is stored and
/// durable.
pub fn import_tar(
    store: &Store,
    reader: impl Read,
    options: &ImportOptions,
    progress: &Progress,
) -> Result<Imported, IngestError> {
    let created_at = options.created()?;
    let (compression, input) = compression::open(reader, progress)?;
    let tally = Tally::start();
    let writer = store.writer("import")?;
    let worker = ContentWorker { writer: &writer, tally: &tally, progress, stored: Mutex::default() };
    let rules = Rules { allow_ctl: options.allow_ctl, exclude: &options.exclude, max_entries: options.limits.entries };
    let mut tree = TarTree::new(rules);
    let mut members = Members::new(input, compression, options);
    pool::run(
        options.thread_count(),
        QUEUE,
        |_, job| worker.work(job),
        |pool| read(&mut members, &mut tree, pool, progress),
    )?;
    for (leaf, digest, size) in worker.stored.into_inner() {
        tree.fill(leaf, digest, size);
    }
    let known = Known::nothing();
    let builder = TreeBuilder::new(&writer, &tally, &known);
    tree.build(&builder)?;
    let built = builder.finish()?;
    publish(&writer, built, options, created_at, &tally, 0)
}

fn read<R: Read>(
    members: &mut Members<R>,
    tree: &mut TarTree<'_>,
    pool: &Pool<'_, ContentJob>,
    progress: &Progress,
) -> Result<(), IngestError> {
    while let Some(member) = members.next()? {
        let path = member.path.clone();
        add(members, tree, pool, member).map_err(|refusal| match refusal {
            Refusal::Problem(problem) => members.bad_member(&path, problem),
            Refusal::Error(error) => error,
        })?;
        progress.add_entry();
    }
    Ok(())
}

fn add<R: Read>(
    members: &mut Members<R>,
    tree: &mut TarTree<'_>,
    pool: &Pool<'_, ContentJob>,
    member: Member,
) -> Result<(), Refusal> {
    let Member { path, meta, what } = member;
    if !tree.admit(&path)? {
        return Ok(());
    }
    let sent = match what {
        What::Dir => return tree.add_dir(&path, meta),
        What::HardLink(target) => return tree.add_hard_link(&path, &target),
        What::Other(content) => return tree.add_leaf(&path, meta, Some(content)).map(drop),
        What::File(size) => {
            let leaf = tree.add_leaf(&path, meta, None)?;
            content::send(members, |data| data, size, leaf, pool)
        }
        What::Sparse(map) => {
            let leaf = tree.add_leaf(&path, meta, None)?;
            let size = map.size;
            content::send(members, |data| map.expand(data), size, leaf, pool)
        }
    };
    sent.map_err(|error| {
        Refusal::Error(match error {
            SendError::Read(source) => members.stream_error(source),
            SendError::Other(error) => error,
        })
    })
}
