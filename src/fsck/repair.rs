//! Does what was planned.
//!
//! 1. Files that nothing names go to `lost/`, before a recovery could remove them; empty data files are made for content that is lost.
//! 2. All changes of records are one batch, put on disk: it happens whole or not at all, so a repair that is cut off is begun again.
//! 3. A layer that wasn't closed is recovered, as opening it always does, and closed.

use super::FsckError;
use super::content::file_text;
use super::plan::Plan;
use super::problem::Report;
use super::state::State;
use crate::layer::{DataDir, DataId, Inspected, Layer, Space};
use std::fs;
use std::path::{Path, PathBuf};

/// Makes the layer in folder `layer` what `state` says, as far as `plan` changed it.
pub(super) fn repair(layer: &Path, state: &State, plan: &Plan, report: &mut Report) -> Result<(), FsckError> {
    let data = DataDir::open(layer.join("data"))?;
    for id in &plan.set_aside {
        report.set_aside.push(set_aside(layer, &data, *id)?);
    }
    for id in &plan.create {
        data.create(*id)?;
        data.sync_names(&[*id])?;
    }
    if plan.changes_records() || state.was_cut {
        write(layer, state, plan)?;
    }
    if !state.closed {
        Layer::open(layer)?.close()?;
    }
    report.repaired = true;
    Ok(())
}

fn write(layer: &Path, state: &State, plan: &Plan) -> Result<(), FsckError> {
    let inspected = Inspected::open(layer, layer)?;
    let mut batch = inspected.db().batch();
    for ino in &plan.inodes {
        match state.inodes.get(ino) {
            Some(record) => batch.put_inode(*ino, record),
            None => batch.remove_inode(*ino),
        }
    }
    for (dir, name) in &plan.names {
        match state.name(*dir, name) {
            Some(record) => batch.put_name(*dir, name.as_bytes(), record),
            None => batch.remove_name(*dir, name.as_bytes()),
        }
    }
    for (space, key) in &plan.keys {
        batch.remove_raw(*space, key);
    }
    for (key, chunk) in &plan.chunks {
        batch.put_raw(Space::Meta, key, &chunk.encode());
    }
    if plan.reserve {
        Inspected::put_reserved(&mut batch, state.reserved);
    }
    batch.commit()?;
    inspected.db().persist()?;
    inspected.accept();
    Ok(())
}

/// Moves a data file to `lost/`, and says where. What is there under its name stays.
fn set_aside(layer: &Path, data: &DataDir, id: DataId) -> Result<PathBuf, FsckError> {
    let lost = layer.join("lost");
    fs::create_dir_all(&lost).map_err(FsckError::io("create", &lost))?;
    let from = data.file_path(id);
    let name = file_text(id).replace('/', "-");
    let numbered = (1u64..).map(|number| format!("{name}.{number}"));
    for name in [name.clone()].into_iter().chain(numbered) {
        let to = lost.join(name);
        match crate::sys::rename::no_replace(&from, &to) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            moved => {
                moved.map_err(FsckError::io("set aside", &from))?;
                let synced = fs::File::open(&lost).and_then(|folder| folder.sync_all());
                synced.map_err(FsckError::io("sync", &lost))?;
                return Ok(to);
            }
        }
    }
    Ok(lost)
}
