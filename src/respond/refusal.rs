//! Answers to messages that would have to wait for upstream, and cannot.

use super::client::Client;
use super::complete::{complete, complete_failure};
use super::observed::Observed;
use super::query::{Begun, Missing};
use super::responder::{Asking, Attempt, Responder, View, told};
use crate::answer::Step;
use crate::dns::ExtendedError;

impl Responder {
    /// Answers a message for which `try_answer` said that something is missing, with what there is without asking upstream:
    /// what the cache has past its end, what is known here of the name, else SERVFAIL with the reason.
    pub fn refuse(
        &self,
        view: &View,
        message: &[u8],
        client: Client,
        missing: Missing,
        why: ExtendedError,
        buffer: &mut [u8],
    ) -> Attempt {
        let View { snapshot, serving, now, .. } = view;
        let begun = self.begin(serving, snapshot, message, client, missing, buffer);
        let begun = match begun {
            Ok(begun) => begun,
            Err(attempt) => {
                self.tell(&Observed { message, client, asked: *now, upstream: None }, &attempt, buffer);
                return view.counted(attempt);
            }
        };
        let Begun { query, view: client_view, look, .. } = &begun;
        let written = if begun.is_probe {
            let why = self.note_loop(serving, query);
            complete_failure(&query.asked, client, why, buffer)
        } else {
            let mut chase = query.chase(snapshot, &serving.rules, *client_view);
            let mut step = begun.step(&mut chase);
            let asking = Asking { snapshot, serving, query };
            loop {
                step = self.advance(asking, &mut chase, step, *look, None, *now);
                if step == Step::Done {
                    break;
                }
                let question = chase.question();
                let outcome = serving.forwarder.refuse(question, query.flags(), why.clone());
                let relayed = told(outcome, &mut chase);
                step = chase.feed(relayed);
            }
            complete(&query.asked, client, &chase, buffer)
        };
        let Some(reply) = written else { return Attempt::Drop };
        let attempt = self.within_rate(serving, message, client, buffer, reply, *now);
        self.tell(&Observed { message, client, asked: *now, upstream: None }, &attempt, buffer);
        view.counted(attempt)
    }
}
