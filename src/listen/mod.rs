//! Bytes in, bytes out: UDP in batches, TCP with limits, with TLS or without. Floor 5.
//!
//! `bind` opens every socket before anything is served; `Bound::run` serves; `Listening::rebind` takes over the
//! sockets of addresses that stay, so that a reload loses nothing that the kernel has queued; `Listening::drain` ends.

mod batch;
mod bind;
mod closing;
mod connection;
mod counters;
#[cfg(test)]
mod echo;
mod error;
mod failure;
mod limits;
mod listening;
mod met;
mod pace;
mod proxy;
mod relaying;
mod replies;
mod settings;
mod sockets;
mod tcp;
mod tls;
mod udp;
mod waiting;

use std::net::IpAddr;
use std::sync::Arc;

pub use bind::{Bound, bind};
pub use counters::{Counting, Counts, TcpCounts, TlsCounts, UdpCounts};
pub use error::BindError;
pub use listening::{Drained, Listening};
pub use met::{Limit, LimitMet};
pub use proxy::PROXY_ITSELF;
pub use settings::{HandshakeSettings, Ipv6, LEAVING_PART, Limits, Settings, TcpSettings, WORKERS_MAX};

use tokio::runtime::Handle;

use crate::dns::ExtendedError;
use crate::forward::Asker;
use crate::respond::{Ahead, Aheads, Attempt, Client, Missing, Relay, Responder, View};

/// What answers a message; implemented by `respond::Responder`.
pub trait Service: Send + Sync + 'static {
    /// What a batch of messages is answered from; loaded once a batch.
    type View;

    /// What looking ahead found out of one message.
    type Ahead<'v>;

    fn view(&self) -> Self::View;

    /// Prepares for the messages of a batch, so that the memory they need is waited for at once.
    fn look_ahead<'v, 'm>(
        &self,
        view: &'v Self::View,
        messages: impl Iterator<Item = (&'m [u8], IpAddr)>,
    ) -> Aheads<Self::Ahead<'v>>;

    /// Answers without waiting and without allocating, if it can; with what was found out of this message.
    fn try_answer(
        &self,
        view: &Self::View,
        ahead: Option<&Self::Ahead<'_>>,
        message: &[u8],
        client: Client,
        buffer: &mut [u8],
    ) -> Attempt;

    /// Answers a message for which `try_answer` must wait and that cannot wait, and says why.
    fn refuse(
        &self,
        view: &Self::View,
        message: &[u8],
        client: Client,
        missing: Missing,
        why: ExtendedError,
        buffer: &mut [u8],
    ) -> Attempt;

    /// Answers, waiting for upstream if it must; without a reply if it is `None`.
    ///
    /// Runs to its end even if the client is gone, and holds one of the places of those that may wait so long.
    fn answer(
        self: Arc<Self>,
        message: Vec<u8>,
        client: Client,
        asker: Asker,
        missing: Missing,
    ) -> impl Future<Output = Option<Vec<u8>>> + Send;

    /// What asks upstream for one thread, if there is such a thing; its messages do not come to `answer`.
    fn relay<T>(self: &Arc<Self>, _runtime: &Handle) -> Option<Relay<T>> {
        None
    }
}

impl Service for Responder {
    type View = View;
    type Ahead<'v> = Ahead<'v>;

    fn view(&self) -> View {
        Responder::view(self)
    }

    fn look_ahead<'v, 'm>(
        &self,
        view: &'v View,
        messages: impl Iterator<Item = (&'m [u8], IpAddr)>,
    ) -> Aheads<Ahead<'v>> {
        Responder::look_ahead(self, view, messages)
    }

    fn try_answer(
        &self,
        view: &View,
        ahead: Option<&Ahead<'_>>,
        message: &[u8],
        client: Client,
        buffer: &mut [u8],
    ) -> Attempt {
        Responder::try_answer(self, view, ahead, message, client, buffer)
    }

    fn refuse(
        &self,
        view: &View,
        message: &[u8],
        client: Client,
        missing: Missing,
        why: ExtendedError,
        buffer: &mut [u8],
    ) -> Attempt {
        Responder::refuse(self, view, message, client, missing, why, buffer)
    }

    fn answer(
        self: Arc<Self>,
        message: Vec<u8>,
        client: Client,
        asker: Asker,
        missing: Missing,
    ) -> impl Future<Output = Option<Vec<u8>>> + Send {
        Responder::answer(self, message, client, asker, missing)
    }

    fn relay<T>(self: &Arc<Self>, runtime: &Handle) -> Option<Relay<T>> {
        // Without descriptors for it all waits in the runtime.
        Relay::new(self.clone(), runtime.clone()).ok()
    }
}
