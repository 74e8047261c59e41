//! Times for people, in Coordinated Universal Time.

/// A date and a time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CivilTime {
    year: i64,
    month: u8,
    day: u8,
    hour: u8,
    minute: u8,
    second: u8,
}

/// The first second of the year 0 and the last of the year 9999; a time beyond them is shown as one of them.
const BOUNDS: (i64, i64) = (-62_167_219_200, 253_402_300_799);

impl CivilTime {
    /// That of a time in seconds since 1970.
    pub(super) fn at(seconds: i64) -> Self {
        let seconds = seconds.clamp(BOUNDS.0, BOUNDS.1);
        let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        // Years that begin in March have their leap day at the end; 719 468 days before 1970 such a year began an era of 400.
        let days = days + 719_468;
        let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let is_next_year = month >= 10;
        Self {
            year: year + era * 400 + i64::from(is_next_year),
            month: (if is_next_year { month - 9 } else { month + 3 }) as u8,
            day: (day - (153 * month + 2) / 5 + 1) as u8,
            hour: (second / 3600) as u8,
            minute: (second / 60 % 60) as u8,
            second: (second % 60) as u8,
        }
    }

    /// As programs read it (RFC 3339).
    pub(super) fn to_rfc3339(self) -> String {
        let Self { year, month, day, hour, minute, second } = self;
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }

    /// As people read it.
    pub(super) fn to_text(self) -> String {
        let Self { year, month, day, hour, minute, .. } = self;
        format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::date::HttpDate;

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
            (i64::MAX, "9999-12-31T23:59:59Z"),
            (i64::MIN, "0000-01-01T00:00:00Z"),
        ] {
            assert_eq!(CivilTime::at(seconds).to_rfc3339(), text);
        }
        assert_eq!(CivilTime::at(784_111_777).to_text(), "1994-11-06 08:49");
    }

    #[test]
    fn every_day_is_that_of_http() {
        for day in (0..100_000).step_by(13) {
            let seconds = day * 86_400 + 3_661;
            let date = HttpDate::at(seconds).expect("it has a text");
            let (text, months) = (date.as_str(), "JanFebMarAprMayJunJulAugSepOctNovDec");
            let month = months.find(&text[8..11]).expect("it is a month") / 3 + 1;
            let expected = format!("{}-{month:02}-{}T01:01:01Z", &text[12..16], &text[5..7]);
            assert_eq!(CivilTime::at(seconds).to_rfc3339(), expected);
        }
    }
}
