//! `cert`: certificates to try TLS with.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Args;

use super::Outcome;
use crate::telemetry::when::rfc3339;
use crate::tls::SelfSigned;

const CERTIFICATE: &str = "certificate.pem";
const KEY: &str = "key.pem";

/// Make a certificate and its key to try encrypted transports with.
///
/// The certificate signs itself: clients must be given it as the authority that they trust. The key is readable by its owner
/// alone. Files that are there are never overwritten.
#[derive(Args)]
#[command(after_help = "\
Examples:
  privatelink-dns cert --self-signed dns.example.com 10.0.0.4
  privatelink-dns cert --self-signed dns.example.com --days 30 --out /etc/privatelink-dns/tls")]
pub(super) struct Cert {
    /// The names, wildcards (*.example.com) and addresses that the certificate is for.
    #[arg(long = "self-signed", value_name = "NAME", num_args = 1.., required = true)]
    self_signed: Vec<String>,
    /// Days until it expires.
    #[arg(long, value_name = "N", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
    /// The folder for certificate.pem and key.pem; it is made if it is not there.
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
}

impl Cert {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<Outcome> {
        let made = SelfSigned::new(&self.self_signed, Duration::from_secs(u64::from(self.days) * 86_400))?;
        let (certificate, key) = (self.out.join(CERTIFICATE), self.out.join(KEY));
        if let Some(there) = [&certificate, &key].into_iter().find(|path| path.symlink_metadata().is_ok()) {
            anyhow::bail!("{} is there already: nothing was written", there.display());
        }
        fs::create_dir_all(&self.out).with_context(|| format!("{} cannot be made", self.out.display()))?;
        write(&key, &made.key, 0o600)?;
        write(&certificate, &made.certificate, 0o644)?;
        writeln!(out, "certificate  {}, for {}", certificate.display(), self.self_signed.join(", "))?;
        writeln!(out, "             until {}", rfc3339(made.ends_at))?;
        writeln!(out, "key          {}", key.display())?;
        Ok(Outcome::Well)
    }
}

/// Writes a file that is not there.
fn write(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().with_context(|| format!("{} cannot be written", path.display()))
}
