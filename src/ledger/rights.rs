//! Checks what an identity may write, however the write comes in.

use super::refusal::{Refusal, RefusalKind};
use super::scope::Scope;
use super::who::{How, Identity, Role};
use super::written::WrittenState;
use crate::dns::{Name, NameRef, RecordType};
use crate::persist::{Entry, StoredChange, Subject};
use crate::zone::{OnMissing, Snapshot};

/// Why a scope does not suffice.
const CHANGES_MORE: &str = "this changes more than the zones that you may change";

impl Identity {
    /// Whether it may make a change of what is served.
    pub(super) fn may_write(&self, change: &StoredChange, snapshot: &Snapshot) -> Result<(), Refusal> {
        match change {
            StoredChange::Put(Entry::RecordSet { zone, name, set }) => {
                self.may_change_name(zone, name)?;
                // RFC 1034 §4.2.1, RFC 6672 §2.3: these decide of all that lies below them.
                if set.rtype == RecordType::DNAME || (set.rtype == RecordType::NS && name != zone) {
                    self.may_change_zone(name)?;
                }
                self.may_enclose(zone, name, snapshot)
            }
            StoredChange::Put(entry) => self.may_change(&entry.subject()),
            StoredChange::Remove(subject) => self.may_change(subject),
            StoredChange::ClearZone(apex) => self.may_change_zone(apex),
        }
    }

    /// Whether it may change anything about a subject.
    pub fn may_change(&self, subject: &Subject) -> Result<(), Refusal> {
        match subject {
            Subject::Zone(apex) => self.may_change_zone(apex),
            Subject::RecordSet { zone, name, .. } => self.may_change_name(zone, name),
            Subject::Forwarder(_) | Subject::Document(_) => self.may_change_server(),
            Subject::Token(_) => self.may_make_tokens(),
        }
    }

    /// Whether it may make tokens and revoke them.
    pub fn may_make_tokens(&self) -> Result<(), Refusal> {
        self.needs(Role::Admin)?;
        // Or an admin of one zone could make itself a token for all.
        self.has_all(CHANGES_MORE)
    }

    /// Whether it may change what belongs to no zone: rules, settings, what is cached.
    pub fn may_change_server(&self) -> Result<(), Refusal> {
        self.needs(Role::Operator)?;
        self.has_all(CHANGES_MORE)
    }

    /// Whether it may see which clients ask for which names.
    pub fn may_see_clients(&self) -> Result<(), Refusal> {
        self.needs(Role::Operator)?;
        self.has_all("this tells what clients ask for in any zone, and you may change some zones only")
    }

    /// Whether it may change a zone as a whole: create, alter, import, delete it.
    fn may_change_zone(&self, zone: &Name) -> Result<(), Refusal> {
        self.needs(Role::Operator)?;
        if self.scope.covers_zone(zone) { Ok(()) } else { Err(self.outside_of_scope(zone)) }
    }

    fn may_change_name(&self, zone: &Name, name: &Name) -> Result<(), Refusal> {
        self.needs(Role::Operator)?;
        if self.scope.covers(zone, name) { Ok(()) } else { Err(self.outside_of_scope(name)) }
    }

    fn has_all(&self, why: &'static str) -> Result<(), Refusal> {
        match &self.scope {
            Scope::All => Ok(()),
            Scope::Only(_) => Err(Refusal::new(RefusalKind::OutOfScope, why)),
        }
    }

    fn outside_of_scope(&self, name: &Name) -> Refusal {
        let why = format!("`{name}` is outside of what `{}` may change: {}", self.name, self.scope);
        Refusal::new(RefusalKind::OutOfScope, why)
    }

    /// Whether the names that a record set makes exist above it, empty, hide nothing from those outside of its scope.
    // RFC 4592 §2.2.2, §3.3.1: for a name that exists, and below it, neither a wildcard above answers nor upstream.
    fn may_enclose(&self, apex: &Name, name: &Name, snapshot: &Snapshot) -> Result<(), Refusal> {
        if self.scope == Scope::All {
            return Ok(());
        }
        let Some(zone) = snapshot.zone(apex.borrow()) else { return Ok(()) };
        let mut above = name.borrow().ancestors().skip(1).take_while(|above| above.is_within(apex.borrow()));
        let made = above.by_ref().take_while(|above| zone.node(*above).is_none()).map(NameRef::to_name);
        let Some(made) = made.filter(|made| !self.scope.covers(apex, made)).last() else { return Ok(()) };
        // The highest of them hides most, and lies right below what exists.
        let wildcard = made.borrow().parent().and_then(|encloser| encloser.child(b"*").ok());
        let hidden = match wildcard.filter(|wildcard| zone.node(wildcard.borrow()).is_some()) {
            Some(wildcard) => format!("{wildcard} answers for it"),
            None if zone.header().on_missing == OnMissing::AskPublic => "upstream answers for it".to_owned(),
            None => return Ok(()),
        };
        let why = format!(
            "{name} would make {made} exist, which `{}` may not change, and {hidden} and all below it now: ask an admin for \
             a record there",
            self.name
        );
        Err(Refusal::new(RefusalKind::OutOfScope, why))
    }

    /// Whether the token that let the request in still does: its body may have taken a while.
    pub(super) fn is_still_known(&self, state: &WrittenState, now_secs: u64) -> Result<(), Refusal> {
        let How::Token { id } = &self.how else { return Ok(()) };
        let Some((token, _)) = state.token(id) else { return Ok(()) };
        if token.revoked_secs.is_some() || token.expires_secs.is_some_and(|expires| expires <= now_secs) {
            return Err(Refusal::new(
                RefusalKind::Unauthenticated,
                "this token ended while the request came",
            ));
        }
        Ok(())
    }
}
