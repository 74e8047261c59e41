//! The file that producers send from: streams one after another.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::ops::Range;
use std::process;
use std::sync::{Arc, OnceLock};

use crate::pattern::Pattern;
use crate::run::CLIENTS;

/// The stream that a client's producer sends, which is another one than the client's.
pub(crate) fn stream(client: usize) -> Pattern {
    Pattern(client + FIRST)
}

/// Where a part of a producer's stream is.
pub(crate) fn piece(stream: Pattern, place: usize, count: usize) -> (Arc<fs::File>, Range<u64>) {
    static FILE: OnceLock<Arc<fs::File>> = OnceLock::new();
    let begin = ((stream.0 - FIRST) * LONGEST + place) as u64;
    (Arc::clone(FILE.get_or_init(|| Arc::new(make()))), begin..begin + count as u64)
}

/// A file without a name, which goes with the process.
fn make() -> fs::File {
    let path = std::env::temp_dir().join(format!("sim_model_{}", process::id()));
    let opened = OpenOptions::new().read(true).write(true).create_new(true).open(&path);
    let mut file = opened.expect("a temporary file can be made");
    fs::remove_file(&path).expect("it was made just now");
    for client in 0..CLIENTS {
        file.write_all(&stream(client).bytes(0, LONGEST)).expect("there is room for it");
    }
    file
}

/// The most that a producer sends.
pub(crate) const LONGEST: usize = 50_000;

/// The most that it sends at once.
pub(crate) const PIECE: usize = 5000;

const FIRST: usize = 1000;
