//! What the body of a change says: JSON, small, and without a key that nobody knows.

use super::reply::{self, Reply};
use super::routes::Query;
use crate::config::{self, AdminState, Backend};
use crate::control::command::{BackendName, Command};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, StatusCode};
use serde::Deserialize;
use std::time::Duration;

/// Far more than any change says.
const BODY_BYTES_MAX: usize = 64 << 10;

/// How long a body may take.
const BODY: Duration = Duration::from_secs(10);

/// `{"state": "drain"}`, `{"state": "drain", "over": "5m"}`, `{"weight": 5}`, or a state and a weight.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct Change {
    state: Option<String>,
    over: Option<String>,
    weight: Option<u64>,
}

/// What is to become of a backend, in the order in which it is to be done: one that is to get a larger share and to be ready
/// is never ready with the old one.
pub(super) async fn of_backend(
    parts: &[String],
    request: Request<Incoming>,
) -> Result<Vec<Command>, Reply> {
    let body = body(request).await?;
    changes(&name(parts), &body).map_err(|message| reply::error(StatusCode::BAD_REQUEST, &message))
}

/// A backend that serves keeps its connections.
const NEEDS_A_STATE: &str = "goes with the state \"drain\" or \"maint\" alone";

/// In how long the connections of a backend are to leave.
fn over(text: &str) -> Result<Duration, String> {
    config::duration_of_text(text).map_err(|e| format!("over: {e}"))
}

fn changes(backend: &BackendName, body: &[u8]) -> Result<Vec<Command>, String> {
    const EXAMPLE: &str = "write {\"state\": \"ready\", \"drain\" or \"maint\"}, {\"state\": \"drain\", \"over\": \"5m\"} or {\"weight\": 1 to 256}";
    let change: Change =
        serde_json::from_slice(body).map_err(|e| format!("the body: {e}; {EXAMPLE}"))?;
    let mut commands = Vec::new();
    if let Some(weight) = change.weight {
        let weight = u16::try_from(weight).ok();
        let in_range = weight.filter(|weight| Backend::WEIGHTS.contains(weight));
        commands.push(Command::SetWeight {
            backend: backend.clone(),
            weight: in_range.ok_or("weight: is out of range; write an integer from 1 to 256")?,
        });
    }
    let over = change.over.as_deref().map(over).transpose()?;
    if let Some(state) = change.state {
        let state = AdminState::parse(&state).map_err(|e| format!("state: {e}"))?;
        if over.is_some() && state == AdminState::Ready {
            return Err(format!("over: {NEEDS_A_STATE}"));
        }
        commands.push(Command::SetState {
            backend: backend.clone(),
            state,
            over,
        });
    } else if over.is_some() {
        return Err(format!("over: {NEEDS_A_STATE}"));
    }
    if commands.is_empty() {
        return Err(format!("the body asks for nothing; {EXAMPLE}"));
    }
    Ok(commands)
}

/// A backend that is to be added, as the file would have it.
pub(super) async fn add_backend(
    parts: &[String],
    request: Request<Incoming>,
) -> Result<Command, Reply> {
    let body = body(request).await?;
    let backend = backend(&body).map_err(|m| reply::error(StatusCode::BAD_REQUEST, &m))?;
    let upstream = parts[0].clone();
    Ok(Command::AddBackend { upstream, backend })
}

/// JSON with the keys of `[[upstream.backend]]`, checked as the file is.
fn backend(body: &[u8]) -> Result<Backend, String> {
    let table: toml::Table = serde_json::from_slice(body).map_err(|e| {
        format!("the body: {e}; write the keys of [[upstream.backend]], such as {{\"address\": \"10.0.0.1:8080\"}}")
    })?;
    Backend::parse(&table.to_string(), "backend").map_err(|errors| errors.to_string())
}

/// A backend that is to be removed; `?over=5m` has its connections leave.
pub(super) fn remove_backend(parts: &[String], query: &Query<'_>) -> Result<Command, String> {
    Ok(Command::RemoveBackend {
        backend: name(parts),
        over: query.get("over").as_deref().map(over).transpose()?,
    })
}

fn name(parts: &[String]) -> BackendName {
    BackendName {
        upstream: parts[0].clone(),
        backend: parts[1].clone(),
    }
}

async fn body(request: Request<Incoming>) -> Result<Bytes, Reply> {
    let limited = Limited::new(request.into_body(), BODY_BYTES_MAX);
    match tokio::time::timeout(BODY, limited.collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(e)) if e.is::<http_body_util::LengthLimitError>() => {
            let message = format!("the body is larger than {BODY_BYTES_MAX} bytes");
            Err(reply::error(StatusCode::PAYLOAD_TOO_LARGE, &message))
        }
        Ok(Err(e)) => {
            let message = format!("the body cannot be read: {e}");
            Err(reply::error(StatusCode::BAD_REQUEST, &message))
        }
        Err(_) => {
            let message = format!("the body did not come within {} s", BODY.as_secs());
            Err(reply::error(StatusCode::REQUEST_TIMEOUT, &message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(body: &str) -> Result<Vec<Command>, String> {
        let backend = BackendName {
            upstream: "u".into(),
            backend: "b".into(),
        };
        changes(&backend, body.as_bytes())
    }

    #[test]
    fn a_weight_is_set_before_the_backend_is_ready() {
        let commands = of("{\"state\": \"ready\", \"weight\": 256}").unwrap();
        assert!(matches!(
            commands[0],
            Command::SetWeight { weight: 256, .. }
        ));
        assert!(matches!(
            commands[1],
            Command::SetState {
                state: AdminState::Ready,
                ..
            }
        ));
    }

    #[test]
    fn a_drain_may_say_in_how_long_the_connections_are_to_leave() {
        let over = |body| match &of(body).unwrap()[..] {
            [Command::SetState { over, .. }] => *over,
            other => panic!("{other:?}"),
        };
        let five = Some(Duration::from_mins(5));
        assert_eq!(over("{\"state\": \"drain\", \"over\": \"5m\"}"), five);
        assert_eq!(over("{\"state\": \"maint\", \"over\": \"5m\"}"), five);
        assert_eq!(over("{\"state\": \"drain\"}"), None);
    }

    #[test]
    fn a_body_that_is_wrong_is_told_what_to_write() {
        for (body, part) in [
            ("", "write {\"state\""),
            ("{}", "asks for nothing"),
            ("[]", "write {\"state\""),
            ("{\"state\": \"down\"}", "\"ready\", \"drain\" or \"maint\""),
            ("{\"weight\": 0}", "from 1 to 256"),
            ("{\"weight\": 65793}", "from 1 to 256"),
            ("{\"weight\": \"5\"}", "invalid type"),
            ("{\"weigth\": 5}", "unknown field"),
            (
                "{\"state\": \"drain\", \"over\": \"5\"}",
                "over: \"5\" is not a duration",
            ),
            ("{\"state\": \"drain\", \"over\": \"25d\"}", "to \"24d\""),
            ("{\"state\": \"drain\", \"over\": 5}", "invalid type"),
            (
                "{\"state\": \"ready\", \"over\": \"5m\"}",
                "goes with the state",
            ),
            ("{\"weight\": 5, \"over\": \"5m\"}", "goes with the state"),
        ] {
            let message = of(body).unwrap_err();
            assert!(message.contains(part), "{body}: {message}");
        }
    }

    #[test]
    fn a_backend_is_checked_as_in_the_file() {
        let read = |body: &str| backend(body.as_bytes());
        let made =
            read("{\"address\": \"10.0.0.1:80\", \"weight\": 3, \"state\": \"maint\"}").unwrap();
        assert_eq!((made.name.as_str(), made.weight), ("10.0.0.1:80", 3));
        assert_eq!(made.state, AdminState::Maint);
        for (body, part) in [
            ("{}", "address: is missing"),
            ("{\"address\": \"10.0.0.1\"}", "address"),
            ("{\"address\": \"10.0.0.1:80\", \"weight\": 0}", "weight"),
            (
                "{\"address\": \"10.0.0.1:80\", \"wieght\": 1}",
                "did you mean `weight`?",
            ),
            ("{\"address\": null}", "the body"),
        ] {
            let message = read(body).unwrap_err();
            assert!(message.contains(part), "{body}: {message}");
        }
    }
}
