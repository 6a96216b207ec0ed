//! One query over TCP, on a connection of its own.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{ExchangeError, Query};

/// Sends a query behind its length and reads one message back, of 64 KiB at most (RFC 1035 §4.2.2).
pub async fn exchange(upstream: SocketAddr, query: &Query) -> Result<Vec<u8>, ExchangeError> {
    let mut stream = TcpStream::connect(upstream).await?;
    stream.set_nodelay(true)?;
    let bytes = query.as_bytes();
    // RFC 7766 §8: length and message in one write.
    let mut framed = Vec::with_capacity(bytes.len() + 2);
    framed.extend((bytes.len() as u16).to_be_bytes());
    framed.extend_from_slice(bytes);
    stream.write_all(&framed).await?;
    let length = usize::from(stream.read_u16().await?);
    // Room grows with what arrives: a peer that promises much and sends little costs little.
    let mut reply = Vec::with_capacity(length.min(4096));
    stream.take(length as u64).read_to_end(&mut reply).await?;
    if reply.len() < length {
        return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
    }
    Ok(reply)
}
