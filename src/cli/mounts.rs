//! `cairnfs mounts`, and finding the mount that a path or a layer name means.

use super::context::Context;
use super::error::{Doing as _, Error, Result};
use super::exit::Exit;
use super::explain::split;
use super::output::Table;
use crate::control::client::{self, AskError};
use crate::control::reply::{Done, Failure};
use crate::control::text::escape_path;
use crate::format::LayerName;
use crate::fuse;
use crate::store::{MountInfo, MountRecord, Store};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  cairnfs mounts              where, what, which layer, which process
  cairnfs mounts --json       the same for scripts

A mount is `dead` when its process has gone without unmounting; `cairnfs umount DIR` clears it away, and so does mounting there again.
`findmnt -t fuse.cairnfs` shows the mounts of all stores.";

/// Lists the mounts of the store.
///
/// A live mount holds a lock on its record; no process number and no clock decides whether it lives.
#[derive(clap::Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {}

pub(super) fn run(context: &Context, _: &Args) -> Result<()> {
    let all = list(&context.open()?)?;
    let rows: Vec<Value> = all.iter().map(value).collect();
    context.out.report(&json!({ "mounts": rows }), || {
        let mut table = Table::new(&["MOUNTPOINT", "REF", "MODE", "LAYER", ">PID", "SINCE", "STATE"]);
        for found in &all {
            let record = &found.record;
            table.row([
                escape_path(&record.mountpoint),
                record.reference.clone(),
                mode(record).into(),
                record.layer.as_ref().map_or_else(|| "-".into(), ToString::to_string),
                record.pid.to_string(),
                since(record),
                state(found).into(),
            ]);
        }
        table.text("no mounts")
    })
}

fn state(found: &MountInfo) -> &'static str {
    if found.alive { "live" } else { "dead" }
}

/// A mount as JSON.
pub(super) fn value(found: &MountInfo) -> Value {
    let record = &found.record;
    json!({
        "mountpoint": escape_path(&record.mountpoint),
        "ref": record.reference,
        "manifest": record.manifest,
        "mode": mode(record),
        "layer": record.layer,
        "pid": record.pid,
        "mounted_at": since(record),
        "state": state(found),
        "socket": escape_path(&record.socket),
        "log": escape_path(&record.log),
    })
}

/// Where writes go: nowhere, to a layer, to memory.
pub(super) fn mode(record: &MountRecord) -> &'static str {
    match (&record.layer, record.tmpfs) {
        (Some(_), _) => "layer",
        (None, true) => "tmpfs",
        (None, false) => "ro",
    }
}

/// When it was mounted, RFC 3339.
pub(super) fn since(record: &MountRecord) -> String {
    super::time_text(record.started_unix_ms)
}

/// All mounts of the store, live and dead.
pub(super) fn list(store: &Store) -> Result<Vec<MountInfo>> {
    store.mounts().doing(|| "list the mounts")
}

/// The live mount at `dir`; an error that says what is there instead.
pub(super) fn at(context: &Context, dir: &Path) -> Result<MountInfo> {
    let path = resolve(dir)?;
    match find_at(&context.open()?, &path)? {
        Some(found) if found.alive => Ok(found),
        Some(found) => {
            let shown = path.display();
            let error = Error::new(Exit::Failed, format!("the mount on {shown} is dead"))
                .because(format!("its process {} has gone without unmounting", found.record.pid));
            Err(error.help(format!(
                "mount it there again, or clear it away with `cairnfs umount {shown}`: nothing acknowledged is lost"
            )))
        }
        None => Err(nothing_at(context, &path)),
    }
}

/// The record of the last mount at `path`, dead or alive.
pub(super) fn find_at(store: &Store, path: &Path) -> Result<Option<MountInfo>> {
    let all = list(store)?;
    Ok(all.into_iter().filter(|found| found.record.mountpoint == path).max_by_key(|found| found.alive))
}

/// The live mount that has `layer`.
pub(super) fn of_layer(store: &Store, layer: &LayerName) -> Result<Option<MountInfo>> {
    let all = list(store)?;
    Ok(all.into_iter().find(|found| found.alive && found.record.layer.as_ref() == Some(layer)))
}

/// Whether cairnfs is mounted at `path` in this mount namespace; the mount isn't touched by asking.
pub(super) fn is_mounted(path: &Path) -> std::io::Result<bool> {
    Ok(fuse::mounts()?.iter().any(|mount| mount.mountpoint == path))
}

/// `path` made absolute and free of links. The last part may be a dead mount, which must not be touched: asking whether a mountpoint is a link
/// asks nothing of what is mounted there.
fn absolute(path: &Path) -> std::io::Result<PathBuf> {
    const LINKS_MAX: usize = 40;
    let mut whole = std::path::absolute(path)?;
    for _ in 0..LINKS_MAX {
        let (parent, name) = match (whole.parent(), whole.file_name()) {
            (Some(parent), Some(name)) if name != ".." => (parent.canonicalize()?, name),
            _ => return whole.canonicalize(),
        };
        let place = parent.join(name);
        match std::fs::read_link(&place) {
            Ok(target) => whole = parent.join(target),
            Err(_) => return Ok(place),
        }
    }
    Err(std::io::Error::other("too many symbolic links"))
}

/// `dir` as records and the kernel's table name it.
pub(super) fn resolve(dir: &Path) -> Result<PathBuf> {
    absolute(dir).doing(|| format!("find {}", dir.display()))
}

fn nothing_at(context: &Context, path: &Path) -> Error {
    let shown = path.display();
    let error = Error::new(Exit::NotFound, format!("can't control {shown}"));
    match is_mounted(path) {
        Ok(true) => error
            .because(format!("it is a mount of another store than {}", context.store_path().display()))
            .help(format!("name its store with --store; `cat {shown}/.ctl/config.json` tells it")),
        _ => error.because("no cairnfs is mounted there").help("`cairnfs mounts` lists the mounts of the store"),
    }
}

/// Has a live mount's daemon run a command.
pub(super) fn ask(found: &MountInfo, command: &str, doing: &str) -> Result<Done> {
    client::ask(&found.record.socket, command).map_err(|error| asked(&error, doing, found))
}

fn asked(error: &AskError, doing: &str, found: &MountInfo) -> Error {
    let exit = match error.code {
        Some(Failure::Usage) => Exit::Usage,
        Some(Failure::NotFound) => Exit::NotFound,
        Some(Failure::Busy | Failure::Refused) => Exit::Refused,
        Some(Failure::Corrupt) => Exit::Corrupt,
        Some(Failure::NoSpace | Failure::Failed | Failure::Cancelled) | None => Exit::Failed,
    };
    let (why, remedy) = split(&error.message);
    let told = Error { help: remedy, ..Error::new(exit, format!("can't {doing}")).because(why) };
    match error.code {
        Some(_) => told,
        None => told.help(format!(
            "the mount's process is {}; `cairnfs mounts` tells whether it lives; only its user and root may control it",
            found.record.pid
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_absolute_without_touching_the_last_part() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap();
        std::os::unix::fs::symlink(&real, real.join("link")).unwrap();
        assert_eq!(absolute(&real.join("link/gone")).unwrap(), real.join("gone"));
        assert_eq!(absolute(&real.join("link")).unwrap(), real);
        std::os::unix::fs::symlink("loop", real.join("loop")).unwrap();
        assert!(absolute(&real.join("loop")).is_err());
        assert!(absolute(&real.join("x/../link")).is_err());
        assert_eq!(absolute(&real.join("link/..")).unwrap(), real.parent().unwrap());
        assert_eq!(absolute(Path::new("/")).unwrap(), Path::new("/"));
    }
}
