//! Manifests out of the store: to a directory, or as an archive.

mod content;
mod dir;
mod tar;
mod walk;
mod zeros;

pub use dir::{ExportOptions, export_dir};
pub use tar::export_tar;
