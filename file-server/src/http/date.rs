//! Dates of HTTP in seconds since 1970 and as text (RFC 9110, section 5.6.7).

use std::io::Write;
use std::time::{Duration, UNIX_EPOCH};

/// A date as it is sent: `Sun, 06 Nov 1994 08:49:37 GMT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpDate([u8; LENGTH]);

/// Every date that is sent has this length.
const LENGTH: usize = 29;

/// The last second of the year 9999; later ones have no text.
const LAST: i64 = 253_402_300_799;

impl HttpDate {
    /// The date of a time in seconds since 1970; `None` before that, and after the year 9999.
    ///
    /// ```
    /// use file_server::http::date::HttpDate;
    ///
    /// assert_eq!(HttpDate::at(784_111_777).unwrap().as_str(), "Sun, 06 Nov 1994 08:49:37 GMT");
    /// ```
    #[must_use]
    pub fn at(seconds: i64) -> Option<Self> {
        let since = u64::try_from(seconds).ok().filter(|_| seconds <= LAST)?;
        let mut text = [0; LENGTH];
        let date = httpdate::HttpDate::from(UNIX_EPOCH + Duration::from_secs(since));
        write!(&mut text[..], "{date}").expect("a date of a year of four digits has this length");
        Some(Self(text))
    }

    /// Its text.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its text.
    ///
    /// # Panics
    ///
    /// Never.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("a date is ASCII")
    }
}

/// The time that a field's value names in any of the three forms, in seconds since 1970; `None` if it is no date.
///
/// ```
/// use file_server::http::date::parse;
///
/// assert_eq!(parse(b"Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
/// assert_eq!(parse(b"Sunday, 06-Nov-94 08:49:37 GMT"), Some(784_111_777));
/// assert_eq!(parse(b"Sun Nov  6 08:49:37 1994"), Some(784_111_777));
/// assert_eq!(parse(b"yesterday"), None);
/// ```
#[must_use]
pub fn parse(value: &[u8]) -> Option<i64> {
    let time = httpdate::parse_http_date(std::str::from_utf8(value).ok()?).ok()?;
    i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()
}

/// The text of the present second, written anew when the second is another one.
///
/// ```
/// use file_server::http::date::DateCache;
///
/// let mut dates = DateCache::new();
/// assert_eq!(dates.at(784_111_777).as_str(), "Sun, 06 Nov 1994 08:49:37 GMT");
/// ```
#[derive(Clone, Debug)]
pub struct DateCache {
    seconds: i64,
    date: HttpDate,
}

impl DateCache {
    /// One that holds the date of 1970.
    ///
    /// # Panics
    ///
    /// Never.
    #[must_use]
    pub fn new() -> Self {
        Self { seconds: 0, date: HttpDate::at(0).expect("1970 has a text") }
    }

    /// The date of a time in seconds since 1970, and the one before if that has no text.
    #[inline]
    pub fn at(&mut self, seconds: i64) -> &HttpDate {
        if seconds != self.seconds {
            self.renew(seconds);
        }
        &self.date
    }

    /// The date that was asked for last.
    #[inline]
    #[must_use]
    pub fn present(&self) -> &HttpDate {
        &self.date
    }

    #[cold]
    fn renew(&mut self, seconds: i64) {
        self.seconds = seconds;
        if let Some(date) = HttpDate::at(seconds) {
            self.date = date;
        }
    }
}

impl Default for DateCache {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_without_text_are_none() {
        assert_eq!(HttpDate::at(-1), None);
        assert_eq!(HttpDate::at(i64::MIN), None);
        assert_eq!(HttpDate::at(LAST + 1), None);
        assert_eq!(HttpDate::at(i64::MAX), None);
        assert_eq!(HttpDate::at(LAST).expect("it has a text").as_str(), "Fri, 31 Dec 9999 23:59:59 GMT");
    }

    #[test]
    fn what_is_written_is_read() {
        for seconds in [0, 1, 951_782_400, 1_709_164_800, 4_102_444_799, LAST] {
            assert_eq!(parse(HttpDate::at(seconds).expect("it has a text").as_bytes()), Some(seconds));
        }
    }

    #[test]
    fn the_cache_follows_the_clock_in_both_directions() {
        let mut dates = DateCache::new();
        for seconds in [0, 5, 5, 4, LAST] {
            assert_eq!(Some(*dates.at(seconds)), HttpDate::at(seconds));
        }
        assert_eq!(Some(*dates.at(LAST + 1)), HttpDate::at(LAST));
    }
}
