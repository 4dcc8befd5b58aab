//! A backend for tests: collections wait at a gate, snapshots fail, `long` once it is stopped.

use super::backend::{Backend, Outcome};
use super::stats::{Figures, Identity};
use crate::format::{RefName, Totals};
use crate::fuse::{ControlError, Metrics};
use crate::locks::Mutex;
use crate::store::Course;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

#[derive(Default)]
pub(super) struct Fake {
    pub gate: Mutex<()>,
}

impl Backend for Fake {
    fn figures(&self) -> Figures {
        Figures {
            identity: Identity::default(),
            pid: 42,
            base: Totals::default(),
            layer: None,
            counters: Metrics::default().snapshot(),
            resident_bytes: 0,
        }
    }
    fn config(&self) -> Value {
        json!({ "ref": "debian" })
    }
    fn diff(&self) -> Result<Vec<u8>, ControlError> {
        Ok(b"A new\nD old\n".to_vec())
    }
    fn gc(&self, dry_run: bool, _grace: Option<Duration>) -> Result<Outcome, ControlError> {
        let _open = self.gate.lock();
        Ok(Outcome { message: "nothing to collect".into(), result: json!({ "dry_run": dry_run }) })
    }
    fn snapshot(&self, name: &RefName, course: &Arc<Course>) -> Result<Outcome, ControlError> {
        assert_ne!(name.as_str(), "panic");
        while name.as_str() == "long" {
            course.step(0).map_err(|stopped| ControlError::Cancelled(stopped.to_string()))?;
            std::thread::yield_now();
        }
        Err(ControlError::Refused("a read-only mount has no layer".into()))
    }
    fn sync(&self) -> Result<(), ControlError> {
        Ok(())
    }
}
