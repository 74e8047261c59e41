//! A file that is fetched: it comes into NAME.part, and has its name when it is whole and checked. Or it goes to stdout as it comes.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use file_server::http::digest::{ContentDigest, DigestCheck};
use sha2::{Digest, Sha256};

use crate::failure::Failure;
use crate::response::Response;

/// What an earlier try has left of a file.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) length: u64,
    /// What the server told of the version that it is a part of.
    pub(crate) validator: String,
}

/// A file that is fetched.
#[derive(Debug)]
pub(crate) struct Download {
    to: PathBuf,
    out: Out,
    /// Bytes that are there, those of earlier tries among them, and how many there will be.
    length: u64,
    whole: Option<u64>,
    /// What the server says of these bytes, and of the whole file.
    check: Option<DigestCheck>,
    whole_digest: ContentDigest,
    /// What the user says of the whole file.
    sha256: Option<[u8; 32]>,
    modified: Option<SystemTime>,
    /// What tells another try that it can go on with what is there: where it is from, and of which version.
    note: Option<String>,
    /// It stands beside the part.
    is_noted: bool,
}

/// Where the bytes go.
#[derive(Debug)]
enum Out {
    File(File),
    /// What went there is gone: it is checked on its way, and no try goes on with it.
    Stdout(Option<Sha256>),
}

impl Part {
    /// What is here of a file from this place.
    pub(crate) fn find(to: &Path, from: &str) -> Option<Self> {
        let note = fs::read_to_string(note_path(to)).ok()?;
        let (place, validator) = note.split_once('\n')?;
        let length = fs::metadata(part_path(to)).ok()?.len();
        let validator = validator.trim_end_matches('\n');
        let is_value = !validator.is_empty() && !validator.chars().any(char::is_control);
        (place == from && length > 0 && is_value).then(|| Self { length, validator: validator.to_owned() })
    }

    /// Removes what is here of a file.
    pub(crate) fn forget(to: &Path) {
        // What is not there need not go, and what cannot go is written over.
        let _ = fs::remove_file(part_path(to));
        let _ = fs::remove_file(note_path(to));
    }
}

impl Download {
    /// Begins with the head of a response.
    pub(crate) fn begin(
        to: &Path,
        from: &str,
        response: &Response,
        part: Option<&Part>,
        sha256: Option<[u8; 32]>,
    ) -> Result<Self, Failure> {
        let (file, length, whole) = match (response.status, part) {
            (206, Some(part)) => {
                let Some((Some(first), whole)) = response.content_range() else {
                    return Err(Failure::lasting("the server does not tell which part it sends"));
                };
                if first != part.length {
                    return Err(Failure::lasting("the server sends another part than was asked for"));
                }
                (OpenOptions::new().append(true).open(part_path(to))?, part.length, whole)
            }
            (200, _) => {
                let whole = response.text("content-length").and_then(|length| length.parse().ok());
                // Without its note a part is nothing that anybody goes on with.
                let _ = fs::remove_file(note_path(to));
                (File::create(part_path(to)).map_err(|error| cannot("write", &part_path(to), &error))?, 0, whole)
            }
            _ => return Err(response.failure()),
        };
        let content = digest_of(response, "content-digest");
        Ok(Self {
            to: to.to_owned(),
            out: Out::File(file),
            length,
            whole,
            check: (!content.is_empty()).then(|| content.check()),
            whole_digest: digest_of(response, "repr-digest"),
            sha256,
            modified: response.text("last-modified").and_then(|value| httpdate::parse_http_date(value).ok()),
            note: response.validator().map(|validator| format!("{from}\n{validator}\n")),
            is_noted: response.status == 206,
        })
    }

    /// The same for one whose content goes to stdout.
    pub(crate) fn to_stdout(response: &Response, sha256: Option<[u8; 32]>) -> Result<Self, Failure> {
        if response.status != 200 {
            return Err(response.failure());
        }
        let (content, whole) = (digest_of(response, "content-digest"), digest_of(response, "repr-digest"));
        let content = if content.is_empty() { whole } else { content };
        Ok(Self {
            to: PathBuf::from(STDOUT),
            out: Out::Stdout(sha256.map(|_| Sha256::new())),
            length: 0,
            whole: response.text("content-length").and_then(|length| length.parse().ok()),
            check: (!content.is_empty()).then(|| content.check()),
            whole_digest: ContentDigest::default(),
            sha256,
            modified: None,
            note: None,
            is_noted: false,
        })
    }

    /// How many bytes are still to come, if that is known.
    pub(crate) fn expected(&self) -> Option<u64> {
        self.whole.map(|whole| whole.saturating_sub(self.length))
    }

    /// Adds bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if let Some(check) = &mut self.check {
            check.update(bytes);
        }
        match &mut self.out {
            Out::File(file) => file.write_all(bytes).map_err(|error| cannot("write", &part_path(&self.to), &error))?,
            Out::Stdout(sha256) => {
                if let Some(sha256) = sha256 {
                    sha256.update(bytes);
                }
                let written = io::stdout().write_all(bytes).and_then(|()| io::stdout().flush());
                written.map_err(|error| cannot("write to", Path::new("stdout"), &error))?;
            }
        }
        self.length += bytes.len() as u64;
        if self.length >= WORTH_A_NOTE {
            self.leave_note();
        }
        Ok(())
    }

    /// All has come: the file is checked and has its name. Answers its size.
    pub(crate) fn finish(mut self) -> Result<u64, Failure> {
        if let Out::Stdout(sha256) = &mut self.out {
            let sha256 = sha256.take();
            return self.finish_stdout(sha256);
        }
        if let Some(whole) = self.whole
            && whole != self.length
        {
            self.give_up();
            return Err(Failure::passing(format!("{} of {whole} bytes came", self.length)));
        }
        let content_holds = self.check.take().is_none_or(DigestCheck::holds);
        if !content_holds || !self.is_right()? {
            Part::forget(&self.to);
            return Err(Failure::passing("what came is not what it should be: its digest is another"));
        }
        if let (Some(modified), Out::File(file)) = (self.modified, &self.out) {
            // A time that cannot be set is no reason to throw the file away.
            let _ = file.set_modified(modified);
        }
        fs::rename(part_path(&self.to), &self.to).map_err(|error| cannot("write", &self.to, &error))?;
        if self.is_noted {
            let _ = fs::remove_file(note_path(&self.to));
        }
        Ok(self.length)
    }

    /// All has come, and went on to stdout: whoever reads there is told by the exit code what it was worth.
    fn finish_stdout(self, sha256: Option<Sha256>) -> Result<u64, Failure> {
        if let Some(whole) = self.whole.filter(|&whole| whole != self.length) {
            return Err(Failure::lasting(format!("{} of {whole} bytes came", self.length)));
        }
        let is_right = sha256.is_none_or(|sha256| self.sha256.is_none_or(|wanted| sha256.finalize()[..] == wanted));
        if !is_right || !self.check.is_none_or(DigestCheck::holds) {
            return Err(Failure::lasting("what came is not what it should be: its digest is another"));
        }
        Ok(self.length)
    }

    /// Whether another try would write twice what is written already.
    pub(crate) fn is_spent(&self) -> bool {
        matches!(self.out, Out::Stdout(_)) && self.length > 0
    }

    /// No more will come. What is there stays if another try can go on with it.
    pub(crate) fn give_up(&mut self) {
        self.leave_note();
        if !self.is_noted && matches!(self.out, Out::File(_)) {
            Part::forget(&self.to);
        }
    }

    fn leave_note(&mut self) {
        if let Some(note) = self.note.take() {
            self.is_noted = fs::write(note_path(&self.to), note).is_ok();
        }
    }

    /// Whether the whole file is what it was said to be. It is read once more, for a part may be of an earlier try.
    fn is_right(&self) -> Result<bool, Failure> {
        if self.sha256.is_none() && self.whole_digest.is_empty() {
            return Ok(true);
        }
        let mut check = self.whole_digest.clone().check();
        let mut sha256 = Sha256::new();
        let path = part_path(&self.to);
        read_through(&path, |bytes| {
            check.update(bytes);
            if self.sha256.is_some() {
                sha256.update(bytes);
            }
        })
        .map_err(|error| cannot("read", &path, &error))?;
        Ok(check.holds() && self.sha256.is_none_or(|wanted| sha256.finalize()[..] == wanted))
    }
}

/// Whether this is stdout, as options name it.
pub(crate) fn is_stdout(path: &Path) -> bool {
    path == Path::new(STDOUT)
}

fn digest_of(response: &Response, name: &str) -> ContentDigest {
    response.field(name).and_then(|value| ContentDigest::parse(value).ok()).unwrap_or_default()
}

/// What Content-Digest says of a file. It reads all of it.
pub(crate) fn content_digest(path: &Path) -> io::Result<String> {
    use base64::Engine;
    let mut sha256 = Sha256::new();
    read_through(path, |bytes| sha256.update(bytes))?;
    Ok(format!("sha-256=:{}:", base64::engine::general_purpose::STANDARD.encode(sha256.finalize())))
}

fn read_through(path: &Path, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut piece = vec![0; 256 << 10];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(count) => each(&piece[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn cannot(do_what: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::lasting(format!("cannot {do_what} {}: {error}", path.display()))
}

fn part_path(to: &Path) -> PathBuf {
    with_suffix(to, ".part")
}

/// Where a part comes from, and of which version it is.
fn note_path(to: &Path) -> PathBuf {
    with_suffix(to, ".part.from")
}

fn with_suffix(to: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(to);
    name.push(suffix);
    name.into()
}

/// A part of so many bytes has its note before anything happens to it: smaller ones are fetched anew after a `kill -9`.
const WORTH_A_NOTE: u64 = 256 << 10;

const STDOUT: &str = "-";
