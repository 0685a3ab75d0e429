//! The store of shared counters: what its Secret names in a test, and the pods that share it.

use crate::documents::{Documents, Workload, list, text_of};
use crate::engines::{Engine, Kind};
use crate::run::Running;
use crate::server::{ReservedPort, next_minute_if_late, run};
use crate::{chart, overlays};

/// A store for the pods of a rendering.
pub(crate) struct Store {
    /// What the Secret has.
    pub(crate) url: String,
    _engine: Option<Engine>,
    _nobody: Option<ReservedPort>,
}

impl Store {
    /// An engine if the pods ask one, without TLS; none is installed: nothing, and the test is skipped. With TLS it is down: a pod starts without it, too.
    pub(crate) fn of(documents: &Documents) -> Option<Self> {
        let has = |flag: &str| {
            documents
                .workloads()
                .filter_map(Workload::server)
                .flat_map(|server| list(&server["args"]))
                .any(|arg| text_of(arg).starts_with(flag))
        };
        if !has("--store=") {
            return Some(Self { url: "memory".to_owned(), _engine: None, _nobody: None });
        }
        if has("--store-ca=") {
            let nobody = ReservedPort::new();
            return Some(Self {
                url: format!("rediss://127.0.0.1:{}", nobody.port),
                _engine: None,
                _nobody: Some(nobody),
            });
        }
        let engine = Engine::start(Kind::any()?);
        Some(Self { url: engine.url(), _engine: Some(engine), _nobody: None })
    }
}

#[test]
fn the_pods_of_central_ha_keep_one_limit() {
    if let Some(rendered) = overlays::rendered() {
        one_limit(rendered.iter().find(|documents| documents.name == "central-ha").unwrap());
    }
}

#[test]
fn the_pods_of_the_chart_keep_one_limit_on_a_store() {
    if let Some(rendered) = chart::rendered() {
        one_limit(rendered.iter().find(|documents| documents.name == "a shared store").unwrap());
    }
}

/// All replicas run, with one store: five requests of `acme` are admitted, whichever pods are asked.
fn one_limit(documents: &Documents) {
    let Some(store) = Store::of(documents) else { return };
    let replicas = documents.only("Deployment")["spec"]["replicas"].as_u64().unwrap();
    assert!(replicas > 1, "{}: {replicas} replicas", documents.name);
    let pods: Vec<_> = (0..replicas).map(|_| Running::start(documents, &store.url)).collect();
    next_minute_if_late();
    let ask = |pod: &Running| {
        let address = format!("http://{}", pod.grpc());
        let check = ["--domain", "partner-api", "--descriptor", "partner=acme", "--timeout", "20s"];
        let (status, out, err) = run(&[["ask", "--addr", &address].as_slice(), &check].concat(), "");
        assert!(matches!(status, Some(0 | 1)), "{out}{err}");
        status == Some(0)
    };
    let admitted: Vec<_> = pods.iter().cycle().take(4 * pods.len()).map(ask).collect();
    assert_eq!(admitted.iter().filter(|admitted| **admitted).count(), 5, "{}: {admitted:?}", documents.name);
}
