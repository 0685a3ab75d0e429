//! Header values that a client chooses to slip past the limit: they are limited, and never become an error, which a
//! gateway that fails open would let pass.

use crate::bootstrap::Gateway;
use crate::lab::Lab;

const RULES: &str = r"
domain: partner-api
descriptors:
  - key: partner
    rate_limit: {unit: year, requests_per_unit: 3}
";

#[test]
fn no_header_value_gets_around_the_limit() {
    let Some(lab) = Lab::open(RULES, Gateway::default()) else { return };
    let enormous = vec![b'z'; 50_000];
    let cases: [(&str, &[u8]); 9] = [
        ("Latin-1", b"caf\xe9"),
        ("a truncated UTF-8 sequence", b"abc\xf0\x9f\x92"),
        ("only invalid bytes", &[0xff; 64]),
        ("8 kB", &[b'a'; 8192]),
        ("8 kB of invalid bytes", &[0xfe; 8192]),
        ("empty", b""),
        ("as long as Envoy takes", &enormous),
        ("the separators of joined keys", b"a_b|c;d,e=f\"g\\h"),
        ("a tab inside", b"a\tb"),
    ];
    let mut client = lab.client();
    for (what, value) in cases {
        let statuses: Vec<u16> = (0..5).map(|_| client.get("/", &[("x-partner", value)]).status).collect();
        assert_eq!(statuses, [200, 200, 200, 429, 429], "{what}");
        assert_eq!(lab.envoy.rls_errors(), 0, "{what}");
    }
}
