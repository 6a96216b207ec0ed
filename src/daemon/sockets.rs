//! All sockets, bound before anything else is done: who cannot have its port should not read a million records to learn
//! that, and may be nobody who could bind it later.

use super::error::StartError;
use super::files::make_state_folder;
use super::{address_space, administration, descriptors, privileges};
use crate::config::Config;
use crate::{admin, listen};

/// Sockets that are bound and serve nobody yet.
pub struct Sockets {
    pub(super) dns: listen::Bound,
    pub(super) api: Option<admin::Bound>,
    pub(super) monitors: Option<admin::BoundProbes>,
}

impl Sockets {
    /// Reads the certificates of a config, and binds all its addresses.
    pub fn bind(config: &Config) -> Result<Sockets, StartError> {
        address_space::check(config);
        config.check_certificates()?;
        let dns = listen::bind(&descriptors::fitted(&config.listen, &config.admin.api))?;
        let api = administration::bind(&config.admin)?;
        let monitors = match &config.monitors.listen[..] {
            [] => None,
            listen => Some(admin::bind_probes(listen.to_vec(), config.listen.freebind)?),
        };
        Ok(Sockets { dns, api, monitors })
    }

    /// The same, and then becomes the user that the config names. To be called before there are other threads.
    pub fn bind_as_root(config: &Config) -> Result<Sockets, StartError> {
        let sockets = Sockets::bind(config)?;
        if let Some(user) = &config.user {
            make_state_folder(config);
            privileges::become_user(user, &config.state_dir)?;
        }
        Ok(sockets)
    }
}
