//! `cairnfs mount`, and the mount(8) helper.
//!
//! ```text
//! options  -o, one parser for the command line, mount(8) and fstab
//! helper   mount.fuse.cairnfs REF DIR [-sfnv] [-o OPTS]      daemon   going into the background
//! ```

mod daemon;
pub(super) mod helper;
mod options;
