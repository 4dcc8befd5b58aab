//! The files of `.ctl`.

use super::command;
use super::engine::Engine;
use crate::fuse::{ControlError, ControlFile, ControlFiles};
use std::sync::Arc;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Shows {
    Stats,
    StatsJson,
    Metrics,
    Cmd,
    Diff,
    Config,
    Version,
    Help,
}

const ALL: &[(&str, Shows)] = &[
    ("stats", Shows::Stats),
    ("stats.json", Shows::StatsJson),
    ("metrics", Shows::Metrics),
    ("cmd", Shows::Cmd),
    ("diff", Shows::Diff),
    ("config.json", Shows::Config),
    ("version", Shows::Version),
    ("help", Shows::Help),
];

/// The control directory of one mount.
#[derive(Debug)]
pub struct ControlDir {
    engine: Arc<Engine>,
    files: Vec<ControlFile>,
}

impl ControlDir {
    /// With `commands`, `cmd` can be written; without, it shows results only.
    pub fn new(engine: Arc<Engine>, commands: bool) -> Self {
        let writable = |shows| commands && shows == Shows::Cmd;
        let files = ALL.iter().map(|&(name, shows)| ControlFile { name, writable: writable(shows) }).collect();
        Self { engine, files }
    }
}

fn pretty(value: &impl serde::Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).expect("control files have string keys and finite numbers");
    text.push(b'\n');
    text
}

impl ControlFiles for ControlDir {
    fn files(&self) -> &[ControlFile] {
        &self.files
    }

    fn read(&self, index: usize) -> Result<Vec<u8>, ControlError> {
        let (_, shows) = ALL.get(index).ok_or_else(|| no_file(index))?;
        let backend = self.engine.backend();
        Ok(match shows {
            Shows::Stats => backend.figures().text().into_bytes(),
            Shows::StatsJson => pretty(&backend.figures().json()),
            Shows::Metrics => backend.figures().metrics().into_bytes(),
            Shows::Cmd => pretty(&self.engine.last()),
            Shows::Diff => backend.diff()?,
            Shows::Config => pretty(&backend.config()),
            Shows::Version => format!("cairnfs {}\n", env!("CARGO_PKG_VERSION")).into_bytes(),
            Shows::Help => command::help_text().into_bytes(),
        })
    }

    fn write(&self, index: usize, text: &[u8]) -> Result<(), ControlError> {
        let file = self.files.get(index).ok_or_else(|| no_file(index))?;
        if !file.writable {
            return Err(ControlError::Refused(format!("`{}` can't be written on this mount", file.name)));
        }
        self.engine.run(text).1
    }

    fn ending(&self) {
        self.engine.end();
    }
}

fn no_file(index: usize) -> ControlError {
    ControlError::NotFound(format!("there is no control file {index}"))
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
    use super::*;

    fn at(name: &str) -> usize {
        ALL.iter().position(|(have, _)| *have == name).unwrap()
    }

    #[test]
    fn every_file_has_content_and_only_cmd_is_written() {
        let dir = ControlDir::new(Engine::new(Arc::new(Fake::default())), true);
        for (index, file) in dir.files().iter().enumerate() {
            assert!(dir.read(index).unwrap().ends_with(b"\n"), "{}", file.name);
            assert_eq!(file.writable, file.name == "cmd");
        }
        assert!(dir.write(at("cmd"), b"sync\n").is_ok());
        assert!(String::from_utf8(dir.read(at("cmd")).unwrap()).unwrap().contains("\"ok\": true"));
        assert!(matches!(dir.write(at("stats"), b"sync\n"), Err(ControlError::Refused(_))));
        assert!(matches!(dir.write(at("cmd"), b"nope\n"), Err(ControlError::Usage(_))));
        assert!(dir.read(99).is_err());
        let locked = ControlDir::new(Engine::new(Arc::new(Fake::default())), false);
        assert!(matches!(locked.write(at("cmd"), b"sync\n"), Err(ControlError::Refused(_))));
    }
}
