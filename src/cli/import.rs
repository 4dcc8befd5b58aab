//! `cairnfs import`

use super::context::Context;
use super::error::{Doing as _, Error, Result};
use super::exit::Exit;
use super::progress::Bar;
use crate::control::text::{duration, size};
use crate::format::RefName;
use crate::ingest::{self, Exclude, ImportOptions, Imported, Progress, Remember};
use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const EXAMPLES: &str = "\
Examples:
  cairnfs import ./rootfs debian                     a directory
  cairnfs import rootfs.tar.zst debian               an archive: .tar, .tar.gz, .tar.zst, .tar.xz
  curl -s https://... | cairnfs import - debian      an archive from standard input
  mmdebstrap bookworm - | cairnfs import - debian
  cairnfs import ./rootfs web/base --label project=web --created 2024-05-01T00:00:00Z

The same source with the same --created gives the same manifest, wherever and however often it is imported.";

/// Brings a directory or tar archive into the store, as a manifest that REF names.
///
/// Everything is kept: owners, modes with setuid, setgid and sticky, times in nanoseconds, extended attributes with capabilities and ACLs,
/// hard links, symbolic links, devices, fifos, sockets, empty directories, names in any encoding. What can't be read is an error that
/// names it, never skipped. The ref is set once all is on disk, or not at all.
#[derive(clap::Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// A directory, a tar archive, or `-` for an archive from standard input
    pub source: PathBuf,
    /// The ref to make or move
    #[arg(value_name = "REF")]
    pub reference: RefName,
    /// The manifest's time of creation, RFC 3339 [default: $SOURCE_DATE_EPOCH, else now]
    #[arg(long, value_name = "TIME")]
    pub created: Option<String>,
    /// A label of the manifest, such as `project=web`; may be given again
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    pub labels: Vec<(String, String)>,
    /// Threads that hash and store [default: one for each processor, at least two]
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// Leave this out: a path or pattern relative to the source; may be given again
    #[arg(long, value_name = "PATTERN")]
    pub exclude: Vec<String>,
    /// Take directories on other filesystems as empty
    #[arg(short = 'x', long)]
    pub one_file_system: bool,
    /// Read every file, also those that didn't change since the last import of this directory
    #[arg(long, conflicts_with = "no_cache")]
    pub rehash: bool,
    /// Read every file, and remember nothing of this import for the next one
    #[arg(long)]
    pub no_cache: bool,
    /// Allow an entry `.ctl` in the root; it shows only in mounts with `-o ctl=off`
    #[arg(long)]
    pub allow_ctl: bool,
    /// Take an archive without its end marker, which may be cut short between two files
    #[arg(long)]
    pub allow_missing_end: bool,
    /// Entries that an archive may hold [default: 50 million]
    #[arg(long, value_name = "N")]
    pub max_entries: Option<u64>,
}

fn label(text: &str) -> std::result::Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE".to_owned()),
    }
}

pub(super) fn run(context: &Context, args: &Args) -> Result<()> {
    let doing = || format!("import {} as `{}`", args.source.display(), args.reference);
    let mut options = ImportOptions::new(args.reference.clone());
    options.created_at = args.created.clone();
    options.labels = args.labels.iter().cloned().collect();
    options.threads = args.threads;
    options.one_file_system = args.one_file_system;
    options.allow_ctl = args.allow_ctl;
    options.allow_missing_end = args.allow_missing_end;
    options.remember = match (args.rehash, args.no_cache) {
        (true, _) => Remember::Renew,
        (_, true) => Remember::Nothing,
        _ => Remember::Use,
    };
    options.limits.entries = args.max_entries.unwrap_or(options.limits.entries);
    options.exclude =
        args.exclude.iter().map(|text| Exclude::new(text)).collect::<std::result::Result<_, _>>().doing(doing)?;
    let is_dir = is_dir(&args.source).map_err(|error| missing(&args.source, &error, &doing()))?;
    let store = context.open()?;
    let progress = Arc::new(Progress::default());
    let bar = Bar::follow(context.out, "importing", &progress, None);
    let made = if is_dir {
        ingest::import_dir(&store, &args.source, &options, &progress)
    } else if args.source == Path::new("-") {
        if io::stdin().is_terminal() {
            let error = Error::new(Exit::Usage, "no archive comes from a terminal");
            return Err(
                error.help(format!("pipe one in, as in `zcat rootfs.tar.gz | cairnfs import - {}`", args.reference))
            );
        }
        ingest::import_tar(&store, io::stdin().lock(), &options, &progress)
    } else {
        let file = File::open(&args.source).doing(doing)?;
        progress.set_input_total(file.metadata().map_or(0, |metadata| metadata.len()));
        ingest::import_tar(&store, file, &options, &progress)
    };
    drop(bar);
    let made = made.doing(doing)?;
    context.out.done(&made, || summary(&made))
}

fn is_dir(source: &Path) -> io::Result<bool> {
    Ok(source != Path::new("-") && std::fs::metadata(source)?.is_dir())
}

fn missing(source: &Path, error: &io::Error, doing: &str) -> Error {
    let told = Error::of(doing, error);
    match error.kind() {
        io::ErrorKind::NotFound => Error { exit: Exit::NotFound, ..told }.help(format!(
            "give a directory or archive that is there ({} isn't), or `-` for standard input",
            source.display()
        )),
        _ => told,
    }
}

fn summary(made: &Imported) -> String {
    let seconds = made.duration.as_secs_f64().max(0.001);
    format!(
        "{} names {}: {} entries, {} in {} files ({} new, {} known already, {} of them unread); {} stored; {} ({}/s)",
        made.name,
        made.manifest.short(),
        made.entries,
        size(made.bytes),
        made.regular_files,
        made.new_blobs,
        made.deduplicated,
        made.from_cache,
        size(made.new_bytes),
        duration(made.duration),
        size((made.bytes as f64 / seconds) as u64),
    )
}
