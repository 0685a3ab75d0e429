//! The model, driven by keys and by the events of a server.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::*;
use crate::api::proto::tidegate::v1::{Denial, ServerInstance};
use crate::cli::admin::top::scene::{answer, at, model, pass, press, report};

/// The rows, with the selected one in brackets.
fn rows(model: &Model) -> String {
    let rows = model.rows();
    let selected = model.selected_of(&rows);
    let name = |(index, row): (usize, &crate::cli::admin::top::row::Row<'_>)| {
        if index == selected { format!("[{}]", row.name) } else { row.name.clone() }
    };
    rows.iter().enumerate().map(name).collect::<Vec<_>>().join(" ")
}

#[test]
fn keys_move_sort_and_filter() {
    let cases = [
        ("", "[api] shop"),
        ("<down>", "api [shop]"),
        ("<down><down>k", "[api] shop"),
        ("i", "[shop] api"),
        // The selected row stays selected where it goes.
        ("<down>i", "[shop] api"),
        ("/SHO", "[shop]"),
        ("/sho<enter><esc>", "[api] shop"),
        ("/xyz<esc>", "[api] shop"),
        ("/xyz<back><back><back><enter>", "[api] shop"),
        ("<enter>", "[path] user"),
        ("<enter>ssssss", "[path] user"),
        ("<enter>s", "[user] path"),
        ("<enter>sS", "[path] user"),
        ("<enter><down>", "path [user]"),
        ("<enter><down><esc>", "[api] shop"),
        // Of the most checks per second, then of the most checks.
        ("<enter><down><enter>", "[user=ann] user=bob user=mallory"),
        ("<enter><down><enter>t", "[user=ann] user=bob user=mallory"),
        ("<enter><down><enter>s", "[user=mallory] user=bob user=ann"),
        ("<enter><down><enter>ssss", "[user=bob] user=mallory user=ann"),
        ("<enter><down><enter><enter>", "[user=ann]"),
        ("<enter><down><enter><enter><esc>", "[user=ann] user=bob user=mallory"),
        ("2", "[path=/pay\u{1b}[31m] user=ann user=bob user=mallory customer=c1"),
        ("2/api.u", "[user=ann] user=bob user=mallory"),
        ("2<down>1", "[api] shop"),
        ("3", "[user=mallory]"),
        ("3<enter>", "[user=mallory]"),
        ("4", ""),
    ];
    for (keys, expected) in cases {
        let mut model = model(8);
        for key in keys.split_inclusive('>') {
            press(&mut model, key);
            pass(&mut model, 9);
        }
        (10..=18).for_each(|second| pass(&mut model, second));
        assert_eq!(rows(&model), expected, "{keys}");
    }
}

#[test]
fn places_and_pages() {
    for (keys, trail, page) in [
        ("", "all domains", Page::Usage),
        ("<enter>", "all domains > api", Page::Usage),
        ("<enter><enter>", "all domains > api > api.path", Page::Usage),
        ("<enter><enter><enter><esc><esc><esc><esc>", "all domains", Page::Usage),
        ("3<enter>", "all domains > api > api.user > user=mallory", Page::Usage),
        ("<enter>3", "all domains > api", Page::Bans),
        ("<enter>3<esc>", "all domains > api", Page::Usage),
        ("4", "all domains", Page::Denials),
    ] {
        let mut model = model(8);
        press(&mut model, keys);
        assert_eq!((model.place.trail().as_str(), model.page), (trail, page), "{keys}");
    }
}

#[test]
fn counters_are_grouped_by_another_entry() {
    let mut model = model(8);
    press(&mut model, "e");
    assert!(model.message.as_ref().unwrap().text.contains("open a rule first"));
    press(&mut model, "<enter><down><enter>");
    let mut two = report(&model, 9);
    for (at, counter) in two.counters.iter_mut().enumerate() {
        let node = crate::api::proto::tidegate::v1::Entry { key: "node".into(), value: format!("n{}", at % 2) };
        counter.entries.push(node);
    }
    model.update(at(9), Event::Report(model.place.clone(), Box::new(two)));
    for (keys, expected, trail) in [
        ("", "[user=ann] user=bob user=mallory", "all domains > api > api.user"),
        ("e", "[node=n0] node=n1", "all domains > api > api.user"),
        ("e", "[user=ann] user=bob user=mallory", "all domains > api > api.user"),
        ("e<enter>", "[user=ann node=n0] user=mallory node=n0", "all domains > api > api.user > node=n0"),
    ] {
        press(&mut model, keys);
        assert_eq!((rows(&model).as_str(), model.place.trail().as_str()), (expected, trail), "{keys}");
    }
}

/// What is asked, or why nothing is.
fn asked(model: &Model) -> String {
    match &model.mode {
        Mode::Confirm(action) => action.command(),
        Mode::Form(form) => {
            let fields = form.fields.iter().map(|field| format!("{}: {}", field.label, field.text));
            format!("{}; {}", form.title(), fields.collect::<Vec<_>>().join(", "))
        }
        _ => model.message.as_ref().map(|message| message.text.clone()).unwrap_or_default(),
    }
}

#[test]
fn actions_are_of_what_is_selected_and_are_asked_for() {
    let rule = "<enter><down>";
    let value = "<enter><down><enter>";
    let counter = "<enter><down><enter><enter>";
    let cases = [
        ("b", "select a rule, a value or a counter"),
        ("r", "select a rule, a value or a counter"),
        ("o", "Switch off; for: 1h"),
        ("o<enter>", "tidegate settings set --domain api enabled false --for 1h"),
        ("<down>o<back><back><enter>", "tidegate settings set --domain shop enabled true"),
        ("x<enter>", "tidegate settings unset --domain api enabled"),
        (&format!("{rule}b"), "a ban is of one counter"),
        (&format!("{rule}r"), "tidegate counters reset --rule api.user"),
        (&format!("{rule}u"), "tidegate counters unban --rule api.user"),
        (&format!("{rule}c20<enter>"), "tidegate settings set --rule api.user requests_per_unit 20 --for 1h"),
        (&format!("{rule}c<enter>"), "Change a limit; requests_per_unit: , for: 1h"),
        (
            &format!("{rule}c20<tab><back><back>2h<enter>"),
            "tidegate settings set --rule api.user requests_per_unit 20 --for 2h",
        ),
        (&format!("{rule}o<enter>"), "tidegate settings set --rule api.user enabled false --for 1h"),
        (&format!("{rule}x<enter>"), "tidegate settings unset --rule api.user requests_per_unit"),
        (&format!("{value}b<enter>"), "tidegate counters ban --rule api.user --entry user=ann --for 10m"),
        (
            &format!("{value}c9<enter>"),
            "tidegate settings set --rule api.user --entry user=ann requests_per_unit 9 --for 1h",
        ),
        (
            &format!("{counter}b<back><back><back>1h<enter>"),
            "tidegate counters ban --rule api.user --entry user=ann --for 1h",
        ),
        (&format!("{counter}r"), "tidegate counters reset --rule api.user --entry user=ann"),
        ("2b<enter>", r"tidegate counters ban --rule api.path --entry 'path=/pay"),
        ("3u", "tidegate counters unban --rule api.user --entry user=mallory"),
        ("3un", "cancelled: nothing was changed"),
        ("3u<esc>", "cancelled: nothing was changed"),
        ("3b<esc>", "cancelled: nothing was changed"),
        // Nothing but y is yes.
        ("3u<enter>x ", "tidegate counters unban --rule api.user --entry user=mallory"),
        ("3uy", "asking the server"),
        ("3uyr", "the server has not answered to the last change yet"),
        ("4b", "nothing is selected"),
    ];
    for (keys, expected) in cases {
        let mut model = model(8);
        for key in keys.split_inclusive('>') {
            press(&mut model, key);
            if model.mode == Mode::Browse && !model.is_acting && model.confirmed.is_none() {
                pass(&mut model, 9);
            }
        }
        let asked = asked(&model);
        assert!(asked.starts_with(expected), "{keys}: {asked}");
    }
}

#[test]
fn only_what_is_confirmed_is_sent_and_the_answer_is_shown() {
    let mut model = model(8);
    let later = at(8);
    for keys in ["3u", "n", "b", "<enter>"] {
        press(&mut model, keys);
        assert!(!matches!(model.next_call(later), Some(Call::Act(_))), "{keys}");
    }
    press(&mut model, "y");
    let Some(Call::Act(action)) = model.next_call(later) else { panic!("nothing is sent") };
    assert_eq!(action.command(), "tidegate counters ban --rule api.user --entry user=mallory --for 10m");
    assert_eq!(model.next_call(later), None, "once");
    model.update(later, Event::Acted(Err(Failure::Status("operator is needed".into()))));
    let message = model.message.clone().unwrap();
    assert_eq!((message.text.as_str(), message.is_error), ("not done: operator is needed", true));
    press(&mut model, "uy");
    answer(&mut model, later);
    assert_eq!(model.message.unwrap().text, "did: Lift the ban of the counters of rule api.user with user=mallory?");
}

#[test]
fn a_pause_holds_everything_and_asks_nothing() {
    let mut model = model(7);
    let Some(Call::Counters(asked)) = model.next_call(at(8)) else { panic!("no call") };
    press(&mut model, "4p");
    let late = ListCountersResponse { progress: 1.0, matched: 77, ..ListCountersResponse::default() };
    model.update(at(8), Event::Counters(asked, Ok(late)));
    assert_ne!(model.counted().unwrap().denying, 77, "an answer that comes during the pause");
    let before = model.usage.total().unwrap().0.num_requests;
    pass(&mut model, 20);
    let denied = DenialReport { denials: vec![Denial::default()], ..DenialReport::default() };
    model.update(at(20), Event::Denied(Place::Everything, denied));
    assert_eq!(model.usage.total().unwrap().0.num_requests, before);
    assert_eq!((rows(&model), model.next_call(at(30)), model.wants_denials()), (String::new(), None, false));
    press(&mut model, "p");
    pass(&mut model, 21);
    assert!(model.usage.total().unwrap().0.num_requests > before);
    assert!(model.wants_denials());
}

#[test]
fn a_lost_connection_and_a_new_process_are_said() {
    let mut model = model(8);
    let text = |model: &Model| model.message.as_ref().map(|message| message.text.clone()).unwrap_or_default();
    model.update(at(9), Event::Lost(Failure::NoAnswer("connection lost".into())));
    assert_eq!((model.link.clone(), text(&model).as_str()), (Link::Lost, "trying again: connection lost"));
    assert_eq!(model.next_call(at(60)), None, "nothing is asked without a connection");
    pass(&mut model, 10);
    assert_eq!((model.link.clone(), text(&model).as_str()), (Link::Live, "connected again"));
    assert_eq!(model.restarted, None);

    // Also while it is paused: what is shown would be wrong otherwise.
    press(&mut model, "p");
    let instance = Some(ServerInstance { id: "second".into(), ..Default::default() });
    let next = UsageReport { instance, ..UsageReport::default() };
    model.update(at(11), Event::Report(Place::Everything, Box::new(next)));
    assert_eq!(model.restarted, Some(at(11)));
    assert!(text(&model).contains("started again"), "{}", text(&model));
    assert_eq!((rows(&model).as_str(), model.counted()), ("", None));
}

#[test]
fn what_comes_late_from_another_place_is_ignored() {
    let mut model = model(8);
    let late = report(&model, 9);
    press(&mut model, "<enter>");
    model.update(at(9), Event::Report(Place::Everything, Box::new(late)));
    assert!(model.usage.total().is_none());
    model.update(at(9), Event::Denied(Place::Everything, DenialReport { num_dropped: 3, ..DenialReport::default() }));
    assert_eq!(model.denials.dropped(), 0);
}

#[test]
fn calls_are_rare_and_only_for_what_is_shown() {
    let mut model = Model::new(String::new());
    assert_eq!(model.next_call(at(0)), None, "before there is a report");
    // What is asked in each second, if every call is answered at once.
    let asked = |model: &mut Model, seconds: std::ops::Range<u32>| {
        let mut calls = Vec::new();
        for second in seconds {
            let now = at(u64::from(second));
            let report = report(model, second);
            model.update(now, Event::Report(model.place.clone(), Box::new(report)));
            let Some(call) = model.next_call(now) else { continue };
            assert_eq!(model.next_call(now), None, "one at a time");
            calls.push(match &call {
                Call::Counters(request) if request.denied => format!("{second} denying {}", request.domain),
                Call::Counters(request) => format!("{second} all {}", request.domain),
                Call::Limits(domain) => format!("{second} limits {domain}"),
                Call::Act(_) => "act".to_owned(),
            });
            let event = match call {
                Call::Counters(request) => Event::Counters(request, Ok(ListCountersResponse::default())),
                Call::Limits(domain) => Event::Limits(domain, Ok(ListLimitsResponse::default())),
                Call::Act(_) => Event::Acted(Ok(String::new())),
            };
            model.update(now, event);
        }
        calls.join(", ")
    };
    assert_eq!(asked(&mut model, 0..7), "0 all , 2 denying , 4 all , 6 denying ");
    press(&mut model, "<enter>");
    assert_eq!(asked(&mut model, 7..13), "8 limits api, 10 all api, 12 denying api");
    press(&mut model, "3");
    assert_eq!(asked(&mut model, 13..19), "14 denying api, 16 denying api, 18 denying api");
    assert_eq!(asked(&mut model, 36..42), "36 denying api, 38 limits api, 40 denying api");
}

/// A busy server is asked more rarely: twenty times the time that the last call took, and at most every 15 s.
#[test]
fn a_call_that_takes_long_is_followed_by_a_pause() {
    let mut model = model(0);
    let mut next_after = |asked: u64, took_ms: u64| {
        let Some(Call::Counters(request)) = model.next_call(at(asked)) else { panic!("no call at {asked}") };
        let answered = at(asked).plus(Nanos::from_ns(took_ms * 1_000_000));
        model.update(answered, Event::Counters(request, Ok(ListCountersResponse::default())));
        let due = |second: &u64| {
            let polling = &model.polling;
            at(*second).since(polling.last.unwrap()) >= model.time_between_calls()
        };
        (asked..asked + 60).find(due).unwrap()
    };
    assert_eq!(next_after(2, 50), 4);
    assert_eq!(next_after(4, 300), 10);
    assert_eq!(next_after(10, 5_000), 25);
    assert_eq!(next_after(25, 0), 27);
}

#[test]
fn a_server_that_lists_no_counters_for_the_token_is_not_asked_again_and_again() {
    let mut model = model(0);
    let Some(Call::Counters(request)) = model.next_call(at(2)) else { panic!("no call") };
    model.update(at(2), Event::Counters(request, Err(Failure::Status("operator is needed".into()))));
    assert_eq!(model.without_counters(), Some("operator is needed"));
    for second in 3..62 {
        assert_eq!(model.next_call(at(second)), None, "{second}");
    }
    let Some(Call::Counters(request)) = model.next_call(at(62)) else { panic!("no call") };
    model.update(at(62), Event::Counters(request, Ok(ListCountersResponse::default())));
    assert_eq!(model.without_counters(), None);
}

#[test]
fn hits_in_queues_are_those_above_the_burst() {
    let mut model = model(8);
    let counted = model.counted().unwrap();
    assert_eq!((counted.banned, counted.denying, counted.waiting), (1, 2, 0));
    assert_eq!(counted.fullest.map(|(_, share)| share), Some(1.0));
    let limit = ApplicableLimit { rule: "api.user".into(), burst: 2, queue: 20, ..ApplicableLimit::default() };
    model.update(at(8), Event::Limits("api".into(), Ok(ListLimitsResponse { limits: vec![limit] })));
    // Of ann 4, of bob 10, and of mallory 1.
    assert_eq!(model.counted().unwrap().waiting, 10);
}

#[test]
fn keys_that_close() {
    for (key, modifiers, closes) in [
        (KeyCode::Char('q'), KeyModifiers::NONE, true),
        (KeyCode::Char('c'), KeyModifiers::CONTROL, true),
        (KeyCode::Char('c'), KeyModifiers::NONE, false),
        (KeyCode::Esc, KeyModifiers::NONE, false),
    ] {
        let mut model = model(0);
        model.key(KeyEvent::new(key, modifiers));
        assert_eq!(model.has_quit(), closes, "{key:?}");
    }
    // In a text, q is a letter; Ctrl-C closes everywhere.
    let mut model = model(0);
    press(&mut model, "/q");
    assert!(!model.has_quit() && model.filter == "q");
    model.key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL));
    assert!(model.has_quit());
    let mut model = crate::cli::admin::top::scene::model(0);
    press(&mut model, "?q");
    assert!(!model.has_quit() && model.mode == Mode::Browse, "any key closes the explanation");
}
