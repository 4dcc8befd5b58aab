//! Export to a directory.
//!
//! Every call names one component in an open directory and follows no link. Directories are private (0700) until all in them is made; then each gets
//! its attributes, owner, mode and, last, time. Properties that can't be set are collected, so that one run names them all.

use super::content;
use super::walk::{Place, Visitor, walk};
use crate::format::{AclKind, Content, Device, Digest, LinkNumber, Meta, Mode};
use crate::ingest::dirs::DirStack;
use crate::ingest::trail::Trail;
use crate::ingest::{IngestError, Progress};
use crate::store::Store;
use crate::sys::at::{self, NodeType};
use crate::sys::copy;
use crate::sys::xattrs::{self, Of};
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

/// How to export to a directory.
#[derive(Clone, Copy, Debug)]
pub struct ExportOptions {
    /// Export into a directory that isn't empty: what is in the way is replaced, directories are merged, the rest stays.
    pub force: bool,
    /// Restore owners. Without, everything belongs to the caller, and setuid and setgid bits of files are dropped.
    pub owners: bool,
}

impl Default for ExportOptions {
    fn default() -> Self {
        Self { force: false, owners: true }
    }
}

/// Writes a manifest's files to the directory `target`, which is made if it is missing. What can't be restored for want of privilege is listed in the
/// error, after all else has been done.
pub fn export_dir(
    store: &Store,
    manifest: Digest,
    target: &Path,
    options: &ExportOptions,
    progress: &Progress,
) -> Result<(), IngestError> {
    let root = open_target(target, options)?;
    let dirs = DirStack::new(root).map_err(|source| on_target("open", target, source))?;
    let (options, made, lost) = (*options, HashMap::new(), Lost::default());
    let mut writer = DirWriter { store, options, dirs, made, lost, progress };
    walk(store, manifest, &mut writer, progress)?;
    writer.lost.result()
}

fn open_target(target: &Path, options: &ExportOptions) -> Result<OwnedFd, IngestError> {
    match std::fs::create_dir(target) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(source) => return Err(on_target("make the directory", target, source)),
    }
    let root = at::open_dir(target).map_err(|source| on_target("open the directory", target, source))?;
    let present = at::list_dir(root.as_fd()).map_err(|source| on_target("list", target, source))?;
    if !present.is_empty() && !options.force {
        return Err(IngestError::NotEmpty { path: target.to_owned() });
    }
    Ok(root)
}

fn on_target(action: &'static str, path: &Path, source: io::Error) -> IngestError {
    IngestError::Target { action, path: path.to_owned(), source }
}

struct DirWriter<'a> {
    store: &'a Store,
    options: ExportOptions,
    dirs: DirStack,
    /// First names of linked inodes.
    made: HashMap<LinkNumber, Trail>,
    lost: Lost,
    progress: &'a Progress,
}

impl Visitor for DirWriter<'_> {
    fn enter(&mut self, place: &Place<'_>, _: &Meta) -> Result<(), IngestError> {
        let failed = |action| move |source| content::failed(action, &place.trail(), source);
        if !place.name.is_empty() {
            match at::make_dir_at(self.dirs.top(), place.name) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && self.options.force => {}
                made => made.map_err(failed("make the directory"))?,
            }
            let dir = at::open_dir_at(self.dirs.top(), place.name).map_err(failed("open the directory"))?;
            self.dirs.push(dir).map_err(failed("open the directory"))?;
        }
        make_private(self.dirs.top()).map_err(failed("prepare the directory"))
    }

    fn leaf(
        &mut self,
        place: &Place<'_>,
        meta: &Meta,
        content: &Content,
        link: Option<LinkNumber>,
    ) -> Result<(), IngestError> {
        if self.options.force {
            match at::unlink_at(self.dirs.top(), place.name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                done => {
                    done.map_err(|source| content::failed("replace", &place.trail(), source))?;
                }
            }
        }
        if let Some(first) = link.and_then(|link| self.made.get(&link)) {
            return self.hard_link(first, place);
        }
        let is_made = match content {
            Content::File { digest, size } => self.file(place, meta, *digest, *size)?,
            _ => self.special(place, meta, content)?,
        };
        if let Some(link) = link.filter(|_| is_made) {
            self.made.insert(link, place.trail());
        }
        Ok(())
    }

    fn leave(&mut self, trail: &Trail, meta: &Meta) -> Result<(), IngestError> {
        let dir = Arc::clone(self.dirs.top());
        // up first: from a directory that its mode closes to us there is no way back
        self.dirs.pop().map_err(|source| content::failed("leave", trail, source))?;
        self.restore(&Target::Fd(dir.as_fd()), meta, trail, true);
        Ok(())
    }
}

impl DirWriter<'_> {
    fn file(&mut self, place: &Place<'_>, meta: &Meta, digest: Digest, size: u64) -> Result<bool, IngestError> {
        let trail = place.trail();
        let blob = content::open(self.store, digest, size, &trail)?;
        let file = at::create_at(self.dirs.top(), place.name);
        let file = file.map_err(|source| content::failed("make the file", &trail, source))?;
        copy::copy_prefix(&blob, &file, size).map_err(|source| content::failed("write", &trail, source))?;
        self.progress.add_bytes(size);
        self.restore(&Target::Fd(file.as_fd()), meta, &trail, false);
        Ok(true)
    }

    /// False: it couldn't be made, for want of privilege.
    fn special(&mut self, place: &Place<'_>, meta: &Meta, content: &Content) -> Result<bool, IngestError> {
        let trail = place.trail();
        let dir = Arc::clone(self.dirs.top());
        let node = |Device { major, minor }: Device, make: fn(u32, u32) -> NodeType| {
            at::make_node_at(&dir, place.name, make(major, minor))
        };
        let made = match content {
            Content::Symlink(link) => at::make_symlink_at(&dir, place.name, link),
            Content::Char(device) => node(*device, NodeType::Char),
            Content::Block(device) => node(*device, NodeType::Block),
            Content::Fifo => at::make_node_at(&dir, place.name, NodeType::Fifo),
            Content::Socket => at::make_node_at(&dir, place.name, NodeType::Socket),
            // files have a way of their own
            Content::File { .. } => return Ok(false),
        };
        match made {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                self.lost.add("the device", &trail, &error);
                return Ok(false);
            }
            made => made.map_err(|source| content::failed("make", &trail, source))?,
        }
        let target = match content {
            Content::Symlink(_) => Target::Symlink(dir.as_fd(), place.name),
            _ => Target::At(dir.as_fd(), place.name),
        };
        self.restore(&target, meta, &trail, false);
        Ok(true)
    }

    fn hard_link(&self, first: &Trail, place: &Place<'_>) -> Result<(), IngestError> {
        let path = first.bytes();
        let mut names = path.split(|&byte| byte == b'/').peekable();
        let mut dir = Arc::clone(self.dirs.root());
        let linked = loop {
            let Some(name) = names.next() else { break Err(io::Error::from(io::ErrorKind::NotFound)) };
            if names.peek().is_none() {
                break at::link_at(&dir, name, self.dirs.top(), place.name);
            }
            match at::open_dir_at(&dir, name) {
                Ok(below) => dir = Arc::new(below),
                Err(error) => break Err(error),
            }
        };
        linked.map_err(|source| content::failed("make the hard link", &place.trail(), source))
    }

    /// Sets all properties. Owner before mode and capabilities, which a change of owner clears; mode before an ACL, which refines it; time last.
    fn restore(&mut self, target: &Target<'_>, meta: &Meta, trail: &Trail, is_dir: bool) {
        let owned = self.options.owners && self.note("owner", trail, target.chown(meta.uid, meta.gid));
        let mut mode = u32::from(meta.mode.bits());
        if !owned && !is_dir && mode & SET_IDS != 0 {
            // with another owner these bits would give away that one's rights
            mode &= !SET_IDS;
            if self.options.owners {
                self.lost.add("setuid and setgid bits", trail, &io::ErrorKind::PermissionDenied.into());
            }
        }
        self.note("mode", trail, target.chmod(Mode::from_bits(mode)));
        for (name, value) in meta.xattrs.as_slice() {
            let set = xattrs::set(target.attributes(), name, value);
            self.note(&format!("attribute {}", crate::ingest::ShownPath::new(name)), trail, set);
        }
        self.note("time", trail, target.set_time((meta.mtime.secs(), meta.mtime.nanos())));
    }

    fn note(&mut self, what: &str, trail: &Trail, result: io::Result<()>) -> bool {
        match result {
            Ok(()) => true,
            Err(error) => {
                self.lost.add(what, trail, &error);
                false
            }
        }
    }
}

const SET_IDS: u32 = 0o6000;

/// Takes the ACLs off a directory, for what is made in it would inherit them, and shuts others out.
fn make_private(dir: &OwnedFd) -> io::Result<()> {
    for kind in [AclKind::Default, AclKind::Access] {
        xattrs::remove(Of::Fd(dir.as_fd()), kind.xattr())?;
    }
    at::chmod_fd(dir, 0o700)
}

/// Something just made, whose properties are to be set.
enum Target<'a> {
    Fd(BorrowedFd<'a>),
    At(BorrowedFd<'a>, &'a [u8]),
    Symlink(BorrowedFd<'a>, &'a [u8]),
}

impl Target<'_> {
    fn chown(&self, uid: u32, gid: u32) -> io::Result<()> {
        match self {
            Self::Fd(fd) => at::chown_fd(fd, uid, gid),
            Self::At(dir, name) | Self::Symlink(dir, name) => at::chown_at(dir, name, uid, gid),
        }
    }

    fn chmod(&self, mode: Mode) -> io::Result<()> {
        match self {
            Self::Fd(fd) => at::chmod_fd(fd, mode.bits().into()),
            Self::At(dir, name) => at::chmod_at(dir, name, mode.bits().into()),
            // a link's mode is always 0777
            Self::Symlink(..) => Ok(()),
        }
    }

    fn attributes(&self) -> Of<'_> {
        match self {
            Self::Fd(fd) => Of::Fd(*fd),
            Self::At(dir, name) | Self::Symlink(dir, name) => Of::At(*dir, name),
        }
    }

    fn set_time(&self, time: (i64, u32)) -> io::Result<()> {
        match self {
            Self::Fd(fd) => at::set_times_fd(fd, time),
            Self::At(dir, name) | Self::Symlink(dir, name) => at::set_times_at(dir, name, time),
        }
    }
}

/// Properties that couldn't be restored.
#[derive(Default)]
struct Lost {
    count: u64,
    first: Vec<String>,
}

impl Lost {
    fn add(&mut self, what: &str, trail: &Trail, error: &io::Error) {
        const SHOWN: usize = 10;
        self.count += 1;
        if self.first.len() < SHOWN {
            self.first.push(format!("{what} of `{}`: {error}", trail.shown()));
        }
    }

    fn result(self) -> Result<(), IngestError> {
        if self.count == 0 { Ok(()) } else { Err(IngestError::Incomplete { count: self.count, first: self.first }) }
    }
}
