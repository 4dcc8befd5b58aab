//! `cairnfs mounts`, and finding the mount that a path or a layer name means.

use super::context::Context;
use super::error::{Doing as _, Error, Result};
use super::exit::Exit;
use super::output::Table;
use crate::control::client::{self, AskError};
use crate::control::reply::{Done, Failure};
use crate::control::{mountinfo, record, text};
use serde_json::{Value, json};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  cairnfs mounts              where, what, which layer, which process
  cairnfs mounts --json       the same for scripts

A mount is `dead` when its process has gone without unmounting; `cairnfs umount DIR` clears it away.
`findmnt -t fuse.cairnfs` shows the mounts of all stores.";

/// Lists the mounts of the store.
///
/// A live mount holds a lock on its record; no process number and no clock decides whether it lives.
#[derive(clap::Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {}

pub(super) fn run(context: &Context, _: &Args) -> Result<()> {
    let all = list(context)?;
    let rows: Vec<Value> = all.iter().map(value).collect();
    context.out.report(&json!({ "mounts": rows }), || {
        let mut table = Table::new(&["MOUNTPOINT", "REF", "MODE", "LAYER", ">PID", "SINCE", "STATE"]);
        for found in &all {
            let record = &found.record;
            table.row([
                text::escape(record.mountpoint.as_os_str().as_bytes()),
                record.reference.clone(),
                record.mode.clone(),
                record.layer.clone().unwrap_or_else(|| "-".into()),
                record.pid.to_string(),
                record.since.clone(),
                state(found).into(),
            ]);
        }
        table.text("no mounts")
    })
}

fn state(found: &record::Found) -> &'static str {
    if found.alive { "live" } else { "dead" }
}

fn value(found: &record::Found) -> Value {
    let mut value = json!(found.record);
    value["state"] = state(found).into();
    value["socket"] = text::escape(found.files.socket.as_os_str().as_bytes()).into();
    value
}

/// All mounts of the store, live and dead.
pub(super) fn list(context: &Context) -> Result<Vec<record::Found>> {
    let store = context.open()?;
    record::list(&store.run_dir()).doing(|| "list the mounts")
}

/// The live mount at `dir`; an error that says what is there instead.
pub(super) fn at(context: &Context, dir: &Path) -> Result<record::Found> {
    let path = resolve(dir)?;
    match find_at(context, &path)? {
        Some(found) if found.alive => Ok(found),
        Some(found) => {
            let shown = path.display();
            let error = Error::new(Exit::Failed, format!("the mount on {shown} is dead"))
                .because(format!("its process {} has gone without unmounting", found.record.pid));
            Err(error.help(format!("`cairnfs umount {shown}` clears it away; then mount again: nothing acknowledged is lost")))
        }
        None => Err(nothing_at(context, &path)),
    }
}

/// The record of the last mount at `path`, dead or alive.
pub(super) fn find_at(context: &Context, path: &Path) -> Result<Option<record::Found>> {
    let all = list(context)?;
    Ok(all.into_iter().filter(|found| found.record.mountpoint == path).max_by_key(|found| found.alive))
}

/// The live mount that has `layer`.
pub(super) fn of_layer(context: &Context, layer: &str) -> Result<Option<record::Found>> {
    let all = list(context)?;
    Ok(all.into_iter().find(|found| found.alive && found.record.layer.as_deref() == Some(layer)))
}

/// `dir` as records and mountinfo name it.
pub(super) fn resolve(dir: &Path) -> Result<PathBuf> {
    mountinfo::absolute(dir).doing(|| format!("find {}", dir.display()))
}

fn nothing_at(context: &Context, path: &Path) -> Error {
    let shown = path.display();
    let error = Error::new(Exit::NotFound, format!("can't control {shown}"));
    match mountinfo::at(path).ok().flatten() {
        Some(mount) if mount.fs_type == mountinfo::FS_TYPE => error
            .because(format!("it is a mount of another store than {}", context.store_path().display()))
            .help(format!("name its store with --store; `cat {shown}/.ctl/config.json` tells it")),
        Some(mount) => error
            .because(format!("{} is mounted there, not cairnfs", mount.fs_type))
            .help("`cairnfs mounts` lists the mounts of the store"),
        None => error.because("nothing is mounted there").help("`cairnfs mounts` lists the mounts of the store"),
    }
}

/// Has a live mount's daemon run a command.
pub(super) fn ask(found: &record::Found, command: &str, doing: &str) -> Result<Done> {
    client::ask(&found.files.socket, command).map_err(|error| asked(&error, doing, found))
}

fn asked(error: &AskError, doing: &str, found: &record::Found) -> Error {
    let exit = match error.code {
        Some(Failure::Usage) => Exit::Usage,
        Some(Failure::NotFound) => Exit::NotFound,
        Some(Failure::Busy | Failure::Refused) => Exit::Refused,
        Some(Failure::Failed) | None => Exit::Failed,
    };
    let told = Error::new(exit, format!("can't {doing}")).because(error.message.clone());
    match error.code {
        Some(_) => told,
        None => told.help(format!(
            "the mount's process is {}; `cairnfs mounts` tells whether it lives; only its user and root may control it",
            found.record.pid
        )),
    }
}
