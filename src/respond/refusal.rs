//! Answers to messages that would have to wait for upstream, and cannot.

use super::client::Client;
use super::complete::{complete, complete_failure};
use super::responder::{Asking, Attempt, Responder, View, told};
use crate::answer::Step;
use crate::dns::{ExtendedError, Question};

impl Responder {
    /// Answers with what there is without asking upstream: what the cache has past its end, what is known here of the
    /// name, else SERVFAIL with the reason.
    pub fn refuse(
        &self,
        view: &View,
        message: &[u8],
        client: Client,
        why: ExtendedError,
        buffer: &mut [u8],
    ) -> Attempt {
        let View { snapshot, serving, now, .. } = view;
        let query = match self.admit(&serving.rules, message, client, buffer) {
            Ok(query) => query,
            Err(attempt) => return attempt,
        };
        let written = if serving.is_probe(&query) {
            let why = self.note_loop(serving, &query);
            complete_failure(&query.asked, client, why, buffer)
        } else {
            let mut chase = query.chase(snapshot, &serving.rules, view.of(client));
            let mut step = chase.run();
            let asking = Asking { snapshot, serving, query: &query };
            loop {
                step = self.advance(asking, &mut chase, step, None, *now);
                if step == Step::Done {
                    break;
                }
                let question = Question { name: chase.current().to_name(), rtype: query.rtype };
                let outcome = serving.forwarder.refuse(question, query.flags, why.clone());
                let relayed = told(outcome, &mut chase);
                step = chase.feed(relayed);
            }
            complete(&query.asked, client, &chase, buffer)
        };
        let Some(length) = written else { return Attempt::Drop };
        self.within_rate(serving, message, client, buffer, length, *now)
    }
}
