//! The answer to a command, as `.ctl/cmd` shows it and the socket sends it.
//!
//! ```text
//! {"state":"done","command":"gc","ok":true,"message":"...","result":{...},"duration_seconds":0.012}
//! {"state":"done","command":"nope","ok":false,"code":"usage","message":"unknown command ..."}
//! {"state":"running","command":"gc async"}     {"state":"none"}
//! ```

use crate::fuse::ControlError;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The answer to a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Reply {
    /// No command was given yet.
    None,
    /// A detached command is under way.
    Running {
        /// The line that was written.
        command: String,
    },
    /// A command has ended.
    Done(Done),
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// The line that was written.
    pub command: String,
    /// Whether it did what it should.
    pub ok: bool,
    /// Which kind of failure.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub code: Option<Failure>,
    /// One line for people.
    pub message: String,
    /// The report of a command that went well.
    #[serde(skip_serializing_if = "Value::is_null", default)]
    pub result: Value,
    /// How long it took, in seconds.
    pub duration_seconds: f64,
}

/// Which kind of failure; each is a [`ControlError`] by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// Not a command, or bad arguments.
    Usage,
    /// What it names isn't there.
    NotFound,
    /// Can't be done now.
    Busy,
    /// Can't be done on this mount.
    Refused,
    /// It was told to stop.
    Cancelled,
    /// No room on the disk.
    NoSpace,
    /// Something is missing or damaged.
    Corrupt,
    /// Tried and failed.
    Failed,
}

impl From<&ControlError> for Failure {
    fn from(error: &ControlError) -> Self {
        match error {
            ControlError::Usage(_) => Self::Usage,
            ControlError::NotFound(_) => Self::NotFound,
            ControlError::Busy(_) => Self::Busy,
            ControlError::Refused(_) => Self::Refused,
            ControlError::Cancelled(_) => Self::Cancelled,
            ControlError::NoSpace(_) => Self::NoSpace,
            ControlError::Corrupt(_) => Self::Corrupt,
            ControlError::Failed(_) => Self::Failed,
        }
    }
}

impl Reply {
    /// One line of JSON without the line end.
    pub fn line(&self) -> String {
        serde_json::to_string(self).expect("a reply has string keys and finite numbers")
    }
}
