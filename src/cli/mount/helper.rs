//! The form in which mount(8) calls the program, by the name `mount.fuse.cairnfs`:
//!
//! ```text
//! mount.fuse.cairnfs REF DIR [-sfnv] [-N NAMESPACE] [-t TYPE] [-o OPTIONS]
//! ```
//! `-f` here is mount(8)'s: pretend, which checks all that can be checked without mounting. `-s` and `-n` change nothing.

use super::options::Options;
use super::{Plan, Write, remount};
use crate::cli::error::{Doing as _, Error, Result};
use crate::cli::exit::Exit;
use crate::cli::output::Output;
use crate::store::Store;
use clap::ColorChoice;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

const USAGE: &str =
    "mount.fuse.cairnfs REF DIR [-sfnv] [-o OPTIONS]; mount(8) calls it for `mount -t fuse.cairnfs REF DIR`";

/// Whether the program was called by the helper's name.
pub(in crate::cli) fn is_called(args: &[OsString]) -> bool {
    let name = args.first().map(Path::new).and_then(Path::file_name);
    name.is_some_and(|name| name == "mount.fuse.cairnfs" || name == "mount.cairnfs")
}

/// Runs the helper.
pub(in crate::cli) fn main(args: &[OsString]) -> ExitCode {
    let out = Output::new(false, false, ColorChoice::Auto);
    let exit = match run(out, args.get(1..).unwrap_or_default()) {
        Ok(()) => Exit::Done,
        Err(error) => {
            out.error(&error);
            error.exit
        }
    };
    exit.for_mount().into()
}

#[derive(Debug, Default, PartialEq)]
struct Call {
    reference: String,
    dir: OsString,
    pretend: bool,
    verbose: u8,
    options: Options,
}

fn run(out: Output, args: &[OsString]) -> Result<()> {
    let call = parse(args)?;
    let Options { store, layer, tmpfs, project, log, .. } = call.options.clone();
    let plan = Plan {
        store: super::absolute(&store.unwrap_or_else(Store::default_path))?,
        reference: call.reference,
        mountpoint: super::absolute(Path::new(&call.dir))?,
        write: Write::new(layer, tmpfs)?,
        project,
        options: call.options,
        log,
        verbose: call.verbose,
    };
    if plan.options.remount {
        return if call.pretend { Ok(()) } else { remount::run(&plan) };
    }
    if call.pretend {
        let store = Store::open(&plan.store).doing(|| plan.doing())?;
        store.resolve(&plan.reference).doing(|| plan.doing())?;
        return Ok(());
    }
    plan.clear_dead(out)?;
    plan.start().map(drop)
}

fn parse(args: &[OsString]) -> Result<Call> {
    let usage = |why: &str| Error::new(Exit::Usage, why).help(USAGE);
    let mut call = Call::default();
    let mut places = Vec::new();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let flags = match arg.to_str().and_then(|text| text.strip_prefix('-')) {
            Some(flags) if !flags.is_empty() => flags,
            _ => {
                places.push(arg.as_os_str());
                continue;
            }
        };
        for (at, flag) in flags.char_indices() {
            match flag {
                's' | 'n' => {}
                'f' => call.pretend = true,
                'v' => call.verbose += 1,
                'o' | 't' | 'N' => {
                    let rest = &flags[at + 1..];
                    let next = if rest.is_empty() { args.next().and_then(|next| next.to_str()) } else { Some(rest) };
                    let value = next.ok_or_else(|| usage(&format!("`-{flag}` needs a value")))?;
                    if flag == 'o' {
                        call.options.add(value)?;
                    }
                    break;
                }
                _ => return Err(usage(&format!("unknown option `-{flag}`"))),
            }
        }
    }
    let [reference, dir]: [&OsStr; 2] = places.try_into().map_err(|_| usage("a ref and a directory are needed"))?;
    call.reference = reference.to_str().ok_or_else(|| usage("the ref isn't UTF-8"))?.to_owned();
    call.dir = dir.to_owned();
    Ok(call)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(words: &[&str]) -> Result<Call> {
        parse(&words.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn what_mount_passes_is_understood() {
        let parsed =
            call(&["debian", "/mnt", "-sfv", "-t", "fuse.cairnfs", "-o", "rw,store=/s", "-olayer=work"]).unwrap();
        assert_eq!((parsed.reference.as_str(), parsed.dir.as_os_str()), ("debian", OsStr::new("/mnt")));
        assert!(parsed.pretend && parsed.verbose == 1);
        assert_eq!(parsed.options.store.as_deref(), Some(Path::new("/s")));
        assert_eq!(parsed.options.layer.map(|name| name.to_string()).as_deref(), Some("work"));
    }

    #[test]
    fn what_is_wrong_is_usage() {
        for bad in
            [&["debian"][..], &["a", "b", "c"], &["a", "b", "-o"], &["a", "b", "-x"], &["a", "b", "-o", "nosuch"]]
        {
            assert_eq!(call(bad).expect_err("refused").exit, Exit::Usage, "{bad:?}");
        }
    }

    #[test]
    fn the_name_decides() {
        let called = |name: &str| is_called(&[name.into()]);
        assert!(called("/sbin/mount.fuse.cairnfs") && called("mount.cairnfs"));
        assert!(!called("/usr/bin/cairnfs"));
    }
}
