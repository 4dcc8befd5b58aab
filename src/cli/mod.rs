//! The `cairnfs` program: the only part that prints or exits.
//!
//! ```text
//! main ── args ── one module per command ── store, ingest, gc, snapshot, vfs, fuse
//!          │                 │
//!          │                 └── mounts ── control::client ── socket of a live mount
//!          └── exit codes, error and explain (what an error means and what to do), output (text or --json), log
//!
//! commands   cat diff doctor export fsck gc generate import init layers ls mount mounts refs rm show snapshot stats umount
//! shared     lookup: a path in a manifest · target: what `DIR|LAYER` means · progress: a bar · log_writer: where log lines go
//! ```
//! A command gets a [`context::Context`], returns [`error::Result`], and prints through [`output::Output`] alone.

mod args;
mod cat;
mod context;
mod diff;
mod doctor;
mod error;
mod exit;
mod explain;
mod export;
mod fsck;
mod gc;
mod generate;
mod import;
mod init;
mod layers;
mod log;
mod log_writer;
mod lookup;
mod ls;
mod mount;
mod mounts;
mod output;
mod progress;
mod refs;
mod rm;
mod show;
mod snapshot;
mod stats;
mod target;
mod umount;

use args::{Cli, Command};
use clap::Parser as _;
use context::Context;
use error::{Error, Result};
use exit::Exit;
use output::Output;
use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the program: parses the command line, does what it says, prints, and returns the exit code.
pub fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    if mount::helper::is_called(&args) {
        return mount::helper::main(&args);
    }
    match Cli::try_parse_from(&args) {
        Ok(cli) => execute(cli),
        Err(error) => misused(&args, &error),
    }
}

fn execute(cli: Cli) -> ExitCode {
    let context = Context::new(cli.global);
    let is_mount = matches!(cli.command, Command::Mount(_));
    let result = match cli.command {
        Command::Mount(args) => mount::run(&context, args),
        command => log::start(context.global.log.as_deref(), context.global.verbose, false)
            .and_then(|()| dispatch(&context, command)),
    };
    let exit = match result {
        Ok(()) => Exit::Done,
        Err(error) => {
            context.out.error(&error);
            error.exit
        }
    };
    if is_mount { exit.for_mount().into() } else { exit.into() }
}

fn dispatch(context: &Context, command: Command) -> Result<()> {
    match command {
        Command::Init(args) => init::run(context, &args),
        Command::Import(args) => import::run(context, &args),
        Command::Export(args) => export::run(context, &args),
        Command::Mount(args) => mount::run(context, args),
        Command::Umount(args) => umount::run(context, &args),
        Command::Snapshot(args) => snapshot::run(context, &args),
        Command::Refs(args) => refs::run(context, &args),
        Command::Layers(args) => layers::run(context, &args),
        Command::Mounts(args) => mounts::run(context, &args),
        Command::Rm(args) => rm::run(context, &args),
        Command::Show(args) => show::run(context, &args),
        Command::Ls(args) => ls::run(context, &args),
        Command::Cat(args) => cat::run(context, &args),
        Command::Diff(args) => diff::run(context, &args),
        Command::Fsck(args) => fsck::run(context, &args),
        Command::Gc(args) => gc::run(context, &args),
        Command::Stats(args) => stats::run(context, &args),
        Command::Doctor(args) => doctor::run(context, &args),
        Command::Completions(args) => generate::completions(context, &args),
        Command::Man(args) => generate::man(context, &args),
    }
}

/// A moment as RFC 3339 in UTC.
fn time_text(unix_ms: u64) -> String {
    let millis = i64::try_from(unix_ms).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(millis).map_or_else(|_| millis.to_string(), |time| time.to_string())
}

/// A wrong command line, or `--help` and `--version`, which the parser hands back the same way.
fn misused(args: &[OsString], error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // help that nobody reads to its end is no failure
        let _ = error.print();
        return Exit::Done.into();
    }
    let json = args.iter().any(|arg| arg == "--json");
    if json {
        let text = error.render().to_string();
        let text = text.trim().trim_start_matches("error: ");
        let (message, help) = text.split_once("\n\n").unwrap_or((text, ""));
        let mut told = Error::new(Exit::Usage, message);
        told.help = Some(help.trim().to_owned()).filter(|help| !help.is_empty());
        Output::new(true, false, clap::ColorChoice::Never).error(&told);
    } else {
        // nowhere is left to tell that standard error can't be written
        let _ = error.print();
    }
    if is_mount(args) { Exit::Usage.for_mount().into() } else { Exit::Usage.into() }
}

/// Whether a command line that can't be parsed is one of `mount`, which has exit codes of its own.
fn is_mount(args: &[OsString]) -> bool {
    use clap::CommandFactory as _;
    let lenient = Cli::command().ignore_errors(true).try_get_matches_from(args);
    lenient.is_ok_and(|matches| matches.subcommand_name() == Some("mount"))
}
