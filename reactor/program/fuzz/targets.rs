//! What each fuzz target does with its input: it fails by a panic. libFuzzer runs these, and so does `tests/fuzz.rs`.

use program::proxy_protocol::{LONGEST_BINARY, parse};
use program::{cli, logging};

/// Every value of an option that is read from text is within its bounds, or refused with a reason on one line.
pub(crate) fn option_values(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Some(duration) = accepted(text, cli::duration) {
        assert_eq!(cli::duration(&humantime::format_duration(duration).to_string()), Ok(duration));
        assert_eq!(cli::positive_duration(text).is_ok(), !duration.is_zero());
        assert!(cli::timeout(text).is_err() || !duration.is_zero());
    }
    if let Some(count) = accepted(text, cli::threads) {
        assert_eq!(cli::threads(&count.to_string()), Ok(count));
    }
    if let Some(count) = accepted(text, cli::positive_count) {
        assert!(count > 0);
        assert_eq!(cli::positive_count(&count.to_string()), Ok(count));
    }
    if let Some(size) = accepted(text, cli::size) {
        assert!((1..=isize::MAX.unsigned_abs()).contains(&size));
        assert_eq!(cli::size(&size.to_string()), Ok(size));
    }
    if let Some(address) = accepted(text, cli::local_address) {
        assert_eq!(cli::local_address(&address.to_string()), Ok(address));
    }
    if let Some(address) = accepted(text, cli::stream_address) {
        assert_eq!(cli::stream_address(&address.to_string()), Ok(address));
    }
    if let Some(filter) = accepted(text, logging::filter) {
        let told = logging::filter(&filter.to_string());
        assert_eq!(told.map(|told| told.to_string()), Ok(filter.to_string()));
    }
}

/// The first bytes of a connection are a header, or none, or may become one: the same however they are cut, and not for long.
pub(crate) fn proxy_header(bytes: &[u8]) {
    let whole = parse(bytes);
    let first = (0..bytes.len()).map(|cut| parse(&bytes[..cut])).find(|answer| !matches!(answer, Ok(None)));
    assert_eq!(first.unwrap_or(whole), whole);
    match whole {
        Ok(Some(header)) => {
            assert!(header.length <= bytes.len().min(LONGEST_BINARY));
            let text = std::str::from_utf8(&bytes[..header.length]).unwrap_or_default();
            if let Some(line) = text.strip_prefix("PROXY TCP4 ") {
                let source = header.source.expect("a line tells it");
                assert!(line.starts_with(&format!("{} ", source.ip())));
                assert!(line.contains(&format!(" {} ", source.port())) && line.ends_with("\r\n"));
            }
        }
        Ok(None) => assert!(bytes.len() < LONGEST_BINARY),
        Err(flaw) => assert!(!flaw.to_string().is_empty()),
    }
}

/// The value, unless the text was refused.
fn accepted<T>(text: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
    match parse(text) {
        Ok(value) => Some(value),
        Err(reason) => {
            assert!(!reason.is_empty() && !reason.contains('\n'), "{reason:?}");
            None
        }
    }
}
