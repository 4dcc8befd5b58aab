//! `cairnfs stats`

use super::context::Context;
use super::error::Result;
use super::mounts;
use crate::control::stats::keys;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  cairnfs stats /mnt
  cairnfs stats /mnt --json | jq .layer_bytes
  cat /mnt/.ctl/stats           the same from inside; .ctl/metrics for Prometheus";

/// Prints the figures of a mount, one `key value` a line.
///
/// They come over the mount's socket, so they can be had when the mount itself doesn't answer. Keys are stable.
#[derive(clap::Args, Debug)]
#[command(after_long_help = after_help())]
pub struct Args {
    /// Where it is mounted
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
}

fn after_help() -> String {
    let mut help = format!(
        "{EXAMPLES}\n\nKeys:\n  version, pid, mountpoint, store, ref, manifest, mode, layer\n  \
         {:<26}What is mounted there, and by which process\n",
        ""
    );
    for (key, meaning) in keys() {
        help.push_str(&format!("  {key:<26}{meaning}\n"));
    }
    help + "  op_NAME, op_NAME_errors   How often an operation was asked for, and failed\n\
  \x20 op_NAME_seconds           Time that it took, all requests together\n\
  \x20 op_NAME_p50_seconds       Half of them took less; a power of two of microseconds, or null\n\
  \x20 op_NAME_p99_seconds       99 of 100 took less"
}

pub(super) fn run(context: &Context, args: &Args) -> Result<()> {
    let mount = mounts::at(context, &args.dir)?;
    let figures = mounts::ask(&mount, "stats", &format!("ask the mount on {}", args.dir.display()))?.result;
    context.out.report(&figures, || {
        let lines = figures.as_object().into_iter().flatten();
        lines
            .map(|(key, value)| match value.as_str() {
                Some(text) => format!("{key} {text}\n"),
                None => format!("{key} {value}\n"),
            })
            .collect()
    })
}
