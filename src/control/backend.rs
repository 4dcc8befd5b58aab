//! What the commands act on: the seam between control and the mounted filesystem.

use super::stats::Figures;
use crate::format::RefName;
use crate::fuse::ControlError;
use crate::store::Course;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// A mount, as its commands see it. Implementations never touch the mount's own mountpoint: a request to it from the daemon would wait
/// for the daemon.
pub trait Backend: Send + Sync + 'static {
    /// Figures of this moment.
    fn figures(&self) -> Figures;
    /// How it is mounted.
    fn config(&self) -> Value;
    /// Changes against the base, `A`/`M`/`D`, a space and the escaped path, one a line.
    fn diff(&self) -> Result<Vec<u8>, ControlError>;
    /// Collects garbage; message for people, and the report.
    fn gc(&self, dry_run: bool, grace: Option<Duration>) -> Result<Outcome, ControlError>;
    /// Makes a manifest of the layer and points `name` at it, unless `course` is stopped before.
    fn snapshot(&self, name: &RefName, course: &Arc<Course>) -> Result<Outcome, ControlError>;
    /// Puts the layer on disk.
    fn sync(&self) -> Result<(), ControlError>;
}

/// What a command that went well has to say.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// One line for people.
    pub message: String,
    /// The report.
    pub result: Value,
}
