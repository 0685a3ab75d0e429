//! The series of the control plane.

use super::labels;
use super::snapshot::{Emit, Snapshot, seconds};
use super::xds_values::XdsValues;

impl Snapshot {
    /// One series, if there is a control plane.
    pub(super) fn visit_xds(&self, value: impl Fn(&XdsValues) -> f64, emit: Emit<'_>) {
        if let Some(xds) = &self.xds {
            emit(&[], value(xds));
        }
    }

    pub(super) fn visit_xds_version(&self, emit: Emit<'_>) {
        if let Some((version, _)) = self.xds.as_ref().and_then(|xds| xds.set.as_ref()) {
            emit(&[(labels::VERSION, version)], 1.0);
        }
    }

    pub(super) fn visit_xds_age(&self, emit: Emit<'_>) {
        if let Some((_, age)) = self.xds.as_ref().and_then(|xds| xds.set.as_ref()) {
            emit(&[], seconds(*age));
        }
    }
}
