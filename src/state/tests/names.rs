//! Which files are read and written, when others remove some or a crash has left more.

use super::*;

/// Another program removes the journal, or all files: that is an error once, and then all counters are written again.
#[test]
fn a_journal_that_was_removed_is_begun_again() {
    for everything in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        fs::create_dir(&path).unwrap();
        let (files, before) = (Directory::new(&path), limiter(RULES));
        let mut flusher = flusher(&files, &before, &Restored::default());
        left(&before, NOW, "fixed", "a", 5);
        flusher.flush(NOW, || true, || {}).unwrap();
        if everything {
            fs::rename(&path, dir.path().join("moved")).unwrap();
            fs::create_dir(&path).unwrap();
        } else {
            fs::remove_file(path.join("counters.1.journal")).unwrap();
        }
        left(&before, NOW, "log", "a", 5);
        let error = flusher.flush(NOW, || true, || {}).unwrap_err().to_string();
        assert_eq!(error, "another program has removed counters.1.journal");
        assert!(!flusher.flush(NOW, || true, || {}).unwrap().is_behind);
        let after = limiter(RULES);
        assert_eq!(restore(&files, &after, NOW).counters, 2);
        assert_eq!(all(&after, NOW), all(&before, NOW), "everything: {everything}");
    }
}

/// A number that has no next one, and one that is written otherwise, are no names of files of counters.
#[test]
fn names_of_files_are_those_that_are_written() {
    let names = ["counters.7.journal", "counters.9223372036854775807.snapshot"];
    assert_eq!(names.map(|name| Name::parse(name).unwrap().to_string()), names);
    for other in ["counters.18446744073709551615.journal", "counters.07.journal", "counters.+7.journal", "counters.7"] {
        assert_eq!(Name::parse(other), None, "{other}");
    }
}

/// A crash came before the files were removed that a snapshot takes the place of: if it is damaged, they are used.
#[test]
fn a_damaged_snapshot_is_made_up_for_by_the_files_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let (files, before) = (Directory::new(dir.path()), used(&mut SmallRng::seed_from_u64(3)));
    let mut flusher = flusher(&files, &before, &Restored::default());
    flusher.begin_snapshot_now();
    flusher.flush(NOW, || true, || {}).unwrap();
    left(&before, NOW, "fixed", "value-1", 2);
    flusher.flush(NOW, || true, || {}).unwrap();
    let earlier =
        ["counters.2.snapshot", "counters.2.journal"].map(|name| (name, fs::read(dir.path().join(name)).unwrap()));
    flusher.begin_snapshot_now();
    flusher.flush(NOW, || true, || {}).unwrap();
    left(&before, NOW, "fixed", "value-2", 2);
    flusher.flush(NOW, || true, || {}).unwrap();
    let newest = dir.path().join("counters.3.snapshot");
    let whole = fs::read(&newest).unwrap();
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    for (case, bytes) in [whole.clone(), flipped(0), flipped(300), whole[..300].to_vec(), Vec::new()].iter().enumerate()
    {
        for (name, bytes) in &earlier {
            fs::write(dir.path().join(name), bytes).unwrap();
        }
        fs::write(&newest, bytes).unwrap();
        let after = limiter(RULES);
        let restored = restore(&files, &after, NOW);
        assert_eq!(restored.damage.len(), usize::from(case > 0), "case {case}: {:?}", restored.damage);
        assert_eq!(all(&after, NOW), all(&before, NOW), "case {case}");
        assert_eq!(dir.path().join("counters.2.snapshot").exists(), case > 0, "case {case}: kept if it is needed");
    }
}
