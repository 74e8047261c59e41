//! Ranges, conditions and paths agree with models that are simple and slow.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::collections::BTreeSet;

use file_server::http::conditional::{Outcome, Validators, evaluate};
use file_server::http::range::{MOST_RANGES, Selection, select};
use file_server::http::request::{RequestLimits, parse};
use file_server::http::target::{RelativePath, encode_name, encode_path};
use proptest::prelude::*;

/// One range as text, and the offsets in a file of this length that it means.
fn spec() -> impl Strategy<Value = (Option<u64>, Option<u64>)> {
    prop_oneof![
        (0..80u64, 0..40u64).prop_map(|(first, more)| (Some(first), Some(first + more))),
        (0..80u64).prop_map(|first| (Some(first), None)),
        (0..80u64).prop_map(|count| (None, Some(count))),
    ]
}

fn text_of((first, last): (Option<u64>, Option<u64>)) -> String {
    let text = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
    format!("{}-{}", text(first), text(last))
}

fn offsets_of(spec: (Option<u64>, Option<u64>), length: u64) -> BTreeSet<u64> {
    let is_meant = |offset: &u64| match spec {
        (Some(first), Some(last)) => (first..=last).contains(offset),
        (Some(first), None) => *offset >= first,
        (None, Some(count)) => *offset + count >= length,
        (None, None) => false,
    };
    (0..length).filter(is_meant).collect()
}

proptest! {
    #[test]
    fn ranges_are_the_offsets_that_are_meant(
        specs in prop::collection::vec(spec(), 1..8),
        length in 1..64u64,
        separator in prop::sample::select(&[",", ", ", " ,\t", ",,"][..]),
    ) {
        let value = format!("bytes={}", specs.iter().map(|&spec| text_of(spec)).collect::<Vec<_>>().join(separator));
        let meant: BTreeSet<u64> = specs.iter().flat_map(|&spec| offsets_of(spec, length)).collect();
        let ranges = match select(value.as_bytes(), length, MOST_RANGES) {
            Selection::Unsatisfiable => Vec::new(),
            Selection::One(range) => vec![range],
            Selection::Several(ranges) => ranges,
            Selection::Whole => return Err(TestCaseError::fail(format!("{value} is no reason to send all"))),
        };
        let sent: Vec<u64> = ranges.iter().flat_map(|range| range.first..=range.last).collect();
        prop_assert_eq!(sent.len(), meant.len(), "no byte is sent twice");
        prop_assert_eq!(sent.iter().copied().collect::<BTreeSet<_>>(), meant);
        // Each is as long as it can be.
        prop_assert!(ranges.iter().all(|range| !sent.contains(&(range.last + 1))));
        // In the order of the first that was asked for of each.
        let place = |first: u64, last: u64| {
            specs.iter().position(|&spec| offsets_of(spec, length).iter().any(|offset| (first..=last).contains(offset)))
        };
        let places: Vec<_> = ranges.iter().map(|range| place(range.first, range.last)).collect();
        prop_assert!(places.is_sorted(), "{:?} of {}", ranges, value);
    }

    #[test]
    fn an_encoded_path_is_decoded_to_the_same_names(
        names in prop::collection::vec(prop::collection::vec(1..=255u8, 1..9), 0..5),
        directory: bool,
    ) {
        let valid = |name: &Vec<u8>| !matches!(&name[..], b"." | b"..") && !name.iter().any(|byte| b"/\\".contains(byte));
        let names: Vec<_> = names.into_iter().filter(valid).collect();
        let mut path = "/".to_owned();
        encode_path(&mut path, &names.join(&b'/'));
        let directory = directory || names.is_empty();
        if directory && !names.is_empty() {
            path.push('/');
        }
        let decoded = RelativePath::decode(path.as_bytes()).unwrap();
        prop_assert_eq!(decoded.names().map(<[u8]>::to_vec).collect::<Vec<_>>(), names);
        prop_assert_eq!(decoded.is_directory(), directory);
        prop_assert_eq!(decoded.to_location(directory), path);
    }

    #[test]
    fn dots_in_any_encoding_are_refused(
        before in prop::sample::select(&["", "a/", "a/b/", ".a/", "./"][..]),
        dots in prop::sample::select(&["..", "%2e.", ".%2e", "%2E%2e", "%2e%2E"][..]),
        after in prop::sample::select(&["", "/", "/a", "//", "/."][..]),
    ) {
        let path = format!("/{before}{dots}{after}");
        let is_refused = RelativePath::decode(path.as_bytes()).is_err();
        prop_assert!(is_refused, "{}", path);
    }

    #[test]
    fn a_name_is_encoded_into_harmless_signs(name in prop::collection::vec(any::<u8>(), 0..20)) {
        let mut encoded = String::new();
        encode_name(&mut encoded, &name);
        prop_assert!(encoded.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte)));
    }
}

const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
const SAME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
const CURRENT: Validators<'_> = Validators { etag: b"\"a\"", modified: 784_111_777 };

/// A value of each kind, and whether it is true of the file: of If-Match, If-None-Match, If-Unmodified-Since and
/// If-Modified-Since, as RFC 9110 defines them in sections 13.1.1 to 13.1.4. `None` is a field that is ignored.
const IF_MATCH: &[(&str, bool)] =
    &[("*", true), ("\"a\"", true), ("\"b\", \"a\"", true), ("\"b\"", false), ("W/\"a\"", false)];
const IF_NONE_MATCH: &[(&str, bool)] =
    &[("*", false), ("\"a\"", false), ("\"b\", W/\"a\"", false), ("\"b\"", true), ("\"A\"", true)];
const IF_UNMODIFIED: &[(&str, Option<bool>)] =
    &[(BEFORE, Some(false)), (SAME, Some(true)), (AFTER, Some(true)), ("a", None)];
const IF_MODIFIED: &[(&str, Option<bool>)] =
    &[(BEFORE, Some(true)), (SAME, Some(false)), (AFTER, Some(false)), ("a", None)];

/// The steps of RFC 9110, section 13.2.2, in the words they have there.
fn steps(
    method: &str,
    if_match: Option<bool>,
    if_unmodified: Option<bool>,
    if_none_match: Option<bool>,
    if_modified: Option<bool>,
) -> Outcome {
    let is_retrieval = method == "GET" || method == "HEAD";
    // 1 and 2.
    if if_match == Some(false) || (if_match.is_none() && if_unmodified == Some(false)) {
        return Outcome::PreconditionFailed;
    }
    // 3.
    if if_none_match == Some(false) {
        return if is_retrieval { Outcome::NotModified } else { Outcome::PreconditionFailed };
    }
    // 4.
    if is_retrieval && if_none_match.is_none() && if_modified == Some(false) {
        return Outcome::NotModified;
    }
    // 5 is about ranges; 6.
    Outcome::Proceed
}

/// Each of the values, and none.
fn each<T: Copy>(values: &[T]) -> impl Iterator<Item = Option<T>> {
    values.iter().copied().map(Some).chain([None])
}

#[test]
fn conditions_are_evaluated_in_the_steps_of_the_rfc() {
    for method in ["GET", "HEAD", "PUT", "DELETE"] {
        for (if_match, if_unmodified) in each(IF_MATCH).flat_map(|one| each(IF_UNMODIFIED).map(move |two| (one, two))) {
            for (if_none, if_modified) in
                each(IF_NONE_MATCH).flat_map(|one| each(IF_MODIFIED).map(move |two| (one, two)))
            {
                let line = |name: &str, value: Option<&str>| {
                    value.map(|value| format!("{name}: {value}\r\n")).unwrap_or_default()
                };
                let head = format!(
                    "{method} / HTTP/1.1\r\nHost: a\r\n{}{}{}{}\r\n",
                    line("If-Modified-Since", if_modified.map(|(value, _)| value)),
                    line("If-None-Match", if_none.map(|(value, _)| value)),
                    line("If-Unmodified-Since", if_unmodified.map(|(value, _)| value)),
                    line("If-Match", if_match.map(|(value, _)| value)),
                );
                let request = parse(head.as_bytes(), &RequestLimits::default()).unwrap().unwrap();
                let truth = |told: Option<(&str, bool)>| told.map(|(_, is_true)| is_true);
                let date = |told: Option<(&str, Option<bool>)>| told.and_then(|(_, is_true)| is_true);
                let expected = steps(method, truth(if_match), date(if_unmodified), truth(if_none), date(if_modified));
                assert_eq!(evaluate(&request, Some(CURRENT)), expected, "{head}");
                // Without a file every If-Match is false and every If-None-Match is true, and dates are of nothing.
                let expected = steps(method, if_match.map(|_| false), None, if_none.map(|_| true), None);
                assert_eq!(evaluate(&request, None), expected, "{head}");
            }
        }
    }
}
