//! inotify.

use crate::common::spec::Spec;
use crate::places::everywhere;
use crate::process::Process;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::path::Path;

fn events(inotify: &Inotify) -> Vec<String> {
    match inotify.read_events() {
        Ok(events) => {
            let said = events.iter().map(|event| format!("{:?} {:?}", event.mask, event.name));
            said.collect()
        }
        Err(error) => vec![format!("{error:?}")],
    }
}

fn watch(dir: &Path, paths: &[&str], lines: &[&str]) -> Vec<String> {
    let inotify = Inotify::init(InitFlags::IN_NONBLOCK).unwrap();
    for path in paths {
        inotify.add_watch(&dir.join(path), AddWatchFlags::IN_ALL_EVENTS).unwrap();
    }
    let mut other = Process::start(dir);
    let mut said = Vec::new();
    for line in lines {
        said.push(format!("{line}: {}", other.run(line)));
        said.extend(events(&inotify));
    }
    said
}

#[test]
fn a_directory_tells_what_another_process_does_in_it() {
    let spec = Spec::new().file("dir/old", "content").dir("elsewhere").dir("dir/sub");
    everywhere(&spec, |dir| {
        let lines = [
            "f = os.open('dir/new', os.O_CREAT|os.O_WRONLY)",
            "os.write(f, b'x')",
            "os.close(f)",
            "f = os.open('dir/old', os.O_WRONLY)",
            "os.pwrite(f, b'y', 2)",
            "os.truncate('dir/old', 3)",
            "os.close(f)",
            "f = os.open('dir/old', os.O_RDONLY)",
            "os.pread(f, 10, 0)",
            "os.close(f)",
            "os.chmod('dir/old', 0o600)",
            "os.utime('dir/old', (1, 1))",
            "os.setxattr('dir/old', 'user.x', b'')",
            "os.rename('dir/old', 'dir/renamed')",
            "os.rename('dir/renamed', 'elsewhere/away')",
            "os.rename('elsewhere/away', 'dir/back')",
            "os.link('dir/back', 'dir/second')",
            "os.symlink('x', 'dir/link')",
            "os.mkdir('dir/made')",
            "os.rmdir('dir/made')",
            "os.unlink('dir/second')",
            "os.unlink('dir/back')",
            "os.rmdir('dir/sub')",
            "os.unlink('dir/new'); os.unlink('dir/link'); os.rmdir('dir')",
        ];
        watch(dir, &["dir"], &lines)
    });
}

#[test]
fn a_file_tells_what_is_done_to_it() {
    let spec = Spec::new().file("file", "content").file("b/linked", "x").link("linked", "b/linked");
    everywhere(&spec, |dir| {
        let lines = [
            "f = os.open('file', os.O_RDWR|os.O_APPEND)",
            "os.write(f, b'x')",
            "os.ftruncate(f, 2)",
            "os.close(f)",
            "os.rename('file', 'moved')",
            "g = os.open('b/linked', os.O_WRONLY)",
            "os.write(g, b'y')",
            "os.close(g)",
            "os.unlink('b/linked')",
            "os.unlink('linked')",
            "f = os.open('moved', os.O_RDONLY)",
            "os.unlink('moved')",
            "os.close(f)",
        ];
        watch(dir, &["file", "linked"], &lines)
    });
}
