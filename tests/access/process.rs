//! Other processes, told what to do line by line: a Python interpreter each.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

const LOOP: &str = r#"
import errno, os, sys
names = globals()
def attempt(call, *arguments):
    try:
        return call(*arguments)
    except OSError as error:
        return errno.errorcode.get(error.errno, error)
for line in sys.stdin:
    try:
        try:
            said = eval(line, names)
        except SyntaxError:
            said = exec(line, names)
    except OSError as error:
        said = errno.errorcode.get(error.errno, error)
    print(said, flush=True)
"#;

/// A process; killed when dropped.
pub struct Process {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Process {
    /// One that works in `dir`.
    pub fn start(dir: &Path) -> Self {
        let mut command = Command::new("python3");
        command.args(["-I", "-S", "-c", LOOP]).current_dir(dir).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("python3 runs");
        let (to, from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, to, from }
    }

    /// Runs a line; what it came to, or the name of its error.
    pub fn run(&mut self, line: &str) -> String {
        self.begin(line);
        self.end()
    }

    /// Starts a line that may wait for something.
    pub fn begin(&mut self, line: &str) {
        writeln!(self.to, "{line}").unwrap();
    }

    /// Waits for what was begun.
    pub fn end(&mut self) -> String {
        let mut answer = String::new();
        self.from.read_line(&mut answer).unwrap();
        assert!(answer.ends_with('\n'), "the other process has died");
        answer.trim_end().to_owned()
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}
