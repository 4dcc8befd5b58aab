//! `cairnfs completions` and `cairnfs man`: made from the same definition as the command line itself.

use super::args::Cli;
use super::context::Context;
use super::error::{Doing as _, Result};
use clap::CommandFactory as _;
use serde_json::json;
use std::path::PathBuf;

const COMPLETION_EXAMPLES: &str = "\
Examples:
  cairnfs completions bash > /usr/share/bash-completion/completions/cairnfs
  cairnfs completions zsh > \"${fpath[1]}/_cairnfs\"
  cairnfs completions fish > ~/.config/fish/completions/cairnfs.fish";

/// Prints a completion script for a shell.
#[derive(clap::Args, Debug)]
#[command(after_long_help = COMPLETION_EXAMPLES)]
pub struct CompletionArgs {
    /// Which shell
    pub shell: clap_complete::Shell,
}

/// Writes the man pages, one for each command.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:\n  cairnfs man /usr/share/man/man1")]
pub struct ManArgs {
    /// Where to; made when it isn't there
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
}

pub(super) fn completions(context: &Context, args: &CompletionArgs) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "cairnfs", &mut script);
    context.out.raw(&script)
}

pub(super) fn man(context: &Context, args: &ManArgs) -> Result<()> {
    let doing = || format!("write the man pages into {}", args.dir.display());
    std::fs::create_dir_all(&args.dir).doing(doing)?;
    clap_mangen::generate_to(Cli::command(), &args.dir).doing(doing)?;
    let pages = pages(&args.dir);
    let text = format!("{} pages in {}", pages.len(), args.dir.display());
    context.out.done(&json!({ "pages": pages }), || text)
}

fn pages(dir: &std::path::Path) -> Vec<String> {
    let names = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut pages: Vec<String> = names
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with("cairnfs") && name.ends_with(".1"))
        .collect();
    pages.sort();
    pages
}
