//! Help, completions and man pages: made from one definition, and each of use.
#![allow(clippy::unwrap_used, reason = "a test that can't go on shall panic")]

mod cli_util;

use cli_util::{World, program};
use std::process::Command;

const COMMANDS: &[&str] = &[
    "init",
    "import",
    "export",
    "mount",
    "umount",
    "snapshot",
    "refs",
    "refs list",
    "refs history",
    "refs undo",
    "refs set",
    "layers",
    "mounts",
    "rm",
    "rm ref",
    "rm layer",
    "show",
    "ls",
    "cat",
    "diff",
    "fsck",
    "gc",
    "stats",
    "doctor",
    "completions",
    "man",
];

fn help(args: &[&str]) -> String {
    let assert = program().args(args).assert().success();
    assert!(assert.get_output().stderr.is_empty());
    String::from_utf8(assert.get_output().stdout.clone()).unwrap()
}

#[test]
fn every_command_explains_itself_with_an_example() {
    for command in COMMANDS {
        let words: Vec<&str> = command.split(' ').chain(["--help"]).collect();
        let text = help(&words);
        assert!(text.contains("Examples:\n  ") && text.contains("Usage:"), "{command}:\n{text}");
        assert!(text.contains(&format!("cairnfs {command}")) || text.contains("cairnfs "), "{command}");
        assert!(text.lines().next().is_some_and(|line| line.len() > 10), "{command}");
    }
}

#[test]
fn the_help_lists_every_command_and_the_exit_codes() {
    let text = help(&["--help"]);
    for command in COMMANDS.iter().filter(|command| !command.contains(' ')) {
        assert!(text.contains(&format!("  {command} ")), "{command}\n{text}");
    }
    for code in ["0  done", "2  usage", "3  not found", "4  refused", "5  corruption", "32 mount failure"] {
        assert!(text.contains(code), "{code}");
    }
    let mount = help(&["mount", "--help"]);
    assert!(
        mount.contains("32 mount failure") && mount.contains("SIGTERM") && mount.contains("ctl=rw|ro|off"),
        "{mount}"
    );
    assert!(help(&["stats", "--help"]).contains("layer_dirty_directories"));
    assert!(help(&["--version"]).starts_with("cairnfs 0."));
}

#[test]
fn completions_are_scripts_that_the_shells_accept() {
    let dir = tempfile::tempdir().unwrap();
    for (shell, check) in [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")] {
        let script = help(&["completions", shell]);
        assert!(script.contains("snapshot") && script.contains("tmpfs"), "{shell}");
        let file = dir.path().join(shell);
        std::fs::write(&file, script).unwrap();
        // a shell that isn't installed can't be asked; bash always is
        match Command::new(shell).arg(check).arg(&file).output() {
            Ok(output) => assert!(output.status.success(), "{shell}: {}", String::from_utf8_lossy(&output.stderr)),
            Err(error) => assert!(shell != "bash", "{error}"),
        }
    }
}

#[test]
fn man_pages_have_examples_and_exit_codes() {
    let world = World::empty();
    let pages = world.json(&["man", world.str("man")])["pages"].as_array().unwrap().len();
    assert!(pages >= 20, "{pages}");
    let page = std::fs::read_to_string(world.path("man/cairnfs-mount.1")).unwrap();
    assert!(page.contains(".TH") && page.contains("mount failure") && page.contains("fstab"), "{page}");
    let page = std::fs::read_to_string(world.path("man/cairnfs.1")).unwrap();
    assert!(page.contains("corruption"), "{page}");
}
