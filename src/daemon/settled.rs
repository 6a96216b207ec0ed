//! What changes with a restart only: a reload keeps it as it is, and says so once.

use std::net::SocketAddr;
use std::path::PathBuf;

use tracing::warn;

use crate::config::Config;
use crate::persist;

/// What a server was started with and keeps to its end.
pub(super) struct Settled {
    in_force: Fixed,
    /// What was asked for instead when that was last logged.
    asked: Option<Fixed>,
}

/// What of a config holds from one start to the next.
#[derive(PartialEq, Eq)]
struct Fixed {
    state_dir: PathBuf,
    store: persist::Settings,
    admin_listen: Vec<SocketAddr>,
    monitors_listen: Vec<SocketAddr>,
    user: Option<String>,
}

impl Fixed {
    fn of(config: &Config) -> Fixed {
        Fixed {
            state_dir: config.state_dir.clone(),
            store: config.admin.store.clone(),
            admin_listen: config.admin.api.listen.clone(),
            monitors_listen: config.monitors.listen.clone(),
            user: config.user.clone(),
        }
    }
}

impl Settled {
    pub(super) fn of(config: &Config) -> Settled {
        Settled { in_force: Fixed::of(config), asked: None }
    }

    /// Puts into a new config what stays in force of the old one. The state folder and the store go together: each file
    /// in its own folder would be half a server.
    pub(super) fn keep_in(&mut self, config: &mut Config) {
        let Fixed { state_dir, store, admin_listen, monitors_listen, user } = &self.in_force;
        let asked = Fixed::of(config);
        let before = self.asked.as_ref();
        let is_news = |is_other: bool, is_told: bool| is_other && !is_told;
        let is_elsewhere = asked.state_dir != *state_dir;
        if is_news(is_elsewhere, before.is_some_and(|before| before.state_dir == asked.state_dir)) {
            let (now, new) = (state_dir.display(), asked.state_dir.display());
            warn!(
                "state_dir changes with a restart only: all that is kept stays in {now}, nothing of it goes to {new}"
            );
        }
        // A store in another folder is the folder's change.
        let is_other = !is_elsewhere && asked.store != *store;
        if is_news(is_other, before.is_some_and(|before| before.store == asked.store)) {
            warn!("[store] changes with a restart only; the store is still {}", store.shown());
        }
        let is_other = asked.admin_listen != *admin_listen;
        if is_news(is_other, before.is_some_and(|before| before.admin_listen == asked.admin_listen)) {
            warn!("admin.listen changes with a restart only");
        }
        let is_other = asked.monitors_listen != *monitors_listen;
        if is_news(is_other, before.is_some_and(|before| before.monitors_listen == asked.monitors_listen)) {
            warn!("telemetry.listen changes with a restart only");
        }
        let is_other = asked.user != *user;
        if is_news(is_other, before.is_some_and(|before| before.user == asked.user)) {
            warn!("user changes with a restart only");
        }
        config.user.clone_from(user);
        config.state_dir.clone_from(state_dir);
        config.admin.store.clone_from(store);
        config.admin.api.listen.clone_from(admin_listen);
        config.monitors.listen.clone_from(monitors_listen);
        self.asked = Some(asked);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{AT_THE_START, needs_restart};

    fn config(text: &str) -> Config {
        let text = format!("{text}\n[listen]\ndns = ['127.0.0.1:0']\n");
        Config::parse(&text, Path::new("c.toml")).unwrap_or_else(|errors| panic!("{errors}"))
    }

    #[test]
    fn what_is_told_to_need_a_restart_is_kept_and_nothing_else() {
        let kept = |text: &str| {
            let (old, mut new) = (config(""), config(text));
            let asked = Fixed::of(&new) != Fixed::of(&old);
            Settled::of(&old).keep_in(&mut new);
            assert!(Fixed::of(&new) == Fixed::of(&old), "{text}");
            asked
        };
        let others = [
            ("user", "user = 'dns'"),
            ("state_dir", "state_dir = 'elsewhere'"),
            ("store.url", "store.url = 'postgres://dns@db/dns'"),
            ("store.audit_changes_max", "store.audit_changes_max = 7"),
            ("store.audit_days_max", "store.audit_days_max = 7"),
            ("admin.listen", "admin.listen = ['127.0.0.1:1']"),
            ("telemetry.listen", "telemetry.listen = ['127.0.0.1:1']"),
        ];
        for (key, text) in others {
            assert!(kept(text) && needs_restart(key), "{key}");
        }
        let is_tried = |fixed: &str| others.iter().any(|(key, _)| key.starts_with(fixed));
        assert!(AT_THE_START.iter().all(|fixed| is_tried(fixed)), "each of {AT_THE_START:?} is tried");
        for (key, text) in [
            ("lame_duck_secs", "lame_duck_secs = 7"),
            ("cache.size_bytes", "cache.size_bytes = 70000000"),
            ("telemetry.zone_names", "telemetry.zone_names = true"),
            ("admin.hosts", "admin.hosts = ['dns.example']"),
        ] {
            assert!(!kept(text) && !needs_restart(key), "{key}");
        }
    }
}
