//! `cairnfs doctor`

use super::context::Context;
use super::error::{Error, Result};
use super::exit::Exit;
use crate::control::text::size;
use serde::Serialize;
use serde_json::json;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  cairnfs doctor                          this machine and the default store
  cairnfs --store /data/store doctor      with a store elsewhere

Exit code 0 when cairnfs can mount here, perhaps slower than it could; 1 when it can't.";

/// Checks what this machine can do, with a remedy for each thing that it can't.
#[derive(clap::Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Good,
    /// Works, but worse than it could.
    Limited,
    /// Doesn't work.
    Bad,
}

#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    verdict: Verdict,
    found: String,
    remedy: Option<String>,
}

impl Check {
    fn good(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Good, found: found.into(), remedy: None }
    }

    fn or(name: &'static str, verdict: Verdict, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, verdict, found: found.into(), remedy: Some(remedy.into()) }
    }
}

pub(super) fn run(context: &Context, _: &Args) -> Result<()> {
    let root = nix::unistd::geteuid().is_root();
    let store = context.store_path();
    let place = existing(&store);
    let admin = has_sys_admin();
    let mut checks = vec![kernel(), fuse_device(), privilege(root, admin), fusermount(admin), allow_other(root)];
    checks.push(store_check(context, &store));
    checks.push(passthrough(admin, &place));
    checks.push(reflink(&place));
    checks.push(free_space(&place));
    checks.push(open_files());
    context.out.report(&json!({ "checks": checks }), || text(&checks))?;
    match checks.iter().filter(|check| check.verdict == Verdict::Bad).map(|check| check.name).collect::<Vec<_>>() {
        bad if bad.is_empty() => Ok(()),
        bad => Err(Error::new(Exit::Failed, "this machine can't mount cairnfs yet")
            .because(bad.join(", "))
            .help("do what is said beneath each `BAD` above")),
    }
}

fn text(checks: &[Check]) -> String {
    let mut text = String::new();
    for check in checks {
        let verdict = match check.verdict {
            Verdict::Good => "ok     ",
            Verdict::Limited => "limited",
            Verdict::Bad => "BAD    ",
        };
        text.push_str(&format!("{verdict}  {:<14}{}\n", check.name, check.found));
        if let Some(remedy) = &check.remedy {
            text.push_str(&format!("{:25}{remedy}\n", ""));
        }
    }
    text
}

/// The nearest folder above `path` that is there.
fn existing(path: &Path) -> PathBuf {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    whole.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

fn release() -> (String, (u32, u32)) {
    let release =
        nix::sys::utsname::uname().map(|name| name.release().to_string_lossy().into_owned()).unwrap_or_default();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    (release, version)
}

fn kernel() -> Check {
    match release() {
        (found, version) if version >= (6, 9) => Check::good("kernel", found),
        (found, version) if version >= (5, 4) => {
            let remedy = "Linux 6.9 or later reads and writes files without the daemon (passthrough)";
            Check::or("kernel", Verdict::Limited, found, remedy)
        }
        (found, _) => Check::or("kernel", Verdict::Bad, found, "use Linux 5.4 or later, best 6.9 or later"),
    }
}

fn fuse_device() -> Check {
    match std::fs::File::options().read(true).write(true).open("/dev/fuse") {
        Ok(_) => Check::good("/dev/fuse", "can be opened"),
        Err(error) => {
            let remedy = match error.kind() {
                std::io::ErrorKind::NotFound => "`modprobe fuse`; in a container, start it with `--device /dev/fuse`",
                std::io::ErrorKind::PermissionDenied => {
                    "`chmod 666 /dev/fuse`, as distributions have it, or run as root"
                }
                _ => "`modprobe fuse`; in a container, allow the device 10:229",
            };
            Check::or("/dev/fuse", Verdict::Bad, error.to_string(), remedy)
        }
    }
}

fn has_sys_admin() -> bool {
    const CAP_SYS_ADMIN: u32 = 21;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("CapEff:")?.trim(), 16).ok());
    effective.is_some_and(|bits| bits >> CAP_SYS_ADMIN & 1 == 1)
}

fn privilege(root: bool, admin: bool) -> Check {
    match (root, admin) {
        (true, true) => Check::good("privilege", "root with CAP_SYS_ADMIN"),
        (_, true) => Check::good("privilege", "CAP_SYS_ADMIN"),
        (true, false) => {
            let remedy = "give the container CAP_SYS_ADMIN (`--cap-add SYS_ADMIN`) to mount in it";
            Check::or("privilege", Verdict::Limited, "root without CAP_SYS_ADMIN", remedy)
        }
        (false, false) => {
            let remedy = "as root, mounts honour owners, devices and setuid, and files are read by passthrough";
            Check::or("privilege", Verdict::Limited, "none: mounts go through fusermount3", remedy)
        }
    }
}

fn fusermount(admin: bool) -> Check {
    let path = std::env::var_os("PATH").unwrap_or_default();
    match std::env::split_paths(&path).map(|dir| dir.join("fusermount3")).find(|file| file.is_file()) {
        Some(file) => Check::good("fusermount3", file.display().to_string()),
        None if admin => Check::good("fusermount3", "not there, and not needed with CAP_SYS_ADMIN"),
        None => Check::or("fusermount3", Verdict::Bad, "not there", "install the package `fuse3`, or run as root"),
    }
}

fn allow_other(root: bool) -> Check {
    let conf = std::fs::read_to_string("/etc/fuse.conf").unwrap_or_default();
    let allowed = conf.lines().any(|line| line.trim() == "user_allow_other");
    match (root, allowed) {
        (true, _) => Check::good("allow_other", "root's mounts are for all"),
        (false, true) => Check::good("allow_other", "`-o allow_other` can be used"),
        (false, false) => {
            let remedy = "to let others use your mounts, put the line `user_allow_other` into /etc/fuse.conf";
            Check::or("allow_other", Verdict::Limited, "your mounts are for you alone", remedy)
        }
    }
}

fn store_check(context: &Context, path: &Path) -> Check {
    match context.open() {
        Ok(_) => Check::good("store", path.display().to_string()),
        Err(error) => {
            let verdict = if error.exit == Exit::NotFound { Verdict::Limited } else { Verdict::Bad };
            let remedy = error.help.clone().unwrap_or_else(|| "mend or move it, or name another with --store".into());
            Check::or("store", verdict, error.causes.join(": "), remedy)
        }
    }
}

/// Type of the filesystem that holds `place`.
fn fs_type(place: &Path) -> String {
    use nix::sys::statfs::*;
    const NAMES: &[(FsType, &str)] = &[
        (EXT4_SUPER_MAGIC, "ext4"),
        (XFS_SUPER_MAGIC, "xfs"),
        (BTRFS_SUPER_MAGIC, "btrfs"),
        (TMPFS_MAGIC, "tmpfs"),
        (OVERLAYFS_SUPER_MAGIC, "overlay"),
        (FUSE_SUPER_MAGIC, "fuse"),
        (NFS_SUPER_MAGIC, "nfs"),
    ];
    let found = statfs(place).map(|stat| stat.filesystem_type());
    let name = found.ok().and_then(|found| NAMES.iter().find(|(kind, _)| *kind == found));
    name.map_or_else(|| "a filesystem of another type".to_owned(), |(_, name)| (*name).to_owned())
}

fn passthrough(admin: bool, place: &Path) -> Check {
    let stacked = fs_type(place);
    let limited = |found: &str, remedy: &str| Check::or("passthrough", Verdict::Limited, found, remedy);
    if release().1 < (6, 9) {
        limited("no: the kernel is older than 6.9", "files are served through the daemon and the page cache meanwhile")
    } else if !admin {
        limited(
            "no: it needs CAP_SYS_ADMIN",
            "mount as root; files are served through the daemon and the page cache meanwhile",
        )
    } else if stacked == "overlay" || stacked == "fuse" {
        let found = format!("no: the store is on {stacked}, which the kernel doesn't stack on");
        limited(&found, "put the store on ext4, xfs, btrfs or tmpfs, such as a volume of the container")
    } else {
        Check::good("passthrough", format!("kernel and privilege allow it, on {stacked}"))
    }
}

fn free_space(place: &Path) -> Check {
    const REFUSE: u64 = 1 << 30;
    const WARN: u64 = 5 << 30;
    let stat = match nix::sys::statvfs::statvfs(place) {
        Ok(stat) => stat,
        Err(error) => {
            return Check::or("free space", Verdict::Limited, error.to_string(), "check the store's filesystem");
        }
    };
    let free = stat.blocks_available().saturating_mul(stat.fragment_size());
    let total = stat.blocks().saturating_mul(stat.fragment_size());
    let found = format!("{} of {} on the filesystem of {}", size(free), size(total), place.display());
    let remedy = "`cairnfs gc` frees what nothing names; or put the store on a larger filesystem";
    match free {
        0..REFUSE => Check::or("free space", Verdict::Limited, found, remedy),
        _ if free < WARN => Check::or("free space", Verdict::Limited, found, remedy),
        _ => Check::good("free space", found),
    }
}

fn open_files() -> Check {
    use nix::sys::resource::{Resource, getrlimit};
    const ENOUGH: u64 = 16_384;
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((_, hard)) if hard >= ENOUGH => Check::good("open files", format!("up to {hard}")),
        Ok((_, hard)) => {
            let remedy = format!(
                "raise the limit (`ulimit -Hn`, LimitNOFILE=) to {ENOUGH}: each open file of a mount takes one"
            );
            Check::or("open files", Verdict::Limited, format!("up to {hard}"), remedy)
        }
        Err(error) => Check::or("open files", Verdict::Limited, error.to_string(), "check `ulimit -n`"),
    }
}

fn reflink(place: &Path) -> Check {
    let remedy = "on xfs or btrfs, imports and first writes to large files share blocks instead of copying";
    let no = |found: String| Check::or("reflink", Verdict::Limited, found, remedy);
    match try_reflink(place) {
        Ok(()) => Check::good("reflink", format!("{} shares blocks", fs_type(place))),
        Err(error) => no(format!("{} doesn't share blocks ({error})", fs_type(place))),
    }
}

fn try_reflink(place: &Path) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut from = tempfile::tempfile_in(place)?;
    from.write_all(&[1; 4096])?;
    match crate::sys::reflink::reflink(&from, &tempfile::tempfile_in(place)?)? {
        true => Ok(()),
        false => Err(std::io::ErrorKind::Unsupported.into()),
    }
}
