//! Whether every worker still turns. A worker without work sleeps in the kernel, which looks like one that hangs; so each
//! is asked by message, again and again, and one that leaves a question unanswered for too long is stuck.

use super::systemd::Systemd;
use crate::ring::Time;
use crate::worker::{Post, Stats};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use crate::base::{Counter, Gauge};

/// Between two questions to the same worker: what its wake-up costs is not seen at this rate.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long an answer may take. A turn is over within milliseconds; a machine with no processor time to spare needs longer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The questions to all workers. Asked by one thread, read by any.
#[derive(Debug)]
pub(super) struct Pulse(Vec<Beat>);

/// The questions to one worker, one at a time.
#[derive(Debug)]
struct Beat {
    post: Post,
    stats: Arc<Stats>,
    asked: Counter,
    /// When the last question was asked, in nanoseconds.
    since: Gauge,
}

impl Pulse {
    /// Of the workers that these posts reach and that count there.
    pub(super) fn new(posts: &[Post], stats: &[Arc<Stats>]) -> Self {
        let beat = |(post, stats): (&Post, &Arc<Stats>)| Beat {
            post: post.clone(),
            stats: Arc::clone(stats),
            asked: Counter::default(),
            since: Gauge::default(),
        };
        Self(posts.iter().zip(stats).map(beat).collect())
    }

    /// Asks every worker that has answered the last question.
    fn ask(&self, now: Time) {
        self.0.iter().for_each(|beat| beat.ask(now));
    }

    /// The numbers of the workers that have not answered in time.
    pub(super) fn stuck(&self, now: Time) -> Vec<usize> {
        let beats = self.0.iter().enumerate();
        beats
            .filter(|(_, beat)| beat.is_stuck(now))
            .map(|(worker, _)| worker)
            .collect()
    }
}

impl Beat {
    fn is_answered(&self) -> bool {
        self.stats.pings.get() >= self.asked.get()
    }

    /// A worker that has ended is asked nothing, so it cannot be stuck.
    fn ask(&self, now: Time) {
        if self.is_answered() && self.post.ping() {
            self.since.set(now.as_nanos());
            self.asked.add(1);
        }
    }

    fn is_stuck(&self, now: Time) -> bool {
        !self.is_answered() && now.since(Time::from_nanos(self.since.get())) > PATIENCE
    }
}

/// Asks for ever, says in the log which workers are stuck, and feeds systemd's watchdog while none is.
pub(super) async fn watch(pulse: &Pulse, systemd: &Systemd) -> Infallible {
    tokio::select! {
        never = ask(pulse) => never,
        never = feed(pulse, systemd) => never,
    }
}

async fn ask(pulse: &Pulse) -> Infallible {
    let mut told = Vec::new();
    loop {
        pulse.ask(Time::read_clock());
        tokio::time::sleep(INTERVAL).await;
        let stuck = pulse.stuck(Time::read_clock());
        if stuck != told {
            tell(&stuck);
            told = stuck;
        }
    }
}

fn tell(stuck: &[usize]) {
    if stuck.is_empty() {
        tracing::warn!("every worker turns again");
    } else {
        tracing::error!(workers = ?stuck, "workers do not turn: their clients are deaf");
    }
}

async fn feed(pulse: &Pulse, systemd: &Systemd) -> Infallible {
    let Some(interval) = systemd.watchdog() else {
        return std::future::pending().await;
    };
    loop {
        if pulse.stuck(Time::read_clock()).is_empty() {
            systemd.feed();
        }
        tokio::time::sleep(interval).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::Mailbox;

    fn at(seconds: u64) -> Time {
        Time::from_nanos(seconds * 1_000_000_000)
    }

    fn pulse(workers: usize) -> (Pulse, Vec<Mailbox>, Vec<Arc<Stats>>) {
        let ends = (0..workers).map(|_| Mailbox::new().unwrap());
        let (posts, mailboxes): (Vec<_>, Vec<_>) = ends.unzip();
        let stats: Vec<_> = posts.iter().map(|_| Arc::default()).collect();
        (Pulse::new(&posts, &stats), mailboxes, stats)
    }

    #[test]
    fn a_worker_that_does_not_answer_in_time_is_stuck_until_it_does() {
        let (pulse, _mailboxes, stats) = pulse(3);
        assert!(pulse.stuck(at(100)).is_empty(), "nobody was asked");
        pulse.ask(at(100));
        stats[0].pings.add(1);
        stats[2].pings.add(1);
        assert!(pulse.stuck(at(102)).is_empty(), "it has two seconds");
        assert_eq!(pulse.stuck(at(103)), [1]);
        pulse.ask(at(103));
        assert_eq!(pulse.stuck(at(104)), [1], "asking again is no excuse");
        stats[1].pings.add(1);
        assert!(pulse.stuck(at(104)).is_empty());
    }

    #[test]
    fn a_slow_asker_takes_nobody_for_stuck() {
        let (pulse, _mailboxes, stats) = pulse(1);
        pulse.ask(at(1));
        stats[0].pings.add(1);
        assert!(pulse.stuck(at(60)).is_empty());
    }

    #[test]
    fn a_worker_that_has_ended_is_not_stuck() {
        let (pulse, mailboxes, _) = pulse(1);
        drop(mailboxes);
        pulse.ask(at(1));
        assert!(pulse.stuck(at(60)).is_empty());
    }
}
