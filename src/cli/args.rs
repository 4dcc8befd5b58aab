//! The command line: global options and the list of commands. Each command's own options stand in its own module.

use super::exit;
use super::*;
use clap::{ColorChoice, Parser, Subcommand};
use std::path::PathBuf;

const ABOUT: &str = "Mount manifests of a content-addressed store as root filesystems";

const LONG_ABOUT: &str = "\
cairnfs mounts manifests of a content-addressed store as root filesystems.

The base is immutable and shared by all who mount it; a writable layer holds what changed; a snapshot makes a new manifest \
of a layer; `.ctl` at the root of a mount shows figures and takes commands.";

const EXAMPLES: &str = "\
Examples:
  cairnfs init                                  make the store
  cairnfs import rootfs.tar.zst debian          a root filesystem into the store, as ref `debian`
  cairnfs mount debian /mnt                     read-only
  cairnfs mount debian /mnt --layer work        writable; the layer `work` keeps what changes
  cairnfs snapshot /mnt debian-tools            the layer's changes as a new manifest
  cat /mnt/.ctl/stats; echo gc > /mnt/.ctl/cmd  figures, and a collection, from inside
  cairnfs umount /mnt

`cairnfs COMMAND --help` explains each command with examples.";

/// The command line.
#[derive(Parser, Debug)]
#[command(name = "cairnfs", version, about = ABOUT, long_about = LONG_ABOUT, max_term_width = 110)]
#[command(after_long_help = format!("{EXAMPLES}\n\n{}", exit::HELP), propagate_version = true, disable_help_subcommand = true)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(clap::Args, Debug, Clone)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// The store [default: /var/lib/cairnfs for root, else $XDG_DATA_HOME/cairnfs or ~/.local/share/cairnfs]
    #[arg(long, global = true, env = "CAIRNFS_STORE", hide_env_values = true, value_name = "PATH")]
    pub store: Option<PathBuf>,
    /// Print one JSON document on standard output; errors as JSON on standard error
    #[arg(long, global = true)]
    pub json: bool,
    /// Say only what was asked for, and errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Log more to standard error: -v info, -vv debug, -vvv trace
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// What to log, such as `debug` or `warn,cairnfs::fuse=trace`
    #[arg(long, global = true, env = log::VARIABLE, hide_env_values = true, value_name = "FILTER")]
    pub log: Option<String>,
    /// Colour of messages
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", hide_possible_values = true)]
    pub color: ColorChoice,
}

/// The commands: one line each here; the long description is with each command's options.
#[derive(Subcommand, Debug)]
pub enum Command {
    #[command(about = "Make a store")]
    Init(init::Args),
    #[command(about = "Bring a directory or tar archive into the store")]
    Import(import::Args),
    #[command(about = "Write a manifest out as a directory or tar archive")]
    Export(export::Args),
    #[command(about = "Mount a manifest, read-only or with a writable layer")]
    Mount(mount::Args),
    #[command(about = "Unmount, and wait until everything is written")]
    Umount(umount::Args),
    #[command(about = "Make a new manifest of a layer")]
    Snapshot(snapshot::Args),
    #[command(about = "List, set, and take back refs")]
    Refs(refs::Args),
    #[command(about = "List layers")]
    Layers(layers::Args),
    #[command(about = "List mounts")]
    Mounts(mounts::Args),
    #[command(about = "Remove a ref or a layer")]
    Rm(rm::Args),
    #[command(about = "Describe a ref, manifest or layer")]
    Show(show::Args),
    #[command(about = "List a directory of a manifest")]
    Ls(ls::Args),
    #[command(about = "Print a file or object of the store")]
    Cat(cat::Args),
    #[command(about = "What a layer changed against its base")]
    Diff(diff::Args),
    #[command(about = "Check layers, and mend them")]
    Fsck(fsck::Args),
    #[command(about = "Collect garbage")]
    Gc(gc::Args),
    #[command(about = "The figures of a mount")]
    Stats(stats::Args),
    #[command(about = "Check what this machine can do, and say how to mend what it can't")]
    Doctor(doctor::Args),
    #[command(about = "Print a completion script for a shell")]
    Completions(generate::CompletionArgs),
    #[command(about = "Write the man pages into a directory")]
    Man(generate::ManArgs),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    /// Where standard output is no terminal, lines are broken at 100 columns: prose bears that, what stands in columns doesn't.
    #[test]
    fn what_stands_in_columns_is_not_broken() {
        let mut commands = vec![Cli::command()];
        while let Some(command) = commands.pop() {
            let help = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
            for line in help.lines().filter(|line| line.starts_with("  ")) {
                assert!(line.chars().count() <= 100, "{}: {line}", command.get_name());
            }
            commands.extend(command.get_subcommands().cloned());
        }
    }
}
