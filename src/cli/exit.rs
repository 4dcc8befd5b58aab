//! Exit codes: the one place that defines them.
//!
//! Every command uses [`Exit`], except `mount` and the mount(8) helper, which follow mount(8) by [`Exit::for_mount`].

use serde::{Deserialize, Serialize};
use std::process::ExitCode;

/// How a command ended. The serialised name is the `code` of `--json` errors.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// All that was asked for was done.
    Done,
    /// It was tried and failed.
    Failed,
    /// The machine can't do it: no `/dev/fuse`, no process to be had. As `Failed`, but told apart by mount(8).
    System,
    /// The command line is wrong.
    Usage,
    /// What was named isn't there.
    NotFound,
    /// Not now or not like this: busy, in use, guarded.
    Refused,
    /// Bytes in the store aren't what they should be.
    Corrupt,
    /// The reader of standard output went away: nothing is said, and the output isn't whole.
    Pipe,
}

impl Exit {
    /// The exit code of any command but `mount`.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed | Self::System | Self::Pipe => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Refused => 4,
            Self::Corrupt => 5,
        }
    }

    /// The exit code of `mount`, as mount(8) has it.
    pub const fn for_mount(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Usage => 1,
            Self::System => 2,
            Self::Failed | Self::NotFound | Self::Refused | Self::Corrupt | Self::Pipe => 32,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// The table for `--help` and the man pages.
pub const HELP: &str = "\
Exit codes:
  0  done
  1  failed
  2  usage: the command line is wrong
  3  not found: no such ref, layer, object or mount
  4  refused: busy, in use, or guarded
  5  corruption found
  `mount` follows mount(8): 1 usage, 2 system error, 32 mount failure";

/// The table of `mount` alone.
pub const MOUNT_HELP: &str = "\
Exit codes, as mount(8) has them:
  0  mounted, and answering
  1  usage: the command line is wrong
  2  system error: no /dev/fuse, no process or pipe to be had
  32 mount failure: every other reason, named on standard error";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_states_the_codes_that_are_returned() {
        for (exit, word) in [
            (Exit::Done, "done"),
            (Exit::Failed, "failed"),
            (Exit::Usage, "usage"),
            (Exit::NotFound, "not found"),
            (Exit::Refused, "refused"),
            (Exit::Corrupt, "corruption"),
        ] {
            assert!(HELP.contains(&format!("  {}  {word}", exit.code())), "{exit:?}");
        }
        for (exit, word) in [(Exit::Usage, " usage"), (Exit::System, " system"), (Exit::Failed, "mount failure")] {
            assert!(MOUNT_HELP.contains(&format!("  {} {word}", exit.for_mount())), "{exit:?}");
        }
    }
}
