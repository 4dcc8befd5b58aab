//! Logging: to standard error, which a daemon in the background has as its log file.

use super::error::{Error, Result};
use super::exit::Exit;
use super::log_writer::LogWriter;
use std::io::Write;
use tracing_subscriber::EnvFilter;

/// The variable that sets what is logged.
pub const VARIABLE: &str = "CAIRNFS_LOG";

/// Starts logging: `filter` as `--log` gave it, else by how often `-v` was given.
pub fn start(filter: Option<&str>, verbose: u8, daemon: bool) -> Result<()> {
    let level = match (verbose, daemon) {
        (0, false) => "warn",
        (0, true) | (1, _) => "info,fjall=warn,lsm_tree=warn",
        (2, _) => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_new(filter.unwrap_or(level)).map_err(|error| {
        Error::new(Exit::Usage, "can't read the log filter")
            .because(error.to_string())
            .help("write a level or a list such as `debug` or `warn,cairnfs::fuse=trace`")
    })?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(LogWriter::new())
        .with_ansi(false)
        .log_internal_errors(false);
    // a second start is a test's business and changes nothing
    let _ = log.try_init();
    if daemon {
        tell_panics_without_failing();
    }
    Ok(())
}

/// The standard hook panics again, and ends the process, when standard error can't be written: a log on a full disk must not do that.
fn tell_panics_without_failing() {
    std::panic::set_hook(Box::new(|panic| {
        let backtrace = std::backtrace::Backtrace::capture();
        let _unheard = writeln!(std::io::stderr(), "{panic}\n{backtrace}");
    }));
}
