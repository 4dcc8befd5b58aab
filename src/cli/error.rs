//! What a failed command tells: what, why, and what to do.
//!
//! ```text
//! cairnfs: can't mount `debain` on /mnt: no ref `debain` in /var/lib/cairnfs
//! help: did you mean `debian`? `cairnfs refs` lists all
//! ```
//! With `--json`: `{"error":{"code","message","causes","help"}}`. Both go to standard error.
//! How an error of the library becomes an exit code and a remedy is in `explain`.

use super::exit::Exit;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A failure of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// Which kind; decides the exit code.
    #[serde(rename = "code")]
    pub exit: Exit,
    /// What couldn't be done.
    pub message: String,
    /// Why not, outermost first.
    pub causes: Vec<String>,
    /// What to do.
    pub help: Option<String>,
}

/// The result of a command or a part of one.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error without a cause beneath.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), causes: Vec::new(), help: None }
    }

    /// With what to do.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// With one more cause.
    pub fn because(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(cause.into());
        self
    }

    /// An error of the library, met while doing `what`.
    pub fn of(what: impl fmt::Display, error: &(impl Explain + ?Sized)) -> Self {
        let (exit, help) = error.explain();
        Self { exit, message: format!("can't {what}"), causes: error.causes(), help }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for cause in &self.causes {
            write!(f, ": {cause}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// What an error of the library means to the user of a command.
pub trait Explain {
    /// The exit code, and what to do about it.
    fn explain(&self) -> (Exit, Option<String>);
    /// Its text and those of its sources.
    fn causes(&self) -> Vec<String>;
}

/// Texts of an error and its sources, outermost first; a source that its parent's text already quotes isn't repeated.
pub fn chain(error: &dyn std::error::Error) -> Vec<String> {
    let mut texts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string().trim_end().to_owned();
        if !texts.iter().any(|outer| outer.contains(&text)) {
            texts.push(text);
        }
        next = error.source();
    }
    texts
}

/// Says what was being done when an error of the library came.
pub trait Doing<T> {
    /// `what` completes the sentence "can't ...".
    fn doing<W: fmt::Display>(self, what: impl FnOnce() -> W) -> Result<T>;
}

impl<T, E: Explain> Doing<T> for std::result::Result<T, E> {
    fn doing<W: fmt::Display>(self, what: impl FnOnce() -> W) -> Result<T> {
        self.map_err(|error| Error::of(what(), &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("can't read x: {source}")]
    struct Outer {
        #[source]
        source: std::io::Error,
    }

    #[test]
    fn a_source_that_is_quoted_already_is_told_once() {
        let error = Outer { source: std::io::Error::other("disk on fire") };
        assert_eq!(chain(&error), ["can't read x: disk on fire"]);
    }

    #[test]
    fn the_text_reads_as_one_sentence() {
        let error = Error::new(Exit::NotFound, "can't mount `a`").because("no ref `a`");
        assert_eq!(error.to_string(), "can't mount `a`: no ref `a`");
    }
}
