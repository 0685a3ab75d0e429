//! A terminal for a test: a shell in a tmux of its own, whose socket is in the test's directory and which ends with the test.

use std::env;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::server::{Stopwatch, binary, wait_for};

/// A terminal with a shell.
pub(crate) struct Pane {
    tmux: String,
    dir: TempDir,
}

/// Columns and lines.
#[derive(Clone, Copy)]
pub(crate) struct Size(u16, u16);

impl Size {
    pub(crate) const SMALLEST: Self = Self(80, 24);
    pub(crate) const LARGE: Self = Self(120, 40);
}

impl Pane {
    /// A terminal of this size; without tmux the test is skipped, which is said.
    pub(crate) fn new(Size(width, height): Size) -> Option<Self> {
        let tmux = tmux()?;
        let dir = tempfile::tempdir().unwrap();
        let options = "set -g status off\nset -g escape-time 0\nset -g default-terminal screen-256color\n";
        std::fs::write(dir.path().join("tmux.conf"), options).unwrap();
        let pane = Self { tmux, dir };
        let mut start = pane.command(&["-u", "-f", "tmux.conf", "new-session", "-d", "-s", "test"]);
        start.args(["-x", &width.to_string(), "-y", &height.to_string(), "env", "PS1=$ ", "sh"]);
        for (name, _) in env::vars_os() {
            let name_text = name.to_string_lossy();
            if name_text.starts_with("TIDEGATE_") || name_text.starts_with("TMUX") || name_text == "NO_COLOR" {
                start.env_remove(&name);
            }
        }
        let started = start.env("LC_ALL", "C.UTF-8").status().unwrap();
        assert!(started.success(), "tmux new-session: {started}");
        pane.until("the shell", |screen| screen.starts_with('$'));
        Some(pane)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.tmux);
        command.arg("-S").arg(self.dir.path().join("tmux")).args(args).current_dir(self.dir.path());
        command
    }

    fn tmux(&self, args: &[&str]) -> String {
        let output = self.command(args).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "tmux {args:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// A path in its directory.
    pub(crate) fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    /// Writes a file into its directory, and returns the path.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Starts the view from the shell, which says afterwards with which status it ended.
    pub(crate) fn top(&self, admin: &str, flags: &[&str]) {
        let binary = binary();
        self.file("top", &format!("{} top --admin-addr {admin} --timeout 90s {}\n", binary.display(), flags.join(" ")));
        self.text("sh top; echo status=$?");
        self.keys(&["Enter"]);
    }

    /// Sets a variable of the shell's environment.
    pub(crate) fn variable(&self, name: &str, value: &str) {
        self.text(&format!("export {name}={value}"));
        self.keys(&["Enter"]);
    }

    /// Empties the shell's screen.
    pub(crate) fn clear(&self) {
        self.text("printf '\\033c'");
        self.keys(&["Enter"]);
        self.until("an empty screen", |screen| screen.trim() == "$");
    }

    /// Presses keys by tmux's names, such as `Enter`, `Escape`, `Down`, `C-c`.
    pub(crate) fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys", "-t", "test"], keys].concat());
    }

    /// Types a text.
    pub(crate) fn text(&self, text: &str) {
        self.tmux(&["send-keys", "-t", "test", "-l", text]);
    }

    /// What is on the screen.
    pub(crate) fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-t", "test"])
    }

    /// Waits for a screen, and returns it.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let mut last = String::new();
        let shown = wait_for_screen(|| {
            last = self.screen();
            is_so(&last)
        });
        assert!(shown, "not within {DEADLINE:?}: {what}\n{last}");
        last
    }

    /// Whether a program has taken the alternate screen.
    pub(crate) fn is_alternate(&self) -> bool {
        self.tmux(&["display-message", "-p", "-t", "test", "#{alternate_on}"]).trim() == "1"
    }

    /// The modes of the terminal, as stty prints them.
    pub(crate) fn modes(&self) -> String {
        let path = self.dir.path().join("modes");
        let _absent = std::fs::remove_file(&path);
        self.text("stty -a > modes.new; mv modes.new modes");
        self.keys(&["Enter"]);
        wait_for("stty", DEADLINE, || std::fs::read_to_string(&path).ok()).replace('\n', " ")
    }

    /// Sends a signal to the program that runs in the shell's script.
    pub(crate) fn signal(&self, name: &str) {
        let shell = self.tmux(&["display-message", "-p", "-t", "test", "#{pane_pid}"]).trim().to_owned();
        let program = wait_for("the view's process", DEADLINE, || descendant(&shell));
        let sent = Command::new("kill").args([&format!("-{name}"), &program]).status().unwrap();
        assert!(sent.success(), "kill -{name} {program}");
    }

    /// The colours that the screen has, as their escape sequences.
    pub(crate) fn colours(&self) -> Vec<String> {
        let screen = self.tmux(&["capture-pane", "-e", "-p", "-t", "test"]);
        let sequences = screen.split("\u{1b}[").skip(1).filter_map(|rest| Some(rest.split_once('m')?.0));
        let is_colour = |sequence: &&str| {
            let colour = |number: u32| matches!(number, 30..=38 | 40..=48 | 90..=107);
            sequence.split(';').any(|part| part.parse().is_ok_and(colour))
        };
        sequences.filter(is_colour).map(str::to_owned).collect()
    }
}

impl Drop for Pane {
    fn drop(&mut self) {
        let _gone = self.command(&["kill-server"]).status();
    }
}

/// Far longer than anything takes: the admin port has the lowest priority on a machine with other things to do.
const DEADLINE: Duration = Duration::from_secs(90);

/// Asks until it is so, or the deadline has passed.
fn wait_for_screen(mut is_so: impl FnMut() -> bool) -> bool {
    let stopwatch = Stopwatch::start();
    while !is_so() {
        if stopwatch.elapsed() >= DEADLINE {
            return false;
        }
        thread::sleep(Duration::from_millis(50));
    }
    true
}

/// The process `tidegate` below another one.
fn descendant(process: &str) -> Option<String> {
    let children = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children")).ok()?;
    children.split_whitespace().find_map(|child| {
        let name = std::fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
        if name.trim() == "tidegate" { Some(child.to_owned()) } else { descendant(child) }
    })
}

fn tmux() -> Option<String> {
    let named = env::var("TMUX_BIN").ok();
    let found = named.unwrap_or_else(|| "tmux".to_owned());
    let runs = !found.is_empty() && Command::new(Path::new(&found)).arg("-V").output().is_ok();
    if !runs {
        let test = thread::current().name().unwrap_or_default().to_owned();
        let why = "there is no tmux (./test looks for one; TMUX_BIN names it)";
        let _ = std::io::stderr().write_all(format!("SKIPPED: {test}: {why}\n").as_bytes());
    }
    runs.then_some(found)
}
