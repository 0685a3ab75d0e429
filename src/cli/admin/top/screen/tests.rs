//! A panic, in a terminal of its own: `TMUX_BIN` names tmux, without it the test says `SKIPPED`.

use std::path::Path;
use std::process::Command;
use std::time::Duration;
use std::{env, thread};

use super::*;

/// What the other test starts.
#[test]
#[ignore = "takes the terminal and panics: it is started by the test of the panic"]
fn the_screen_is_taken_by_a_program_that_panics() {
    let mut screen = Screen::open().unwrap();
    screen.draw(|frame| frame.render_widget("on the screen of the view", frame.area())).unwrap();
    panic!("a panic of the view");
}

#[test]
fn a_panic_gives_the_terminal_back_before_its_message() {
    let tmux = env::var("TMUX_BIN").unwrap_or_else(|_| "tmux".to_owned());
    if tmux.is_empty() || Command::new(&tmux).arg("-V").output().is_err() {
        eprintln!("SKIPPED: there is no tmux (./test looks for one; TMUX_BIN names it)");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        let output = Command::new(&tmux).arg("-S").arg(dir.path().join("tmux")).args(args).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let program = env::current_exe().unwrap();
    let name = "cli::admin::top::screen::tests::the_screen_is_taken_by_a_program_that_panics";
    let script = format!("{} --exact {name} --ignored --nocapture; stty -a; echo ended; sleep 60", program.display());
    std::fs::write(dir.path().join("script"), script).unwrap();
    let script = dir.path().join("script");
    run(&["-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "40", "sh", path(&script)]);
    let screen = || run(&["capture-pane", "-p"]);
    let has_ended = (0..300).any(|_| {
        thread::sleep(Duration::from_millis(100));
        screen().contains("ended")
    });
    let (shown, modes) = (screen(), run(&["display-message", "-p", "#{alternate_on} #{cursor_flag}"]));
    run(&["kill-server"]);
    assert!(has_ended, "not within 30 s: {shown}");
    assert!(shown.contains("a panic of the view") && !shown.contains("on the screen"), "{shown}");
    assert_eq!(modes.trim(), "0 1", "the alternate screen is off, and the cursor is on");
    assert!(shown.contains(" icanon") && shown.contains(" echo "), "{shown}");
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
