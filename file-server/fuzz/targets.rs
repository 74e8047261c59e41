//! What each fuzz target does with its input: it fails by a panic. libFuzzer runs these, and so does `tests/fuzz.rs`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use file_server::http::authorization::Credentials;
use file_server::http::chunked::{ChunkedDecoder, InvalidChunk, Piece};
use file_server::http::conditional::{Validators, evaluate, range_counts};
use file_server::http::date::{HttpDate, parse as parse_date};
use file_server::http::digest::ContentDigest;
use file_server::http::etag::{Comparison, list_matches};
use file_server::http::negotiation::{AcceptedCodings, Coding, choose, prefers_json};
use file_server::http::range::{ByteRange, MOST_RANGES, Multipart, Selection, select};
use file_server::http::request::{RequestLimits, parse};
use file_server::http::target::{RelativePath, query_value};
use file_server::listing::sorting::Sorting;
use file_server::listing::{Entry, Format, Listing};
use file_server::users::Users;

/// A head gets the same answer however it is cut. What is taken for one names a path from the root, and no value of it
/// ends its line.
///
/// The first byte gives the limits, the second the size of the pieces.
pub(crate) fn request(bytes: &[u8]) {
    let Some((&[limits, step], stream)) = bytes.split_first_chunk::<2>() else { return };
    let limits = match limits & 3 {
        0 => RequestLimits { line: 16, head: 64, fields: 2 },
        1 => RequestLimits { line: 40, head: 48, fields: 8 },
        _ => RequestLimits::default(),
    };
    let whole = parse(stream, &limits);
    let cuts = (0..stream.len()).step_by(usize::from(step) + 1).chain([stream.len()]);
    let first = cuts.map(|cut| parse(&stream[..cut], &limits)).find(|answer| !matches!(answer, Ok(None)));
    assert_eq!(format!("{:?}", first.unwrap_or(Ok(None))), format!("{whole:?}"));

    let Ok(Some(request)) = whole else { return };
    assert!(request.head_len <= stream.len().min(limits.head));
    assert!(stream[..request.head_len].ends_with(b"\r\n\r\n"));
    assert!(request.path.starts_with(b"/") || matches!(request.method_name, "OPTIONS" | "CONNECT"));
    assert!(request.target.bytes().all(|byte| byte > b' '));
    let _ = evaluate(&request, Some(Validators { etag: b"\"a\"", modified: 784_111_777 }));
    let _ = evaluate(&request, None);
}

/// A path names something below the root, and is a link that reads as the same path; or it is refused.
pub(crate) fn path(bytes: &[u8]) {
    let Ok(path) = RelativePath::decode(bytes) else { return };
    for name in path.names() {
        assert!(!matches!(name, b"" | b"." | b".."));
        assert!(!name.iter().any(|byte| matches!(byte, 0 | b'/' | b'\\')));
    }
    assert_eq!(path.names().collect::<Vec<_>>().join(&b'/'), path.as_bytes());
    let location = path.to_location(path.is_directory());
    assert!(location.starts_with('/') && !location.starts_with("//"));
    assert!(location.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-._~%".contains(&byte)));
    assert_eq!(RelativePath::decode(location.as_bytes()), Ok(path));
}

/// A chunked body is the same, or is malformed at the same place, however it is cut.
///
/// The first byte is the size of the pieces.
pub(crate) fn chunked(bytes: &[u8]) {
    let Some((&step, stream)) = bytes.split_first() else { return };
    let whole = decoded(stream.chunks(stream.len().max(1)));
    assert_eq!(decoded(stream.chunks(usize::from(step) + 1)), whole);
    if let Ok((body, taken, _)) = whole {
        assert!(body.len() <= taken && taken <= stream.len());
    }
}

/// The body, how many bytes it took, and whether it ended.
fn decoded<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Result<(Vec<u8>, usize, bool), InvalidChunk> {
    let (mut decoder, mut body, mut taken) = (ChunkedDecoder::new(), Vec::new(), 0);
    for piece in pieces {
        let mut rest = piece;
        loop {
            let announced = decoder.announced();
            match decoder.next(&mut rest)? {
                Piece::Data(data) => {
                    assert!(!data.is_empty() && (announced == 0 || data.len() as u64 <= announced));
                    body.extend_from_slice(data);
                }
                Piece::More => break,
                Piece::End => return Ok((body, taken + piece.len() - rest.len(), true)),
            }
        }
        assert!(rest.is_empty());
        taken += piece.len();
    }
    Ok((body, taken, false))
}

/// Values of fields, and files of users, are read without a panic into what is within its bounds.
///
/// The first two bytes are the length of a file.
pub(crate) fn field_values(bytes: &[u8]) {
    let Some((length, value)) = bytes.split_first_chunk::<2>() else { return };
    let length = u64::from(u16::from_be_bytes(*length));
    check_ranges(&select(value, length, MOST_RANGES), length);

    let accepted = AcceptedCodings::of(Some(value));
    assert_eq!(
        accepted.as_slice().first().copied().unwrap_or(Coding::Identity),
        choose(Some(value), &Coding::COMPRESSED)
    );
    let _ = (prefers_json(Some(value)), ContentDigest::parse(value), range_counts(Some(value), CURRENT, 0));
    let _ = (query_value(value, "sort"), Format::of(Some(value), Some(value)), Sorting::of(Some(value)));
    let strong = list_matches(value, CURRENT.etag, Comparison::Strong);
    let weak = list_matches(value, CURRENT.etag, Comparison::Weak);
    assert!(strong == weak || format!("{strong:?}{weak:?}") == "DiffersMatches");
    if let Some(seconds) = parse_date(value) {
        let date = HttpDate::at(seconds).expect("what is read can be written");
        assert_eq!(parse_date(date.as_bytes()), Some(seconds));
    }
    if let Some(credentials) = Credentials::parse(value) {
        assert!(!credentials.user.contains(&b':'));
    }
    if let Err(error) = Users::parse(&String::from_utf8_lossy(value)) {
        assert!((1..=value.len()).contains(&error.line) && !error.to_string().contains('\n'));
    }
}

const CURRENT: Validators<'_> = Validators { etag: b"\"a\"", modified: 784_111_777 };

/// Ranges are in the file and apart from one another, and their answer has the length that was told.
fn check_ranges(selection: &Selection, length: u64) {
    let ranges = match selection {
        Selection::Whole | Selection::Unsatisfiable => return,
        Selection::One(range) => std::slice::from_ref(range),
        Selection::Several(ranges) => ranges,
    };
    assert!((1..=MOST_RANGES).contains(&ranges.len()));
    assert!(ranges.iter().all(|range| range.first <= range.last && range.last < length));
    let mut sorted: Vec<ByteRange> = ranges.to_vec();
    sorted.sort_by_key(|range| range.first);
    assert!(sorted.windows(2).all(|pair| pair[0].last + 1 < pair[1].first));
    let multipart = Multipart { boundary: "b", part_type: "t", length };
    let mut body = Vec::new();
    for &range in ranges {
        multipart.write_part(&mut body, range);
        body.resize(body.len() + range.len() as usize, 0);
    }
    multipart.write_end(&mut body);
    assert_eq!(multipart.content_length(ranges), body.len() as u64);
}

/// Names never become markup, and JSON can be read.
///
/// The input is a path, and names, with line feeds between them.
pub(crate) fn listing(bytes: &[u8]) {
    let mut lines = bytes.split(|&byte| byte == b'\n');
    let Ok(path) = RelativePath::decode(lines.next().unwrap_or_default()) else { return };
    let names: Vec<_> = lines.filter(|name| !name.is_empty()).collect();
    let entries = |name: &dyn Fn(&[u8]) -> Vec<u8>| {
        let entry = |&bytes: &&[u8]| Entry {
            name: OsString::from_vec(name(bytes)),
            is_directory: bytes[0] & 1 == 0,
            size: u64::from(bytes[0]) << (bytes.len() % 64),
            modified: (bytes.len() as i64) << (bytes[0] % 64),
        };
        names.iter().map(entry).collect()
    };
    let sorting = Sorting::of(Some(path.as_bytes()));
    let listing = Listing::new(&path, entries(&<[u8]>::to_vec), sorting);
    let harmless = Listing::new(&path, entries(&|_| b"a".to_vec()), sorting);
    let tags = |listing: &Listing<'_>| {
        let page = listing.to_bytes(Format::Html);
        [b'<', b'>', b'"', b'\''].map(|sign| page.iter().filter(|&&byte| byte == sign).count())
    };
    assert_eq!(tags(&listing), tags(&harmless));
    let json: serde_json::Value = serde_json::from_slice(&listing.to_bytes(Format::Json)).expect("it is JSON");
    assert_eq!(json["entries"].as_array().map(Vec::len), Some(names.len()));
}
