//! Certificates end: when, and who has to be told.

use super::leaf::Leaf;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// People who renew by hand need days, and machines try a month ahead: what is not renewed by then will not be.
const AHEAD: Duration = Duration::from_hours(14 * 24);

/// A listener's certificate and its dates.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expiry {
    /// The listener's name.
    pub listener: String,
    /// The certificate's file; no two of a listener have the same.
    pub file: PathBuf,
    /// The first host name that the certificate is for; empty if there is none.
    pub name: String,
    /// From when it is good, in seconds since 1970.
    pub not_before: i64,
    /// Until when it is good, in seconds since 1970.
    pub not_after: i64,
    /// Until when its OCSP response is good, in seconds since 1970; none: there is none, or it stays good.
    pub staple_until: Option<i64>,
}

impl Expiry {
    pub(super) fn new(listener: &str, file: PathBuf, leaf: Leaf) -> Self {
        Self {
            listener: listener.to_owned(),
            file,
            name: leaf.names.into_iter().next().unwrap_or_default(),
            not_before: leaf.not_before,
            not_after: leaf.not_after,
            staple_until: leaf.staple_until,
        }
    }

    /// What to say of a certificate that is not good now, or not for much longer, and of its OCSP response.
    pub fn warnings(&self, now: SystemTime) -> Vec<String> {
        let (listener, file) = (&self.listener, &self.file);
        let found = [self.dates_warning(now), self.staple_warning(now)];
        let of = |what| format!("listener \"{listener}\": the certificate {file:?} {what}");
        found.into_iter().flatten().map(of).collect()
    }

    fn staple_warning(&self, now: SystemTime) -> Option<String> {
        let until = time(self.staple_until?);
        (now >= until).then(|| {
            let until = date(until);
            format!(
                "has an OCSP response that was good until {until} and is not sent; fetch it again"
            )
        })
    }

    fn dates_warning(&self, now: SystemTime) -> Option<String> {
        let (from, until) = (time(self.not_before), time(self.not_after));
        let what = if now > until {
            format!(
                "has expired: clients refuse it since {}; renew it",
                date(until)
            )
        } else if now < from {
            format!(
                "is not good before {}: clients refuse it; check this machine's clock",
                date(from)
            )
        } else if now + AHEAD > until {
            let days = until.duration_since(now).unwrap_or_default().as_secs() / 86_400;
            format!("expires in {days} days, at {}; renew it", date(until))
        } else {
            return None;
        };
        Some(what)
    }
}

/// Dates beyond what the clock can hold, as certificates without an end have, are the clock's last or first.
fn time(seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let epoch = SystemTime::UNIX_EPOCH;
    let time = if seconds < 0 {
        epoch.checked_sub(distance)
    } else {
        epoch.checked_add(distance)
    };
    time.unwrap_or(epoch)
}

fn date(time: SystemTime) -> impl std::fmt::Display {
    humantime::format_rfc3339_seconds(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_a_certificate_that_ends_is_told_two_weeks_ahead() {
        let day = 86_400;
        let expiry = Expiry {
            listener: "web".to_owned(),
            file: "/a.pem".into(),
            name: "a.example".to_owned(),
            not_before: 100 * day,
            not_after: 190 * day,
            staple_until: Some(189 * day),
        };
        let said = |at: i64| expiry.warnings(time(at)).join("\n");
        assert_eq!(
            said(100 * day - 1),
            "listener \"web\": the certificate \"/a.pem\" is not good before 1970-04-11T00:00:00Z: clients refuse it; \
             check this machine's clock"
        );
        assert_eq!(said(100 * day), "");
        assert_eq!(said(176 * day), "");
        assert_eq!(
            said(176 * day + 1),
            "listener \"web\": the certificate \"/a.pem\" expires in 13 days, at 1970-07-10T00:00:00Z; renew it"
        );
        assert!(said(189 * day - 1).contains("expires in 1 days"));
        assert!(!said(189 * day - 1).contains("OCSP"));
        assert!(said(189 * day).contains(
            "\"/a.pem\" has an OCSP response that was good until 1970-07-09T00:00:00Z and is not sent; fetch it again"
        ));
        assert!(said(190 * day).contains("expires in 0 days"));
        assert!(said(190 * day + 1).contains("has expired: clients refuse it since 1970-07-10"));
    }
}
