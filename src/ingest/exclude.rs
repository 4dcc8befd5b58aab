//! Patterns of paths to leave out of an import.
//!
//! A pattern is matched against the path relative to the source's root, without a leading `/`: `?` is any byte but `/`, `*` any run of such bytes,
//! `**` any run of bytes. What matches is left out with everything beneath; `proc/*` keeps the directory and leaves out what is in it.

use super::IngestError;

/// A validated pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exclude(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Byte(u8),
    Any,
    Run,
    DeepRun,
}

impl Exclude {
    /// Parses a pattern; a leading `/` or `./` is dropped.
    pub fn new(pattern: &str) -> Result<Self, IngestError> {
        let bad = |why| IngestError::Pattern { pattern: pattern.to_owned(), why };
        let text = pattern.trim_start_matches("./").trim_start_matches('/').trim_end_matches('/');
        if text.is_empty() {
            return Err(bad("it would leave out everything"));
        }
        if text.split('/').any(|part| part == "..") {
            return Err(bad("`..` never matches; write the path from the source's root"));
        }
        let mut pieces = Vec::new();
        for &byte in text.as_bytes() {
            match (byte, pieces.last()) {
                (b'*', Some(Piece::DeepRun)) => {}
                (b'*', Some(Piece::Run)) => {
                    pieces.pop();
                    pieces.push(Piece::DeepRun);
                }
                (b'*', _) => pieces.push(Piece::Run),
                (b'?', _) => pieces.push(Piece::Any),
                _ => pieces.push(Piece::Byte(byte)),
            }
        }
        Ok(Self(pieces))
    }

    /// Whether `path` is meant.
    pub fn matches(&self, path: &[u8]) -> bool {
        // positions in the pattern that the bytes so far can have led to
        let mut at = vec![false; self.0.len() + 1];
        at[0] = true;
        self.skip_runs(&mut at);
        for &byte in path {
            at = self.step(&at, byte);
        }
        at[self.0.len()]
    }

    fn step(&self, at: &[bool], byte: u8) -> Vec<bool> {
        let mut next = vec![false; at.len()];
        for (index, piece) in self.0.iter().enumerate().filter(|&(index, _)| at[index]) {
            match piece {
                Piece::Byte(wanted) => next[index + 1] |= *wanted == byte,
                Piece::Any => next[index + 1] |= byte != b'/',
                Piece::Run => next[index] |= byte != b'/',
                Piece::DeepRun => next[index] = true,
            }
        }
        self.skip_runs(&mut next);
        next
    }

    /// A run may be empty.
    fn skip_runs(&self, at: &mut [bool]) {
        for (index, piece) in self.0.iter().enumerate() {
            if at[index] && matches!(piece, Piece::Run | Piece::DeepRun) {
                at[index + 1] = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_paths() {
        for (pattern, path, expected) in [
            ("proc/*", "proc/1", true),
            ("proc/*", "proc", false),
            ("proc/*", "proc/1/fd", false),
            ("/var/cache", "var/cache", true),
            ("./a/", "a", true),
            ("*.pyc", "x.pyc", true),
            ("*.pyc", "d/x.pyc", false),
            ("**.pyc", "d/e/x.pyc", true),
            ("**/__pycache__", "usr/lib/__pycache__", true),
            ("a?c", "abc", true),
            ("a?c", "a/c", false),
            ("***", "a/b", true),
        ] {
            assert_eq!(Exclude::new(pattern).unwrap().matches(path.as_bytes()), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn a_pattern_for_everything_is_refused() {
        for pattern in ["", "/", "./", "../x"] {
            assert!(Exclude::new(pattern).is_err(), "{pattern}");
        }
    }
}
