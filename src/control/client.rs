//! Asks a mount's daemon to do something, over its socket.

use super::reply::{Done, Failure, Reply};
use super::socket::{Address, Ask};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Why a daemon didn't do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct AskError {
    /// What the daemon said; `None` when it couldn't be asked.
    pub code: Option<Failure>,
    /// The daemon's message, or why it couldn't be asked.
    pub message: String,
}

/// Sends one command and waits for its end, however long it takes.
pub fn ask(socket: &Path, command: &str) -> Result<Done, AskError> {
    ask_within(socket, command, None)
}

/// Sends one command and waits for its end, but not longer than `limit`: the command may go on then.
pub fn ask_within(socket: &Path, command: &str, limit: Option<Duration>) -> Result<Done, AskError> {
    let line = converse(socket, command, limit).map_err(|error| AskError {
        code: None,
        message: format!("the mount's control socket {} doesn't answer: {error}", socket.display()),
    })?;
    match serde_json::from_str(&line) {
        Ok(Reply::Done(done)) if done.ok => Ok(done),
        Ok(Reply::Done(done)) => Err(AskError { code: done.code.or(Some(Failure::Failed)), message: done.message }),
        Ok(Reply::None | Reply::Running { .. }) | Err(_) => {
            let message = format!("the control socket {} gave an answer that isn't one", socket.display());
            Err(AskError { code: None, message })
        }
    }
}

/// The number of the daemon's process as it is here; 0 where it can't be seen from here, which is in another namespace of processes.
pub fn process(socket: &Path) -> io::Result<u32> {
    let stream = UnixStream::connect(Address::new(socket)?.path())?;
    Ok(u32::try_from(getsockopt(&stream, PeerCredentials)?.pid()).unwrap_or(0))
}

fn converse(socket: &Path, command: &str, limit: Option<Duration>) -> io::Result<String> {
    let mut stream = UnixStream::connect(Address::new(socket)?.path())?;
    stream.set_read_timeout(limit)?;
    stream.set_write_timeout(limit)?;
    let request = serde_json::to_string(&Ask { cmd: command.to_owned() })?;
    // a daemon that refuses hangs up without reading; its answer is there all the same
    let sent = stream.write_all((request + "\n").as_bytes());
    let mut line = String::new();
    match BufReader::new(stream).read_line(&mut line) {
        Ok(_) if line.ends_with('\n') => Ok(line),
        Ok(_) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it hung up without an answer")),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            let waited = limit.unwrap_or_default().as_secs();
            Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {waited} seconds")))
        }
        Err(error) => Err(sent.err().unwrap_or(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_that_does_not_answer_is_not_waited_for_without_end() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("silent.sock");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let error = ask_within(&socket, "sync", Some(Duration::from_millis(50))).unwrap_err();
        assert!(error.code.is_none() && error.message.contains("no answer within"), "{error}");
    }

    #[test]
    fn a_socket_that_is_not_there_is_named() {
        let error = ask(Path::new("/nonexistent/x.sock"), "sync").unwrap_err();
        assert!(error.code.is_none() && error.message.contains("/nonexistent/x.sock"), "{error}");
    }
}
