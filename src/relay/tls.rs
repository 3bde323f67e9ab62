//! Copying where a side speaks TLS: what comes is opened before it counts, what goes is sealed as it is sent.
//!
//! All else is the copying engine's, its order, its water marks and its ends: the queue between the two sides is
//! plaintext. Sealing as late as that gathers what waits into few records. close_notify is this engine's FIN: it ends
//! the source's stream, though its socket may go on, and goes out before FIN to the sink.

use super::half::Engine;
use super::{Cx, Failure, Half, Opened, Step};
use crate::ring::{Errno, Lease};

impl Cx<'_> {
    /// Whether either side speaks TLS.
    #[inline]
    pub(super) fn is_tls(&self) -> bool {
        self.source_tls.is_some() || self.sink_tls.is_some()
    }

    /// What is to be sent so that the sink gets this.
    #[inline]
    pub(super) fn seal(&mut self, text: Lease) -> Result<Lease, Failure> {
        match &mut self.sink_tls {
            None => Ok(text),
            Some(tls) => Ok(tls.seal(text, self.buffers, self.desk)?),
        }
    }

    /// The last that the sink gets. One whose source was cut off is not told that all is well.
    #[inline]
    pub(super) fn farewell(&mut self) -> Lease {
        let cut_off = self
            .source_tls
            .as_ref()
            .is_some_and(|tls| tls.is_truncated());
        match &mut self.sink_tls {
            Some(tls) if !cut_off => tls.farewell(self.buffers, self.desk),
            Some(_) | None => Lease::EMPTY,
        }
    }
}

impl Half {
    /// A receive completed, and one of the sides speaks TLS.
    pub(super) fn on_received_tls(
        &mut self,
        result: Result<Lease, Errno>,
        more: bool,
        nonempty: bool,
        cx: &mut Cx<'_>,
    ) -> Step {
        let copy = self.engine.copy();
        match (result, &mut cx.source_tls) {
            (Ok(lease), Some(tls)) if !lease.is_empty() && copy.is_relaying() => {
                let opened = tls.open(lease, cx.buffers, cx.desk);
                self.on_opened(opened, more, nonempty, cx)
            }
            (Ok(lease), None) if copy.is_relaying() => {
                self.moved.sealed += u64::from(lease.len());
                copy.on_received(Ok(lease), more, nonempty, cx)
            }
            (Ok(lease), Some(tls)) if copy.is_relaying() => {
                tls.on_fin();
                copy.on_received(Ok(lease), more, nonempty, cx)
            }
            (result, _) => copy.on_received(result, more, nonempty, cx),
        }
    }

    fn on_opened(
        &mut self,
        Opened { text, failure }: Opened,
        more: bool,
        nonempty: bool,
        cx: &mut Cx<'_>,
    ) -> Step {
        self.moved.sealed += u64::from(text.len());
        let copy = self.engine.copy();
        let step = copy.on_text(text, more, nonempty, cx);
        if let Some(broken) = failure {
            copy.deafen();
            return Step::SourceFailed(broken.into());
        }
        self.end_if_closed(step, cx)
    }

    /// close_notify has come: the stream is over, whatever the socket brings from now on.
    pub(super) fn end_if_closed(&mut self, step: Step, cx: &mut Cx<'_>) -> Step {
        let has_ended = cx.source_tls.as_ref().is_some_and(|tls| tls.has_ended());
        if step == Step::Going && has_ended {
            self.engine.copy().stop(cx)
        } else {
            step
        }
    }

    /// Sends what TLS with the sink has to say by itself, if nothing is on its way that will take it along.
    pub fn flush(&mut self, cx: &mut Cx<'_>) {
        if let Engine::Copy(copy) = &mut self.engine
            && let Some(tls) = &mut cx.sink_tls
            && tls.has_pending()
            && copy.is_idle()
        {
            let lease = tls.take_pending();
            copy.push_send(lease, false, cx);
        }
    }
}
