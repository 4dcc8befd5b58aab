//! The control socket of a mount: the same commands as `.ctl/cmd`, without going through the mount.
//!
//! ```text
//! request   {"cmd":"gc dry-run"}\n         at most 64 KiB
//! answer    one line, as `reply` draws it
//! ```
//! A connection carries any number of requests, one after another. Each has a thread of its own, so that a client that says nothing holds
//! up nobody; it is dropped after [`IDLE`]. Only the daemon's user and root are answered, by the credentials that the kernel states.

use super::engine::Engine;
use super::reply::{Done, Failure, Reply};
use crate::locks;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How long a connection may say nothing, or not take its answer.
pub const IDLE: Duration = Duration::from_secs(10);
/// Connections at once.
const CLIENTS_MAX: usize = 64;
/// Bytes of one request.
const REQUEST_MAX: u64 = 64 * 1024;

/// What a client sends.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ask {
    /// The command line, as it would be written to `.ctl/cmd`.
    pub cmd: String,
}

/// A path for bind or connect: sockets take 107 bytes, so a longer one is named through its opened folder.
pub(super) struct Address {
    path: PathBuf,
    _dir: Option<std::fs::File>,
}

impl Address {
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        let (Some(dir), Some(name), true) = (path.parent(), path.file_name(), path.as_os_str().len() > 107) else {
            return Ok(Self { path: path.to_owned(), _dir: None });
        };
        let dir = std::fs::File::open(dir)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd())).join(name);
        Ok(Self { path, _dir: Some(dir) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Listens at `path` and answers in the background until the process ends.
pub fn serve(path: &Path, engine: Arc<Engine>) -> io::Result<()> {
    let listener = UnixListener::bind(Address::new(path)?.path())?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    let clients = Arc::new(AtomicUsize::new(0));
    locks::spawn_outside("control", move || {
        loop {
            match listener.accept() {
                Ok((stream, _)) => welcome(stream, &engine, &clients),
                // no file descriptor to be had: one comes free when a client goes
                Err(error) => {
                    tracing::warn!("can't accept a control connection: {error}");
                    std::thread::sleep(Duration::from_millis(100));
                }
            }
        }
    })?;
    Ok(())
}

fn welcome(stream: UnixStream, engine: &Arc<Engine>, clients: &Arc<AtomicUsize>) {
    if !may_command(&stream) {
        return refuse(stream, Failure::Refused, "only the mount's owner and root may control it");
    }
    let clients = Client(Arc::clone(clients));
    if clients.0.fetch_add(1, Ordering::Relaxed) >= CLIENTS_MAX {
        return refuse(stream, Failure::Busy, "too many control connections; try again");
    }
    let engine = Arc::clone(engine);
    let spawned = locks::spawn_outside("control-client", move || {
        let _clients = clients;
        if let Err(error) = converse(&stream, &engine) {
            tracing::debug!("a control connection ended: {error}");
        }
    });
    if let Err(error) = spawned {
        tracing::warn!("can't start a thread for a control connection: {error}");
    }
}

/// One connection counted; no longer when dropped.
struct Client(Arc<AtomicUsize>);

impl Drop for Client {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn may_command(stream: &UnixStream) -> bool {
    match getsockopt(stream, PeerCredentials) {
        Ok(peer) => peer.uid() == 0 || peer.uid() == nix::unistd::geteuid().as_raw(),
        Err(error) => {
            tracing::warn!("can't tell who asks on the control socket: {error}");
            false
        }
    }
}

fn refuse(mut stream: UnixStream, code: Failure, message: &str) {
    let reply = failure("", code, message);
    // a client that is refused may be gone already; and one that doesn't read must not hold up the next
    let _ = stream.set_nonblocking(true);
    let _ = stream.write_all((reply.line() + "\n").as_bytes());
}

fn failure(command: &str, code: Failure, message: &str) -> Reply {
    Reply::Done(Done {
        command: command.to_owned(),
        ok: false,
        code: Some(code),
        message: message.to_owned(),
        result: serde_json::Value::Null,
        duration_seconds: 0.0,
    })
}

fn converse(stream: &UnixStream, engine: &Arc<Engine>) -> io::Result<()> {
    stream.set_read_timeout(Some(IDLE))?;
    stream.set_write_timeout(Some(IDLE))?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = Vec::new();
        (&mut reader).take(REQUEST_MAX).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(());
        }
        let _answering = engine.answering();
        let whole = line.ends_with(b"\n");
        let reply = match serde_json::from_slice::<Ask>(&line) {
            Ok(ask) if whole => engine.run(ask.cmd.as_bytes()).0,
            _ => failure(
                "",
                Failure::Usage,
                "a request is one line of JSON such as {\"cmd\":\"stats\"}, of at most 64 KiB",
            ),
        };
        let mut answer = stream;
        answer.write_all((reply.line() + "\n").as_bytes())?;
        if !whole {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::client;
    use super::super::fake::Fake;
    use super::*;

    fn start(dir: &Path) -> (PathBuf, Arc<Fake>) {
        let fake = Arc::new(Fake::default());
        let path = dir.join("x.sock");
        serve(&path, Engine::new(fake.clone())).unwrap();
        (path, fake)
    }

    #[test]
    fn a_command_is_answered_while_others_are_silent_or_slow() {
        let dir = tempfile::tempdir().unwrap();
        let (path, fake) = start(dir.path());
        let gate = fake.gate.lock();
        let _silent: Vec<UnixStream> = (0..5).map(|_| UnixStream::connect(&path).unwrap()).collect();
        let mut slow = UnixStream::connect(&path).unwrap();
        slow.write_all(b"{\"cmd\":\"gc\"}\n").unwrap();
        let reply = client::ask(&path, "stats").unwrap();
        assert_eq!(reply.result["pid"], 42);
        drop(gate);
        let mut line = String::new();
        BufReader::new(slow).read_line(&mut line).unwrap();
        assert!(line.contains("\"ok\":true"), "{line}");
    }

    #[test]
    fn the_end_waits_until_a_client_has_its_answer() {
        let engine = Engine::new(Arc::new(Fake::default()));
        let answering = engine.answering();
        let (closed, has_closed) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                engine.close();
                closed.send(()).unwrap();
            });
            assert!(has_closed.recv_timeout(Duration::from_millis(100)).is_err());
            drop(answering);
            has_closed.recv().unwrap();
        });
    }

    #[test]
    fn a_bad_request_or_command_is_an_answer_not_a_hang_up() {
        let dir = tempfile::tempdir().unwrap();
        let (path, _fake) = start(dir.path());
        let mut stream = UnixStream::connect(&path).unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        for bad in ["nonsense\n", "{\"cmd\":\"retention\"}\n", "{\"cmd\":5}\n"] {
            stream.write_all(bad.as_bytes()).unwrap();
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            assert!(line.contains("\"code\":\"usage\""), "{line}");
        }
        stream.write_all(&vec![b'x'; 100_000]).unwrap();
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        assert!(line.contains("64 KiB"), "{line}");
    }

    #[test]
    fn a_path_too_long_for_a_socket_works() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("d".repeat(120));
        std::fs::create_dir(&deep).unwrap();
        let (path, _fake) = start(&deep);
        assert!(client::ask(&path, "sync").unwrap().ok);
    }

    #[test]
    fn clients_over_the_bound_are_told_so() {
        let dir = tempfile::tempdir().unwrap();
        let (path, _fake) = start(dir.path());
        let mut all: Vec<UnixStream> = (0..CLIENTS_MAX).map(|_| UnixStream::connect(&path).unwrap()).collect();
        let mut line = String::new();
        BufReader::new(UnixStream::connect(&path).unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("\"code\":\"busy\""), "{line}");
        all.pop();
        // the place comes free once the daemon has seen the hang-up
        while client::ask(&path, "sync").is_err_and(|e| e.code == Some(Failure::Busy)) {
            std::thread::yield_now();
        }
    }
}
