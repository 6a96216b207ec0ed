//! What a zone says to a name and a type.

use super::front::Owner;
use super::slot::Offer;

/// What a zone says to a name and a type.
#[derive(Debug)]
pub enum Outcome<'z> {
    /// Data. The owner is the name asked for, also when a wildcard made it.
    Hit(&'z Offer),
    /// The name is an alias.
    Alias(&'z Offer),
    /// The name lies below a DNAME.
    Dname { owner: Owner<'z>, offer: &'z Offer },
    /// The name exists, the type does not.
    NoData,
    /// The name does not exist.
    NoSuchName,
    /// The name is delegated to other servers.
    Referral { cut: Owner<'z>, offer: &'z Offer },
}
