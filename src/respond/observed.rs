//! What is told of replies to those who want to know.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::time::Instant;

use super::client::{Client, Transport};
use super::reply::Reply;
use super::responder::{Attempt, Responder};
use crate::dns::Flags;
use crate::dns::header::HEADER_BYTES;
use crate::observe::{self, AnswerPath, Event, Kind, Seen, Tap};

/// A message that was answered, or got no reply.
pub(super) struct Observed<'m> {
    pub message: &'m [u8],
    pub client: Client,
    pub asked: Instant,
    /// Who was asked for it last.
    pub upstream: Option<SocketAddr>,
}

impl Responder {
    /// The same, with what it answers told to others.
    #[must_use]
    pub fn observed_by(mut self, tap: Arc<Tap>) -> Responder {
        self.tap = tap;
        self
    }

    /// Where what is answered is told.
    pub fn tap(&self) -> &Arc<Tap> {
        &self.tap
    }

    /// Tells what came of a message, if anybody wants to know; a reply is in the buffer.
    pub(super) fn tell(&self, observed: &Observed<'_>, attempt: &Attempt<Reply>, buffer: &[u8]) {
        if self.tap.is_on() {
            self.tell_all(observed, attempt, buffer);
        }
    }

    #[cold]
    fn tell_all(&self, observed: &Observed<'_>, attempt: &Attempt<Reply>, buffer: &[u8]) {
        let Observed { message, client, asked, upstream } = *observed;
        let (path, reply) = match attempt {
            Attempt::Reply(reply) => (reply.kind().path(), &buffer[..reply.length()]),
            // What asks and gets no reply has asked too much.
            Attempt::Drop if is_query(message) => (AnswerPath::Refused, &[][..]),
            Attempt::Drop | Attempt::Wait(_) => return,
        };
        let event = Event {
            kind: Kind::Client { path, upstream },
            transport: match client.transport {
                Transport::Udp => observe::Transport::Udp,
                Transport::Tcp => observe::Transport::Tcp,
                Transport::Tls => observe::Transport::Tls,
            },
            from: Some(client.address.into()),
            to: client.local.map(Into::into),
            asked: asked.into_std(),
            answered: (!reply.is_empty()).then(|| Instant::now().into_std()),
        };
        self.tap.leave(Seen { event: &event, query: message, reply, zone: &[] });
    }
}

/// Whether a message asks something; what is a reply itself, or shorter than a header, is nobody's question.
fn is_query(message: &[u8]) -> bool {
    message.first_chunk::<HEADER_BYTES>().is_some_and(|header| {
        let flags = Flags(u16::from_be_bytes([header[2], header[3]]));
        !flags.has(Flags::QR)
    })
}
