//! Times for people, in Coordinated Universal Time.

use jiff::Timestamp;

/// A date and a time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CivilTime(Timestamp);

/// The first second of the year 0: there is no way to write years before that in RFC 3339.
const FIRST: i64 = -62_167_219_200;

impl CivilTime {
    /// That of a time in seconds since 1970. One before the year 0, or after the year 9999, is shown as the nearest.
    pub(super) fn at(seconds: i64) -> Self {
        Self(Timestamp::from_second(seconds.max(FIRST)).unwrap_or(Timestamp::MAX))
    }

    /// As programs read it (RFC 3339).
    pub(super) fn to_rfc3339(self) -> String {
        self.0.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    /// As people read it.
    pub(super) fn to_text(self) -> String {
        self.0.strftime("%Y-%m-%d %H:%M").to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (784_111_777, "1994-11-06T08:49:37Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            // jiff keeps the end of the last year free for time zones.
            (i64::MAX, "9999-12-30T22:00:00Z"),
            (i64::MIN, "0000-01-01T00:00:00Z"),
        ] {
            assert_eq!(CivilTime::at(seconds).to_rfc3339(), text);
        }
        assert_eq!(CivilTime::at(784_111_777).to_text(), "1994-11-06 08:49");
    }
}
