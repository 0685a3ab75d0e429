//! A headless Chromium, driven by chromedriver over WebDriver.
//!
//! `CHROMIUM_BIN` and `CHROMEDRIVER_BIN` name them (`./test` installs both). Without them each test says `SKIPPED` and passes.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, fs, thread};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::server::{DEADLINE, Stopwatch};

/// A browser with one tab; dropping it ends it.
pub(crate) struct Browser {
    driver: Child,
    address: String,
    session: String,
    profile: TempDir,
}

/// How the screen is.
#[derive(Clone, Copy)]
pub(crate) struct Screen {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) dark: bool,
}

impl Screen {
    pub(crate) const DESK: Self = Self { width: 1_440, height: 900, dark: false };
    pub(crate) const DARK: Self = Self { dark: true, ..Self::DESK };
    pub(crate) const PHONE: Self = Self { width: 360, height: 780, dark: false };
}

impl Browser {
    /// Starts a browser for this test, if there is one.
    pub(crate) fn start(test: &str, screen: Screen) -> Option<Self> {
        let named = |name: &str| env::var(name).ok().filter(|path| !path.is_empty());
        let (Some(chromium), Some(chromedriver)) = (named("CHROMIUM_BIN"), named("CHROMEDRIVER_BIN")) else {
            // Not `eprintln!`, which is shown of failed tests only.
            let why = "CHROMIUM_BIN and CHROMEDRIVER_BIN do not name a browser and its driver";
            let _ = io::stderr().write_all(format!("SKIPPED: {test}: {why}\n").as_bytes());
            return None;
        };
        let mut driver = Command::new(chromedriver);
        let mut driver = driver.arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines().map_while(Result::ok);
        let port = lines
            .find_map(|line| Some(line.split_once("successfully on port ")?.1.trim_end_matches('.').to_owned()))
            .unwrap();
        thread::spawn(move || lines.for_each(drop));
        let profile = tempfile::tempdir().unwrap();
        let mut browser = Self { driver, address: format!("127.0.0.1:{port}"), session: String::new(), profile };
        browser.open_session(&chromium);
        browser.resize(screen);
        Some(browser)
    }

    fn open_session(&mut self, chromium: &str) {
        let profile = format!("--user-data-dir={}", self.profile.path().display());
        let args = [
            "--headless=new",
            // In a container there is no user namespace for one.
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--disable-background-networking",
            "--disable-component-update",
            "--hide-scrollbars",
            "--no-first-run",
            "--force-color-profile=srgb",
            &profile,
        ];
        let capabilities = json!({"alwaysMatch": {
            "goog:chromeOptions": {"binary": chromium, "args": args},
            "goog:loggingPrefs": {"browser": "ALL"},
        }});
        let session = self.call("POST", "/session", &json!({"capabilities": capabilities}));
        session["sessionId"].as_str().unwrap().clone_into(&mut self.session);
    }

    /// Gives the page another screen.
    pub(crate) fn resize(&self, screen: Screen) {
        let Screen { width, height, dark } = screen;
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.devtools("Emulation.setDeviceMetricsOverride", &size);
        let scheme = json!({"name": "prefers-color-scheme", "value": if dark { "dark" } else { "light" }});
        self.devtools("Emulation.setEmulatedMedia", &json!({"features": [scheme]}));
    }

    /// Opens a page of the server at this address.
    pub(crate) fn go(&self, address: &str, path: &str) {
        self.call("POST", &self.path("/url"), &json!({"url": format!("http://{address}{path}")}));
    }

    /// The value of an expression in the page.
    pub(crate) fn value(&self, expression: &str) -> Value {
        self.script(&format!("return ({expression});"), "sync")
    }

    /// What a script returns, which runs with `done` to call with its answer.
    pub(crate) fn asynchronously(&self, script: &str) -> Value {
        self.script(&format!("const done = arguments[arguments.length - 1]; {script}"), "async")
    }

    /// Runs a script.
    pub(crate) fn run(&self, script: &str) {
        self.script(script, "sync");
    }

    /// The text of the element with that id as it is shown, in lines.
    pub(crate) fn text(&self, id: &str) -> String {
        self.value(&format!("document.getElementById('{id}').innerText")).as_str().unwrap_or_default().to_owned()
    }

    /// Waits until an expression in the page is true.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, expression: &str) {
        let stopwatch = Stopwatch::start();
        while !self.is_true(expression) {
            assert!(
                stopwatch.elapsed() < DEADLINE,
                "not within {DEADLINE:?}: {what}; the page shows: {}",
                self.excerpt()
            );
            thread::sleep(PAUSE);
        }
    }

    /// Whether an expression in the page is true; not while another page is loaded, when it cannot be asked.
    fn is_true(&self, expression: &str) -> bool {
        let body = json!({"script": format!("return ({expression});"), "args": []});
        let (head, answer) = request(&self.address, "POST", &self.path("/execute/sync"), &body.to_string()).unwrap();
        head.starts_with("HTTP/1.1 200 ") && answer["value"] == Value::Bool(true)
    }

    /// Waits until the page has shown some events.
    #[track_caller]
    pub(crate) fn until_live(&self) {
        self.until("events", "Number(document.getElementById('main').dataset.events) >= 2");
    }

    fn excerpt(&self) -> String {
        self.value("document.body.innerText.slice(0, 400)").as_str().unwrap_or_default().to_owned()
    }

    /// What the browser has reported as an error: of scripts, of its policy, of files that are missing. A connection that fails is none.
    pub(crate) fn errors(&self) -> Vec<String> {
        let log = self.call("POST", &self.path("/se/log"), &json!({"type": "browser"}));
        let severe = log.as_array().unwrap().iter().filter(|line| line["level"] == "SEVERE");
        let texts = severe.map(|line| line["message"].as_str().unwrap().to_owned());
        texts.filter(|text| !text.contains("net::ERR_") && !text.contains("status of 401")).collect()
    }

    /// Writes a picture of what is visible.
    pub(crate) fn picture(&self, path: &Path) {
        use base64::Engine;
        let shot = self.devtools("Page.captureScreenshot", &json!({"format": "png", "captureBeyondViewport": true}));
        let bytes = base64::engine::general_purpose::STANDARD.decode(shot["data"].as_str().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.call("POST", &self.path("/goog/cdp/execute"), &json!({"cmd": command, "params": parameters}))
    }

    fn script(&self, script: &str, how: &str) -> Value {
        self.call("POST", &self.path(&format!("/execute/{how}")), &json!({"script": script, "args": []}))
    }

    fn path(&self, path: &str) -> String {
        format!("/session/{}{path}", self.session)
    }

    #[track_caller]
    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let (head, mut answer) = request(&self.address, method, path, &body.to_string()).unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
        answer["value"].take()
    }
}

/// One request to the driver, which keeps the connection open: the head and the content of its answer.
fn request(address: &str, method: &str, path: &str, body: &str) -> io::Result<(String, Value)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(CALL_TIMEOUT))?;
    let length = body.len();
    write!(stream, "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n{body}")?;
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    let mut content = vec![0; length.ok_or(io::ErrorKind::InvalidData)?];
    reader.read_exact(&mut content)?;
    Ok((head, serde_json::from_slice(&content)?))
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It ends the browser. Nothing here may fail: the test may have failed already.
        let _gone = request(&self.address, "DELETE", &self.path(""), "");
        let _ended = self.driver.kill();
        let _status = self.driver.wait();
    }
}

/// For one answer of the driver: a browser takes long to start on a machine with other things to do.
const CALL_TIMEOUT: Duration = Duration::from_mins(1);
/// Between two questions.
const PAUSE: Duration = Duration::from_millis(50);
