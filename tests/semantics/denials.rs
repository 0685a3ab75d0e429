//! Which checks are reported as denied, and what listeners are told of them: each check once.

use tidegate::limiter::Settings;
use tidegate::usage::{Denial, DeniedLimit};

use crate::scene::{Scene, domain};

/// The denials of a script.
#[track_caller]
fn denials(settings: Settings, config: &str, script: &str) -> Vec<Denial> {
    let scene = Scene::with(settings, config);
    let denials = scene.limiter().usage().denials();
    let mut listener = denials.listen();
    denials.tick();
    scene.run(script);
    let (reported, skipped) = listener.poll(99);
    assert_eq!(skipped, 0);
    reported.iter().map(|denial| (**denial).clone()).collect()
}

/// `governing; other; other`, each as `rule#descriptor limit/period reason reset`, and `shadow`.
fn limits(denial: &Denial) -> String {
    let limit = |limit: &DeniedLimit| {
        let DeniedLimit { rule, descriptor, requests_per_unit, period, reason, retry_after, .. } = limit;
        format!("{rule}#{descriptor} {requests_per_unit}/{period} {} {retry_after}", reason.name())
    };
    let mut all: Vec<_> = denial.limits().map(limit).collect();
    all.extend(denial.shadow.then(|| "shadow".to_owned()));
    all.join("; ")
}

/// Runs the script; the denials are `want`, a line for each.
#[track_caller]
fn check(settings: Settings, config: &str, script: &str, want: &str) {
    let reported: Vec<_> = denials(settings, config, script).iter().map(limits).collect();
    let want: Vec<_> = want.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(reported, want, "{config}\n{script}");
}

fn rules(top: &str) -> String {
    let keys = [
        ("minute", "unit: minute, requests_per_unit: 1"),
        ("hour", "unit: hour, requests_per_unit: 1"),
        ("room", "unit: hour, requests_per_unit: 99"),
    ];
    let rules = keys.map(|(key, limit)| format!("- {{key: {key}, rate_limit: {{{limit}}}}}\n"));
    format!(
        "{top}{}",
        domain(&format!(
            "{}- {{key: shadow, shadow_mode: true, rate_limit: {{unit: day, requests_per_unit: 0}}}}\n\
             - {{key: quota, quota_mode: true, rate_limit: {{unit: day, requests_per_unit: 0}}}}\n\
             - {{key: list, rate_limits: [{{unit: minute, requests_per_unit: 0}}, {{unit: day, requests_per_unit: 0}}, \
             {{unit: hour, requests_per_unit: 9}}]}}\n",
            rules.concat()
        ))
    )
}

#[test]
fn a_check_is_one_denial_with_every_limit_that_denied() {
    let (shadow, quota) =
        (Settings { shadow_mode: true, ..Settings::default() }, Settings { quota_mode: true, ..Settings::default() });
    let usual = Settings::default();
    let both = "0 | d | minute=x; hour=x => OK\n";
    for (settings, script, want) in [
        // The one to wait for longest governs, wherever it stands.
        (
            usual,
            format!("{both}0 | d | minute=x; room=x; hour=x => OVER_LIMIT"),
            "d.hour#2 1/1h over_limit 1h; d.minute#0 1/1m over_limit 1m",
        ),
        (
            usual,
            format!("{both}0 x2 | d | room=x; hour=x => OVER_LIMIT"),
            "d.hour#1 1/1h over_limit 1h\nd.hour#1 1/1h over_limit 1h",
        ),
        // The limits of one rule, without those that admit.
        (
            usual,
            "0 | d | list=x => OVER_LIMIT".to_owned(),
            "d.list#0 0/1day over_limit 1day; d.list#0 0/1m over_limit 1m",
        ),
        (usual, "0 | d | room=x limit=0/minute => OVER_LIMIT".to_owned(), "d.(override)#0 0/1m over_limit 1m"),
        // What passes is no denial, be it that a quota has room.
        (usual, "0 | d | room=x; nothing=x => OK".to_owned(), ""),
        (usual, "0 | d | quota=x => OVER_LIMIT".to_owned(), "d.quota#0 0/1day over_limit 1day"),
        (usual, "0 | d | quota=x; room=x => OVER_LIMIT".to_owned(), "d.quota#0 0/1day over_limit 1day"),
        (quota, "0 | d | quota=x; room=x => OK".to_owned(), ""),
        // Unless only shadow mode lets it pass.
        (usual, "0 | d | shadow=x; room=x => OK".to_owned(), "d.shadow#0 0/1day over_limit 1day; shadow"),
        (quota, "0 | d | shadow=x; room=x => OK".to_owned(), ""),
        (shadow, format!("{both}0 | d | hour=x; room=x => OK"), "d.hour#0 1/1h over_limit 1h; shadow"),
        // A rule in shadow mode denies nothing, also when others do.
        (usual, format!("{both}0 | d | hour=x; shadow=x => OVER_LIMIT"), "d.hour#0 1/1h over_limit 1h"),
    ] {
        for charge in ["", "charge: all_or_nothing\n"] {
            check(settings, &rules(charge), &script, want);
        }
    }
}

#[test]
fn all_entries_of_all_descriptors_are_in_it() {
    let reported = denials(
        Settings::default(),
        &rules(""),
        "0 | d +3 | room=x; list=y,z= +7; nothing=1,more=2; list=q => OVER_LIMIT",
    );
    let [denial] = &reported[..] else { panic!("{reported:#?}") };
    let entries: Vec<_> = denial.descriptors.iter().map(|one| (one.index, one.entries.clone())).collect();
    let entry = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(
        entries,
        [
            (0, vec![entry("room", "x")]),
            (1, vec![entry("list", "y"), entry("z", "")]),
            (2, vec![entry("nothing", "1"), entry("more", "2")]),
            (3, vec![entry("list", "q")]),
        ]
    );
    let DeniedLimit { descriptor, hits, .. } = denial.governing;
    assert_eq!((descriptor, hits, denial.entries_omitted, denial.limits_omitted), (3, 3, 0, 0));
}

#[test]
fn a_denial_is_bounded_and_the_governing_descriptor_is_in_it() {
    let long = "\u{e9}".repeat(100_000);
    let wide = vec!["free=v".to_owned(); 60].join("; ");
    let many = (0..30).map(|i| format!("minute={i} limit=0/minute")).collect::<Vec<_>>().join("; ");
    let deep = ["k=v"; 99].join(",");
    let texts = vec![format!("room={long}"); 60].join("; ");
    for (name, script, shape, omitted) in [
        ("a long value", format!("minute={long} limit=0/hour"), (1, 1), (0, 0)),
        ("many entries", format!("minute=1,{deep} limit=0/hour"), (1, 64), (36, 0)),
        ("many descriptors", format!("{wide}; {wide}; hour=x limit=0/hour"), (64, 64), (57, 0)),
        ("many limits", format!("{many}; hour=x limit=0/hour"), (31, 31), (0, 14)),
        ("no entries at all", "room=x; () limit=0/hour".to_owned(), (2, 1), (0, 0)),
        // 19 of 207 bytes beside 5 bytes, in 4096.
        ("much text", format!("{texts}; hour=x limit=0/hour"), (20, 20), (41, 0)),
    ] {
        let reported = denials(Settings::default(), &rules(""), &format!("0 | d | {script} => OVER_LIMIT"));
        let [denial] = &reported[..] else { panic!("{name}: {} denials", reported.len()) };
        let entries: Vec<_> = denial.descriptors.iter().flat_map(|one| &one.entries).collect();
        assert_eq!((denial.descriptors.len(), entries.len()), shape, "{name}");
        assert_eq!((denial.entries_omitted, denial.limits_omitted), omitted, "{name}");
        assert!(denial.descriptors.iter().any(|one| one.index == denial.governing.descriptor), "{name}");
        let longest = entries.iter().map(|(_, value)| value.len()).max();
        assert!(longest <= Some(203), "{name}: {longest:?}");
    }
    let reported =
        denials(Settings::default(), &rules(""), &format!("0 | d | minute={long} limit=0/hour => OVER_LIMIT"));
    assert_eq!(reported[0].descriptors[0].entries[0].1, format!("{}...", "\u{e9}".repeat(100)));
}

/// The denial names the limit that the answer names: of quotas the one that has room first.
#[test]
fn of_quotas_the_one_with_the_shortest_wait_governs() {
    let scene = Scene::new(
        "
domain: d
descriptors:
- {key: a, quota_mode: true, rate_limit: {unit: minute, requests_per_unit: 0}}
- {key: b, quota_mode: true, rate_limit: {unit: day, requests_per_unit: 0}}
- {key: c, rate_limit: {unit: second, requests_per_unit: 0}}",
    );
    scene.limiter().usage().denials().tick();
    let mut listener = scene.limiter().usage().denials().listen();
    scene.run("35 | d | b=v; a=v => OVER_LIMIT\n35 | d | b=v; a=v; c=v => OVER_LIMIT\n35.5 | d | a=v; c=v; none=v => OVER_LIMIT");
    let (denials, _) = listener.poll(9);
    let governing: Vec<_> = denials.iter().map(|denial| denial.governing.rule.as_str()).collect();
    assert_eq!(governing, ["d.a", "d.a", "d.a"]);
    assert_eq!(denials[0].others[0].rule, "d.b");
}
