//! The messages of dnstap, with the numbers of <https://github.com/dnstap/dnstap.pb> (`dnstap.proto`).

use prost::{Enumeration, Message as _};

/// What one frame holds.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Dnstap {
    #[prost(bytes = "vec", optional, tag = "1")]
    pub identity: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub version: Option<Vec<u8>>,
    #[prost(message, optional, tag = "14")]
    pub message: Option<Message>,
    #[prost(enumeration = "Type", required, tag = "15")]
    pub r#type: i32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Enumeration)]
pub(super) enum Type {
    Message = 1,
}

/// A query or a response.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Message {
    #[prost(enumeration = "MessageType", required, tag = "1")]
    pub r#type: i32,
    #[prost(enumeration = "SocketFamily", optional, tag = "2")]
    pub socket_family: Option<i32>,
    #[prost(enumeration = "SocketProtocol", optional, tag = "3")]
    pub socket_protocol: Option<i32>,
    /// Of the one who asked.
    #[prost(bytes = "vec", optional, tag = "4")]
    pub query_address: Option<Vec<u8>>,
    /// Of the one who was asked.
    #[prost(bytes = "vec", optional, tag = "5")]
    pub response_address: Option<Vec<u8>>,
    #[prost(uint32, optional, tag = "6")]
    pub query_port: Option<u32>,
    #[prost(uint32, optional, tag = "7")]
    pub response_port: Option<u32>,
    #[prost(uint64, optional, tag = "8")]
    pub query_time_sec: Option<u64>,
    #[prost(fixed32, optional, tag = "9")]
    pub query_time_nsec: Option<u32>,
    #[prost(bytes = "vec", optional, tag = "10")]
    pub query_message: Option<Vec<u8>>,
    /// The domain that the one who was asked answers for, in wire form.
    #[prost(bytes = "vec", optional, tag = "11")]
    pub query_zone: Option<Vec<u8>>,
    #[prost(uint64, optional, tag = "12")]
    pub response_time_sec: Option<u64>,
    #[prost(fixed32, optional, tag = "13")]
    pub response_time_nsec: Option<u32>,
    #[prost(bytes = "vec", optional, tag = "14")]
    pub response_message: Option<Vec<u8>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Enumeration)]
pub(super) enum MessageType {
    AuthQuery = 1,
    AuthResponse = 2,
    ClientQuery = 5,
    ClientResponse = 6,
    ForwarderQuery = 7,
    ForwarderResponse = 8,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Enumeration)]
pub(super) enum SocketFamily {
    Inet = 1,
    Inet6 = 2,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Enumeration)]
pub(super) enum SocketProtocol {
    Udp = 1,
    Tcp = 2,
    Dot = 3,
}

impl Dnstap {
    /// Appends it as a data frame.
    pub fn write_frame(&self, bytes: &mut Vec<u8>) {
        // Two messages of 64 KiB at most.
        let length = self.encoded_len() as u32;
        bytes.extend(length.to_be_bytes());
        self.encode_raw(bytes);
    }
}
