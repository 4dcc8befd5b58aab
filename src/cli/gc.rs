//! `cairnfs gc`

use super::context::Context;
use super::error::{Doing as _, Result};
use crate::control::collect;
use crate::control::text::parse_duration;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  cairnfs gc --dry-run            say what would go
  cairnfs gc                      collect; what goes can be had back from the trash for 10 minutes
  cairnfs gc --grace 0s           collect and free the space at once
  echo gc > /mnt/.ctl/cmd         the same from inside a mount

Kept is what a ref, a layer, a mount or a running import or snapshot needs. A ref or tree that can't be read stops the collection: nothing
is removed on a guess.";

/// Removes objects that nothing names: they move into the trash, and leave it after the grace period.
///
/// Safe at any time, from any number of processes, whatever is imported or mounted meanwhile.
#[derive(clap::Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// Only say what would go
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// How long what goes can be had back, and how young an object must be to stay, such as `10m` or `0s` [default: 10m]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub grace: Option<Duration>,
}

pub(super) fn run(context: &Context, args: &Args) -> Result<()> {
    let store = context.open()?;
    let outcome = collect::collect(&store, args.dry_run, args.grace).doing(|| "collect garbage")?;
    context.out.done(&outcome.result, || outcome.message.clone())
}
