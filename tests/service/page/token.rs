//! The field for a token.

use serde_json::Value;

use super::scopes::Guarded;
use super::webdriver::{Browser, Screen};

fn enter(browser: &Browser, token: &str) {
    browser.run(&format!(
        "document.getElementById('token').value = '{token}'; document.getElementById('access').requestSubmit();"
    ));
}

#[test]
fn a_token_opens_what_it_may_see() {
    let Some(browser) = Browser::start("a_token_opens_what_it_may_see", Screen::DESK) else { return };
    let guarded = Guarded::start(&[]);
    guarded.load();
    browser.go(&guarded.server.admin, "/");
    browser.until("the field", "!document.getElementById('access').hidden && document.getElementById('main').hidden");
    assert!(!guarded.server.log().join("\n").contains("rejected a request"), "the page asks before it tries");
    enter(&browser, "wrong");
    browser.until("the error", "document.getElementById('token-error').textContent === 'the token is not known'");
    enter(&browser, guarded.token("operator"));
    browser.until_live();
    browser.until("its rule", "document.getElementById('rules-table').innerText.includes('api.user')");
    let page = browser.value("document.documentElement.innerHTML").as_str().unwrap().to_owned();
    for foreign in ["secret-shop", "customer", "vault", "teller"] {
        assert!(!page.contains(foreign), "{foreign} is on the page");
    }
    assert_eq!(browser.value("document.getElementById('domain-label').hidden"), Value::Bool(true), "it has one domain");
    let kept = browser.value("JSON.stringify([Object.values(localStorage), document.cookie, location.href])");
    assert!(!kept.as_str().unwrap().contains(guarded.token("operator")), "kept in the tab only: {kept}");
    // The tab remembers it, and forgets it on demand.
    browser.go(&guarded.server.admin, "/");
    browser.until_live();
    browser.run("document.getElementById('forget').click();");
    browser.until("the field", "!document.getElementById('access').hidden");
    assert_eq!(browser.value("sessionStorage.length"), Value::from(0));
    let page = browser.value("document.documentElement.innerHTML").as_str().unwrap().to_owned();
    assert!(!page.contains("ann"), "what it was shown is still in the page");
    // Of several domains one is shown at a time.
    enter(&browser, guarded.token("two"));
    browser.until_live();
    browser.until("the first one", "document.getElementById('rules-table').innerText.includes('api.user')");
    browser.run("const domain = document.getElementById('domain'); domain.value = 'vault'; domain.dispatchEvent(new Event('change'));");
    browser.until("the other one", "document.getElementById('rules-table').innerText.includes('vault.teller')");
    browser.until("its ban", "document.getElementById('bans-list').innerText.includes('teller=bob')");
    let rules = browser.text("rules-table");
    assert!(!rules.contains("api.user"), "{rules}");
    assert_eq!(browser.errors(), [""; 0]);
    let log = guarded.server.log().join("\n");
    assert!(!log.contains(guarded.token("operator")) && !log.contains(guarded.token("two")), "no token in the log");
}

#[test]
fn an_observer_is_shown_why_the_rest_is_missing() {
    let Some(browser) = Browser::start("an_observer_is_shown_why", Screen::DESK) else { return };
    let guarded = Guarded::start(&[]);
    guarded.load();
    browser.go(&guarded.server.admin, "/");
    browser.until("the field", "!document.getElementById('access').hidden");
    enter(&browser, guarded.token("watcher"));
    browser.until_live();
    for id in ["bans-list", "settings-table", "candidate-state"] {
        browser.until(id, &format!("document.getElementById('{id}').innerText.includes('operator is needed')"));
    }
    browser.until("its rule", "document.getElementById('rules-table').innerText.includes('api.user')");
}
