//! Names relative to their zone's apex: a zone keeps only the labels in front of it.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::dns::{Name, NameBuf};

/// A storage account's name, of at most 24 letters, mostly lies in place; 24 bytes are three words.
const SHORT_BYTES_MAX: usize = 22;

/// The labels in front of an apex: lower-cased, in wire form, without a root label. Empty for the apex itself.
#[derive(Clone)]
pub(super) enum Front {
    Short { length: u8, bytes: [u8; SHORT_BYTES_MAX] },
    Long(Arc<[u8]>),
}

impl From<&[u8]> for Front {
    fn from(front: &[u8]) -> Front {
        if front.len() > SHORT_BYTES_MAX {
            return Front::Long(front.into());
        }
        let mut bytes = [0; SHORT_BYTES_MAX];
        bytes[..front.len()].copy_from_slice(front);
        Front::Short { length: front.len() as u8, bytes }
    }
}

impl Deref for Front {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Front::Short { length, bytes } => &bytes[..usize::from(*length)],
            Front::Long(bytes) => bytes,
        }
    }
}

/// The labels without the first one; `None` for the apex.
pub(super) fn parent(front: &[u8]) -> Option<&[u8]> {
    let length = *front.first()?;
    front.get(1 + usize::from(length)..)
}

/// Whose node it is: a name of a zone, which is put together only where it is needed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Owner<'z> {
    front: &'z [u8],
    apex: &'z Name,
}

impl<'z> Owner<'z> {
    pub(super) fn new(front: &'z [u8], apex: &'z Name) -> Owner<'z> {
        Owner { front, apex }
    }

    /// The labels in front of the apex in wire form.
    pub fn front(self) -> &'z [u8] {
        self.front
    }

    /// The whole name on the stack.
    pub fn to_buf(self) -> NameBuf {
        NameBuf::join(self.front, self.apex.borrow()).expect("a zone only takes whole names")
    }

    /// The whole name.
    pub fn to_name(self) -> Name {
        if self.front.is_empty() { self.apex.clone() } else { self.to_buf().to_name() }
    }
}

impl PartialEq<Name> for Owner<'_> {
    fn eq(&self, name: &Name) -> bool {
        name.borrow().strip_suffix(self.apex.borrow()) == Some(self.front)
    }
}

impl fmt::Display for Owner<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.to_buf(), out)
    }
}

impl fmt::Debug for Owner<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}
