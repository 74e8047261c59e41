//! What the command line asks for, file by file.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use file_server::http::target::encode_name;

use crate::download::is_stdout;
use crate::location::{Location, StructServer};
use crate::options::{Command, Get, Options, Put};
use crate::task::{Task, What};

/// All that is known at the start. What is below directories of a server is found later.
///
/// # Errors
/// Something is asked for that makes no sense.
pub(crate) fn tasks(options: &Options) -> Result<Vec<Task>, String> {
    match &options.command {
        Some(Command::Put(put)) => put_tasks(put),
        Some(Command::Get(get)) => get_tasks(get),
        Some(Command::Ls(ls)) => {
            let list = |url: &String| Location::parse(url).map(|from| Task::new(What::List { from }));
            ls.urls.iter().map(list).collect()
        }
        None => Err("say what to do: put, get or ls; --help tells more".to_owned()),
    }
}

fn put_tasks(put: &Put) -> Result<Vec<Task>, String> {
    if let Some(server) = StructServer::parse(&put.url) {
        return struct_tasks(put, &server?);
    }
    let url = Location::parse(&put.url)?;
    let into = url.is_directory() || put.files.len() > 1;
    let mut tasks = Vec::new();
    for file in &put.files {
        let to = match into || file.is_dir() {
            true => url.below(&encoded(name_of(file)?)),
            false => url.clone(),
        };
        collect(file, to, &mut tasks);
    }
    Ok(tasks)
}

/// Adds a file, or all that is below a directory, in the order of their names. What cannot be read fails when its turn comes.
fn collect(file: &Path, to: Location, tasks: &mut Vec<Task>) {
    match names_in(file) {
        Some(names) => {
            for name in names {
                let below = to.below(&encoded(&name));
                collect(&file.join(name), below, tasks);
            }
        }
        None => tasks.push(Task::new(What::Put { file: file.to_owned(), to })),
    }
}

/// What is in a directory; `None` if it is none. Symlinks to directories are none: they could lead round in a circle.
fn names_in(file: &Path) -> Option<Vec<OsString>> {
    let metadata = fs::symlink_metadata(file).ok()?;
    let entries = metadata.is_dir().then(|| fs::read_dir(file))?.ok()?;
    let mut names: Vec<_> = entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<_, _>>().ok()?;
    names.sort();
    Some(names)
}

fn struct_tasks(put: &Put, server: &StructServer) -> Result<Vec<Task>, String> {
    if put.checksum || put.no_replace {
        return Err("--checksum and --no-replace are for HTTP; the struct protocol knows nothing of them".to_owned());
    }
    let task = |file: &PathBuf| {
        let name = name_of(file)?.to_str().ok_or_else(|| format!("the name of {} is not UTF-8", file.display()))?;
        Ok(Task::new(What::PutStruct { file: file.clone(), name: name.to_owned(), to: server.clone() }))
    };
    put.files.iter().map(task).collect()
}

fn get_tasks(get: &Get) -> Result<Vec<Task>, String> {
    let locations = get.urls.iter().map(|url| Location::parse(url)).collect::<Result<Vec<_>, _>>()?;
    if get.sha256.is_some() && (locations.len() != 1 || locations[0].is_directory()) {
        return Err("--sha256 is for one file".to_owned());
    }
    let output = get.output.as_deref().unwrap_or(Path::new("."));
    if is_stdout(output) && (locations.len() != 1 || locations[0].is_directory()) {
        return Err("-o - is for one file".to_owned());
    }
    let into = output.is_dir() || output.as_os_str().as_bytes().ends_with(b"/") || locations.len() > 1;
    let task = |from: Location| {
        if from.is_directory() {
            // Without a name of its own, the root comes right here.
            let to = from.file_name().map_or_else(|| output.to_owned(), |name| output.join(name));
            return Ok(Task::new(What::Mirror { from, to }));
        }
        let to = match into {
            true => output.join(from.file_name().ok_or_else(|| format!("{from} has no name that a file can have"))?),
            false => output.to_owned(),
        };
        Ok(Task::new(What::Get { from, to }))
    };
    locations.into_iter().map(task).collect()
}

fn name_of(file: &Path) -> Result<&OsStr, String> {
    file.file_name().ok_or_else(|| format!("{} has no name to store it under", file.display()))
}

fn encoded(name: &OsStr) -> String {
    let mut encoded = String::new();
    encode_name(&mut encoded, name.as_bytes());
    encoded
}
