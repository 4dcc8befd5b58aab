//! The commands of a mount, and the one parser that `.ctl/cmd`, the socket and the command line share.
//!
//! ```text
//! gc [dry-run] [grace=DURATION]      snapshot NAME      cancel      sync      stats      config      diff      help
//! ```
//! A trailing `async` makes the write return at once; the result is read later.

use super::text::parse_duration;
use crate::format::RefName;
use crate::fuse::ControlError;
use std::time::Duration;

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Collect garbage of the mount's store.
    Gc {
        /// Only say what would go.
        dry_run: bool,
        /// How long collected objects stay in the trash; the store's own period when not given.
        grace: Option<Duration>,
    },
    /// Make a manifest of the layer, and a ref for it.
    Snapshot(RefName),
    /// Cancel the snapshot that is being taken.
    Cancel,
    /// Put all of the layer on disk.
    Sync,
    /// The mount's figures.
    Stats,
    /// How it is mounted.
    Config,
    /// Changes against the base.
    Diff,
    /// The list of commands.
    Help,
}

/// A command and how to wait for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What to do.
    pub command: Command,
    /// Return at once; the result is read later.
    pub detached: bool,
}

/// What each command does, for `help` and for errors.
pub const HELP: &[(&str, &str)] = &[
    ("gc", "collect garbage; objects leave the trash after the grace period"),
    ("gc dry-run", "say what a collection would remove"),
    ("gc grace=0s", "collect, with another grace period"),
    ("snapshot NAME", "make a manifest of the layer and point the ref NAME at it"),
    ("cancel", "cancel the snapshot that is being taken: nothing of it is published"),
    ("sync", "put all changes of the layer on disk"),
    ("stats", "the mount's figures"),
    ("config", "how it is mounted"),
    ("diff", "changes against the base"),
    ("help", "this list"),
];

impl Request {
    /// Parses one line; white space around and between words doesn't matter.
    pub fn parse(text: &[u8]) -> Result<Self, ControlError> {
        let text = std::str::from_utf8(text).map_err(|_| usage("a command is text in UTF-8"))?;
        let line = text.trim();
        if line.contains('\n') {
            return Err(usage("write one command at a time"));
        }
        let mut words: Vec<&str> = line.split_whitespace().collect();
        let detached = words.len() > 1 && words.last() == Some(&"async");
        if detached {
            words.pop();
        }
        let command = parse_words(&words)?;
        Ok(Self { command, detached })
    }
}

fn parse_words(words: &[&str]) -> Result<Command, ControlError> {
    let Some((&name, rest)) = words.split_first() else {
        return Err(usage(&format!("no command given; {}", known())));
    };
    match (name, rest) {
        ("gc", options) => parse_gc(options),
        ("snapshot", [name]) => Ok(Command::Snapshot(name.parse().map_err(|e| usage(&format!("{e}")))?)),
        ("snapshot", _) => Err(usage("`snapshot` takes one ref name, as in `snapshot web/base`")),
        ("cancel", []) => Ok(Command::Cancel),
        ("sync", []) => Ok(Command::Sync),
        ("stats", []) => Ok(Command::Stats),
        ("config", []) => Ok(Command::Config),
        ("diff", []) => Ok(Command::Diff),
        ("help", []) => Ok(Command::Help),
        ("cancel" | "sync" | "stats" | "config" | "diff" | "help", [extra, ..]) => {
            Err(usage(&format!("`{name}` takes no `{}`", extra.escape_debug())))
        }
        _ => {
            let shown: String = name.chars().take(SHOWN_MAX).collect();
            Err(usage(&format!("unknown command `{}`; {}", shown.escape_debug(), known())))
        }
    }
}

/// Characters of a command that isn't one that its error repeats.
const SHOWN_MAX: usize = 80;

fn parse_gc(options: &[&str]) -> Result<Command, ControlError> {
    let mut dry_run = false;
    let mut grace = None;
    for option in options {
        match option.split_once('=') {
            None if *option == "dry-run" => dry_run = true,
            Some(("grace", text)) => grace = Some(parse_duration(text).map_err(|e| usage(&e.to_string()))?),
            _ => {
                let option = option.escape_debug();
                return Err(usage(&format!("`gc` doesn't know `{option}`; it takes `dry-run` and `grace=10m`")));
            }
        }
    }
    Ok(Command::Gc { dry_run, grace })
}

fn usage(message: &str) -> ControlError {
    ControlError::Usage(message.to_owned())
}

fn known() -> String {
    let names: Vec<String> = HELP.iter().map(|(form, _)| format!("`{form}`")).collect();
    format!("there are {}, each also with a trailing `async`", names.join(", "))
}

/// The text of `.ctl/help` and of the `help` command.
pub fn help_text() -> String {
    let mut text = String::from("Write a command to `.ctl/cmd`; read `.ctl/cmd` for the last result as JSON.\n\n");
    for (form, what) in HELP {
        text.push_str(&format!("  {form:<16}{what}\n"));
    }
    text.push_str(
        "\nA trailing `async` returns at once. A command that fails makes the write fail: EINVAL for a bad command, ENOENT for \
         what isn't there,\nEBUSY when it can't be done now, ECANCELED when it was cancelled, EROFS on a read-only mount, ENOSPC without room on the disk, EIO otherwise; the message is in `.ctl/cmd`.\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Request, String> {
        Request::parse(text.as_bytes()).map_err(|e| e.to_string())
    }

    #[test]
    fn every_listed_form_parses_and_can_be_detached() {
        for (form, _) in HELP {
            assert!(!parse(form).expect(form).detached);
            assert!(parse(&format!(" {form}  async\n")).expect(form).detached);
        }
    }

    #[test]
    fn options_are_understood() {
        let gc = |dry_run, grace| Ok(Request { command: Command::Gc { dry_run, grace }, detached: false });
        assert_eq!(parse("gc\n"), gc(false, None));
        assert_eq!(parse("gc dry-run grace=0s"), gc(true, Some(Duration::ZERO)));
        assert_eq!(
            parse("snapshot web/base"),
            Ok(Request { command: Command::Snapshot("web/base".parse().unwrap()), detached: false })
        );
    }

    #[test]
    fn bad_commands_say_what_there_is() {
        for (bad, says) in [
            ("", "no command"),
            ("async", "unknown command"),
            ("retention", "`gc dry-run`"),
            ("gc soon", "grace=10m"),
            ("gc grace=soon", "duration"),
            ("snapshot", "one ref name"),
            ("snapshot ../x", "ref name"),
            ("sync now", "takes no `now`"),
            ("sync\ngc", "one command"),
        ] {
            let message = parse(bad).expect_err(bad);
            assert!(message.contains(says), "{bad}: {message}");
        }
        assert!(Request::parse(b"\xff").is_err());
    }
}
