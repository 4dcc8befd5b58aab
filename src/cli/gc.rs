//! `cairnfs gc`

use super::context::Context;
use super::error::{Doing as _, Error, Result};
use super::exit::Exit;
use super::output::Output;
use crate::control::collect;
use crate::control::text::parse_duration;
use crate::gc::{self, Options, Progress};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use std::fmt;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  cairnfs gc --dry-run            say what would go
  cairnfs gc                      collect; what goes can be had back from the trash for 10 minutes
  cairnfs gc --grace 0s           collect and free the space at once
  echo gc > /mnt/.ctl/cmd         the same from inside a mount

Kept is what a ref, a layer, a mount or a running import or snapshot needs, and what a ref named until a moment ago.
A ref or tree that can't be read stops the collection: nothing is removed on a guess.";

/// Removes objects that nothing names: they move into the trash, and leave it after the grace period.
///
/// Safe at any time, from any number of processes, whatever is imported or mounted meanwhile.
#[derive(clap::Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// Only say what would go
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// How long what goes, and what a ref named before, can be had back, such as `10m` or `0s` [default: 10m]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub grace: Option<Duration>,
    /// Collect also when there is no ref, layer or mount at all: everything goes
    #[arg(long)]
    pub allow_no_roots: bool,
}

pub(super) fn run(context: &Context, args: &Args) -> Result<()> {
    let store = context.open()?;
    let grace = args.grace.unwrap_or(gc::GRACE);
    let options = Options { grace, dry_run: args.dry_run, allow_no_roots: args.allow_no_roots };
    let bar = bar(context.out);
    let report = gc::collect(&store, &options, &|progress| show(&bar, progress));
    bar.finish_and_clear();
    let report = report.doing(|| "collect garbage")?;
    let outcome = collect::outcome(&report);
    context.out.done(&outcome.result, || outcome.message.clone())?;
    if report.missing.is_empty() {
        return Ok(());
    }
    let missing: Vec<String> = report.missing.iter().take(5).map(ToString::to_string).collect();
    let error =
        Error::new(Exit::Corrupt, format!("{} objects in use are missing from the store", report.missing.len()));
    Err(error.because(missing.join(", ")).help("import their sources again; `cairnfs gc --json` lists all"))
}

fn bar(out: Output) -> ProgressBar {
    if !out.may_draw() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{prefix}  {wide_bar} {pos}/{len}  {rate}  {elapsed}, {eta} left");
    let rate = |state: &ProgressState, to: &mut dyn fmt::Write| {
        // a bar that can't be drawn isn't
        let _ = write!(to, "{:.0}/s", state.per_sec());
    };
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).with_key("rate", rate))
}

fn show(bar: &ProgressBar, progress: Progress) {
    let (phase, done, total) = match progress {
        Progress::Marking { done, total, .. } => ("marking", done, total),
        Progress::Listing { objects } => ("listing", objects, objects),
        Progress::Sweeping { done, total } => ("sweeping", done, total),
        Progress::Purging { done, total } => ("purging", done, total),
        Progress::Verifying { done, total } => ("verifying", done, total),
    };
    if bar.prefix() != phase {
        bar.set_prefix(phase);
        bar.reset();
    }
    bar.set_length(total);
    bar.set_position(done);
}
