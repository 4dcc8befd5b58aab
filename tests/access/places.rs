//! Where a case runs.

use crate::common::mount::{Bench, TestMount};
use crate::common::spec::Spec;
use cairnfs::fuse::IoChoice;
use std::fmt::Debug;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tempfile::TempDir;

/// Runs `case` in a directory with the tree `spec` on the host's filesystem, then on mounts: the tree made there, and the tree of the base,
/// with passthrough and without. What it returns must be the same everywhere. Returns what it was.
#[expect(clippy::print_stdout, reason = "shown when a case fails: the place where it did")]
pub fn everywhere<T: PartialEq + Debug>(spec: &Spec, case: impl Fn(&Path) -> T) -> T {
    let host = TempDir::with_prefix("cairnfs-host-").unwrap();
    std::fs::set_permissions(host.path(), PermissionsExt::from_mode(0o755)).unwrap();
    spec.write_to(&host.path().join("dir"));
    let right = case(&host.path().join("dir"));
    let bench = Bench::new(&spec.within("clean"));
    for (io, layer) in [(IoChoice::Auto, "auto"), (IoChoice::Cached, "cached")] {
        let mount = TestMount::mount(&bench, bench.with_layer(layer), |options| options.io = io, None);
        spec.write_to(&mount.at("made"));
        for place in ["made", "clean"] {
            println!("in {place}, io {layer}");
            let found = case(&mount.at(place));
            assert!(found == right, "in {place}, io {layer}, {}", difference(&found, &right));
        }
        assert_eq!(mount.count("panics"), 0);
        mount.stop();
    }
    right
}

/// The lines that differ.
fn difference<T: Debug>(found: &T, right: &T) -> String {
    let (found, right) = (format!("{found:#?}"), format!("{right:#?}"));
    let pairs = found.lines().zip(right.lines()).enumerate().filter(|(_, (found, right))| found != right);
    let told = pairs.map(|(line, (found, right))| format!("line {line}: {found}\n  but on the host: {right}\n"));
    format!("{} and {} lines\n{}", found.lines().count(), right.lines().count(), told.collect::<String>())
}

/// What a call came to: its value, or the name of its error.
pub fn said<T: Debug, E: Into<std::io::Error>>(outcome: Result<T, E>) -> String {
    match outcome {
        Ok(value) => format!("{value:?}"),
        Err(error) => {
            let error = error.into();
            match error.raw_os_error() {
                Some(code) => format!("{:?}", nix::errno::Errno::from_raw(code)),
                None => error.to_string(),
            }
        }
    }
}

/// The permission bits of a path, links not followed.
pub fn mode(path: &Path) -> u32 {
    path.symlink_metadata().unwrap().permissions().mode() & 0o7777
}
