//! All the ways in which people and Kubernetes change files, on a real file system.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::config::{ReloadStatus, RulesInForce, SettingsBook};
use crate::rules;

/// Long enough for a machine under load; a test that passes never waits for it.
const DEADLINE: Duration = Duration::from_secs(20);

/// A reloader on a temporary directory, and what it has tried: the text of all files, in order, and whether it was good.
struct Bed {
    dir: TempDir,
    reloader: Arc<Reloader>,
    tried: Receiver<String>,
    applied: Arc<Mutex<usize>>,
    /// Ends with the bed.
    #[expect(dead_code)]
    watch: Watch,
}

impl Bed {
    /// Lays the files out, loads `path` below the directory and watches it. Text that holds `bad` does not load.
    fn new(path: &str, pace: Pace, lay_out: impl FnOnce(&Path)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        lay_out(dir.path());
        let (send, tried) = channel();
        let source = Source::open(dir.path().join(path), LoadOptions::default());
        let load = move |files: &[SourceFile], _: LoadOptions| {
            let text: Vec<_> = files.iter().map(|file| String::from_utf8(file.text.clone()).unwrap()).collect();
            send.send(text.join("+")).unwrap();
            let bad = files.iter().filter(|file| file.text.starts_with(b"bad"));
            let errors: Vec<_> =
                bad.map(|file| ConfigError { file: file.name.clone(), line: 1, message: "bad".into() }).collect();
            if errors.is_empty() { Ok(RuleSet::default()) } else { Err(errors) }
        };
        let applied = Arc::new(Mutex::new(0));
        let count = applied.clone();
        let apply = move |_: RulesInForce<'_>, _: Option<RulesInForce<'_>>| *count.lock() += 1;
        let publisher = Arc::new(Publisher::new(SettingsBook::default(), apply));
        let reloader = Arc::new(Reloader::new(source, Arc::new(Clock::start()), load, publisher));
        reloader.load().unwrap();
        tried.recv().unwrap();
        let watch = reloader.watch(pace).unwrap();
        Self { dir, reloader, tried, applied, watch }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// Replaces a file atomically: no reader ever sees half of it.
    fn write(&self, path: &str, text: &str) {
        fs::write(self.path("..written"), text).unwrap();
        fs::rename(self.path("..written"), self.path(path)).unwrap();
    }

    /// Waits for the content to be tried; intermediate content of a slow change is skipped.
    fn expect(&self, text: &str) {
        loop {
            let tried = self.tried.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("never loaded {text:?}"));
            if tried == text {
                return;
            }
        }
    }

    /// Waits until the status is as it should be: it is stored after the content was tried.
    fn expect_status(&self, what: &str, is: impl Fn(&ReloadStatus) -> bool) {
        let clock = Clock::start();
        let begin = clock.now();
        while !is(&self.reloader.publisher.status()) {
            let waited = Duration::from(clock.now().since(begin));
            assert!(waited < DEADLINE, "never {what}: {:?}", self.reloader.publisher.status());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// No looks at the disk within the time of a test: changes are detected only by events.
fn events_only() -> Pace {
    Pace { poll: Duration::from_hours(1), ..quick() }
}

fn polled_only() -> Pace {
    Pace { poll: Duration::from_millis(20), events: false, ..quick() }
}

/// Loads a file that may be partially written as soon as others.
fn quick() -> Pace {
    Pace { deferral: Duration::from_millis(1), ..Pace::default() }
}

fn both(run: impl Fn(Pace)) {
    run(events_only());
    run(polled_only());
}

#[test]
fn an_edit_in_place_and_a_move_over_the_file() {
    both(|pace| {
        let bed = Bed::new("rules.yaml", pace, |dir| fs::write(dir.join("rules.yaml"), "1").unwrap());
        for round in 2..5 {
            fs::write(bed.path("rules.yaml"), round.to_string()).unwrap();
            bed.expect(&round.to_string());
            bed.write("rules.yaml", &format!("{round} moved"));
            bed.expect(&format!("{round} moved"));
        }
    });
}

#[test]
fn a_directory_swapped_by_a_link() {
    both(|pace| {
        let bed = Bed::new("current/rules", pace, |dir| {
            fs::create_dir_all(dir.join("v1/rules")).unwrap();
            fs::write(dir.join("v1/rules/a.yaml"), "1").unwrap();
            symlink("v1", dir.join("current")).unwrap();
        });
        for round in 2..5 {
            let version = format!("v{round}");
            fs::create_dir_all(bed.path(&version).join("rules")).unwrap();
            bed.write(&format!("{version}/rules/a.yaml"), &round.to_string());
            symlink(&version, bed.path("next")).unwrap();
            fs::rename(bed.path("next"), bed.path("current")).unwrap();
            bed.expect(&round.to_string());
            bed.write(&format!("{version}/rules/a.yaml"), &format!("{round} edited"));
            bed.expect(&format!("{round} edited"));
        }
    });
}

#[test]
fn a_config_map_update() {
    both(|pace| {
        let bed = Bed::new("map", pace, |dir| {
            let map = dir.join("map");
            fs::create_dir_all(map.join("..1")).unwrap();
            fs::write(map.join("..1/a.yaml"), "a1").unwrap();
            symlink("..1", map.join("..data")).unwrap();
            symlink("..data/a.yaml", map.join("a.yaml")).unwrap();
        });
        // As the kubelet does it: new directory, new link, rename over the old link, file links, old directory away.
        for round in 2..5 {
            let version = format!("map/..{round}");
            fs::create_dir_all(bed.path(&version)).unwrap();
            bed.write(&format!("{version}/a.yaml"), &format!("a{round}"));
            symlink(format!("..{round}"), bed.path("map/..data_tmp")).unwrap();
            fs::rename(bed.path("map/..data_tmp"), bed.path("map/..data")).unwrap();
            fs::remove_dir_all(bed.path(&format!("map/..{}", round - 1))).unwrap();
            bed.expect(&format!("a{round}"));
        }
    });
}

#[test]
fn files_come_and_go() {
    both(|pace| {
        let bed = Bed::new("d", pace, |dir| {
            fs::create_dir(dir.join("d")).unwrap();
            fs::write(dir.join("d/a.yaml"), "a").unwrap();
        });
        bed.write("d/b.yaml", "b");
        bed.expect("a+b");
        fs::create_dir(bed.path("d/sub")).unwrap();
        bed.write("d/sub/c.yaml", "c");
        bed.expect("a+b+c");
        bed.write("d/sub/c.yaml", "c2");
        bed.expect("a+b+c2");
        fs::remove_file(bed.path("d/b.yaml")).unwrap();
        bed.expect("a+c2");
        fs::rename(bed.path("d/sub"), bed.path("d/.sub")).unwrap();
        bed.expect("a");
    });
}

#[test]
fn deleted_and_created_again() {
    both(|pace| {
        let bed = Bed::new("d/rules.yaml", pace, |dir| {
            fs::create_dir(dir.join("d")).unwrap();
            fs::write(dir.join("d/rules.yaml"), "1").unwrap();
        });
        fs::remove_dir_all(bed.path("d")).unwrap();
        bed.expect_status("failed", |status| status.last_error.is_some());
        let status = bed.reloader.publisher.status();
        assert_eq!((status.generation, status.failures), (1, 1));
        assert!(status.last_error.as_ref().unwrap().errors[0].contains("no such file"), "{status:?}");

        fs::create_dir(bed.path("d")).unwrap();
        bed.write("d/rules.yaml", "1");
        bed.expect("1");
        bed.expect_status("recovered", |status| status.last_error.is_none() && status.generation == 2);
    });
}

#[test]
fn a_file_that_is_missing_for_a_moment_is_no_error() {
    let bed = Bed::new("rules.yaml", events_only(), |dir| fs::write(dir.join("rules.yaml"), "1").unwrap());
    fs::remove_file(bed.path("rules.yaml")).unwrap();
    bed.write("rules.yaml", "2");
    bed.expect("2");
    bed.expect_status("loaded", |status| status.generation == 2);
    assert_eq!(bed.reloader.publisher.status().failures, 0);
}

#[test]
fn the_same_content_is_no_change() {
    both(|pace| {
        let bed = Bed::new("rules.yaml", pace, |dir| fs::write(dir.join("rules.yaml"), "1").unwrap());
        bed.write("rules.yaml", "1");
        bed.write("rules.yaml", "2");
        bed.expect("2");
        bed.expect_status("loaded", |status| status.generation == 2);
        assert_eq!(*bed.applied.lock(), 2);
    });
}

#[test]
fn a_bad_change_keeps_the_rules_and_is_reported() {
    let bed = Bed::new("d", events_only(), |dir| {
        fs::create_dir(dir.join("d")).unwrap();
        fs::write(dir.join("d/a.yaml"), "1").unwrap();
        fs::write(dir.join("d/b.yaml"), "1").unwrap();
    });
    bed.write("d/a.yaml", "bad");
    bed.expect("bad+1");
    bed.expect_status("failed", |status| status.failures == 1);
    bed.write("d/b.yaml", "bad too");
    bed.expect("bad+bad too");
    bed.expect_status("failed again", |status| status.failures == 2);
    let status = bed.reloader.publisher.status();
    let a = bed.path("d/a.yaml").display().to_string();
    let b = bed.path("d/b.yaml").display().to_string();
    assert_eq!(status.last_error.as_ref().unwrap().errors, [format!("{a}:1: bad"), format!("{b}:1: bad")]);
    assert_eq!((status.generation, status.successes, *bed.applied.lock()), (1, 1, 1));

    bed.write("d/a.yaml", "1");
    bed.write("d/b.yaml", "1");
    bed.expect("1+1");
    bed.expect_status("good again", |status| status.generation == 2 && status.last_error.is_none());
}

#[test]
fn a_signal_loads_what_has_not_changed_and_the_watch_does_not_repeat_it() {
    let asleep = Pace { quiet: DEADLINE, events: false, ..Pace::default() };
    let bed = Bed::new("rules.yaml", asleep, |dir| fs::write(dir.join("rules.yaml"), "1").unwrap());
    let seen = || bed.reloader.source.read();
    assert_eq!(bed.reloader.reload().unwrap().generation, 2);
    bed.reloader.change(seen(), None);
    assert_eq!(bed.reloader.publisher.status().successes, 2);

    bed.write("rules.yaml", "bad");
    let error = bed.reloader.reload().unwrap_err();
    assert!(error.to_string().ends_with("rules.yaml:1: bad"), "{error}");
    bed.reloader.change(seen(), None);
    assert_eq!(bed.reloader.publisher.status().failures, 1);

    bed.write("rules.yaml", "1");
    bed.reloader.change(seen(), None);
    assert_eq!(
        (bed.reloader.publisher.status().generation, bed.reloader.publisher.status().last_error.is_none()),
        (3, true)
    );
}

#[test]
fn the_same_errors_are_logged_once_and_many_are_cut() {
    let error = |line| ConfigError { file: "a.yaml".into(), line, message: "bad".into() };
    let errors = LoadError::Rules((1..=1_002).map(error).collect());
    let kept = kept(&errors);
    assert_eq!((kept.len(), kept[1_000].as_str()), (1_001, "and 2 more errors"));

    let mut work = Work { load: Box::new(rules::load), tried: None, in_force: None, logged: Vec::new() };
    let lines = Arc::new(Mutex::new(Vec::new()));
    let out = Lines(lines.clone());
    let subscriber = tracing_subscriber::fmt().with_writer(move || out.clone()).with_ansi(false).finish();
    tracing::subscriber::with_default(subscriber, || {
        for errors in [vec![error(1), error(2)], vec![error(1), error(2)], vec![error(3)]] {
            work.log(&LoadError::Rules(errors));
        }
    });
    let log = String::from_utf8(lines.lock().clone()).unwrap();
    let count = |text: &str| log.matches(text).count();
    assert_eq!(
        [count("a.yaml:1: bad"), count("a.yaml:2: bad"), count("a.yaml:3: bad"), count("keeping")],
        [1, 1, 1, 2]
    );
}

/// A limit of a million, with a line end behind it.
const WHOLE: &str = "domain: d\ndescriptors:\n- key: k\n  rate_limit:\n    unit: day\n    requests_per_unit: 1000000\n";

/// The numbers of the limits that are put in force, one after the other.
fn limits_in_force(path: &Path, pace: Pace) -> (Arc<Reloader>, Watch, Receiver<Vec<u32>>) {
    let (put, in_force) = channel();
    let apply = move |(rules, _): RulesInForce<'_>, _: Option<RulesInForce<'_>>| {
        put.send(rules.rules().iter().map(|rule| rule.limits[0].requests_per_unit).collect()).unwrap();
    };
    let source = Source::open(path, LoadOptions::default());
    let publisher = Arc::new(Publisher::new(SettingsBook::default(), apply));
    let reloader = Arc::new(Reloader::new(source, Arc::new(Clock::start()), rules::load, publisher));
    reloader.load().unwrap();
    in_force.recv().unwrap();
    let watch = reloader.watch(pace).unwrap();
    (reloader, watch, in_force)
}

#[test]
fn a_partially_written_file_is_not_loaded_while_its_writer_pauses() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rules.yaml");
    let changed = WHOLE.replace("1000000", "2000000");
    for half in [
        "domain: d\n",
        &changed[..changed.find("00000").unwrap()],
        &format!("# longer\n{}", &changed[..changed.len() - 1]),
    ] {
        fs::write(&path, WHOLE).unwrap();
        let never = Pace { deferral: Duration::from_hours(1), poll: Duration::from_millis(20), ..Pace::default() };
        let (reloader, _watch, in_force) = limits_in_force(&path, never);
        fs::write(&path, half).unwrap();
        assert_eq!(reloader.change(reloader.source.read(), Some(never.deferral)), Verdict::Deferred, "{half}");
        fs::write(&path, &changed).unwrap();
        assert_eq!(in_force.recv_timeout(DEADLINE).unwrap(), [2_000_000], "{half}");
    }
}

#[test]
fn a_deferred_change_is_loaded_in_the_end() {
    both(|pace| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rules.yaml");
        fs::write(&path, WHOLE).unwrap();
        let (_reloader, _watch, in_force) =
            limits_in_force(&path, Pace { deferral: Duration::from_millis(200), ..pace });
        fs::write(&path, WHOLE.replace("1000000", "10")).unwrap();
        assert_eq!(in_force.recv_timeout(DEADLINE).unwrap(), [10]);
        fs::write(&path, "domain: d\n").unwrap();
        assert_eq!(in_force.recv_timeout(DEADLINE).unwrap(), [0_u32; 0]);
    });
}

#[test]
fn a_signal_loads_a_deferred_change_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rules.yaml");
    fs::write(&path, WHOLE).unwrap();
    let never = Pace { deferral: Duration::from_hours(1), ..Pace::default() };
    let (reloader, _watch, in_force) = limits_in_force(&path, never);
    fs::write(&path, "domain: d\n").unwrap();
    assert_eq!(reloader.reload().unwrap().rules, 0);
    assert_eq!(in_force.recv_timeout(DEADLINE).unwrap(), [0_u32; 0]);
}

#[test]
fn a_file_that_replaces_another_is_not_deferred() {
    let never = Pace { deferral: Duration::from_hours(1), ..Pace::default() };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rules.yaml");
    fs::write(&path, WHOLE).unwrap();
    let (_reloader, _watch, in_force) = limits_in_force(&path, never);
    for text in [WHOLE.replace("1000000", "10"), "domain: d\n".to_owned()] {
        fs::write(dir.path().join("new"), &text).unwrap();
        fs::rename(dir.path().join("new"), &path).unwrap();
        let expected = if text.contains("key") { vec![10] } else { vec![] };
        assert_eq!(in_force.recv_timeout(DEADLINE).unwrap(), expected);
    }

    // A ConfigMap that loses a key.
    let map = dir.path().join("map");
    fs::create_dir_all(map.join("..1")).unwrap();
    fs::write(map.join("..1/a.yaml"), WHOLE).unwrap();
    fs::write(map.join("..1/b.yaml"), WHOLE.replace("domain: d", "domain: e")).unwrap();
    symlink("..1", map.join("..data")).unwrap();
    symlink("..data/a.yaml", map.join("a.yaml")).unwrap();
    symlink("..data/b.yaml", map.join("b.yaml")).unwrap();
    let (_reloader, _watch, in_force) = limits_in_force(&map, never);
    fs::create_dir_all(map.join("..2")).unwrap();
    fs::write(map.join("..2/a.yaml"), WHOLE).unwrap();
    fs::remove_file(map.join("b.yaml")).unwrap();
    symlink("..2", map.join("..data_tmp")).unwrap();
    fs::rename(map.join("..data_tmp"), map.join("..data")).unwrap();
    assert_eq!(in_force.recv_timeout(DEADLINE).unwrap(), [1_000_000]);
}

#[derive(Clone)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file that keeps changing, and is never whole, does not delay the others for ever.
#[test]
fn a_file_that_never_rests_holds_nothing_back_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let (restless, other) = (dir.path().join("a.yaml"), dir.path().join("b.yaml"));
    fs::write(&restless, WHOLE).unwrap();
    fs::write(&other, WHOLE.replace("domain: d", "domain: e")).unwrap();
    let pace = Pace {
        deferral: Duration::from_millis(200),
        quiet: Duration::from_millis(5),
        longest: Duration::from_millis(20),
        poll: Duration::from_millis(20),
        ..Pace::default()
    };
    let (_reloader, _watch, in_force) = limits_in_force(dir.path(), pace);
    let new = dir.path().join("b.new");
    fs::write(&new, WHOLE.replace("domain: d", "domain: e").replace("1000000", "5")).unwrap();
    fs::rename(&new, &other).unwrap();
    let mut loaded = Vec::new();
    for nth in 0..1_000 {
        fs::write(&restless, format!("domain: d # {nth}\n")).unwrap();
        loaded.extend(in_force.recv_timeout(Duration::from_millis(30)).into_iter().flatten());
        if loaded.contains(&5) {
            return;
        }
    }
    panic!("the other file is not in force: {loaded:?}");
}
