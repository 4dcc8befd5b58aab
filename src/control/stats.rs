//! The figures of a mount, and their three forms: `stats` (text), `stats.json`, `metrics` (Prometheus text format 0.0.4).
//!
//! Each figure is declared once, in [`FIGURES`], with its key, meaning and unit. Keys are stable: one may be added, none renamed.

use crate::format::Totals;
use crate::fuse::{self, MetricsSnapshot};
use serde_json::{Map, Value};
use std::fmt::Write as _;

/// What a mount is, in words.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// Where it is mounted.
    pub mountpoint: String,
    /// Its store.
    pub store: String,
    /// What was asked for: a ref or digest.
    pub reference: String,
    /// The manifest's digest.
    pub manifest: String,
    /// `ro`, `layer` or `tmpfs`.
    pub mode: &'static str,
    /// The layer's name, when it has one.
    pub layer: Option<String>,
}

/// What the layer holds.
#[derive(Debug, Clone, Copy, Default)]
pub struct LayerFigures {
    /// Inodes with a record of their own.
    pub inodes: u64,
    /// Bytes of content that the layer holds.
    pub bytes: u64,
    /// Directories with changes of their own.
    pub dirty_directories: u64,
}

/// All figures of a mount at one moment.
#[derive(Debug, Clone)]
pub struct Figures {
    /// What it is.
    pub identity: Identity,
    /// Process that serves it.
    pub pid: u32,
    /// The base.
    pub base: Totals,
    /// The layer, when there is one.
    pub layer: Option<LayerFigures>,
    /// What the mount counted.
    pub counters: MetricsSnapshot,
    /// Resident memory of the daemon.
    pub resident_bytes: u64,
}

struct Figure {
    /// Of `stats`; Prometheus has it with `cairnfs_` before it, and `_total` behind a counter.
    key: &'static str,
    kind: Type,
    help: &'static str,
    get: fn(&Figures) -> Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Gauge,
    Counter,
}

type Get = fn(&Figures) -> Option<u64>;

const fn gauge(key: &'static str, help: &'static str, get: Get) -> Figure {
    Figure { key, kind: Type::Gauge, help, get }
}

const fn counter(key: &'static str, help: &'static str, get: Get) -> Figure {
    Figure { key, kind: Type::Counter, help, get }
}

const FIGURES: &[Figure] = &[
    gauge("uptime_seconds", "Seconds since it was mounted", |f| Some(f.counters.uptime_seconds)),
    gauge("resident_bytes", "Resident memory of the process that serves it", |f| Some(f.resident_bytes)),
    gauge("base_entries", "Entries of the base, the root not counted", |f| Some(f.base.entries)),
    gauge("base_files", "Inodes of the base that are not directories", |f| Some(f.base.files)),
    gauge("base_bytes", "Bytes of the base's regular files", |f| Some(f.base.bytes)),
    gauge("layer_inodes", "Inodes that the layer has a record of", |f| Some(f.layer?.inodes)),
    gauge("layer_bytes", "Bytes of content that the layer holds", |f| Some(f.layer?.bytes)),
    gauge("layer_dirty_directories", "Directories that the layer has a record of", |f| {
        Some(f.layer?.dirty_directories)
    }),
    counter("operations", "Requests of the kernel, all kinds together", |f| {
        Some(f.counters.operations.iter().map(|op| op.count).sum())
    }),
    counter("operation_errors", "Requests answered with an error, all kinds together", |f| {
        Some(f.counters.operations.iter().map(|op| op.errors).sum())
    }),
];

/// What every key of `stats` means that has a figure of the mount as a whole, for the documentation.
pub fn keys() -> impl Iterator<Item = (&'static str, &'static str)> {
    FIGURES.iter().map(|figure| (figure.key, figure.help)).chain(fuse::events())
}

impl Figures {
    /// `key value` lines. A mount without a layer has no `layer` lines.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (key, value) in self.object() {
            let line = match value {
                Value::String(value) => writeln!(text, "{key} {value}"),
                value => writeln!(text, "{key} {value}"),
            };
            // writing to a String can't fail
            let _ = line;
        }
        text
    }

    /// The same keys as a flat JSON object, numbers as numbers.
    pub fn json(&self) -> Value {
        Value::Object(self.object())
    }

    fn object(&self) -> Map<String, Value> {
        let mut all = Map::new();
        let id = &self.identity;
        all.insert("version".into(), env!("CARGO_PKG_VERSION").into());
        all.insert("pid".into(), self.pid.into());
        all.insert("mountpoint".into(), id.mountpoint.clone().into());
        all.insert("store".into(), id.store.clone().into());
        all.insert("ref".into(), id.reference.clone().into());
        all.insert("manifest".into(), id.manifest.clone().into());
        all.insert("mode".into(), id.mode.into());
        if let Some(layer) = &id.layer {
            all.insert("layer".into(), layer.clone().into());
        }
        for figure in FIGURES {
            if let Some(value) = (figure.get)(self) {
                all.insert(figure.key.into(), value.into());
            }
        }
        for event in &self.counters.events {
            all.insert(event.name.into(), event.count.into());
        }
        for op in &self.counters.operations {
            all.insert(format!("op_{}", op.name), op.count.into());
            all.insert(format!("op_{}_errors", op.name), op.errors.into());
            all.insert(format!("op_{}_seconds", op.name), (op.nanos as f64 / 1e9).into());
            for percent in [50, 99] {
                // nothing, as `null`, for what was never asked
                let seconds = op.percentile(percent).map(|time| time.as_secs_f64());
                all.insert(format!("op_{}_p{percent}_seconds", op.name), seconds.into());
            }
        }
        all
    }

    /// Prometheus text format 0.0.4.
    pub fn metrics(&self) -> String {
        let mut text = String::new();
        let id = &self.identity;
        let labels = [
            ("version", env!("CARGO_PKG_VERSION")),
            ("mountpoint", &id.mountpoint),
            ("ref", &id.reference),
            ("manifest", &id.manifest),
            ("mode", id.mode),
            ("layer", id.layer.as_deref().unwrap_or_default()),
        ];
        let labels: Vec<String> =
            labels.iter().map(|(key, value)| format!("{key}=\"{}\"", label_value(value))).collect();
        head(&mut text, "cairnfs_mount_info", "gauge", "What is mounted; always 1");
        text.push_str(&format!("cairnfs_mount_info{{{}}} 1\n", labels.join(",")));
        for figure in FIGURES {
            if let Some(value) = (figure.get)(self) {
                let suffix = if figure.kind == Type::Counter { "_total" } else { "" };
                single(&mut text, &format!("cairnfs_{}{suffix}", figure.key), figure.kind, figure.help, value);
            }
        }
        for event in &self.counters.events {
            single(&mut text, &format!("cairnfs_{}_total", event.name), Type::Counter, event.meaning, event.count);
        }
        self.requests(&mut text);
        text
    }

    /// Families with one series for each operation.
    fn requests(&self, text: &mut String) {
        let operations = &self.counters.operations;
        head(text, "cairnfs_requests_total", "counter", "Requests of the kernel by kind");
        for op in operations {
            text.push_str(&format!("cairnfs_requests_total{{operation=\"{}\"}} {}\n", op.name, op.count));
        }
        head(text, "cairnfs_request_errors_total", "counter", "Requests answered with an error, by kind");
        for op in operations {
            text.push_str(&format!("cairnfs_request_errors_total{{operation=\"{}\"}} {}\n", op.name, op.errors));
        }
        head(text, "cairnfs_request_seconds", "histogram", "Time from a request's arrival to its answer, by kind");
        for op in operations.iter().filter(|op| op.count > 0) {
            let series = |suffix: &str, labels: &str, value: &str| {
                format!("cairnfs_request_seconds{suffix}{{operation=\"{}\"{labels}}} {value}\n", op.name)
            };
            let mut sum = 0;
            for (exponent, count) in op.buckets.iter().enumerate().take(op.buckets.len().saturating_sub(1)) {
                sum += count;
                let bound = (1u64 << exponent) as f64 / 1e6;
                text.push_str(&series("_bucket", &format!(",le=\"{bound}\""), &sum.to_string()));
            }
            // the counters aren't read at one instant: the total must be what the buckets add up to
            sum += op.buckets.last().copied().unwrap_or(0);
            text.push_str(&series("_bucket", ",le=\"+Inf\"", &sum.to_string()));
            text.push_str(&series("_sum", "", &format!("{}", op.nanos as f64 / 1e9)));
            text.push_str(&series("_count", "", &sum.to_string()));
        }
    }
}

fn single(text: &mut String, metric: &str, kind: Type, help: &str, value: u64) {
    head(text, metric, if kind == Type::Gauge { "gauge" } else { "counter" }, help);
    text.push_str(&format!("{metric} {value}\n"));
}

fn head(text: &mut String, metric: &str, kind: &str, help: &str) {
    text.push_str(&format!("# HELP {metric} {help}.\n# TYPE {metric} {kind}\n"));
}

fn label_value(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Resident memory of this process; 0 where `/proc` doesn't tell.
pub fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kilobytes =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
    kilobytes.map_or(0, |kb: u64| kb * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuse::{BUCKETS, Metrics};

    fn figures(layer: bool) -> Figures {
        let layer = layer.then_some(LayerFigures { inodes: 3, bytes: 4096, dirty_directories: 2 });
        let mut counters = Metrics::default().snapshot();
        let lookup = counters.operations.iter_mut().find(|op| op.name == "lookup").unwrap();
        (lookup.count, lookup.errors, lookup.nanos) = (7, 2, 1_500_000_000);
        (lookup.buckets[3], lookup.buckets[BUCKETS - 1]) = (6, 1);
        Figures {
            identity: Identity { reference: "web/ba\"se".into(), mode: "layer", ..Identity::default() },
            pid: 1,
            base: Totals::default(),
            layer,
            counters,
            resident_bytes: 1,
        }
    }

    #[test]
    fn text_and_json_have_the_same_keys() {
        let figures = figures(true);
        let json = figures.json();
        let object = json.as_object().unwrap();
        let text = figures.text();
        let keys: Vec<&str> = text.lines().map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(keys, object.keys().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(object["layer_bytes"], 4096);
        assert_eq!(object["op_lookup_errors"], 2);
        assert_eq!(object["operations"], 7);
        assert_eq!(object["op_lookup_seconds"], 1.5);
        assert_eq!(
            (&object["op_lookup_p50_seconds"], &object["op_lookup_p99_seconds"]),
            (&8e-6.into(), &8.388_608.into())
        );
        assert!(object["op_open_p50_seconds"].is_null());
        assert!(object.contains_key("opens_passthrough"));
        assert!(!super::tests::figures(false).text().contains("layer_"));
    }

    #[test]
    fn metrics_declare_each_family_once_and_escape_labels() {
        let text = figures(true).metrics();
        assert!(text.contains("ref=\"web/ba\\\"se\""));
        assert!(text.contains("cairnfs_request_errors_total{operation=\"lookup\"} 2\n"));
        assert!(text.contains("cairnfs_request_seconds_bucket{operation=\"lookup\",le=\"0.000008\"} 6\n"));
        assert!(text.contains("cairnfs_request_seconds_bucket{operation=\"lookup\",le=\"+Inf\"} 7\n"));
        assert!(text.contains("cairnfs_request_seconds_sum{operation=\"lookup\"} 1.5\n"));
        let mut families: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        let all = families.len();
        families.sort_unstable();
        families.dedup();
        assert_eq!(families.len(), all);
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let family = name.split('{').next().unwrap();
            let family =
                ["_bucket", "_sum", "_count"].iter().find_map(|end| family.strip_suffix(end)).unwrap_or(family);
            assert!(text.contains(&format!("# HELP {family} ")), "{line}");
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
    }
}
