//! Directories and archives into the store, and out again.
//!
//! ```text
//!   directory ── dir/walk ──┬─ pool ── dir/file ──┐
//!                           │                     ├── builder ── links ── publish: manifest, barrier, ref
//!   archive ─── tar/members ┴─ tar/content ── tar/tree ┘
//!
//!   known: what an earlier import read, and what didn't change since
//!
//!   manifest ── export/walk ──┬── export/dir ── files, times, owners, attributes
//!                             └── export/tar ── PAX archive
//!
//! options, exclude  what an import is told          dirs   open directories down a deep tree       stat   what the kernel tells of a file
//! progress          how far it is                   trail  paths, cheap to carry                 error  why it failed
//! ```
//! Invariants: what can't be read or stored is an error that names it, never skipped. Nothing is visible before all of it is durable. The same
//! source gives the same manifest, whatever the number of threads. Nothing here recurses over the depth of a tree, follows a symbolic link, prints,
//! or writes outside of the store and an export's target.

mod builder;
mod dir;
mod dirs;
mod error;
mod exclude;
mod export;
mod known;
mod links;
mod options;
mod pool;
mod progress;
mod publish;
mod stat;
pub mod tar;
mod trail;

pub use dir::import_dir;
pub use error::{IngestError, ShownPath};
pub use exclude::Exclude;
pub use export::{ExportOptions, export_dir, export_tar};
pub use options::{ImportOptions, Limits, Remember};
pub use progress::Progress;
pub use publish::Imported;
use publish::Tally;
pub use tar::import_tar;
