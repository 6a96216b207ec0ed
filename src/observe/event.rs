//! What happened to one question.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::AnswerPath;

/// One question and its reply, without their bytes.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    pub kind: Kind,
    pub transport: Transport,
    /// Who asked, as far as it is known.
    pub from: Option<End>,
    /// Who was asked.
    pub to: Option<End>,
    pub asked: Instant,
    /// `None` where there is no reply.
    pub answered: Option<Instant>,
}

impl Event {
    /// How long the reply took.
    pub fn took(&self) -> Option<Duration> {
        self.answered.map(|answered| answered.saturating_duration_since(self.asked))
    }
}

/// Whose question it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A client's.
    Client {
        path: AnswerPath,
        /// The upstream whose answer the reply has, if one was asked for it.
        upstream: Option<SocketAddr>,
    },
    /// Ours, to an upstream.
    Forwarder,
}

/// What carried a question.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    Udp,
    Tcp,
    Tls,
}

/// One end of an exchange.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct End {
    pub address: IpAddr,
    pub port: Option<u16>,
}

impl From<SocketAddr> for End {
    fn from(socket: SocketAddr) -> End {
        End { address: socket.ip(), port: Some(socket.port()) }
    }
}

impl From<IpAddr> for End {
    fn from(address: IpAddr) -> End {
        End { address, port: None }
    }
}

impl Transport {
    /// The word for it in logs.
    pub const fn word(self) -> &'static str {
        match self {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
        }
    }
}
