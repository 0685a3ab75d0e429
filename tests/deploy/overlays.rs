//! The kustomize overlays.

use std::sync::OnceLock;

use crate::documents::Documents;
use crate::tools::{Tool, in_repository};

/// Each overlay, and the kinds of what it makes.
const OVERLAYS: [(&str, &str); 5] = [
    ("central", "ConfigMap Deployment Namespace NetworkPolicy Service ServiceAccount"),
    ("central-ha", "ConfigMap Deployment Namespace NetworkPolicy PodDisruptionBudget Service ServiceAccount"),
    ("persistent", "ConfigMap Namespace NetworkPolicy Service ServiceAccount StatefulSet"),
    ("sidecar", "ConfigMap ConfigMap Deployment Namespace Service"),
    (
        "gateway",
        "ConfigMap ConfigMap Deployment Deployment Namespace NetworkPolicy PodDisruptionBudget Service Service ServiceAccount",
    ),
];

/// What all overlays make; none without kustomize.
pub(crate) fn rendered() -> Option<&'static [Documents]> {
    static RENDERED: OnceLock<Vec<Documents>> = OnceLock::new();
    let kustomize = Tool::kustomize()?;
    let build = |(name, kinds): &(&str, &str)| {
        let built = kustomize.run(&["build", &in_repository(&format!("deploy/kustomize/overlays/{name}"))]);
        Documents::read(name, built.unwrap(), kinds)
    };
    Some(RENDERED.get_or_init(|| OVERLAYS.iter().map(build).collect()))
}

#[test]
fn every_overlay_is_tested() {
    let there = std::fs::read_dir(in_repository("deploy/kustomize/overlays")).unwrap();
    let mut there: Vec<_> = there.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let mut tested: Vec<_> = OVERLAYS.iter().map(|(name, _)| (*name).to_owned()).collect();
    there.sort();
    tested.sort();
    assert_eq!(there, tested);
}
