//! What an upstream fails by.

use crate::dns::Rcode;

/// What an upstream fails by that answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    FormErr,
    ServFail,
    NotImp,
    Refused,
    OtherRcode,
    /// It names other servers and does not ask them.
    Referral,
    /// Its reply cannot be used.
    Malformed,
}

impl Fault {
    pub(super) const ALL: [Fault; 7] = [
        Fault::FormErr,
        Fault::ServFail,
        Fault::NotImp,
        Fault::Refused,
        Fault::OtherRcode,
        Fault::Referral,
        Fault::Malformed,
    ];

    pub(super) fn of(rcode: Rcode) -> Fault {
        match rcode.0 {
            1 => Fault::FormErr,
            2 => Fault::ServFail,
            4 => Fault::NotImp,
            5 => Fault::Refused,
            _ => Fault::OtherRcode,
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Fault::FormErr => "FORMERR",
            Fault::ServFail => "SERVFAIL",
            Fault::NotImp => "NOTIMP",
            Fault::Refused => "REFUSED",
            Fault::OtherRcode => "other_rcode",
            Fault::Referral => "referral",
            Fault::Malformed => "malformed",
        }
    }
}
