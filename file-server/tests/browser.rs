//! The listing of a directory in a browser: seen, clicked and typed as people do, with scripts turned off.
//!
//! It needs Chromium and chromedriver, and says that it is skipped where they are not installed or do not start.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod browser_support;
mod common;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::iter;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, SystemTime};

use browser_support::{Browser, ENTER, TAB};
use common::Server;
use serde_json::json;

/// Names in the order in which the page has them, each with what it is shown as: itself, but for what cannot be shown.
/// None has a backslash: requests for such names are refused.
const NAMES: &[(&[u8], &str)] = &[
    (b" leading space.txt", " leading space.txt"),
    (b"\"double\" and 'single'.txt", "\"double\" and 'single'.txt"),
    (b"#fragment.txt", "#fragment.txt"),
    (b"%41 100% %.txt", "%41 100% %.txt"),
    (b"&amp;.txt", "&amp;.txt"),
    (b"+plus.txt", "+plus.txt"),
    (b"<b>bold.txt", "<b>bold.txt"),
    (b"<script>alert(1).txt", "<script>alert(1).txt"),
    (b"?query=1&x.txt", "?query=1&x.txt"),
    (b"javascript:alert(1).txt", "javascript:alert(1).txt"),
    (b"line\nbreak.txt", "line\u{240a}break.txt"),
    (b"no utf-8 \xff.txt", "no utf-8 \u{fffd}.txt"),
    (b"two  spaces.txt", "two  spaces.txt"),
    ("Ä Grüße, 日本語.txt".as_bytes(), "Ä Grüße, 日本語.txt"),
];

/// A directory whose name wants escaping everywhere.
const ODD: &str = "#1 \"100%\" <i>?";

/// What the rows are called, as it can be read.
const ROWS: &str = "[...document.querySelectorAll('tbody td.name a')].map(link => link.innerText)";

/// Where one is, and what there is to see.
const PLACE: &str = "[location.pathname + location.search, document.body.innerText]";

#[test]
fn a_listing_is_read_and_used_in_a_browser() {
    let Some(browser) = Browser::start() else { return };
    scripts_are_off(&browser);
    let server = Server::start(&[]);
    fill(&server);
    let visit = Visit { browser: &browser, server: &server };
    visit.directories_open_and_lead_back();
    visit.columns_sort_both_ways();
    visit.names_are_shown_as_they_are_and_lead_to_their_files();
    visit.the_keyboard_is_enough();
    visit.light_and_dark_can_be_read();
    visit.a_phone_shows_it_in_its_width();
}

/// A page that would show that scripts run.
fn scripts_are_off(browser: &Browser) {
    browser.open("data:text/html,<p>still</p><script>document.body.textContent = 'ran'</script>");
    browser.wait_for("document.body.innerText", &json!("still"));
}

fn fill(server: &Server) {
    server.write("readme.txt", "Grüße\n");
    for (name, bytes, age) in [("a2", 2000, 30), ("A10", 5, 10), ("b", 1_000_000, 20)] {
        let name = format!("sorted/{name}");
        server.write(&name, vec![b'x'; bytes]);
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 - age);
        File::options().write(true).open(server.path(&name)).unwrap().set_modified(time).unwrap();
    }
    server.write("sorted/z/inner.txt", "inner");
    fs::create_dir(server.path(ODD)).unwrap();
    for (name, shown) in NAMES {
        fs::write(server.path(ODD).join(OsStr::from_bytes(name)), format!("This is {shown}")).unwrap();
    }
    server.write(&format!("narrow/{}.txt", "w".repeat(200)), "wide");
    File::create(server.path("narrow/large")).unwrap().set_len(1_048_524).unwrap();
}

struct Visit<'a> {
    browser: &'a Browser,
    server: &'a Server,
}

impl Visit<'_> {
    #[track_caller]
    fn open(&self, path: &str) {
        self.browser.open(&format!("http://{}{path}", self.server.address()));
    }

    /// Waits for a listing at this address, with these rows.
    #[track_caller]
    fn sees(&self, path: &str, rows: &[&str]) {
        self.browser.wait_for(&format!("[location.pathname + location.search, {ROWS}]"), &json!([path, rows]));
        let complaints = self.browser.complaints();
        assert!(complaints.is_empty(), "at {path}: {complaints:?}");
    }

    /// Clicks on a row.
    #[track_caller]
    fn click_row(&self, row: &str) {
        let rows = self.browser.value(ROWS);
        let at = rows.as_array().unwrap().iter().position(|shown| shown == row).unwrap();
        self.browser.click(&format!("tbody tr:nth-child({}) td.name a", at + 1));
    }

    fn directories_open_and_lead_back(&self) {
        let root = [&format!("{ODD}/")[..], "narrow/", "sorted/", "readme.txt"];
        self.open("/");
        self.sees("/", &root);
        assert_eq!(self.browser.value("document.title"), "Index of /");
        assert_eq!(self.browser.value("document.querySelector('h1').innerText"), "Home");
        self.click_row("readme.txt");
        self.browser.wait_for(PLACE, &json!(["/readme.txt", "Grüße\n"]));
        self.browser.back();
        self.sees("/", &root);
        self.click_row("sorted/");
        self.sees("/sorted/", &["../", "z/", "a2", "A10", "b"]);
        self.click_row("z/");
        self.sees("/sorted/z/", &["../", "inner.txt"]);
        assert_eq!(self.browser.value("document.querySelector('h1').innerText"), "Home / sorted / z");
        self.browser.click("nav a:nth-of-type(2)");
        self.sees("/sorted/", &["../", "z/", "a2", "A10", "b"]);
        self.click_row("../");
        self.sees("/", &root);
        self.open("/sorted/z/");
        self.browser.click("nav a");
        self.sees("/", &root);
    }

    fn columns_sort_both_ways(&self) {
        self.open("/sorted/");
        for (column, query, rows) in [
            ("size", "sort=size&order=asc", ["../", "z/", "A10", "a2", "b"]),
            ("size", "sort=size&order=desc", ["../", "z/", "b", "a2", "A10"]),
            ("size", "sort=size&order=asc", ["../", "z/", "A10", "a2", "b"]),
            ("time", "sort=time&order=asc", ["../", "z/", "a2", "b", "A10"]),
            ("time", "sort=time&order=desc", ["../", "z/", "A10", "b", "a2"]),
            ("name", "sort=name&order=asc", ["../", "z/", "a2", "A10", "b"]),
            ("name", "sort=name&order=desc", ["../", "z/", "b", "A10", "a2"]),
        ] {
            self.browser.click(&format!("th.{column} a"));
            self.sees(&format!("/sorted/?{query}"), &rows);
            let sorted = self
                .browser
                .value("[...document.querySelectorAll('th[aria-sort]')].map(th => [th.className, th.ariaSort])");
            let order = if query.ends_with("asc") { "ascending" } else { "descending" };
            assert_eq!(sorted, json!([[column, order]]));
        }
    }

    fn names_are_shown_as_they_are_and_lead_to_their_files(&self) {
        let names: Vec<_> = iter::once("../").chain(NAMES.iter().map(|&(_, shown)| shown)).collect();
        self.open("/");
        self.click_row(&format!("{ODD}/"));
        let path = "/%231%20%22100%25%22%20%3Ci%3E%3F/";
        self.sees(path, &names);
        assert_eq!(self.browser.value("document.title"), format!("Index of /{ODD}"));
        assert_eq!(self.browser.value("document.querySelector('h1').innerText"), format!("Home / {ODD}"));
        assert_eq!(self.browser.value("document.querySelectorAll('script, td b, i').length"), 0);
        for (_, shown) in NAMES {
            self.click_row(shown);
            self.browser.wait_for("document.body.innerText", &json!(format!("This is {shown}")));
            self.browser.back();
            self.sees(path, &names);
        }
    }

    /// Tab and Enter lead home, and through the page to a file.
    fn the_keyboard_is_enough(&self) {
        self.open("/sorted/z/");
        self.sees("/sorted/z/", &["../", "inner.txt"]);
        self.browser.press(&[TAB]);
        let focus = "document.activeElement";
        self.browser.wait_for(&format!("{focus}.innerText"), &json!("Home"));
        let outline = self.browser.value(&format!("getComputedStyle({focus}).outlineStyle"));
        assert_ne!(outline, "none", "the focus cannot be seen");
        self.browser.press(&[ENTER]);
        self.browser.wait_for("location.pathname", &json!("/"));
        self.open("/sorted/z/");
        self.sees("/sorted/z/", &["../", "inner.txt"]);
        for link in ["Home", "sorted", "Name ▲", "Size", "Modified", "../", "inner.txt"] {
            self.browser.press(&[TAB]);
            self.browser.wait_for(&format!("{focus}.innerText"), &json!(link));
        }
        self.browser.press(&[ENTER]);
        self.browser.wait_for(PLACE, &json!(["/sorted/z/inner.txt", "inner"]));
    }

    /// Each text stands out from the background by 4.5 to 1, as WCAG 2 wants it, and the background is as the user has set it.
    fn light_and_dark_can_be_read(&self) {
        let brightness = include_str!("browser_support/brightness.js");
        for (scheme, background) in [("light", 0.8..=1.0), ("dark", 0.0..=0.1)] {
            self.browser.emulate(
                "setEmulatedMedia",
                &json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] }),
            );
            self.open("/sorted/");
            self.sees("/sorted/", &["../", "z/", "a2", "A10", "b"]);
            let measured = self.browser.value(brightness);
            let measured: Vec<_> = measured.as_array().unwrap().iter().map(|one| one.as_f64().unwrap()).collect();
            let (&back, texts) = measured.split_first().unwrap();
            assert!(background.contains(&back), "{scheme}: the background is {back}");
            for &text in texts {
                let contrast = (text.max(back) + 0.05) / (text.min(back) + 0.05);
                assert!(contrast >= 4.5, "{scheme}: a contrast of {contrast} in {measured:?}");
            }
        }
    }

    /// A phone shows a page that is too wide smaller: its window is wider than the screen then.
    fn a_phone_shows_it_in_its_width(&self) {
        let phone = json!({ "width": 390, "height": 844, "deviceScaleFactor": 3, "mobile": true });
        self.browser.emulate("setDeviceMetricsOverride", &phone);
        let wide = format!("{}.txt", "w".repeat(200));
        self.open("/narrow/");
        self.sees("/narrow/", &["../", "large", &wide]);
        assert_eq!(self.browser.value("[document.documentElement.scrollWidth, innerWidth]"), json!([390, 390]));
        self.click_row("../");
        self.browser.wait_for("location.pathname", &json!("/"));
    }
}
