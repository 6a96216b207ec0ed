//! What all sources stand on, and what operators confirmed there: each confirmation is followed once.

use std::sync::Arc;

use tokio::sync::Notify;
use tracing::{error, info, warn};

use super::log::Log;
use super::role::Roles;
use super::rules::Rules;
use crate::sync::{Fingerprint, StateError, StateFolder};

/// Common to all sources of one config.
#[derive(Clone)]
pub(super) struct Ground {
    pub rules: Rules,
    /// Where what is published is kept, and confirmations are left.
    pub folder: StateFolder,
    pub access: StateAccess,
    pub log: Log,
    pub roles: Roles,
    /// Told when a pass in the background has published.
    pub passed: Arc<Notify>,
}

/// What may be done in `state_dir`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateAccess {
    /// What is published is kept there: by the server, and by `sync --once`.
    Keep,
    /// It is only read: by those who want to know what a server would serve.
    Look,
}

impl Ground {
    /// What an operator confirmed for a source; what cannot be read confirms nothing, and who only looks follows nothing.
    pub fn confirmed(&self, source: &str) -> Option<Fingerprint> {
        if self.access == StateAccess::Look {
            return None;
        }
        self.folder.confirmed(source).unwrap_or_else(|cause| {
            error!(source = %source, "The confirmation for source `{source}` is not followed: {cause}");
            if matches!(cause, StateError::OtherConfirmation { .. }) {
                self.forget_confirmation(source);
            }
            None
        })
    }

    /// Answers whether it is gone: a confirmation that stays could permit more than once.
    pub fn forget_confirmation(&self, source: &str) -> bool {
        match self.folder.forget_confirmation(source) {
            Ok(()) => true,
            Err(cause) => {
                error!(source = %source, "The confirmation for source `{source}` cannot be taken away: {cause}");
                false
            }
        }
    }

    /// Takes away a confirmation that did not fit, so that it permits nothing later.
    pub fn forget_unused_confirmation(&self, source: &str, is_held_back: bool) {
        // One that was followed is gone already.
        if matches!(self.folder.confirmed(source), Ok(None)) || !self.forget_confirmation(source) {
            return;
        }
        if is_held_back {
            warn!(source = %source,
                "What was confirmed for `{source}` is not what it would withdraw now, which stays held back");
        } else {
            info!(source = %source, "Nothing of `{source}` was held back: the confirmation is forgotten");
        }
    }
}
