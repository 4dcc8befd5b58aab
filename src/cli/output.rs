//! What a command prints: one JSON document or text on standard output, everything else on standard error.
//!
//! Standard output that can't be written is a failure of the command, so that a part is never taken for the whole; a reader that went
//! away (`cairnfs ls x | head`) ends the command without a word.

use super::error::{Error, Result};
use super::exit::Exit;
use clap::ColorChoice;
use serde::Serialize;
use std::io::{self, IsTerminal as _, Write as _};

/// How to print, as the global options say.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    json: bool,
    quiet: bool,
    color: bool,
}

impl Output {
    /// From the global options.
    pub fn new(json: bool, quiet: bool, color: ColorChoice) -> Self {
        let color = match color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => {
                io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
            }
        };
        Self { json, quiet, color }
    }

    /// Whether `--json` was given.
    pub fn is_json(self) -> bool {
        self.json
    }

    /// Whether a progress bar may be drawn: only for a person who watches standard error.
    pub fn may_draw(self) -> bool {
        !self.json && !self.quiet && io::stderr().is_terminal()
    }

    /// Prints a report: as JSON with `--json`, else as the text that `text` makes.
    pub fn report(self, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
        if !self.json {
            return self.raw(text().as_bytes());
        }
        let mut line = serde_json::to_vec_pretty(value).map_err(|e| stdout_error(&e.into()))?;
        line.push(b'\n');
        self.raw(&line)
    }

    /// As `report`, for a command whose text is no more than "done": silent with `--quiet`.
    pub fn done(self, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
        if self.quiet && !self.json { Ok(()) } else { self.report(value, || text() + "\n") }
    }

    /// Writes bytes to standard output.
    pub fn raw(self, bytes: &[u8]) -> Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush()).map_err(|e| stdout_error(&e))
    }

    /// A warning on standard error, also with `--quiet`.
    pub fn warn(self, text: &str) {
        say(&format!("{} {text}", self.paint("warning:", "33;1")));
    }

    /// The error that ends the command.
    pub fn error(self, error: &Error) {
        if error.exit == Exit::Pipe {
            return;
        }
        if self.json {
            // an error is made of strings only
            let text = serde_json::to_string(&serde_json::json!({ "error": error })).unwrap_or_default();
            return say(&text);
        }
        say(&format!("{} {error}", self.paint("cairnfs:", "31;1")));
        if let Some(help) = &error.help {
            say(&format!("{} {help}", self.paint("help:", "36;1")));
        }
    }

    fn paint(self, text: &str, style: &str) -> String {
        if self.color { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn say(line: &str) {
    // nowhere is left to tell that standard error can't be written
    let _ = io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}

/// Why standard output couldn't be written.
pub fn stdout_error(error: &io::Error) -> Error {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Error::new(Exit::Pipe, "the reader of standard output went away");
    }
    Error::new(Exit::Failed, "can't write standard output")
        .because(error.to_string())
        .help("what was printed isn't whole: give it room, then run it again")
}

/// Rows aligned under headings; numbers to the right.
#[derive(Debug)]
pub struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty one. A heading that starts with `>` aligns its column to the right.
    pub fn new(headings: &[&'static str]) -> Self {
        Self { headings: headings.to_vec(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The text, headings first; `empty` when there are no rows.
    pub fn text(&self, empty: &str) -> String {
        if self.rows.is_empty() {
            return format!("{empty}\n");
        }
        let titles: Vec<String> = self.headings.iter().map(|h| h.trim_start_matches('>').to_owned()).collect();
        let width = |column: usize| {
            let cells = self.rows.iter().chain([&titles]).filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..titles.len()).map(width).collect();
        let mut text = String::new();
        for row in [&titles].into_iter().chain(&self.rows) {
            let mut line = String::new();
            for ((cell, &width), heading) in row.iter().zip(&widths).zip(&self.headings) {
                match heading.starts_with('>') {
                    true => line.push_str(&format!("{cell:>width$}  ")),
                    false => line.push_str(&format!("{cell:<width$}  ")),
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_align() {
        let mut table = Table::new(&["NAME", ">SIZE"]);
        table.row(["a".into(), "10 B".into()]);
        table.row(["longer".into(), "1.0 kB".into()]);
        assert_eq!(table.text("none"), "NAME      SIZE\na         10 B\nlonger  1.0 kB\n");
        assert_eq!(Table::new(&["X"]).text("none"), "none\n");
    }
}
