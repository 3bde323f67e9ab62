//! The verbs that talk to a running proxy: their arguments.

use super::admin::{self, AdminAddress};
use super::model::AdminState;
use super::{quantity, value};
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

/// Which proxy is asked.
#[derive(Args, Clone, Debug)]
pub struct Target {
    /// Where it answers: [admin] listen of its configuration
    #[arg(long, value_name = "IP:PORT|unix:PATH", default_value = AdminAddress::DEFAULT)]
    #[arg(value_parser = admin::parse_admin_address)]
    pub admin: AdminAddress,
    /// The token that changes need, if its configuration names a token_file
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// `ringway status`
#[derive(Args, Clone, Debug)]
pub struct Status {
    /// Which proxy
    #[command(flatten)]
    pub target: Target,
    /// Print /status.json as it is
    #[arg(long)]
    pub json: bool,
}

/// `ringway top`
#[derive(Args, Clone, Debug)]
pub struct Top {
    /// Which proxy
    #[command(flatten)]
    pub target: Target,
    /// Look for one second, print once and end
    #[arg(long)]
    pub once: bool,
    /// One JSON object a second instead of a table
    #[arg(long)]
    pub json: bool,
}

/// `ringway backend`
#[derive(Args, Clone, Debug)]
pub struct ChangeBackend {
    /// Which proxy
    #[command(flatten)]
    pub target: Target,
    /// The upstream's name
    pub upstream: String,
    /// The backend's name; its address unless it has another
    pub backend: String,
    /// What is wanted of it: ready, drain, maint, or weight=N from 1 to 256
    #[arg(value_name = "ready|drain|maint|weight=N", value_parser = parse_change)]
    pub change: Change,
    /// With drain and maint: end its connections evenly over this long, such as 5m; without it they stay
    #[arg(long, value_name = "DURATION", value_parser = quantity::duration_of_text)]
    pub over: Option<Duration>,
}

/// `ringway kill`
#[derive(Args, Clone, Debug)]
pub struct Kill {
    /// Which proxy
    #[command(flatten)]
    pub target: Target,
    /// The connection's id, from /connections or the access log
    pub id: u64,
}

/// What is wanted of a backend.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// Another state.
    State(AdminState),
    /// Another share.
    Weight(u16),
}

fn parse_change(text: &str) -> Result<Change, String> {
    let Some(number) = text.strip_prefix("weight=") else {
        let state = AdminState::parse(text);
        return state
            .map(Change::State)
            .map_err(|e| format!("{e}, or weight=N"));
    };
    let weight = number.parse().ok();
    let in_range = weight.filter(|weight| value::WEIGHTS.contains(weight));
    in_range.map(Change::Weight).ok_or_else(|| {
        let (low, high) = (value::WEIGHTS.start(), value::WEIGHTS.end());
        format!("weight={number} is out of range; write a number from {low} to {high}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_a_state_or_a_weight() {
        assert_eq!(parse_change("drain"), Ok(Change::State(AdminState::Drain)));
        assert_eq!(parse_change("weight=256"), Ok(Change::Weight(256)));
        for wrong in ["", "down", "weight", "weight=0", "weight=257", "weight=-1"] {
            assert!(parse_change(wrong).is_err(), "{wrong}");
        }
    }
}
