//! Datagrams, many with one system call, and what is asked of their sockets. Floor 1.
//!
//! A `Ring`'s two halves read and send; what comes and goes beside the bytes are `Control` messages and a `ReturnPath`.
//! All unsafe code for sockets is in this folder: the two system calls, their empty header, and an option that is set.

mod address;
mod control;
mod options;
mod path;
mod ready;
mod ring;

pub use address::Address;
pub use control::Control;
pub use options::{bind_freely, can_segment, ignore_path_mtu, tell_drops, tell_source};
pub use path::{ReturnPath, Source};
pub use ready::{Poll, Ready, wait_for_either};
pub use ring::{DATAGRAM_SIZE_MAX, Incoming, Letter, Outgoing, STRIDE, Senders, Size, Wait};
