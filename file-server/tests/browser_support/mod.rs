//! A browser without a window, driven through chromedriver by the WebDriver protocol (W3C).

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::print_stdout, reason = "a test that skips says so")]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::{DEADLINE, lines_of};

/// The field of an element's name, by the protocol.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// The protocol tells of no change of a page, so it is asked for this often.
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// Keys that have no character, by the protocol.
pub(crate) const TAB: &str = "\u{e004}";
pub(crate) const ENTER: &str = "\u{e007}";

/// A process of chromedriver and the browser that it has started. Dropping it ends both.
struct Driver {
    child: Child,
    /// What it says; a pipe that nobody reads would stop it.
    lines: Receiver<String>,
    address: SocketAddr,
    /// Where both keep what they write.
    _home: TempDir,
}

impl Driver {
    fn start() -> Result<Self, String> {
        let home = tempfile::tempdir().unwrap();
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").env("HOME", home.path()).env("TMPDIR", home.path()).process_group(0);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut child = child.map_err(|error| format!("chromedriver does not start: {error}"))?;
        let lines = lines_of(child.stdout.take().expect("it is piped"));
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut driver = Self { child, lines, address, _home: home };
        let port = driver.port()?;
        driver.address.set_port(port);
        Ok(driver)
    }

    /// Waits for the line that tells the port.
    fn port(&self) -> Result<u16, String> {
        let end = Instant::now() + DEADLINE;
        loop {
            let line = self.lines.recv_timeout(end.saturating_duration_since(Instant::now()));
            let line = line.map_err(|error| format!("chromedriver tells no port: {error}"))?;
            // The first line speaks of port 0.
            let port = line.strip_suffix('.').and_then(|line| line.rsplit_once(" on port "));
            if let Some(Ok(port)) = port.map(|(_, port)| port.parse()) {
                return Ok(port);
            }
        }
    }

    /// Has a command carried out; an error is what the driver says of it.
    fn command(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let answer = self.exchange(method, path, body).map_err(|error| format!("{method} {path}: {error}"))?;
        let value = answer.get("value").cloned().unwrap_or_default();
        match value.get("error") {
            Some(error) => Err(format!("{method} {path}: {error}: {}", value["message"])),
            None => Ok(value),
        }
    }

    /// One request on a connection of its own.
    fn exchange(&self, method: &str, path: &str, body: &Value) -> io::Result<Value> {
        let body = if method == "POST" { body.to_string() } else { String::new() };
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        )?;
        // It keeps the connection open, whatever it is asked.
        let mut stream = BufReader::new(stream);
        let mut length = 0;
        let mut line = String::new();
        while stream.read_line(&mut line)? > 2 {
            let field = line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("Content-Length"));
            length = field.and_then(|(_, value)| value.trim().parse().ok()).unwrap_or(length);
            line.clear();
        }
        let mut answer = vec![0; length];
        stream.read_exact(&mut answer)?;
        Ok(serde_json::from_slice(&answer)?)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

/// A browser with one page open, in which pages' own scripts do not run. Dropping it ends it.
pub(crate) struct Browser {
    driver: Driver,
    /// The path of its session.
    session: String,
}

impl Browser {
    /// Starts one. `None`, and said why: none starts here.
    pub(crate) fn start() -> Option<Self> {
        let started = Driver::start().and_then(Self::on);
        started.inspect_err(|error| println!("skipped: no browser starts here: {error}")).ok()
    }

    fn on(driver: Driver) -> Result<Self, String> {
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--no-first-run",
            "--no-proxy-server",
            "--window-size=1000,800",
        ];
        // 2 is "block". What the driver has the page tell is told all the same.
        let preferences = json!({ "profile.managed_default_content_settings.javascript": 2 });
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "args": arguments, "prefs": preferences },
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let session = driver.command("POST", "/session", &wanted)?;
        let id = session["sessionId"].as_str().ok_or_else(|| format!("a session without a name: {session}"))?;
        Ok(Self { session: format!("/session/{id}"), driver })
    }

    #[track_caller]
    fn post(&self, path: &str, body: &Value) -> Value {
        self.try_post(path, body).unwrap()
    }

    fn try_post(&self, path: &str, body: &Value) -> Result<Value, String> {
        self.driver.command("POST", &format!("{}/{path}", self.session), body)
    }

    /// Goes where the address bar says.
    #[track_caller]
    pub(crate) fn open(&self, url: &str) {
        self.post("url", &json!({ "url": url }));
    }

    /// Goes back by the browser's own button.
    #[track_caller]
    pub(crate) fn back(&self) {
        self.post("back", &json!({}));
    }

    /// Clicks on the middle of what a CSS selector finds first.
    #[track_caller]
    pub(crate) fn click(&self, selector: &str) {
        let element = self.post("element", &json!({ "using": "css selector", "value": selector }));
        let name = element[ELEMENT].as_str().unwrap();
        self.post(&format!("element/{name}/click"), &json!({}));
    }

    /// Presses keys and lets go of them, one after the other.
    #[track_caller]
    pub(crate) fn press(&self, keys: &[&str]) {
        let steps = |key| [json!({ "type": "keyDown", "value": key }), json!({ "type": "keyUp", "value": key })];
        let steps: Vec<_> = keys.iter().flat_map(steps).collect();
        self.post("actions", &json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": steps }] }));
    }

    /// The value of a JavaScript expression on the page.
    #[track_caller]
    pub(crate) fn value(&self, expression: &str) -> Value {
        self.try_value(expression).unwrap()
    }

    fn try_value(&self, expression: &str) -> Result<Value, String> {
        self.try_post("execute/sync", &json!({ "script": format!("return {expression}"), "args": [] }))
    }

    /// Waits until the page has been loaded and an expression has this value.
    #[track_caller]
    pub(crate) fn wait_for(&self, expression: &str, wanted: &Value) {
        let end = Instant::now() + DEADLINE;
        loop {
            // A page that is just going away has no values.
            let is = self.try_value(&format!("document.readyState == 'complete' && {expression}"));
            if is.as_ref() == Ok(wanted) {
                return;
            }
            assert!(Instant::now() < end, "{expression}\n    is {is:?}\nand not Ok({wanted:?})");
            thread::sleep(BETWEEN_LOOKS);
        }
    }

    /// Has the browser be as another device or another setting makes it, by a command of the DevTools protocol.
    #[track_caller]
    pub(crate) fn emulate(&self, command: &str, parameters: &Value) {
        self.post("goog/cdp/execute", &json!({ "cmd": format!("Emulation.{command}"), "params": parameters }));
    }

    /// What the browser's console has complained of since it was asked last, but for the icon that it seeks for a text.
    #[track_caller]
    pub(crate) fn complaints(&self) -> Vec<Value> {
        let log = self.post("se/log", &json!({ "type": "browser" }));
        let is_grave =
            |entry: &&Value| entry["level"] == "SEVERE" && !entry["message"].as_str().unwrap().contains("/favicon.ico");
        log.as_array().unwrap().iter().filter(is_grave).cloned().collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.driver.command("DELETE", &self.session, &Value::Null);
    }
}
