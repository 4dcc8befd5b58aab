//! Manifests out of the store: to a directory (`dir`), or as an archive (`tar`).
//!
//! `walk` visits a manifest's entries in order; `content` opens what their blobs hold; `zeros` finds what is a hole.

mod content;
mod dir;
mod tar;
mod walk;
mod zeros;

pub use dir::{ExportOptions, export_dir};
pub use tar::export_tar;
