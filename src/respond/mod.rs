//! One request, from bytes to bytes. Floor 4.

mod client;

pub use client::{Client, Transport};
