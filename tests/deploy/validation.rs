//! Every document is valid by the schemas of the oldest Kubernetes that is supported, and of a new one.

use std::fs;

use tempfile::TempDir;

use crate::documents::{Documents, text_of};
use crate::tools::Tool;
use crate::{chart, overlays};

const VERSIONS: [&str; 2] = ["1.30", "1.37"];

/// Kinds of the Prometheus operator: Kubernetes has no schema of them, so `monitoring.rs` looks at them.
pub(crate) const OPERATOR: [&str; 3] = ["PodMonitor", "PrometheusRule", "ServiceMonitor"];

#[test]
fn every_document_of_the_chart_is_valid() {
    let Some((validate, rendered)) = Tool::kubernetes_validate().zip(chart::rendered()) else { return };
    check(&validate, rendered);
}

#[test]
fn every_document_of_the_overlays_is_valid() {
    let Some((validate, rendered)) = Tool::kubernetes_validate().zip(overlays::rendered()) else { return };
    check(&validate, rendered);
}

/// The tool passes a kind that it does not know with a warning, so its lines are counted: one for each document and version.
fn check(validate: &Tool, rendered: &[Documents]) {
    let dir = TempDir::new().unwrap();
    let mut args: Vec<String> = vec!["--strict".to_owned()];
    args.extend(VERSIONS.iter().flat_map(|version| ["--kubernetes-version".to_owned(), (*version).to_owned()]));
    let mut expected = [0, 0];
    for (number, documents) in rendered.iter().enumerate() {
        let file = dir.path().join(format!("{number}.yaml"));
        fs::write(&file, &documents.text).unwrap();
        args.push(file.to_string_lossy().into_owned());
        for document in &documents.all {
            expected[usize::from(OPERATOR.contains(&text_of(&document["kind"])))] += VERSIONS.len();
        }
    }
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let output = validate.run(&args).unwrap_or_else(|wrong| {
        let wrong: Vec<_> = wrong.lines().filter(|line| !line.starts_with("INFO")).collect();
        let names = rendered.iter().enumerate().map(|(number, documents)| format!("{number}: {}", documents.name));
        panic!("{}\n{}", wrong.join("\n"), names.collect::<Vec<_>>().join("\n"))
    });
    let count = |begin: &str| output.lines().filter(|line| line.starts_with(begin)).count();
    assert_eq!([count("INFO "), count("WARN ")], expected, "{output}");
}

/// The tool finds what is wrong, or these tests would show nothing.
#[test]
fn planted_faults_are_found() {
    let Some(validate) = Tool::kubernetes_validate() else { return };
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("a.yaml").to_string_lossy().into_owned();
    for (text, found) in [
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndatta: {}\n", "datta"),
        ("apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: x}]}\n", "port"),
    ] {
        fs::write(&file, text).unwrap();
        let wrong = validate.run(&["--strict", "--kubernetes-version", "1.30", &file]).unwrap_err();
        assert!(wrong.contains("ERROR") && wrong.contains(found), "{wrong}");
    }
}
