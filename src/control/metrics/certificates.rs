//! Certificates of listeners.

use super::{Family, Kind};

pub(super) const FAMILIES: &[Family] = &[Family {
    name: "ringway_tls_certificate_not_after_seconds",
    kind: Kind::Gauge,
    labels: &["listener", "certificate", "name"],
    help: "Until when the certificate in use is good, in seconds since 1970.",
    samples: |view, out| {
        for of in &view.certificates {
            let file = of.file.to_string_lossy();
            // Before 1970 is as expired as 1970.
            let until = u64::try_from(of.not_after).unwrap_or_default();
            out.put([&*of.listener, &*file, &*of.name], until);
        }
    },
}];
