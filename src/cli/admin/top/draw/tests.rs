//! Pictures of the view, without colour, at the smallest and at a larger size.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;

use super::*;
use crate::api::proto::tidegate::v1::{Denial, DenialReport, Entry, denial};
use crate::cli::admin::connection::Failure;
use crate::cli::admin::top::model::Event;
use crate::cli::admin::top::scene::{START, at, model, pass, press};

fn terminal(model: &Model, width: u16, height: u16, theme: Theme) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, model, theme, at(LAST.into()))).unwrap();
    terminal
}

/// The screen, a line each, without spaces at their ends.
fn picture(model: &Model, width: u16, height: u16) -> Vec<String> {
    let terminal = terminal(model, width, height, Theme::PLAIN);
    let cells = terminal.backend().buffer();
    let line = |y| (0..width).map(|x| cells[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
    (0..height).map(line).collect()
}

/// The model after these keys, and after enough time for every list.
fn after(keys: &str) -> Model {
    let mut model = model(8);
    for key in keys.split_inclusive('>') {
        press(&mut model, key);
        pass(&mut model, 9);
    }
    (10..=LAST).for_each(|second| pass(&mut model, second));
    model
}

const LAST: u32 = 18;

/// The picture is that of a file; with UPDATE_PICTURES=1 it becomes it.
#[track_caller]
fn check(model: &Model, (width, height): (u16, u16), name: &str) {
    let picture = picture(model, width, height).join("\n") + "\n";
    let path = format!("{}/src/cli/admin/top/draw/pictures/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_PICTURES").is_some() {
        std::fs::write(&path, &picture).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(picture == expected, "{name} is\n{picture}\nbut should be (UPDATE_PICTURES=1 writes it)\n{expected}");
}

#[test]
fn domains_at_80_by_24() {
    check(&after(""), (80, 24), "domains_80");
}

#[test]
fn rules_at_80_by_24() {
    check(&after("<enter><down>"), (80, 24), "rules_80");
}

#[test]
fn rules_at_120_by_40() {
    check(&after("<enter><down>"), (120, 40), "rules_120");
}

#[test]
fn counters_of_a_value_at_80_by_24() {
    check(&after("<enter><down><enter><down><enter>"), (80, 24), "counters_80");
}

#[test]
fn bans_at_80_by_24() {
    check(&after("3"), (80, 24), "bans_80");
}

#[test]
fn values_of_a_rule_at_80_by_24() {
    check(&after("<enter><down><enter>t"), (80, 24), "values_80");
}

#[test]
fn keys_at_120_by_40() {
    check(&after("2"), (120, 40), "keys_120");
}

#[test]
fn the_explanation_at_80_by_24() {
    check(&after("?"), (80, 24), "explanation_80");
}

#[test]
fn a_question_says_what_will_happen() {
    check(&after("3b<enter>"), (80, 24), "question_80");
}

#[test]
fn denied_checks_at_80_by_24() {
    let mut model = after("4");
    let entries = vec![Entry { key: "user".into(), value: "bob".into() }];
    let limit = denial::Limit {
        rule: "api.user".into(),
        reason: denial::Reason::Banned.into(),
        retry_after: Some(prost_types::Duration { seconds: 90, nanos: 1 }),
        ..denial::Limit::default()
    };
    let denied = Denial {
        time: Some(prost_types::Timestamp { seconds: START, nanos: 0 }),
        domain: "api".into(),
        descriptors: vec![denial::Descriptor { index: 0, entries }],
        governing: Some(limit),
        ..Denial::default()
    };
    let report = DenialReport { denials: vec![denied], num_dropped: 12, ..DenialReport::default() };
    model.update(at(18), Event::Denied(Place::Everything, report));
    check(&model, (80, 24), "denials_80");
}

#[test]
fn what_is_unusual_is_said_in_words() {
    let mut model = after("");
    model.update(at(18), Event::Lost(Failure::NoAnswer("127.0.0.1:8082: connection lost".into())));
    let lost = picture(&model, 80, 24);
    assert!(lost[0].contains("NO CONNECTION"), "{lost:?}");
    assert!(lost[22].starts_with("error: trying again: 127.0.0.1:8082: connection lost"), "{lost:?}");
    let mut model = after("p");
    let paused = picture(&model, 80, 24);
    assert!(paused[0].contains("PAUSED"), "{paused:?}");
    press(&mut model, "p/zzz");
    let filtered = picture(&model, 80, 24);
    assert!(filtered[7].contains("nothing has the text of the filter"), "{filtered:?}");
    assert!(filtered[22].starts_with("filter: zzz_"), "{filtered:?}");
}

#[test]
fn no_size_is_too_small_or_too_large() {
    let models = ["", "<enter>", "2", "3", "4", "?", "3b", "3u", "/abc"].map(after);
    for (width, height) in [(1, 1), (0, 0), (10, 3), (79, 23), (80, 24), (200, 60), (500, 2), (2, 200)] {
        for model in &models {
            assert_eq!(picture(model, width, height).len(), usize::from(height));
        }
    }
}

#[test]
fn text_of_others_cannot_control_the_terminal() {
    for line in picture(&after("2"), 120, 40) {
        assert!(!line.contains('\u{1b}'), "{line:?}");
    }
}

/// What is only to be seen by its colour is not there without colours.
#[test]
fn the_words_are_the_same_without_colour() {
    let model = after("<enter><down>");
    let (plain, coloured) = (Theme::PLAIN, Theme::COLOURED);
    let [plain, coloured] = [plain, coloured].map(|theme| terminal(&model, 80, 24, theme));
    let cells = |terminal: &Terminal<TestBackend>| terminal.backend().buffer().content().to_vec();
    let has_colour =
        |cells: &[ratatui::buffer::Cell]| cells.iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset);
    let (plain, coloured) = (cells(&plain), cells(&coloured));
    assert!(!has_colour(&plain) && has_colour(&coloured));
    assert!(plain.iter().zip(&coloured).all(|(a, b)| a.symbol() == b.symbol()));
}

/// Reversed, a coloured cell is full, also of a denial that was not.
#[test]
fn the_selected_row_has_no_colours() {
    let terminal = terminal(&after("2"), 120, 40, Theme::COLOURED);
    let cells = terminal.backend().buffer();
    let is_selected = |y: &u16| cells[(0, *y)].symbol() == ">";
    let y = (0..40).find(is_selected).unwrap();
    assert!((0..120).all(|x| cells[(x, y)].fg == Color::Reset), "{:?}", picture(&after("2"), 120, 40)[usize::from(y)]);
}
