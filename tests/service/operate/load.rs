//! Settings, reloads and candidates that change under load: each check is decided by what is in force at that instant.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinSet;

use super::{Answer, Operator, replace, seed};
use crate::TestServer;
use crate::observers::{everything, next, watch};
use crate::server::{eventually, eventually_async};

/// Windows that no test outlives. The marker makes each file another one.
fn rules(users: u32, marker: usize) -> String {
    format!(
        "domain: api\ndescriptors:\n- {{key: user, rate_limit: {{unit: year, requests_per_unit: {users}}}}}\n\
         - {{key: marker, rate_limit: {{unit: year, requests_per_unit: {marker}}}}}\n"
    )
}

/// What is in force for users.
#[derive(Clone, Copy, Debug)]
struct InForce {
    /// The number of the rules.
    configured: u32,
    /// The setting; negative: unlimited.
    set: Option<i64>,
    /// Switched off: everything, the domain, the rule.
    off: [bool; 3],
    /// The number of the candidate that runs.
    candidate: Option<u32>,
}

impl InForce {
    /// The number that a check is held against; `None`: there is no limit.
    fn limit(&self) -> Option<u32> {
        if self.off.contains(&true) {
            return None;
        }
        self.set.map_or(Some(self.configured), |set| u32::try_from(set).ok())
    }
}

/// One change.
#[derive(Clone, Copy, Debug)]
enum Change {
    Set(i64),
    Unset,
    Off(usize),
    On(usize),
    Reload(u32),
    Start(u32),
    Promote,
    Stop,
}

/// The scopes of the switches.
const SCOPES: [&str; 3] = ["", "domain api", "rule api.user"];

impl Change {
    fn random(random: &mut SmallRng, now: &InForce) -> Self {
        let number = random.random_range(1..=MOST);
        match (random.random_range(0..100), now) {
            (0..4, _) => Self::Reload(number),
            (4..16, InForce { candidate: None, .. }) => Self::Start(number),
            (4..16, _) => [Self::Promote, Self::Stop][random.random_range(0..2)],
            (16..30, _) => {
                let place = random.random_range(0..SCOPES.len());
                if now.off[place] { Self::On(place) } else { Self::Off(place) }
            }
            (30..40, InForce { set: Some(_), .. }) => Self::Unset,
            (40..44, _) => Self::Set(-1),
            _ => Self::Set(number.into()),
        }
    }

    fn apply(self, now: InForce) -> InForce {
        let mut then = now;
        match self {
            Self::Set(number) => then.set = Some(number),
            Self::Unset => then.set = None,
            Self::Off(place) => then.off[place] = true,
            Self::On(place) => then.off[place] = false,
            Self::Reload(number) => then.configured = number,
            Self::Start(number) => then.candidate = Some(number),
            Self::Promote => (then.configured, then.candidate) = (now.candidate.unwrap(), None),
            Self::Stop => then.candidate = None,
        }
        then
    }

    async fn make(self, server: &TestServer, operator: &mut Operator, marker: usize) {
        let done = match self {
            Self::Set(number) => operator.set(SCOPES[2], "requests_per_unit", &number.to_string()).await.map(drop),
            Self::Unset => operator.unset(SCOPES[2], "requests_per_unit").await.map(drop),
            Self::Off(place) => operator.set(SCOPES[place], "enabled", "false").await.map(drop),
            Self::On(place) => operator.unset(SCOPES[place], "enabled").await.map(drop),
            Self::Start(number) => operator.start(&rules(number, marker)).await.map(drop),
            Self::Promote => operator.promote().await.map(drop),
            Self::Stop => operator.stop().await.map(drop),
            Self::Reload(number) => {
                reload_once(server, &rules(number, marker));
                Ok(())
            }
        };
        done.unwrap_or_else(|status| panic!("{self:?}: {status:?}"));
    }
}

/// Waits for the watch of the files: a signal in addition may load twice, the second time after the next change.
fn reload_once(server: &TestServer, rules: &str) {
    let before = server.metric("tidegate_config_generation");
    replace(&server.dir.path().join("rules.yaml"), rules);
    eventually("the reload", || server.metric("tidegate_config_generation") > before);
}

/// What the clients and the operator know of each other.
#[derive(Debug, Default)]
struct Shared {
    /// The limit after each change: each is added before it is made.
    limits: Mutex<Vec<Option<u32>>>,
    /// How many of them have been made.
    made: AtomicUsize,
    /// The user that is checked now.
    user: AtomicUsize,
    leave: AtomicBool,
}

impl Shared {
    /// A change is about to be made.
    fn add(&self, limit: Option<u32>) {
        self.limits.lock().unwrap().push(limit);
    }
}

/// What one client was answered.
#[derive(Debug, Default)]
struct Answers {
    allowed: u64,
    denied: u64,
    /// The user, and which hit of the user it was, of each check that a limit admitted.
    admitted: Vec<(usize, u32)>,
}

/// Checks until it is time to leave. Each answer must be that of a limit which was in force between the call and the answer.
async fn client(mut operator: Operator, shared: Arc<Shared>) -> Answers {
    let mut answers = Answers::default();
    while !shared.leave.load(Ordering::SeqCst) {
        let (user, first) = (shared.user.load(Ordering::SeqCst), shared.made.load(Ordering::SeqCst) - 1);
        let answer = operator.check(&format!("user={user}")).await;
        let possible = shared.limits.lock().unwrap()[first..].to_vec();
        let limit = answer.limit.map(|(limit, _)| limit);
        assert!(possible.contains(&limit), "user {user}: {answer:?}, but in force were {possible:?}");
        match answer {
            Answer { ok: true, limit } => {
                answers.allowed += 1;
                answers.admitted.extend(limit.map(|(limit, remaining)| (user, limit - remaining)));
            }
            Answer { ok: false, limit } => {
                assert!(limit.is_some(), "denied without a limit");
                answers.denied += 1;
            }
        }
    }
    answers
}

const CLIENTS: usize = 8;
const CHANGES: usize = 1_000;
/// Changes after which another user is checked.
const CHANGES_PER_USER: usize = 4;
/// The largest limit.
const MOST: u32 = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_changes_under_load() {
    let server = TestServer::start(&rules(MOST, CHANGES), &[]);
    let seed = seed();
    let (mut random, shared) = (SmallRng::seed_from_u64(seed), Arc::new(Shared::default()));
    let mut now = InForce { configured: MOST, set: None, off: [false; 3], candidate: None };
    shared.add(now.limit());
    shared.made.store(1, Ordering::SeqCst);
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(client(Operator::of(&server).await, Arc::clone(&shared)));
    }
    let mut operator = Operator::of(&server).await;
    for number in 0..CHANGES {
        let change = Change::random(&mut random, &now);
        now = change.apply(now);
        shared.user.store(number / CHANGES_PER_USER, Ordering::SeqCst);
        shared.add(now.limit());
        change.make(&server, &mut operator, number).await;
        shared.made.store(number + 2, Ordering::SeqCst);
    }
    shared.leave.store(true, Ordering::SeqCst);
    let answers = clients.join_all().await;
    never_over_admitted(&answers);
    usage_agrees(&server, &answers).await;
}

/// A charge adds one hit to the counter of its user, and is admitted if that is within the limit in force then: so each number
/// of a hit is admitted once at most, whatever was changed meanwhile.
fn never_over_admitted(answers: &[Answers]) {
    let mut seen = HashSet::new();
    for hit in answers.iter().flat_map(|answers| &answers.admitted) {
        assert!((1..=MOST).contains(&hit.1), "{hit:?}");
        assert!(seen.insert(hit), "admitted twice: {hit:?}");
    }
    let denied: u64 = answers.iter().map(|answers| answers.denied).sum();
    eprintln!("{} checks admitted by a limit, {denied} denied", seen.len());
    assert!(
        seen.len() > CHANGES / 4 && denied > 0,
        "too few checks for a test: {} admitted, {denied} denied",
        seen.len()
    );
}

/// The usage counts every answer once, whatever decided it.
async fn usage_agrees(server: &TestServer, answers: &[Answers]) {
    let sum = |count: fn(&Answers) -> u64| answers.iter().map(count).sum::<u64>();
    let (allowed, denied) = (sum(|answers| answers.allowed), sum(|answers| answers.denied));
    let mut reports = watch(server, everything()).await;
    eventually_async("the usage of all answers", async || {
        let total = next(&mut reports).await.total.unwrap();
        assert!(total.num_requests <= allowed + denied, "{total:?} is more than {allowed} allowed, {denied} denied");
        (total.num_requests_allowed, total.num_requests_denied, total.hits) == (allowed, denied, allowed + denied)
    })
    .await;
    let errors = r#"ratelimit_service_should_rate_limit_error{err_type="service_error"}"#;
    assert_eq!(server.metric(errors), 0);
}
