//! Why TLS handshakes fail, in the few words of metrics.

use std::io;

/// Why a handshake failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Failure {
    /// What came was no TLS, or broken.
    NotTls,
    /// The client and we have no version, cipher or signature in common.
    NothingInCommon,
    /// The client speaks other protocols than DNS over TLS.
    Alpn,
    /// The client refused us, most often for the certificate.
    Refused,
    /// The client was gone.
    Closed,
    Timeout,
    /// Other handshakes or connections needed the room.
    Evicted,
    Other,
}

impl Failure {
    pub const ALL: [Failure; 8] = [
        Failure::NotTls,
        Failure::NothingInCommon,
        Failure::Alpn,
        Failure::Refused,
        Failure::Closed,
        Failure::Timeout,
        Failure::Evicted,
        Failure::Other,
    ];

    /// The word for it in metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Failure::NotTls => "not_tls",
            Failure::NothingInCommon => "nothing_in_common",
            Failure::Alpn => "alpn",
            Failure::Refused => "refused",
            Failure::Closed => "closed",
            Failure::Timeout => "timeout",
            Failure::Evicted => "evicted",
            Failure::Other => "other",
        }
    }

    /// What the error of a handshake tells.
    pub fn of(error: &io::Error) -> Failure {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match inner {
            None => Failure::Closed,
            Some(error) => match error {
                rustls::Error::InvalidMessage(_)
                | rustls::Error::InappropriateMessage { .. }
                | rustls::Error::InappropriateHandshakeMessage { .. }
                | rustls::Error::PeerMisbehaved(_) => Failure::NotTls,
                rustls::Error::PeerIncompatible(_) => Failure::NothingInCommon,
                rustls::Error::NoApplicationProtocol => Failure::Alpn,
                rustls::Error::AlertReceived(_) => Failure::Refused,
                _ => Failure::Other,
            },
        }
    }
}
