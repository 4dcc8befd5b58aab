//! Import of a directory: the caller's thread walks (`walk`), workers hash and store files (`file`), trees are built as their last entry comes in.

mod file;
mod walk;

use self::file::{FileWorker, Job};
use self::walk::Walk;
use super::builder::TreeBuilder;
use super::known::Known;
use super::publish::publish;
use super::trail::Trail;
use super::{ImportOptions, Imported, IngestError, Progress, Tally, pool};
use crate::store::Store;
use crate::sys::at;
use std::path::Path;

/// Files that wait for a worker: each may hold a directory open.
const QUEUE: usize = 128;

/// Imports the directory `source` with everything beneath, and points a ref at the manifest. Nothing is visible before all is stored and durable;
/// what a failed import has stored already is unreferenced, and goes with the next collection.
pub fn import_dir(
    store: &Store,
    source: &Path,
    options: &ImportOptions,
    progress: &Progress,
) -> Result<Imported, IngestError> {
    let created_at = options.created()?;
    let failed = |source| IngestError::Source { action: "open", path: Trail::default().shown(), source };
    let root = at::open_dir(source).map_err(|error| named(source, error))?;
    let own = at::open_dir(store.path()).and_then(at::stat_fd).map_err(failed)?;
    let tally = Tally::start();
    let writer = store.writer("import")?;
    let known = Known::of(store, &writer, &root, options);
    let builder = TreeBuilder::new(&writer, &tally, &known);
    let worker = FileWorker { writer: &writer, builder: &builder, tally: &tally, known: &known, progress };
    pool::run(
        options.thread_count(),
        QUEUE,
        |buffer, job| match job {
            Job::Read(file) => worker.read(buffer, file),
            Job::Known(files) => worker.take_known(buffer, files),
        },
        |pool| Walk::start(root, options, &builder, &known, pool, progress, Some((own.dev, own.ino)))?.run(),
    )?;
    let built = builder.finish()?;
    let imported = publish(&writer, built, options, created_at, &tally, known.count())?;
    known.keep(store, imported.manifest);
    Ok(imported)
}

fn named(path: &Path, source: std::io::Error) -> IngestError {
    IngestError::Source { action: "open the directory", path: super::ShownPath::new(at::path_bytes(path)), source }
}
