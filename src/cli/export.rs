//! `cairnfs export`

use super::context::Context;
use super::error::{Doing as _, Error, Result};
use super::exit::Exit;
use super::progress::Bar;
use crate::control::text::{escape_path, size};
use crate::format::{Digest, Manifest};
use crate::ingest::tar::Compression;
use crate::ingest::{self, ExportOptions, Progress};
use crate::store::Store;
use serde_json::json;
use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const EXAMPLES: &str = "\
Examples:
  cairnfs export debian ./rootfs             a directory, made when it isn't there
  cairnfs export debian rootfs.tar.zst       an archive: .tar, .tar.gz, .tar.zst, .tar.xz
  cairnfs export debian - |
    ssh host 'tar -xpC /srv/rootfs --numeric-owner --xattrs --xattrs-include=*'

An archive's file appears whole, or not at all. What was exported imports as the same manifest again, times given.";

/// Writes a manifest out, as a directory or tar archive, with all that it holds.
///
/// Owners, modes, times in nanoseconds, extended attributes, hard links, devices and holes are restored. What can't be restored for want of
/// privilege is named, and the command fails.
#[derive(clap::Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// A ref or digest
    #[arg(value_name = "REF|DIGEST")]
    pub reference: String,
    /// A directory, an archive's file, or `-` for a tar archive on standard output
    pub target: PathBuf,
    /// Write into a directory that isn't empty, or over a file: what is in the way is replaced, the rest stays
    #[arg(long)]
    pub force: bool,
    /// Leave out owners: everything in a directory belongs to you
    #[arg(long)]
    pub no_owners: bool,
}

/// What kind of target a name means.
enum Shape {
    Directory,
    Archive(Compression),
    Stdout,
}

pub(super) fn run(context: &Context, args: &Args) -> Result<()> {
    let doing = || format!("export `{}` to {}", args.reference, args.target.display());
    let shape = shape(&args.target);
    if matches!(shape, Shape::Stdout) && io::stdout().is_terminal() {
        let error = Error::new(Exit::Usage, "an archive isn't for a terminal to show");
        return Err(error.help("send it into a file or to a program, as in `cairnfs export REF - | tar -t`"));
    }
    let store = context.open()?;
    let digest = store.resolve(&args.reference).doing(doing)?;
    // a collection meanwhile keeps all that is still to be read
    let _lease = store.lease("export", &[digest]).doing(doing)?;
    let manifest = store.read_manifest(digest).doing(doing)?;
    let progress = Arc::new(Progress::default());
    let bar = Bar::follow(context.out, "exporting", &progress, Some(manifest.totals.bytes));
    let done = match shape {
        Shape::Directory => {
            let options = ExportOptions { force: args.force, owners: !args.no_owners };
            ingest::export_dir(&store, digest, &args.target, &options, &progress).doing(doing)
        }
        Shape::Archive(compression) => archive(&store, digest, args, compression, &progress),
        Shape::Stdout => {
            ingest::export_tar(&store, digest, io::stdout().lock(), Compression::None, &progress).doing(doing)
        }
    };
    drop(bar);
    done?;
    match shape {
        Shape::Stdout => Ok(()),
        _ => context.out.done(&value(digest, &manifest, &args.target), || {
            let totals = manifest.totals;
            format!(
                "{} is in {}: {} entries, {}",
                args.reference,
                args.target.display(),
                totals.entries,
                size(totals.bytes)
            )
        }),
    }
}

fn value(digest: Digest, manifest: &Manifest, target: &Path) -> serde_json::Value {
    json!({
        "manifest": digest,
        "target": escape_path(target),
        "entries": manifest.totals.entries,
        "files": manifest.totals.files,
        "bytes": manifest.totals.bytes,
    })
}

fn shape(target: &Path) -> Shape {
    const ENDINGS: &[(&str, Compression)] = &[
        (".tar", Compression::None),
        (".tar.gz", Compression::Gzip),
        (".tgz", Compression::Gzip),
        (".tar.zst", Compression::Zstd),
        (".tzst", Compression::Zstd),
        (".tar.xz", Compression::Xz),
        (".txz", Compression::Xz),
    ];
    let name = target.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    match ENDINGS.iter().find(|(ending, _)| name.ends_with(ending)) {
        _ if target == Path::new("-") => Shape::Stdout,
        Some((_, compression)) if !target.is_dir() => Shape::Archive(*compression),
        _ => Shape::Directory,
    }
}

/// Writes the archive beside its place and renames it when it is whole; into a device or fifo it is written as it comes.
fn archive(store: &Store, digest: Digest, args: &Args, compression: Compression, progress: &Progress) -> Result<()> {
    let target = &args.target;
    let doing = || format!("export `{}` to {}", args.reference, target.display());
    match std::fs::metadata(target) {
        Ok(there) if !there.is_file() => {
            let file = File::options().write(true).open(target).doing(doing)?;
            return ingest::export_tar(store, digest, file, compression, progress).doing(doing);
        }
        Ok(_) if !args.force => {
            let error = Error::new(Exit::Refused, format!("can't {}", doing())).because("the file exists");
            return Err(error.help("give another name, or --force to replace it"));
        }
        _ => {}
    }
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let new =
        tempfile::Builder::new().prefix(".cairnfs-export-").permissions(ordinary()).tempfile_in(folder).doing(doing)?;
    ingest::export_tar(store, digest, new.as_file(), compression, progress).doing(doing)?;
    new.as_file().sync_all().doing(doing)?;
    new.persist(target).map_err(|failed| failed.error).doing(doing)?;
    Ok(())
}

/// What a file made by a shell has, before the umask.
fn ordinary() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o666)
}
