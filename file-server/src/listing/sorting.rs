//! The order of names in a listing.

use std::cmp::Ordering;
use std::os::unix::ffi::OsStrExt;

use crate::http::target::query_value;
use crate::listing::Entry;

/// What names are sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Key {
    /// The name, as people count: `a2` before `a10`, and `B` between `a` and `c`.
    #[default]
    Name,
    /// The size of files; directories by name.
    Size,
    /// The time of the last change.
    Time,
}

impl Key {
    /// All of them, in the order of the columns.
    pub const ALL: [Self; 3] = [Self::Name, Self::Size, Self::Time];

    /// Its name in a query.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Size => "size",
            Self::Time => "time",
        }
    }
}

/// A key and a direction. Directories come first in each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sorting {
    /// What is compared.
    pub key: Key,
    /// Whether the largest comes first.
    pub is_descending: bool,
}

impl Sorting {
    /// Reads `sort=name|size|time` and `order=asc|desc`; what is neither counts as absent.
    ///
    /// ```
    /// use file_server::listing::sorting::{Key, Sorting};
    ///
    /// assert_eq!(Sorting::of(Some(b"sort=size&order=desc")), Sorting { key: Key::Size, is_descending: true });
    /// assert_eq!(Sorting::of(None), Sorting { key: Key::Name, is_descending: false });
    /// ```
    #[must_use]
    pub fn of(query: Option<&[u8]>) -> Self {
        let value = |name| query.and_then(|query| query_value(query, name)).unwrap_or_default();
        let sort = value("sort");
        let key = Key::ALL.into_iter().find(|key| key.name().as_bytes() == &sort[..]).unwrap_or_default();
        Self { key, is_descending: *value("order") == *b"desc" }
    }

    /// The query that sorts like this.
    #[must_use]
    pub fn query(self) -> String {
        format!("sort={}&order={}", self.key.name(), if self.is_descending { "desc" } else { "asc" })
    }

    pub(super) fn sort(self, entries: &mut [Entry]) {
        entries.sort_by(|one, other| {
            let (first, second) = if self.is_descending { (other, one) } else { (one, other) };
            let by_key = match self.key {
                Key::Name => Ordering::Equal,
                Key::Size if one.is_directory => Ordering::Equal,
                Key::Size => first.size.cmp(&second.size),
                Key::Time => first.modified.cmp(&second.modified),
            };
            let by_name = || match self.key {
                Key::Name => compare_names(first.name.as_bytes(), second.name.as_bytes()),
                _ => compare_names(one.name.as_bytes(), other.name.as_bytes()),
            };
            other.is_directory.cmp(&one.is_directory).then(by_key).then_with(by_name)
        });
    }
}

/// Compares as people do: without regard to case, and numbers by their value. Names that differ are never equal.
fn compare_names(one: &[u8], other: &[u8]) -> Ordering {
    let (mut left, mut right) = (one, other);
    loop {
        let (Some((&first, left_rest)), Some((&second, right_rest))) = (left.split_first(), right.split_first()) else {
            return left.len().cmp(&right.len()).then_with(|| one.cmp(other));
        };
        let order = if first.is_ascii_digit() && second.is_ascii_digit() {
            let (first, second) = (take_number(&mut left), take_number(&mut right));
            first.len().cmp(&second.len()).then_with(|| first.cmp(second))
        } else {
            (left, right) = (left_rest, right_rest);
            first.to_ascii_lowercase().cmp(&second.to_ascii_lowercase())
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// Takes the digits at the start; those that come back have no zeros before them.
fn take_number<'a>(name: &mut &'a [u8]) -> &'a [u8] {
    let end = name.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(name.len());
    let (digits, rest) = name.split_at(end);
    *name = rest;
    let zeros = digits.iter().position(|&digit| digit != b'0').unwrap_or(digits.len());
    &digits[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(query: &str, entries: &[(&str, u64, i64)]) -> String {
        let mut entries: Vec<Entry> = entries
            .iter()
            .map(|&(name, size, modified)| {
                let is_directory = name.ends_with('/');
                Entry { name: name.trim_end_matches('/').into(), is_directory, size, modified }
            })
            .collect();
        Sorting::of(Some(query.as_bytes())).sort(&mut entries);
        entries.iter().map(|entry| entry.name.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
    }

    const ENTRIES: &[(&str, u64, i64)] =
        &[("b", 1, 30), ("y/", 9, 20), ("A10", 2, 10), ("a2", 2, 40), ("Z/", 1, 50), ("c", 0, 30)];

    #[test]
    fn directories_come_first_in_every_order() {
        for (query, order) in [
            ("", "y Z a2 A10 b c"),
            ("sort=name&order=desc", "Z y c b A10 a2"),
            ("sort=size", "y Z c b a2 A10"),
            ("sort=size&order=desc", "y Z a2 A10 b c"),
            ("sort=time&order=asc", "y Z A10 b c a2"),
            ("order=desc&sort=time", "Z y a2 b c A10"),
            ("sort=SIZE&order=down", "y Z a2 A10 b c"),
        ] {
            assert_eq!(sorted(query, ENTRIES), order, "{query}");
        }
    }

    #[test]
    fn names_are_in_an_order_of_their_own() {
        let names: &[&[u8]] = &[
            b"", b" ", b".a", b"00", b"0", b"1", b"01b", b"1b", b"2", b"010", b"10", b"A", b"a", b"a 1", b"a1", b"B",
            b"b\xff",
        ];
        for (index, one) in names.iter().enumerate() {
            for (place, other) in names.iter().enumerate() {
                let expected = match (*one, *other) {
                    (b"00", b"0") | (b"0", b"00") => one.cmp(other),
                    _ => index.cmp(&place),
                };
                assert_eq!(compare_names(one, other), expected, "{} {}", one.escape_ascii(), other.escape_ascii());
            }
        }
    }

    #[test]
    fn a_query_reads_as_what_it_was_made_of() {
        for key in Key::ALL {
            for is_descending in [false, true] {
                let sorting = Sorting { key, is_descending };
                assert_eq!(Sorting::of(Some(sorting.query().as_bytes())), sorting);
            }
        }
    }
}
