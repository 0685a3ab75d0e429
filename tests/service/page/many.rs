//! A server with 10,000 rules that are all busy: the page stays bounded, and how smooth it is, is measured.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use tidegate::api::proto::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use tidegate::api::proto::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use tidegate::api::proto::envoy::service::ratelimit::v3::RateLimitRequest;
use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;

use super::webdriver::{Browser, Screen};
use crate::TestServer;

const RULES: usize = 10_000;
/// As many as a check may have.
const IN_ONE_CHECK: usize = 1_000;

fn config() -> String {
    let rule =
        |number| format!("- {{key: partner, value: p{number}, rate_limit: {{unit: second, requests_per_unit: 3}}}}\n");
    format!("domain: api\ndescriptors:\n{}", (0..RULES).map(rule).collect::<String>())
}

fn checks_of_all_rules() -> Vec<RateLimitRequest> {
    let descriptor = |number: usize| {
        let entries = vec![Entry { key: "partner".to_owned(), value: format!("p{number}") }];
        RateLimitDescriptor { entries, ..RateLimitDescriptor::default() }
    };
    let numbers: Vec<_> = (0..RULES).collect();
    let check = |numbers: &[usize]| RateLimitRequest {
        domain: "api".to_owned(),
        descriptors: numbers.iter().map(|number| descriptor(*number)).collect(),
        ..RateLimitRequest::default()
    };
    numbers.chunks(IN_ONE_CHECK).map(check).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_busy_rules_are_a_bounded_page() {
    let Some(browser) = Browser::start("ten_thousand_busy_rules_are_a_bounded_page", Screen::DESK) else { return };
    let server = TestServer::start(&config(), &[]);
    let ended = Arc::new(AtomicBool::new(false));
    let mut client = RateLimitServiceClient::new(server.channel().await);
    let load = tokio::spawn({
        let ended = Arc::clone(&ended);
        async move {
            let checks = checks_of_all_rules();
            while !ended.load(Ordering::Relaxed) {
                for check in &checks {
                    client.should_rate_limit(check.clone()).await.unwrap();
                }
                tokio::time::sleep(std::time::Duration::from_millis(500)).await;
            }
        }
    });
    let frames = tokio::task::spawn_blocking(move || {
        browser.go(&server.admin, "/");
        browser.until("all rules", "document.getElementById('rules-note').textContent === '10,000 in all'");
        browser.until("some reports", "Number(document.getElementById('main').dataset.events) >= 10");
        let frames = measured(&browser);
        let rows =
            browser.value("Math.max(...[...document.querySelectorAll('tbody')].map((body) => body.rows.length))");
        assert!(rows.as_u64().unwrap() <= 50, "{rows} rows in a table");
        let nodes = browser.value("document.querySelectorAll('*').length");
        assert!(nodes.as_u64().unwrap() < 2_000, "{nodes} elements");
        browser.run("const find = document.getElementById('rules-find'); find.value = 'p9999'; find.dispatchEvent(new Event('input'));");
        browser.until("the rule", "document.querySelector('button.rule').textContent === 'api.partner_p9999'");
        let known = "document.querySelectorAll('button.rule')[0].closest('tr').cells[5].textContent !== '0'";
        browser.until("its checks", known);
        assert_eq!(browser.errors(), [""; 0]);
        (server, frames)
    });
    // The server lives for as long as the load.
    let (_server, frames) = frames.await.unwrap();
    ended.store(true, Ordering::Relaxed);
    load.await.unwrap();
    eprintln!("{RULES} rules that change every second: {frames}");
}

/// The times between the frames of ten seconds, and how long the page's own work in one took.
fn measured(browser: &Browser) -> String {
    let measured = browser.asynchronously(
        "const gaps = [], tasks = []; let last = performance.now(); const end = last + 10000;
         new PerformanceObserver((list) => tasks.push(...list.getEntries().map(({duration}) => duration))).observe({entryTypes: ['longtask']});
         const frame = (now) => { gaps.push(now - last); last = now;
           if (now < end) return requestAnimationFrame(frame);
           gaps.sort((a, b) => a - b); const at = (share) => gaps[Math.floor(share * (gaps.length - 1))].toFixed(1);
           done(`${gaps.length} frames in 10 s, a new one after ${at(0.5)} ms (median), ${at(0.99)} ms (99 %), ${at(1)} ms (most); `
             + `${tasks.length} tasks above 50 ms, the longest ${Math.max(0, ...tasks).toFixed(0)} ms`); };
         requestAnimationFrame(frame);",
    );
    match measured {
        Value::String(text) => text,
        other => panic!("{other}"),
    }
}
