//! Certificates for tests, in files as operators have them.

use std::fs;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};

/// A CA that signs certificates.
pub(crate) type Ca = Issuer<'static, KeyPair>;

/// A CA whose certificate is in `DIR/NAME.pem`, and its key in `DIR/NAME.key`.
pub(crate) fn ca(dir: &Path, name: &str) -> Ca {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    let key = KeyPair::generate().unwrap();
    fs::write(dir.join(format!("{name}.pem")), params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(dir.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    Issuer::new(params, key)
}

/// A certificate for `host` in `DIR/NAME.pem`, and its key in `DIR/NAME.key`.
pub(crate) fn issue(dir: &Path, name: &str, ca: &Ca, host: &str, last_year: i32) {
    let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(last_year, 1, 1);
    write(dir, name, ca, &params);
}

/// A certificate with these names, URIs and others, in `DIR/NAME.pem`, and its key in `DIR/NAME.key`.
pub(crate) fn issue_client(dir: &Path, name: &str, ca: &Ca, names: &[&str]) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    let name_of = |name: &&str| {
        let text = (*name).try_into().unwrap();
        if name.contains("://") { SanType::URI(text) } else { SanType::DnsName(text) }
    };
    params.subject_alt_names = names.iter().map(name_of).collect();
    write(dir, name, ca, &params);
}

fn write(dir: &Path, name: &str, ca: &Ca, params: &CertificateParams) {
    let key = KeyPair::generate().unwrap();
    fs::write(dir.join(format!("{name}.pem")), params.signed_by(&key, ca).unwrap().pem()).unwrap();
    fs::write(dir.join(format!("{name}.key")), key.serialize_pem()).unwrap();
}
