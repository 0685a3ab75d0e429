//! How the page is for those who read it: accessibility in light and dark, on a desk and on a phone, by pointer and by keyboard.
//!
//! `AXE_JS` names the script of axe-core (`./test` installs it). Without it the tests with it say `SKIPPED` and pass.

use std::io::Write;
use std::{env, fs};

use serde_json::Value;

use super::scopes::Guarded;
use super::webdriver::{Browser, Screen};
use super::{check, operate};
use crate::TestServer;

/// A server with something in each part of the page.
fn busy_server() -> TestServer {
    let rules = "domain: api
descriptors:
- {key: user, rate_limit: {unit: hour, requests_per_unit: 3, ban: {for: 1h, when: exceeded}}}
- {key: wait, rate_limit: {unit: hour, requests_per_unit: 2, algorithm: token_bucket, burst: 1, queue: {size: 9, mode: advise}}}
- {key: a_key_with_a_name_that_is_longer_than_a_phone_is_wide_and_has_no_space, rate_limit: {unit: day, requests_per_unit: 9}}
- {key: shadow, shadow_mode: true, rate_limit: {unit: day, requests_per_unit: 9}}
alerts: [{name: many, denials: 2, window: 1h}]
usage: {by: [user]}
";
    let server = TestServer::start(rules, &[]);
    let unlimited = ["--domain", "api", "--entry", "user=zoe", "enabled", "false"];
    operate(&server, &[&["settings", "set"], &unlimited[..], &["--reason", "a test of everything"]].concat());
    let candidate = server.dir.path().join("candidate.yaml");
    fs::write(&candidate, rules.replace("requests_per_unit: 3", "requests_per_unit: 1")).unwrap();
    operate(&server, &["candidate", "start", candidate.to_str().unwrap()]);
    for number in 0..40 {
        check(&server, "api", "user", &format!("user-{}", number % 5));
        check(&server, "api", "wait", "ann");
        check(
            &server,
            "api",
            "a_key_with_a_name_that_is_longer_than_a_phone_is_wide_and_has_no_space",
            &"x".repeat(120),
        );
    }
    fs::write(server.dir.path().join("rules.yaml"), "domain: api\ndescriptors: 7\n").unwrap();
    server.signal("HUP");
    server
}

fn axe(test: &str) -> Option<String> {
    let path = env::var("AXE_JS").ok().filter(|path| !path.is_empty());
    if path.is_none() {
        let _ = std::io::stderr().write_all(format!("SKIPPED: {test}: AXE_JS names no axe-core\n").as_bytes());
    }
    path.map(|path| fs::read_to_string(path).unwrap())
}

/// What axe-core finds that is serious or critical, in words.
fn problems(browser: &Browser, axe: &str) -> Vec<String> {
    browser.run(axe);
    let found = browser.asynchronously(
        "axe.run(document).then(({violations}) => done(violations.filter(({impact}) => ['serious', 'critical'].includes(impact))
           .map(({id, impact, nodes}) => `${impact} ${id}: ${nodes.map(({html, any}) => html + ' ' + (any[0]?.message ?? '')).join('; ')}`)),
           (error) => done([String(error)]));",
    );
    found.as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned()).collect()
}

fn until_everything_is_there(browser: &Browser) {
    browser.until_live();
    for (id, text) in [
        ("bans-list", "user-0"),
        ("queues-list", "wait=ann"),
        ("alerts-list", "many"),
        ("settings-table", "a test of everything"),
        ("candidate-table", "api.user"),
        ("configuration-errors", "rules.yaml"),
        ("configuration-lifted", "lifted"),
    ] {
        browser.until(id, &format!("document.getElementById('{id}').textContent.includes('{text}')"));
    }
}

#[test]
fn nothing_serious_for_those_who_cannot_see_or_point() {
    let test = "nothing_serious_for_those_who_cannot_see_or_point";
    let (Some(browser), Some(axe)) = (Browser::start(test, Screen::DESK), axe(test)) else { return };
    let server = busy_server();
    let guarded = Guarded::start(&[]);
    for screen in [Screen::DESK, Screen::DARK, Screen::PHONE, Screen { dark: true, ..Screen::PHONE }] {
        browser.resize(screen);
        browser.go(&server.admin, "/");
        until_everything_is_there(&browser);
        let Screen { width, dark, .. } = screen;
        assert_eq!(problems(&browser, &axe), [""; 0], "{width} pixels, dark: {dark}");
        browser.go(&guarded.server.admin, "/");
        browser.until("the field", "!document.getElementById('access').hidden");
        assert_eq!(problems(&browser, &axe), [""; 0], "the field for a token, {width} pixels, dark: {dark}");
    }
    assert_eq!(browser.errors(), [""; 0]);
}

#[test]
fn a_phone_need_not_scroll_sideways() {
    let Some(browser) = Browser::start("a_phone_need_not_scroll_sideways", Screen::PHONE) else { return };
    let server = busy_server();
    browser.go(&server.admin, "/");
    until_everything_is_there(&browser);
    browser.run("document.querySelector('input[value=dates]').click();");
    assert_eq!(browser.value("window.innerWidth"), Value::from(360));
    let wider = "[...document.querySelectorAll('body *')].filter((node) => node.getClientRects().length > 0
        && !node.closest('.unseen, .skip') && node.getBoundingClientRect().right > 360.5).map((node) => node.outerHTML.slice(0, 200))";
    assert_eq!(browser.value(wider), Value::Array(Vec::new()), "what is wider than the screen");
    assert_eq!(browser.value("document.scrollingElement.scrollWidth"), Value::from(360));
    if let Ok(path) = env::var("PAGE_PICTURE") {
        browser.picture(path.as_ref());
    }
}

#[test]
fn the_switch_of_colours_stays() {
    let Some(browser) = Browser::start("the_switch_of_colours_stays", Screen::DESK) else { return };
    let server = TestServer::start(crate::server::THREE_A_MINUTE, &[]);
    browser.go(&server.admin, "/");
    let ground = || browser.value("getComputedStyle(document.body).backgroundColor");
    let light = ground();
    let press = || browser.run("document.getElementById('theme').click();");
    press();
    assert_eq!((browser.text("theme"), ground()), ("Theme: light".to_owned(), light.clone()));
    press();
    let dark = ground();
    assert_eq!(browser.text("theme"), "Theme: dark");
    assert_ne!(dark, light);
    browser.go(&server.admin, "/");
    assert_eq!(ground(), dark, "after a reload");
    press();
    assert_eq!((browser.text("theme"), ground()), ("Theme: system".to_owned(), light.clone()));
    browser.resize(Screen::DARK);
    assert_eq!(ground(), dark, "as the system has it");
}

/// All that can be pressed is reached with the tabulator, and the chart reads its values out.
#[test]
fn the_keyboard_reaches_everything() {
    let Some(browser) = Browser::start("the_keyboard_reaches_everything", Screen::DESK) else { return };
    let server = busy_server();
    browser.go(&server.admin, "/");
    until_everything_is_there(&browser);
    let unreachable = "[...document.querySelectorAll('button, input, select, a[href], .plot')]
        .filter((node) => node.getClientRects().length > 0 && node.tabIndex < 0).length";
    assert_eq!(browser.value(unreachable), Value::from(0));
    browser.run(
        "const plot = document.querySelector('#rates-chart .plot'); plot.focus();
         for (const key of ['End', 'ArrowLeft']) plot.dispatchEvent(new KeyboardEvent('keydown', {key, cancelable: true}));",
    );
    let readout = "document.querySelector('#rates-chart .readout').textContent";
    browser.until("the value", &format!("{readout}.includes('denied per second')"));
    browser.run("document.querySelector('button.rule').click();");
    browser.until("the rule's chart", "document.querySelector('button.rule[aria-pressed=true]') !== null");
    browser.run("document.querySelectorAll('.sort')[4].click();");
    browser.until("the order", "document.querySelectorAll('th[aria-sort=descending]').length === 1");
}
