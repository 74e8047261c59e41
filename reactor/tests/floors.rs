//! A file of the library imports only lower floors: the imports make no circle.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The one knot: a handler is given a context, a context reaches handlers and makes handles, and a handle runs closures
/// that are given a context.
const KNOT: [&str; 9] = [
    "application",
    "context",
    "datagram_context",
    "datagram_handler",
    "handle",
    "handler",
    "loop_context",
    "sources::source",
    "sources::source_context",
];

#[test]
fn imports_make_no_circle() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut imports: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in rust_files(&source) {
        let module = knot_as_one(&module_name(&source, &file));
        let found = imported_modules(&source, &fs::read_to_string(&file).unwrap());
        imports.entry(module.clone()).or_default().extend(found.into_iter().filter(|import| *import != module));
    }
    imports.remove("lib");
    assert!(imports.len() > 30, "the library's files were not found");
    // Files whose imports are all gone are floors that stand; what is left when none can be taken away is a circle.
    while let Some(floor) = imports.iter().find(|(_, below)| below.is_empty()).map(|(name, _)| name.clone()) {
        imports.remove(&floor);
        imports.values_mut().for_each(|below| {
            below.remove(&floor);
        });
    }
    assert!(imports.is_empty(), "these files import each other in a circle, or are above one: {imports:#?}");
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let paths =
        fs::read_dir(directory).expect("the sources are there").map(|entry| entry.expect("it can be read").path());
    let (directories, files): (Vec<_>, Vec<_>) = paths.partition(|path| path.is_dir());
    files.into_iter().chain(directories.iter().flat_map(|directory| rust_files(directory))).collect()
}

fn module_name(source: &Path, file: &Path) -> String {
    let path = file.strip_prefix(source).expect("it was found below").with_extension("");
    path.to_str().expect("names are ASCII").trim_end_matches("/mod").replace('/', "::")
}

/// The modules named by `use crate::...` above the unit tests.
fn imported_modules(source: &Path, text: &str) -> BTreeSet<String> {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text);
    let paths = code.lines().filter_map(|line| line.strip_prefix("use crate::"));
    let modules = paths.map(|path| {
        let mut parts = path.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|part| !part.is_empty());
        let first = parts.next().unwrap_or_default();
        match parts.next() {
            Some(second) if source.join(first).join(second).with_extension("rs").exists() => {
                format!("{first}::{second}")
            }
            _ => first.to_owned(),
        }
    });
    // `crate::Result` is a name, not a module.
    modules.filter(|module| module.starts_with(char::is_lowercase)).map(|module| knot_as_one(&module)).collect()
}

fn knot_as_one(module: &str) -> String {
    if KNOT.contains(&module) { "the knot".to_owned() } else { module.to_owned() }
}
