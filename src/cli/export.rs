//! `cairnfs export`

use super::context::Context;
use super::error::Result;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  cairnfs export debian ./rootfs             a directory, made when it isn't there
  cairnfs export debian rootfs.tar.zst       a tar archive; .tar, .tar.gz, .tar.zst and .tar.xz by the name
  cairnfs export debian - | ssh host 'tar -xpC /srv/rootfs --numeric-owner --xattrs'";

/// Writes a manifest out, as a directory or tar archive, with all that it holds.
#[derive(clap::Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// A ref or digest
    #[arg(value_name = "REF|DIGEST")]
    pub reference: String,
    /// A directory, an archive's file, or `-` for a tar archive on standard output
    pub target: PathBuf,
}

pub(super) fn run(_context: &Context, _args: &Args) -> Result<()> {
    todo!()
}
