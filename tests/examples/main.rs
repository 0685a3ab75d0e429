//! The documentation's examples do what it says.
#![allow(missing_docs)]

#[test]
fn stub() {}
