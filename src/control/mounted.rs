//! The commands' backend: a mount of this process.

use super::backend::{Backend, Outcome};
use super::collect;
use super::holding::Holding;
use super::stats::{Figures, Identity, LayerFigures, resident_bytes};
use super::text::{duration, size};
use crate::format::RefName;
use crate::fuse::{ControlError, Metrics};
use crate::gc::{self, GcError};
use crate::layer::{Body, DataId, FileContent, LayerError};
use crate::snapshot::{self, SnapshotError};
use crate::store::{Course, ErrorClass, StoreError};
use crate::vfs::{Fs, VfsError};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::time::Duration;

/// A mount of this process, for its commands.
#[derive(Debug)]
pub struct Mount {
    holding: Arc<Holding>,
    metrics: Arc<Metrics>,
    identity: Identity,
    config: Value,
}

impl Mount {
    /// `config`: how it is mounted, for `config.json`.
    pub fn new(holding: Arc<Holding>, metrics: Arc<Metrics>, identity: Identity, config: Value) -> Self {
        Self { holding, metrics, identity, config }
    }
}

impl Backend for Mount {
    fn figures(&self) -> Figures {
        let fs = self.holding.fs();
        let layer = layer_figures(fs).unwrap_or_else(|error| {
            tracing::warn!(%error, "can't count what the layer holds");
            None
        });
        Figures {
            identity: self.identity.clone(),
            pid: std::process::id(),
            base: fs.base().manifest().totals,
            layer,
            counters: self.metrics.snapshot(),
            resident_bytes: resident_bytes(),
        }
    }

    fn config(&self) -> Value {
        self.config.clone()
    }

    fn diff(&self) -> Result<Vec<u8>, ControlError> {
        let fs = self.holding.fs();
        if fs.is_read_only() {
            return Ok(Vec::new());
        }
        let mut text = String::new();
        for change in snapshot::diff(fs).map_err(|error| of_snapshot(&error))? {
            // writing to a String can't fail
            let _ = writeln!(text, "{change}");
        }
        Ok(text.into_bytes())
    }

    fn gc(&self, dry_run: bool, grace: Option<Duration>) -> Result<Outcome, ControlError> {
        let options = gc::Options { dry_run, grace: grace.unwrap_or(gc::GRACE), ..gc::Options::default() };
        let report = gc::collect(self.holding.store(), &options, &|_| {});
        Ok(collect::outcome(&report.map_err(|error| of_gc(&error))?))
    }

    fn snapshot(&self, name: &RefName, course: &Arc<Course>) -> Result<Outcome, ControlError> {
        if self.holding.fs().is_read_only() {
            let message = "a read-only mount has no layer to take a snapshot of; mount with --layer or --tmpfs";
            return Err(ControlError::Refused(message.to_owned()));
        }
        let report = self.holding.snapshot_on_course(name, course).map_err(|error| of_snapshot(&error))?;
        Ok(Outcome { message: summary(&report), result: json!(report) })
    }

    fn sync(&self) -> Result<(), ControlError> {
        self.holding.fs().sync().map_err(|error| of_vfs(&error))
    }
}

/// A snapshot in one line for people.
pub fn summary(report: &snapshot::Report) -> String {
    let mut text = format!(
        "{} names {}: {} entries, {}; {} new blobs ({}), {} known already, {} new trees; held up for {}, {} in all",
        report.name,
        report.manifest.short(),
        report.entries,
        size(report.bytes),
        report.new_blobs,
        size(report.new_bytes),
        report.deduplicated,
        report.new_trees,
        duration(report.freeze),
        duration(report.duration),
    );
    if !report.being_written.is_empty() {
        text.push_str("; being written meanwhile: ");
        text.push_str(&report.being_written.join(", "));
    }
    text
}

/// Counts the layer's records: proportional to what changed.
fn layer_figures(fs: &Fs) -> Result<Option<LayerFigures>, LayerError> {
    let Some(layer) = fs.layer() else { return Ok(None) };
    let mut figures = LayerFigures::default();
    let mut files = Vec::new();
    layer.db().each_inode(|ino, record| {
        figures.inodes += 1;
        match record.body {
            Body::Dir { .. } => figures.dirty_directories += 1,
            Body::File { generation, content: FileContent::Data { .. } | FileContent::Sealed } => {
                files.push((DataId { ino, generation }, false));
            }
            Body::File { generation, content: FileContent::Partial(_) } => {
                files.push((DataId { ino, generation }, true));
            }
            _ => {}
        }
    })?;
    // a file that a change removes meanwhile counts nothing
    let bytes = |(id, partial): (DataId, bool)| {
        let data = layer.data().metadata(id).ok()?;
        // of partial content, what isn't the store's
        Some(if partial { data.len().min(data.blocks() * 512) } else { data.len() })
    };
    figures.bytes = files.into_iter().filter_map(bytes).sum();
    Ok(Some(figures))
}

fn of_store(error: &StoreError) -> ControlError {
    if matches!(error, StoreError::Stopped) {
        return ControlError::Cancelled(error.to_string());
    }
    if error.is_full() { ControlError::NoSpace(error.to_string()) } else { of_class(error.class(), error.to_string()) }
}

fn of_gc(error: &GcError) -> ControlError {
    if error.is_full() { ControlError::NoSpace(error.to_string()) } else { of_class(error.class(), error.to_string()) }
}

fn of_class(class: ErrorClass, message: String) -> ControlError {
    match class {
        ErrorClass::NotFound => ControlError::NotFound(message),
        ErrorClass::Refused => ControlError::Busy(message),
        ErrorClass::Corrupt => ControlError::Corrupt(message),
        ErrorClass::Failed => ControlError::Failed(message),
    }
}

fn of_vfs(error: &VfsError) -> ControlError {
    match error {
        VfsError::Store(error) => of_store(error),
        VfsError::ReadOnly => ControlError::Refused(error.to_string()),
        error if error.is_full() => ControlError::NoSpace(error.to_string()),
        VfsError::Layer(layer) if layer.is_damage() => ControlError::Corrupt(layer.to_string()),
        error => ControlError::Failed(error.to_string()),
    }
}

fn of_snapshot(error: &SnapshotError) -> ControlError {
    match error {
        SnapshotError::Store(error) => of_store(error),
        SnapshotError::Fs(error) => of_vfs(error),
        SnapshotError::Inconsistent { .. } => ControlError::Corrupt(error.to_string()),
        SnapshotError::Encode { .. } => ControlError::Failed(error.to_string()),
    }
}
