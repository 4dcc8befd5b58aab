//! `-o` options, as mount(8), fstab and the command line give them. Those of the mount itself are `fuse`'s to know.

use crate::cli::error::{Error, Result};
use crate::cli::exit::Exit;
use crate::format::LayerName;
use crate::fuse::MountOptions;
use std::path::PathBuf;

/// What `-o` said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "the words of the command line say it")]
pub struct Options {
    pub store: Option<PathBuf>,
    pub layer: Option<LayerName>,
    pub tmpfs: bool,
    pub project: Option<String>,
    pub log: Option<String>,
    pub read_only: bool,
    /// Give what is mounted there already other flags.
    pub remount: bool,
    /// `ctl=rw` was asked for, and isn't just the default.
    pub commands: bool,
    /// Checked words for [`MountOptions::apply`], in order.
    words: Vec<String>,
}

/// The options, for `--help`.
pub const HELP: &str = "\
Options of -o, separated by commas:
  ctl=rw|ro|off    `.ctl` takes commands (the default with a layer), only shows, or isn't there.
                   A read-only mount takes them only when told `ctl=rw`, for the kernel must then
                   let writes through to it
  io=auto|cached   file content by the kernel itself where it can (the default), or through the
                   page cache
  copy=auto|whole|range
                   what the first write to a file of the base copies into the layer: all of it, but
                   of a large file only what is changed, where the filesystem can't share blocks
                   (the default); always all of it; always only what is changed
  ro               read-only, also with a layer
  nosuid nodev noexec noatime allow_other
                   as mount(8) and mount.fuse(8) have them
  remount          give the mount that is there other flags: ro or rw, nosuid, nodev, noexec,
                   noatime. What else is told must be as it is; rw needs a layer, `tmpfs` or
                   `ctl=rw`
  ahead=auto|off   list directories of a mount without a layer ahead of a program that walks the
                   tree (the default), or leave it to the program
  threads=N        threads that serve the kernel [default: 4]
  store=PATH layer=NAME tmpfs project=NAME log=FILTER
                   as the options of the command line: for fstab and `mount -t fuse.cairnfs`";

impl Options {
    /// Adds what one `-o` says; a later word wins over an earlier one.
    pub fn add(&mut self, text: &str) -> Result<()> {
        let words = split(text);
        self.remount |= words.iter().any(|word| word == "remount");
        words.iter().filter(|word| !word.is_empty()).try_for_each(|word| self.word(word))
    }

    fn word(&mut self, word: &str) -> Result<()> {
        match word.split_once('=').unwrap_or((word, "")) {
            ("store", path) => self.store = Some(path.into()),
            ("layer", name) => self.layer = Some(name.parse().map_err(|why| bad(word, &format!("{why}")))?),
            ("project", name) => self.project = Some(name.to_owned()),
            ("log", filter) => self.log = Some(filter.to_owned()),
            ("tmpfs", "") => self.tmpfs = true,
            ("remount", "") => {}
            // what the mount table has of the mount, which mount(8) says again
            ("user_id" | "group_id" | "max_read" | "blksize", _) if self.remount => {}
            // what mount(8), systemd and people write there for themselves
            (key, _) if key.starts_with("x-") || key.starts_with("X-") || key == "comment" => {}
            (key, _) => {
                match MountOptions::new("").apply(word) {
                    Ok(true) => self.words.push(word.to_owned()),
                    Ok(false) => return Err(bad(word, "there is no such option")),
                    Err(error) => return Err(bad(word, error.expected)),
                }
                match key {
                    "ro" => self.read_only = true,
                    "rw" => self.read_only = false,
                    "ctl" => self.commands = word == "ctl=rw",
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Applies the options of the mount itself.
    pub fn apply(&self, to: &mut MountOptions) -> Result<()> {
        for word in &self.words {
            to.apply(word).map_err(|error| bad(word, error.expected))?;
        }
        Ok(())
    }

    /// Checked words of the mount itself, in order.
    pub fn words(&self) -> &[String] {
        &self.words
    }
}

/// Splits at commas; `\,` is a comma within a value, as fuse's own option parser has it.
fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            (',', _) => words.push(std::mem::take(&mut word)),
            ('\\', Some(&escaped @ (',' | '\\'))) => {
                chars.next();
                word.push(escaped);
            }
            (c, _) => word.push(c),
        }
    }
    words.push(word);
    words
}

fn bad(word: &str, why: &str) -> Error {
    let error = Error::new(Exit::Usage, format!("bad mount option `{word}`"));
    error.because(why).help("`cairnfs mount --help` lists the options")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuse::ControlAccess;

    fn parse(text: &str) -> Result<Options> {
        let mut options = Options::default();
        options.add(text)?;
        Ok(options)
    }

    #[test]
    fn what_fstab_passes_is_understood() {
        let options =
            parse("rw,nosuid,store=/a\\,b,layer=work,ctl=ro,io=cached,nofail,x-systemd.automount,_netdev").unwrap();
        assert_eq!(options.store.as_deref(), Some("/a,b".as_ref()));
        assert_eq!(options.layer.as_ref().map(LayerName::as_str), Some("work"));
        let mut mount = MountOptions::new("x");
        options.apply(&mut mount).unwrap();
        assert_eq!((mount.control, mount.suid, mount.read_only), (ControlAccess::Ro, false, false));
        assert!(!options.read_only && parse("rw,ro,").unwrap().read_only);
    }

    #[test]
    fn what_mount_8_says_for_a_remount_is_understood() {
        let options = parse("ro,nosuid,relatime,remount,user_id=0,group_id=0,default_permissions,allow_other").unwrap();
        assert!(options.remount && options.read_only);
        assert!(parse("rw,user_id=0").is_err());
    }

    #[test]
    fn what_is_unknown_is_named() {
        for bad in ["ctl=maybe", "io=fast", "threads=0", "layer=a/b", "nosuch", "nosuch=1", "tmpfs=1"] {
            let error = parse(bad).expect_err(bad);
            assert_eq!(error.exit, Exit::Usage);
            assert!(error.message.contains(bad), "{error}");
        }
    }
}
