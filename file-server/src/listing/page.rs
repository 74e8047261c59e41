//! A listing for people: a table that is sorted by links, without scripts.

use std::fmt::Write;

use crate::listing::civil_time::CivilTime;
use crate::listing::json::href;
use crate::listing::sorting::{Key, Sorting};
use crate::listing::{Entry, Listing};

/// Light and dark as the browser is set, columns that give way on a narrow screen, and a visible focus for the keyboard.
const STYLE: &str = include_str!("page.css");

impl Listing<'_> {
    pub(super) fn to_page(&self) -> String {
        let mut page = String::with_capacity(STYLE.len() + 1024 + 256 * self.entries.len());
        let title = escaped(&text(self.path.as_bytes()));
        push(
            &mut page,
            format_args!(
                "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
                 <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
                 <meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" href=\"data:,\">\n\
                 <title>Index of /{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<header>\n"
            ),
        );
        self.push_breadcrumbs(&mut page);
        page.push_str("</header>\n<main>\n<table>\n<thead>\n<tr>");
        Key::ALL.into_iter().for_each(|key| self.push_column(&mut page, key));
        page.push_str("</tr>\n</thead>\n<tbody>\n");
        if !self.path.as_bytes().is_empty() {
            page.push_str("<tr><td class=\"name\"><a href=\"../\">../</a></td><td></td><td></td></tr>\n");
        }
        self.entries.iter().for_each(|entry| push_row(&mut page, entry));
        page.push_str("</tbody>\n</table>\n</main>\n");
        push(&mut page, format_args!("<footer>{}</footer>\n</body>\n</html>\n", self.summary()));
        page
    }

    /// The directories on the way here, each a link. It is the heading, too.
    fn push_breadcrumbs(&self, page: &mut String) {
        let names: Vec<_> = self.path.names().collect();
        page.push_str("<nav aria-label=\"Directories\">\n<h1>");
        for depth in 0..=names.len() {
            let name = if depth == 0 { "Home".to_owned() } else { escaped(&text(names[depth - 1])) };
            let up = names.len() - depth;
            match up {
                0 => push(page, format_args!("<bdi aria-current=\"page\">{name}</bdi>")),
                _ => push(page, format_args!("<a href=\"{}\"><bdi>{name}</bdi></a> / ", "../".repeat(up))),
            }
        }
        page.push_str("</h1>\n</nav>\n");
    }

    /// The head of a column: a link that sorts by it, or the other way round if that is done already.
    fn push_column(&self, page: &mut String, key: Key) {
        let is_sorted = self.sorting.key == key;
        let next = Sorting { key, is_descending: is_sorted && !self.sorting.is_descending };
        let (state, arrow) = match (is_sorted, self.sorting.is_descending) {
            (false, _) => ("", ""),
            (true, false) => (" aria-sort=\"ascending\"", " <span aria-hidden=\"true\">\u{25b2}</span>"),
            (true, true) => (" aria-sort=\"descending\"", " <span aria-hidden=\"true\">\u{25bc}</span>"),
        };
        let label = match key {
            Key::Name => "Name",
            Key::Size => "Size",
            Key::Time => "Modified",
        };
        let (class, query) = (key.name(), escaped(&next.query()));
        push(
            page,
            format_args!("<th scope=\"col\" class=\"{class}\"{state}><a href=\"?{query}\">{label}{arrow}</a></th>"),
        );
    }

    /// How much there is.
    fn summary(&self) -> String {
        if self.entries.is_empty() && !self.is_truncated {
            return "This directory is empty.".to_owned();
        }
        let counted = |count: usize, one: &str, many: &str| format!("{count} {}", if count == 1 { one } else { many });
        let directories = self.entries.iter().filter(|entry| entry.is_directory).count();
        let total = self.entries.iter().filter(|entry| !entry.is_directory).map(|entry| entry.size);
        let mut summary = format!(
            "{}, {}, {}. Times are in UTC.",
            counted(directories, "directory", "directories"),
            counted(self.entries.len() - directories, "file", "files"),
            size(total.fold(0, u64::saturating_add)),
        );
        if self.is_truncated {
            summary.push_str(" There are more names than are shown.");
        }
        summary
    }
}

fn push_row(page: &mut String, entry: &Entry) {
    let slash = if entry.is_directory { "/" } else { "" };
    let name = escaped(&text(entry.name.as_encoded_bytes()));
    push(page, format_args!("<tr><td class=\"name\"><a href=\"{}\"><bdi>{name}</bdi>{slash}</a></td>", href(entry)));
    match entry.is_directory {
        true => page.push_str("<td class=\"size\"></td>"),
        false => {
            let (bytes, size) = (entry.size, size(entry.size));
            push(
                page,
                format_args!("<td class=\"size\"><data value=\"{bytes}\" title=\"{bytes} B\">{size}</data></td>"),
            );
        }
    }
    let time = CivilTime::at(entry.modified);
    let (exact, short) = (time.to_rfc3339(), time.to_text());
    push(page, format_args!("<td class=\"time\"><time datetime=\"{exact}\">{short}</time></td></tr>\n"));
}

fn push(page: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to memory does not fail.
    let _ = page.write_fmt(text);
}

/// A name as it can be shown: one line, with a picture for each control character.
fn text(name: &[u8]) -> String {
    let shown = |char: char| match char {
        '\0'..='\x1f' => char::from_u32(0x2400 + u32::from(char)).unwrap_or('\u{fffd}'),
        '\x7f' => '\u{2421}',
        _ if char.is_control() => '\u{fffd}',
        _ => char,
    };
    String::from_utf8_lossy(name).chars().map(shown).collect()
}

/// A text in which nothing means anything to HTML, within and without quotes.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(char),
        }
    }
    escaped
}

/// A size in the largest unit of which there is at least one, with one digit after the point: never `1024.0 KiB`.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let tenths = |unit: usize| {
        let one = 1u128 << (10 * (unit + 1));
        (u128::from(bytes) * 10 + one / 2) / one
    };
    let unit = (0..UNITS.len() - 1).find(|&unit| tenths(unit) < 10_240).unwrap_or(UNITS.len() - 1);
    let tenths = tenths(unit);
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    use super::*;
    use crate::http::target::RelativePath;

    fn page(path: &str, names: &[&[u8]], query: &str) -> String {
        let path = RelativePath::decode(path.as_bytes()).expect("it is valid");
        let entries = names.iter().map(|name| Entry {
            is_directory: name.ends_with(b"/"),
            name: OsString::from_vec(name.strip_suffix(b"/").unwrap_or(name).to_vec()),
            size: 1536,
            modified: 784_111_777,
        });
        Listing::new(&path, entries.collect(), Sorting::of(Some(query.as_bytes()))).to_page()
    }

    #[test]
    fn names_are_escaped_in_text_and_in_links() {
        let page = page("/<i>&/", &[b"<script>\"'&", b"a\nb\xff%2e", b"x:y?z#/", b"\xe2\x80\xaegnp.exe"], "");
        assert!(page.contains("<title>Index of /&lt;i&gt;&amp;</title>"), "{page}");
        assert!(
            page.contains("<a href=\"%3Cscript%3E%22%27%26\"><bdi>&lt;script&gt;&quot;&#39;&amp;</bdi></a>"),
            "{page}"
        );
        assert!(page.contains("<a href=\"a%0Ab%FF%252e\"><bdi>a\u{240a}b\u{fffd}%2e</bdi></a>"), "{page}");
        assert!(page.contains("<a href=\"x%3Ay%3Fz%23/\"><bdi>x:y?z#</bdi>/</a>"), "{page}");
        assert!(!page.contains("<script") && !page.contains("<i>"), "{page}");
    }

    #[test]
    fn breadcrumbs_lead_to_each_directory_on_the_way() {
        let text = page("/a/b%20c/d/", &[], "");
        for link in ["<a href=\"../../../\"><bdi>Home</bdi></a>", "<a href=\"../../\"><bdi>a</bdi></a>"] {
            assert!(text.contains(link), "{text}");
        }
        assert!(text.contains("<a href=\"../\"><bdi>b c</bdi></a> / <bdi aria-current=\"page\">d</bdi>"), "{text}");
        let root = page("/", &[], "");
        assert!(root.contains("<bdi aria-current=\"page\">Home</bdi>") && !root.contains("../"), "{root}");
    }

    #[test]
    fn a_column_sorts_and_sorts_the_other_way_round() {
        let text = page("/", &[b"a"], "sort=size");
        assert!(
            text.contains("class=\"size\" aria-sort=\"ascending\"><a href=\"?sort=size&amp;order=desc\">"),
            "{text}"
        );
        assert!(text.contains("class=\"name\"><a href=\"?sort=name&amp;order=asc\">"), "{text}");
        let text = page("/", &[b"a"], "sort=size&order=desc");
        assert!(text.contains("aria-sort=\"descending\"><a href=\"?sort=size&amp;order=asc\">"), "{text}");
    }

    #[test]
    fn sizes_and_times_are_for_people_and_for_programs() {
        let text = page("/", &[b"a", b"b/", b"c"], "");
        assert!(text.contains("<data value=\"1536\" title=\"1536 B\">1.5 KiB</data>"), "{text}");
        assert!(text.contains("<time datetime=\"1994-11-06T08:49:37Z\">1994-11-06 08:49</time>"), "{text}");
        assert!(text.contains("1 directory, 2 files, 3.0 KiB. Times are in UTC.</footer>"), "{text}");
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_048_524, "1023.9 KiB"),
            (1_048_525, "1.0 MiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn a_listing_that_is_not_whole_says_so() {
        let path = RelativePath::decode(b"/").expect("it is valid");
        let mut listing = Listing::new(&path, Vec::new(), Sorting::default());
        assert!(listing.to_page().contains("<footer>This directory is empty.</footer>"));
        listing.is_truncated = true;
        assert!(listing.to_page().contains("0 directories, 0 files, 0 B. Times are in UTC. There are more names"));
    }
}
