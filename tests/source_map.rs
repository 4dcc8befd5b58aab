//! What the documents and the heads of modules say of the source is there: the map in `src/lib.rs`, paths in `docs/`, links, lists of modules.
#![allow(clippy::unwrap_used, reason = "a test may end so")]

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// The comment that a source file begins with.
fn head(source: &str) -> String {
    source.lines().map_while(|line| line.strip_prefix("//!")).collect::<Vec<_>>().join("\n")
}

/// What stands between backquotes on one line.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2))
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|it| it == "rs") {
            found.push(path);
        }
    }
}

fn documents() -> Vec<String> {
    let listed = fs::read_dir(root().join("docs")).unwrap();
    let mut all: Vec<String> =
        listed.map(|entry| format!("docs/{}", entry.unwrap().file_name().to_str().unwrap())).collect();
    all.extend(["README.md", "CONTRIBUTING.md", "contrib/README.md"].map(String::from));
    all
}

#[test]
fn the_map_leads_to_what_it_names() {
    let map = head(&read("src/lib.rs"));
    let rows: Vec<&str> = map.lines().filter_map(|line| line.trim().strip_prefix("| ")?.strip_suffix(" |")).collect();
    assert!(rows.len() > 20, "{} rows", rows.len());
    for row in rows.iter().skip(1) {
        let (_, places) = row.split_once(" | ").unwrap();
        let mut within: Option<(String, String)> = None;
        for name in quoted(places) {
            if !name.ends_with(".rs") {
                let (path, source) = within.as_ref().unwrap_or_else(|| panic!("`{name}` is in no file: {row}"));
                assert!(declares(source, name), "{path} has no `{name}`: {row}");
                continue;
            }
            // One without a folder is beside the one before.
            let path = match &within {
                Some((before, _)) if !name.contains('/') => Path::new(before).with_file_name(name),
                _ => Path::new("src").join(name),
            };
            let path = path.to_str().unwrap().to_owned();
            assert!(root().join(&path).exists(), "no {path}: {row}");
            within = Some((path.clone(), read(&path)));
        }
        assert!(within.is_some(), "no file: {row}");
    }
}

/// Whether `source` has a function, constant or type of that name.
fn declares(source: &str, name: &str) -> bool {
    let ends = |rest: &str| !rest.starts_with(|next: char| next.is_alphanumeric() || next == '_');
    let is_there = |kind: &&str| source.split(&format!("{kind} {name}")).skip(1).any(ends);
    ["fn", "const", "struct", "enum"].iter().any(is_there)
}

#[test]
fn every_module_is_named_where_its_folder_is_described() {
    let (mut all, mut missing) = (Vec::new(), Vec::new());
    sources(&root().join("src"), &mut all);
    for path in all.iter().filter(|path| path.ends_with("mod.rs")) {
        let source = fs::read_to_string(path).unwrap();
        let head = head(&source);
        let words: Vec<&str> = head.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
        let mut before = "";
        for line in source.lines() {
            let module = line.strip_suffix(';').and_then(|line| line.split_once("mod ")).map(|(_, name)| name);
            if let Some(module) = module.filter(|_| !line.starts_with([' ', '/']) && before != "#[cfg(test)]") {
                // Where modules are the orders of one protocol, they say so themselves.
                let is_test = path.parent().unwrap().ends_with("explored");
                if !(is_test || words.contains(&module)) {
                    missing.push(format!("{}: {module}", path.display()));
                }
            }
            before = line;
        }
    }
    assert_eq!(missing, [""; 0], "modules that the head of their folder's `mod.rs` doesn't name");
}

#[test]
fn what_the_documents_name_is_there() {
    for document in documents() {
        let text = read(&document);
        let folder = Path::new(&document).parent().unwrap();
        let links = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link);
        for link in links.filter(|link| !link.contains("://")) {
            let file = link.split('#').next().unwrap();
            assert!(file.is_empty() || root().join(folder).join(file).exists(), "{document}: no {link}");
        }
        for path in quoted(&text).map(|name| name.split(' ').next().unwrap()) {
            let is_source = path.contains('/') && path.ends_with(".rs") && !path.contains('*');
            let of_ours = ["src/", "tests/", "scripts/", "docs/", "fuzz/"].iter().any(|top| path.starts_with(top));
            if (is_source || of_ours && !path.contains(['*', 'S']))
                && ![root().join(path), root().join("src").join(path)].iter().any(|path| path.exists())
            {
                assert!(text.contains(&format!("(fjall 3, `{path}`")), "{document}: no {path}");
            }
        }
    }
}
