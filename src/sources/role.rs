//! Whether this instance lists Azure, or follows another that does.

use std::sync::Arc;

use tokio::sync::{Notify, watch};

/// What an instance does about Azure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Its passes publish. A term ends when another instance lists.
    Listing { term: u64 },
    /// It publishes what another instance listed.
    Following,
}

/// The role of this instance, which all its sources see. Without others it lists from the start.
#[derive(Clone)]
pub(crate) struct Roles(Arc<Inside>);

struct Inside {
    now: watch::Sender<Role>,
    /// Of the last time it began to list.
    term: parking_lot::Mutex<u64>,
    /// Told when there may be something to tell other instances.
    news: Notify,
}

impl Default for Roles {
    fn default() -> Roles {
        let now = watch::Sender::new(Role::Listing { term: 0 });
        Roles(Arc::new(Inside { now, term: parking_lot::Mutex::new(0), news: Notify::new() }))
    }
}

impl Roles {
    pub fn now(&self) -> Role {
        *self.0.now.borrow()
    }

    pub fn is_listing(&self) -> bool {
        self.now() != Role::Following
    }

    /// Begins to list; answers whether it did not before.
    pub fn list(&self) -> bool {
        let mut term = self.0.term.lock();
        self.0.now.send_if_modified(|role| {
            let begins = *role == Role::Following;
            if begins {
                *term += 1;
                *role = Role::Listing { term: *term };
            }
            begins
        })
    }

    /// Begins to follow; answers whether it did not before.
    pub fn follow(&self) -> bool {
        self.0.now.send_if_modified(|role| std::mem::replace(role, Role::Following) != Role::Following)
    }

    pub fn watch(&self) -> watch::Receiver<Role> {
        self.0.now.subscribe()
    }

    /// There may be something to tell other instances.
    pub fn announce(&self) {
        self.0.news.notify_one();
    }

    /// Waits until there may be something to tell other instances.
    pub async fn news(&self) {
        self.0.news.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_lasts_until_another_lists() {
        let roles = Roles::default();
        assert_eq!((roles.list(), roles.now()), (false, Role::Listing { term: 0 }));
        assert!(roles.follow() && !roles.follow() && !roles.is_listing());
        assert!(roles.list() && !roles.list());
        assert_eq!(roles.now(), Role::Listing { term: 1 });
    }
}
