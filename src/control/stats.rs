//! The figures of a mount, and their three forms: `stats` (text), `stats.json`, `metrics` (Prometheus text format 0.0.4).
//!
//! Each figure is declared once, in [`FIGURES`], with its key, meaning and unit. Keys are stable: one may be added, none renamed.

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

/// One filesystem operation.
#[derive(Debug, Clone, Copy)]
pub struct OperationFigures {
    /// Its name, such as `lookup`.
    pub name: &'static str,
    /// How often it was asked for.
    pub count: u64,
    /// How often it failed.
    pub errors: u64,
}

/// All figures of a mount at one moment.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// What it is.
    pub identity: Identity,
    /// Process that serves it.
    pub pid: u32,
    /// Whole seconds since it was mounted.
    pub uptime_seconds: u64,
    /// Entries of the base.
    pub base_entries: u64,
    /// Inodes of the base that aren't directories.
    pub base_files: u64,
    /// Bytes of the base's regular files.
    pub base_bytes: u64,
    /// The layer, when there is one.
    pub layer: Option<LayerFigures>,
    /// Opens that the kernel serves from the backing file itself.
    pub opens_passthrough: u64,
    /// Opens served through the daemon and the page cache.
    pub opens_cached: u64,
    /// Resident memory of the daemon.
    pub resident_bytes: u64,
    /// Operations, in the order they are to be listed.
    pub operations: Vec<OperationFigures>,
}

struct Figure {
    key: &'static str,
    metric: &'static str,
    kind: &'static str,
    help: &'static str,
    get: fn(&Figures) -> Option<u64>,
}

const fn gauge(
    key: &'static str,
    metric: &'static str,
    help: &'static str,
    get: fn(&Figures) -> Option<u64>,
) -> Figure {
    Figure { key, metric, kind: "gauge", help, get }
}

const fn counter(
    key: &'static str,
    metric: &'static str,
    help: &'static str,
    get: fn(&Figures) -> Option<u64>,
) -> Figure {
    Figure { key, metric, kind: "counter", help, get }
}

const FIGURES: &[Figure] = &[
    gauge("uptime_seconds", "cairnfs_uptime_seconds", "Seconds since it was mounted", |f| Some(f.uptime_seconds)),
    gauge("base_entries", "cairnfs_base_entries", "Directory entries of the base manifest", |f| Some(f.base_entries)),
    gauge("base_files", "cairnfs_base_files", "Inodes of the base that are not directories", |f| Some(f.base_files)),
    gauge("base_bytes", "cairnfs_base_bytes", "Bytes of the base's regular files", |f| Some(f.base_bytes)),
    gauge("layer_inodes", "cairnfs_layer_inodes", "Inodes that the layer has a record of", |f| Some(f.layer?.inodes)),
    gauge("layer_bytes", "cairnfs_layer_bytes", "Bytes of content that the layer holds", |f| Some(f.layer?.bytes)),
    gauge("layer_dirty_directories", "cairnfs_layer_dirty_directories", "Directories with changes of their own", |f| {
        Some(f.layer?.dirty_directories)
    }),
    counter("opens_passthrough", "cairnfs_opens_passthrough_total", "Opens that the kernel serves directly", |f| {
        Some(f.opens_passthrough)
    }),
    counter("opens_cached", "cairnfs_opens_cached_total", "Opens served by the daemon and the page cache", |f| {
        Some(f.opens_cached)
    }),
    gauge("resident_bytes", "cairnfs_resident_bytes", "Resident memory of the daemon", |f| Some(f.resident_bytes)),
    counter("operations", "cairnfs_requests_total", "Filesystem operations of all kinds", |f| {
        Some(f.operations.iter().map(|op| op.count).sum())
    }),
    counter(
        "operation_errors",
        "cairnfs_request_errors_total",
        "Filesystem operations that failed, of all kinds",
        |f| Some(f.operations.iter().map(|op| op.errors).sum()),
    ),
];

/// What every key of `stats` means, for the documentation.
pub fn keys() -> impl Iterator<Item = (&'static str, &'static str)> {
    FIGURES.iter().map(|figure| (figure.key, figure.help))
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
        for op in &self.operations {
            all.insert(format!("op_{}", op.name), op.count.into());
            all.insert(format!("op_{}_errors", op.name), op.errors.into());
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
                head(&mut text, figure.metric, figure.kind, figure.help);
                text.push_str(&format!("{} {value}\n", figure.metric));
            }
        }
        head(&mut text, "cairnfs_operations_total", "counter", "Filesystem operations by name");
        for op in &self.operations {
            text.push_str(&format!("cairnfs_operations_total{{operation=\"{}\"}} {}\n", op.name, op.count));
        }
        head(&mut text, "cairnfs_operation_errors_total", "counter", "Filesystem operations that failed, by name");
        for op in &self.operations {
            text.push_str(&format!("cairnfs_operation_errors_total{{operation=\"{}\"}} {}\n", op.name, op.errors));
        }
        text
    }
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

    fn figures() -> Figures {
        Figures {
            identity: Identity { reference: "web/ba\"se".into(), mode: "layer", ..Identity::default() },
            layer: Some(LayerFigures { inodes: 3, bytes: 4096, dirty_directories: 2 }),
            operations: vec![OperationFigures { name: "lookup", count: 7, errors: 2 }],
            ..Figures::default()
        }
    }

    #[test]
    fn text_and_json_have_the_same_keys() {
        let figures = figures();
        let json = figures.json();
        let object = json.as_object().unwrap();
        let text = figures.text();
        let keys: Vec<&str> = text.lines().map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(keys, object.keys().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(object["layer_bytes"], 4096);
        assert_eq!(object["op_lookup_errors"], 2);
        assert_eq!(object["operations"], 7);
        assert!(!Figures::default().text().contains("layer_"));
    }

    #[test]
    fn metrics_declare_each_family_once_and_escape_labels() {
        let text = figures().metrics();
        assert!(text.contains("ref=\"web/ba\\\"se\""));
        assert!(text.contains("cairnfs_operation_errors_total{operation=\"lookup\"} 2\n"));
        let mut families: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        let all = families.len();
        families.sort_unstable();
        families.dedup();
        assert_eq!(families.len(), all);
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let family = name.split('{').next().unwrap();
            assert!(text.contains(&format!("# HELP {family} ")), "{line}");
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
    }
}
