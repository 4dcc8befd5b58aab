//! `-o` options, as mount(8), fstab and the command line give them.

use crate::cli::error::{Error, Result};
use crate::cli::exit::Exit;
use crate::format::LayerName;
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// What the control directory does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ctl {
    /// There is none.
    Off,
    /// It shows, but takes no commands.
    ReadOnly,
    /// It shows and takes commands.
    #[default]
    ReadWrite,
}

/// How file content is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Io {
    /// By passthrough where it can be had, else through the daemon.
    #[default]
    Auto,
    /// By passthrough, or the mount fails.
    Passthrough,
    /// Always through the daemon and the page cache.
    Cached,
}

/// Who may use the mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Allow {
    /// Everyone when root mounts it, else its owner.
    #[default]
    Default,
    /// Everyone.
    Other,
    /// Its owner and root.
    Root,
}

/// What `-o` said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct Options {
    pub store: Option<PathBuf>,
    pub layer: Option<LayerName>,
    pub tmpfs: bool,
    pub project: Option<String>,
    pub ctl: Ctl,
    pub io: Io,
    pub allow: Allow,
    pub threads: Option<NonZeroUsize>,
    pub log: Option<String>,
    pub read_only: bool,
    pub no_suid: bool,
    pub no_dev: bool,
    pub no_exec: bool,
    pub no_atime: bool,
    pub sync: bool,
    pub dir_sync: bool,
}

/// The options that mean something here, for `--help`.
pub const HELP: &str = "\
Options of -o:
  ctl=rw|ro|off            `.ctl` takes commands (as is), only shows, or isn't there
  io=auto|passthrough|cached
                           file content straight from the store by the kernel where it can be had (auto),
                           or not at all without it (passthrough), or always through the page cache (cached)
  ro                       read-only, also with a layer
  nosuid nodev noexec noatime sync dirsync
                           as mount(8) has them; suid, dev and exec are on, as a root filesystem needs them
  allow_other allow_root   who may use a mount that isn't root's; all may use root's
  threads=N                threads that serve the kernel
  store=PATH layer=NAME tmpfs project=NAME log=FILTER
                           as the options of the command line; for fstab and `mount -t fuse.cairnfs`";

impl Options {
    /// Adds what one `-o` says; a later word wins over an earlier one.
    pub fn add(&mut self, text: &str) -> Result<()> {
        split(text).iter().filter(|word| !word.is_empty()).try_for_each(|word| self.word(word))
    }

    fn word(&mut self, word: &str) -> Result<()> {
        match word.split_once('=') {
            Some((key, value)) => self.pair(word, key, value),
            None => self.flag(word),
        }
    }

    fn pair(&mut self, word: &str, key: &str, value: &str) -> Result<()> {
        match (key, value) {
            ("store", path) => self.store = Some(path.into()),
            ("layer", name) => self.layer = Some(name.parse().map_err(|why| bad(word, &format!("{why}")))?),
            ("project", name) => self.project = Some(name.to_owned()),
            ("log", filter) => self.log = Some(filter.to_owned()),
            ("ctl", "rw") => self.ctl = Ctl::ReadWrite,
            ("ctl", "ro") => self.ctl = Ctl::ReadOnly,
            ("ctl", "off") => self.ctl = Ctl::Off,
            ("ctl", _) => return Err(bad(word, "it is `rw`, `ro` or `off`")),
            ("io", "auto") => self.io = Io::Auto,
            ("io", "passthrough") => self.io = Io::Passthrough,
            ("io", "cached") => self.io = Io::Cached,
            ("io", _) => return Err(bad(word, "it is `auto`, `passthrough` or `cached`")),
            ("threads", count) => {
                self.threads = Some(count.parse().map_err(|_| bad(word, "it is a number from 1 up"))?);
            }
            // these are for mount(8), systemd and people
            ("comment" | "fsname" | "subtype" | "x-systemd.requires", _) => {}
            (key, _) if key.starts_with("x-") || key.starts_with("X-") => {}
            _ => return Err(bad(word, "there is no such option")),
        }
        Ok(())
    }

    fn flag(&mut self, word: &str) -> Result<()> {
        match word {
            "tmpfs" => self.tmpfs = true,
            "ro" => self.read_only = true,
            "rw" => self.read_only = false,
            "nosuid" => self.no_suid = true,
            "suid" => self.no_suid = false,
            "nodev" => self.no_dev = true,
            "dev" => self.no_dev = false,
            "noexec" => self.no_exec = true,
            "exec" => self.no_exec = false,
            "noatime" => self.no_atime = true,
            "atime" | "relatime" | "strictatime" => self.no_atime = false,
            "sync" => self.sync = true,
            "async" => self.sync = false,
            "dirsync" => self.dir_sync = true,
            "allow_other" => self.allow = Allow::Other,
            "allow_root" => self.allow = Allow::Root,
            // always so, or the business of mount(8) and systemd
            "defaults" | "default_permissions" | "auto" | "noauto" | "nofail" | "_netdev" | "user" | "users" | "nouser"
            | "owner" | "group" | "nonempty" | "norelatime" | "lazytime" | "diratime" | "nodiratime" => {}
            word if word.starts_with("x-") || word.starts_with("X-") => {}
            _ => return Err(bad(word, "there is no such option")),
        }
        Ok(())
    }

    /// The kernel's and the adapter's options again, as one `-o` for the process in the background.
    pub fn text(&self) -> String {
        let mut words: Vec<String> = Vec::new();
        words.push(match self.ctl {
            Ctl::Off => "ctl=off".into(),
            Ctl::ReadOnly => "ctl=ro".into(),
            Ctl::ReadWrite => "ctl=rw".into(),
        });
        match self.io {
            Io::Auto => {}
            Io::Passthrough => words.push("io=passthrough".into()),
            Io::Cached => words.push("io=cached".into()),
        }
        match self.allow {
            Allow::Default => {}
            Allow::Other => words.push("allow_other".into()),
            Allow::Root => words.push("allow_root".into()),
        }
        words.extend(self.threads.map(|count| format!("threads={count}")));
        let flags = [
            (self.read_only, "ro"),
            (self.no_suid, "nosuid"),
            (self.no_dev, "nodev"),
            (self.no_exec, "noexec"),
            (self.no_atime, "noatime"),
            (self.sync, "sync"),
            (self.dir_sync, "dirsync"),
        ];
        words.extend(flags.iter().filter(|(on, _)| *on).map(|(_, word)| (*word).to_owned()));
        words.join(",")
    }
}

/// Splits at commas; `\,` is a comma within a value, as fuse's own option parser has it.
fn split(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            (',', _) => words.push(String::new()),
            ('\\', Some(&escaped @ (',' | '\\'))) => {
                chars.next();
                push(&mut words, escaped);
            }
            (c, _) => push(&mut words, c),
        }
    }
    words
}

fn push(words: &mut [String], c: char) {
    if let Some(word) = words.last_mut() {
        word.push(c);
    }
}

fn bad(word: &str, why: &str) -> Error {
    Error::new(Exit::Usage, format!("bad mount option `{word}`"))
        .because(why)
        .help("`cairnfs mount --help` lists the options")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Options> {
        let mut options = Options::default();
        options.add(text)?;
        Ok(options)
    }

    #[test]
    fn what_fstab_passes_is_understood() {
        let options = parse("rw,nosuid,store=/a\\,b,layer=work,ctl=ro,io=cached,nofail,x-systemd.automount,_netdev").unwrap();
        assert_eq!(options.store.as_deref(), Some("/a,b".as_ref()));
        assert_eq!(options.layer.as_ref().map(LayerName::as_str), Some("work"));
        assert_eq!((options.ctl, options.io, options.no_suid), (Ctl::ReadOnly, Io::Cached, true));
        assert!(!options.read_only && !options.no_dev);
        assert!(!parse("nodev,dev,").unwrap().no_dev);
    }

    #[test]
    fn text_says_the_same_again() {
        let all = "ctl=off,io=passthrough,allow_root,threads=3,ro,nosuid,nodev,noexec,noatime,sync,dirsync";
        let options = parse(all).unwrap();
        assert_eq!(options.text(), all);
        assert_eq!(parse(&options.text()).unwrap(), options);
    }

    #[test]
    fn what_is_unknown_is_named() {
        for bad in ["ctl=maybe", "io=fast", "threads=0", "layer=a/b", "nosuch", "nosuch=1"] {
            let error = parse(bad).expect_err(bad);
            assert_eq!(error.exit, Exit::Usage);
            assert!(error.message.contains(bad), "{error}");
        }
    }
}
