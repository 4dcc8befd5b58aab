//! `cairnfs fsck`

use super::context::Context;
use super::error::{Doing as _, Error, Result};
use super::exit::Exit;
use super::output::Output;
use crate::format::LayerName;
use crate::fsck::{self, Host, Mending, Options, Problem, Progress, Report};
use crate::store::{Store, StoreError};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  cairnfs fsck                        check all layers that aren't in use
  cairnfs fsck work                   check one
  cairnfs fsck work --repair -n       tell all that a repair would do
  cairnfs fsck work --repair          mend what is wrong, and name each change
  cairnfs fsck --json | jq -r '.layers[].problems[] | [.code, .path] | @tsv'

A check changes nothing. A repair deletes no content: an inode that no name leads to gets one in `lost+found` at the root of the layer, a \
data file that nothing names goes to `lost/` in the layer's folder. A layer that wasn't closed in good order, as after a power cut, isn't \
damaged: what mounting it will recover is told, and a repair does it.

Not checked are blobs of the base that the layer has no record of, and what the layer's own files hold: a byte of them that changed on the disk isn't noticed.";

/// Checks layers: each record of a layer's database against the others, its data files, its base, and the blobs that it refers to.
///
/// Every problem is told with a code that stays the same between versions, the path, what is wrong, and what a repair does about it.
#[derive(clap::Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The layers [default: all that aren't in use]
    #[arg(value_name = "LAYER", value_parser = layer_name)]
    pub layers: Vec<LayerName>,
    /// Check all layers; one that is in use is an error then
    #[arg(long, conflicts_with = "layers")]
    pub all: bool,
    /// Mend what is wrong
    #[arg(long)]
    pub repair: bool,
    /// With --repair: change nothing, and tell all that a repair would do
    #[arg(short = 'n', long, requires = "repair")]
    pub dry_run: bool,
    /// Only read the database of the layer in this folder: tried in a process of its own, for damage may end it
    #[arg(long, value_name = "DIR", hide = true, exclusive = true)]
    pub probe: Option<PathBuf>,
    /// Hash the blobs that the layers refer to, and not only look at their sizes
    #[arg(long)]
    pub hash: bool,
}

fn layer_name(text: &str) -> std::result::Result<LayerName, String> {
    text.parse().map_err(|error| match text.contains('/') || text.starts_with('.') {
        true => "fsck takes the layer's name: see `cairnfs layers`".to_owned(),
        false => format!("{error}"),
    })
}

/// What became of one layer.
enum Outcome {
    Checked(Report),
    Skipped(String),
    Failed(Error),
}

pub(super) fn run(context: &Context, args: &Args) -> Result<()> {
    if let Some(layer) = &args.probe {
        return fsck::probe(layer).doing(|| format!("read the database of {}", layer.display()));
    }
    let store = context.open()?;
    hush_database_threads();
    let (chosen, odd) = match args.layers.as_slice() {
        [] => store.layer_names().doing(|| "list the layers")?,
        layers => (layers.to_vec(), Vec::new()),
    };
    let may_skip = args.layers.is_empty() && !args.all;
    let all: Vec<(LayerName, Outcome)> = chosen
        .into_iter()
        .map(|name| {
            let outcome = check(context.out, &store, &name, args, may_skip);
            (name, outcome)
        })
        .collect();
    let values: Vec<Value> = all.iter().map(|(name, outcome)| outcome.json(name)).collect();
    let odd = odd.into_iter().next().map(|path| Error::of("check all layers", &StoreError::NotLayer { path }));
    let verdict = verdict(&all, args).and(odd.map_or(Ok(()), Err));
    let told = verdict.as_ref().err();
    let text = || all.iter().map(|(name, outcome)| outcome.text(name, args, told)).collect::<String>();
    let none = || "no layers; `cairnfs mount REF DIR --layer NAME` makes one\n".to_owned();
    context.out.report(&json!({ "layers": values }), || if all.is_empty() { none() } else { text() })?;
    verdict
}

/// A panic of the database library on damaged bytes is told as a finding, and not twice.
fn hush_database_threads() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current();
        if !thread.name().is_some_and(fsck::is_database_thread) {
            before(panic);
        }
    }));
}

fn check(out: Output, store: &Store, name: &LayerName, args: &Args, may_skip: bool) -> Outcome {
    let lock = match store.lock_layer(name, "being checked") {
        Err(StoreError::LayerBusy { holder, .. }) if may_skip => return Outcome::Skipped(holder),
        lock => lock.doing(|| format!("check layer `{name}`")),
    };
    let checked = lock.and_then(|_lock| {
        let config = store.layer(name).doing(|| format!("check layer `{name}`"))?;
        let mending = match (args.repair, args.dry_run) {
            (false, _) => Mending::Off,
            (true, true) => Mending::Planned,
            (true, false) => Mending::Done,
        };
        let bar = bar(out, name);
        let options = Options { hash: args.hash };
        let report = fsck::run(store, config.base, &store.layer_dir(name), options, mending, &Watched(&bar));
        bar.finish_and_clear();
        report.doing(|| format!("check layer `{name}`"))
    });
    checked.map_or_else(Outcome::Failed, Outcome::Checked)
}

/// The exit code: corruption before anything else, then the first failure.
fn verdict(all: &[(LayerName, Outcome)], args: &Args) -> Result<()> {
    let reports = || all.iter().filter_map(|(name, outcome)| outcome.report().map(|report| (name, report)));
    let failures = || {
        all.iter().filter_map(|(_, outcome)| match outcome {
            Outcome::Failed(error) => Some(error),
            _ => None,
        })
    };
    let damaged: Vec<&str> =
        reports().filter(|(_, report)| !report.is_sound()).map(|(name, _)| name.as_str()).collect();
    if !damaged.is_empty() {
        let count: usize = reports().map(|(_, report)| report.left().len()).sum();
        let error = Error::new(Exit::Corrupt, format!("found {} in {}", counted(count, "problem"), damaged.join(", ")));
        let done = args.repair && !args.dry_run;
        let mendable = |report: &Report| report.problems.iter().any(|problem| problem.mendable);
        let mendable: Vec<&str> =
            reports().filter(|(_, report)| mendable(report)).map(|(name, _)| name.as_str()).collect();
        return Err(error.help(match (done, mendable.as_slice()) {
            (true, _) => "what a repair can't mend is told with each problem".to_owned(),
            (false, []) => "a repair mends none of it: what to do instead is told with each problem".to_owned(),
            (false, layers) => format!("`cairnfs fsck --repair {}` mends what can be mended", layers.join(" ")),
        }));
    }
    let worst = failures().find(|error| error.exit == Exit::Corrupt).or_else(|| failures().next());
    worst.cloned().map_or(Ok(()), Err)
}

impl Outcome {
    fn report(&self) -> Option<&Report> {
        if let Self::Checked(report) = self { Some(report) } else { None }
    }

    fn json(&self, name: &LayerName) -> Value {
        match self {
            Self::Checked(report) => {
                let mut value = json!({ "name": name, "sound": report.is_sound() });
                if let (Some(object), Value::Object(fields)) = (value.as_object_mut(), json!(report)) {
                    object.extend(fields);
                }
                value
            }
            Self::Skipped(holder) => json!({ "name": name, "sound": null, "problems": [], "skipped": holder }),
            Self::Failed(error) => json!({ "name": name, "sound": null, "problems": [], "error": error }),
        }
    }

    /// `told` is the error that the command ends with.
    fn text(&self, name: &LayerName, args: &Args, told: Option<&Error>) -> String {
        match self {
            Self::Checked(report) => report_text(name, report, args),
            Self::Skipped(holder) => format!("{name}: skipped, it is in use by {holder}\n"),
            Self::Failed(error) if told == Some(error) => format!("{name}: not checked\n"),
            Self::Failed(error) => format!("{name}: {error}\n"),
        }
    }
}

fn report_text(name: &LayerName, report: &Report, args: &Args) -> String {
    let records = counted(usize::try_from(report.records).unwrap_or(usize::MAX), "record");
    let mut text = match (report.problems.len(), report.repaired) {
        (0, _) => format!("{name}: clean, {records}\n"),
        (count, false) => format!("{name}: {}, {records}\n", counted(count, "problem")),
        (count, true) => format!("{name}: {}, {} left, {records}\n", counted(count, "problem"), report.unmended.len()),
    };
    if let Some(recovery) = &report.recovery {
        text.push_str(&format!("  {}\n", recovery_text(recovery, report.repaired)));
    }
    let mut list = |title: &str, problems: &[Problem]| {
        for problem in problems {
            // writing into a string can't fail
            let _ = writeln!(text, "  {title}{problem}");
        }
    };
    if args.repair {
        list(if report.repaired { "mended: " } else { "would mend: " }, &report.actions);
        list("left: ", &report.unmended);
    } else {
        list("", &report.problems);
    }
    list("note: ", &report.notes);
    for path in &report.set_aside {
        let _ = writeln!(text, "  set aside: {}", path.display());
    }
    text
}

fn recovery_text(recovery: &fsck::Recovery, done: bool) -> String {
    let will = &recovery.will;
    let why = if recovery.power_cut { "the machine stopped while it was open" } else { "its process was killed" };
    if *will == crate::layer::Recovered::default() {
        return format!("wasn't closed in good order ({why}); nothing to recover");
    }
    let (what, how) = if done { ("recovered", "were") } else { ("needs recovery, which mounting does", "will be") };
    format!(
        "{what} ({why}): {} without a name {how} reclaimed, {} that nothing names removed, {} reverted to what they were copied up from, \
         {} emptied that never reached the disk",
        counted_u64(will.orphans, "inode"),
        counted_u64(will.stray_files, "data file"),
        counted_u64(will.reverted, "file"),
        counted_u64(will.emptied, "file"),
    )
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn counted_u64(count: u64, what: &str) -> String {
    counted(usize::try_from(count).unwrap_or(usize::MAX), what)
}

/// Shows a bar, and tries the database in another process of this program.
struct Watched<'a>(&'a ProgressBar);

impl Host for Watched<'_> {
    fn progress(&self, progress: Progress) {
        show(self.0, progress);
    }

    fn probe(&self, layer: &Path) -> std::result::Result<(), String> {
        let program = std::env::current_exe().map_err(|error| format!("can't find this program: {error}"))?;
        let mut command = Command::new(program);
        command.args(["fsck", "--probe"]).arg(layer).env("RUST_BACKTRACE", "0").stdin(Stdio::null());
        let output = command.output().map_err(|error| format!("can't start a process to read it: {error}"))?;
        // One that failed and said why isn't damaged for that: the check itself meets the same, and tells it.
        if output.status.signal().is_none() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&output.stderr);
        let reason = text.lines().find(|line| !line.is_empty() && !line.starts_with("thread "));
        Err(format!("{} ({})", reason.unwrap_or("no reason given"), output.status))
    }
}

fn bar(out: Output, name: &LayerName) -> ProgressBar {
    if !out.may_draw() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{spinner} {prefix}  {msg}  {elapsed}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_prefix(name.to_string());
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

fn show(bar: &ProgressBar, progress: Progress) {
    bar.set_message(match progress {
        Progress::Reading => "reading the database".to_owned(),
        Progress::Walking { dirs } => {
            format!("walking the tree, {}", counted_u64(dirs, "directory").replace("directorys", "directories"))
        }
        Progress::Blobs { done, total } => format!("looking at blobs, {done} of {total}"),
        Progress::Mending => "mending".to_owned(),
    });
}
