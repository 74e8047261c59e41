//! Dictionaries of structured fields, as far as byte sequences go (RFC 9651).

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::list::trim;

/// A value that is no dictionary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the value is no dictionary of structured fields")
    }
}

impl std::error::Error for Malformed {}

/// Padding is what senders owe and recipients need not insist on.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Tells each member's key and its value, if that is a byte sequence; values of other types are passed over, and so are
/// parameters.
///
/// # Errors
///
/// If the value is no dictionary. Inner lists are not read: a dictionary with one counts as malformed.
///
/// ```
/// use file_server::http::structured_field::members;
///
/// let mut found = Vec::new();
/// members(b"sha-256=:aGk=:;p=1, other=5", |key, bytes| found.push((key.to_vec(), bytes))).unwrap();
/// assert_eq!(found, [(b"sha-256".to_vec(), Some(b"hi".to_vec())), (b"other".to_vec(), None)]);
/// ```
pub fn members(value: &[u8], mut found: impl FnMut(&[u8], Option<Vec<u8>>)) -> Result<(), Malformed> {
    let mut rest = trim(value);
    while !rest.is_empty() {
        let key = take_key(&mut rest)?;
        let bytes = match rest {
            [b'=', after @ ..] => {
                rest = after;
                take_item(&mut rest)?
            }
            _ => None,
        };
        skip_parameters(&mut rest)?;
        found(key, bytes);
        rest = match trim(rest) {
            [] => return Ok(()),
            [b',', after @ ..] if !trim(after).is_empty() => trim(after),
            _ => return Err(Malformed),
        };
    }
    Ok(())
}

fn take_key<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let is_key =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-' | b'.' | b'*');
    match rest.first() {
        Some(b'a'..=b'z' | b'*') => Ok(take_while(rest, is_key)),
        _ => Err(Malformed),
    }
}

/// The bytes of a byte sequence; other items are passed over.
fn take_item(rest: &mut &[u8]) -> Result<Option<Vec<u8>>, Malformed> {
    match rest.first() {
        Some(b':') => {
            *rest = &rest[1..];
            let text = take_while(rest, |byte| byte != b':');
            *rest = rest.strip_prefix(b":").ok_or(Malformed)?;
            BASE64.decode(text).map(Some).map_err(|_| Malformed)
        }
        Some(b'"') => take_string(rest).map(|()| None),
        // Numbers, tokens, booleans, dates.
        Some(b'0'..=b'9' | b'-' | b'?' | b'@' | b'*' | b'a'..=b'z' | b'A'..=b'Z') => {
            let is_bare =
                |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b',' | b';' | b'"' | b'(' | b')' | b'=');
            take_while(rest, is_bare);
            Ok(None)
        }
        _ => Err(Malformed),
    }
}

fn take_string(rest: &mut &[u8]) -> Result<(), Malformed> {
    let mut escaped = false;
    for (index, &byte) in rest.iter().enumerate().skip(1) {
        match byte {
            b'"' | b'\\' if escaped => escaped = false,
            _ if escaped => return Err(Malformed),
            b'\\' => escaped = true,
            b'"' => {
                *rest = &rest[index + 1..];
                return Ok(());
            }
            b' '..=b'~' => {}
            _ => return Err(Malformed),
        }
    }
    Err(Malformed)
}

fn skip_parameters(rest: &mut &[u8]) -> Result<(), Malformed> {
    while let [b';', after @ ..] = rest {
        *rest = after;
        take_while(rest, |byte| byte == b' ');
        take_key(rest)?;
        if let [b'=', after @ ..] = rest {
            *rest = after;
            take_item(rest)?;
        }
    }
    Ok(())
}

fn take_while<'a>(rest: &mut &'a [u8], wanted: impl Fn(u8) -> bool) -> &'a [u8] {
    let end = rest.iter().position(|&byte| !wanted(byte)).unwrap_or(rest.len());
    let (taken, after) = rest.split_at(end);
    *rest = after;
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    type Members = Vec<(String, Option<Vec<u8>>)>;

    fn read(value: &str) -> Result<Members, Malformed> {
        let mut found = Vec::new();
        members(value.as_bytes(), |key, bytes| found.push((String::from_utf8_lossy(key).into_owned(), bytes)))?;
        Ok(found)
    }

    #[test]
    fn byte_sequences_are_read_and_the_rest_is_passed_over() {
        assert_eq!(read(""), Ok(vec![]));
        assert_eq!(read(" a=:: "), Ok(vec![("a".into(), Some(vec![]))]));
        let found = read("a=:aGk=:, b=:aGk:\t,\tc;x=\"y\\\"\";z, d=?1, e=-1.5;q=:aGk=:, f=tok/en, g=\"a, b\", *h=@1");
        let found = found.expect("it is a dictionary");
        let keys: Vec<_> = found.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["a", "b", "c", "d", "e", "f", "g", "*h"]);
        assert!(found.iter().all(|(key, bytes)| bytes.is_some() == matches!(key.as_str(), "a" | "b")));
        assert_eq!(found[1].1.as_deref(), Some(&b"hi"[..]));
    }

    #[test]
    fn what_is_no_dictionary_is_refused() {
        for value in [
            ",",
            "a,",
            "a,,b",
            "A=1",
            "1=2",
            "a=",
            "a=:aGk=",
            "a=:a:",
            "a=:a b=:",
            "a=:-_-_:",
            "a=\"b",
            "a=\"\\n\"",
            "a=(1 2)",
            "a =1",
            "a= 1",
            "a=1 b=2",
            "a;",
            "a;B",
            "a=1;x=",
            "\u{fc}=1",
            "a=\"\u{fc}\"",
        ] {
            assert_eq!(read(value), Err(Malformed), "{value}");
        }
    }
}
