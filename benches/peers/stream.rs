//! Questions over TCP: a connection, many length-prefixed questions a write.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use anyhow::{Context, bail};
use socket2::{Domain, Socket, Type};

use crate::lane::{Awaited, HEADER, Lane, Tally};
use crate::questions::Burst;

/// Read at once; far more than the replies in flight.
const BUFFER_BYTES: usize = 256 << 10;

/// A connection.
pub struct Stream {
    socket: TcpStream,
    awaited: Awaited,
    /// What is not written yet.
    unsent: Vec<u8>,
    read: Vec<u8>,
    /// Of `read`.
    filled: usize,
}

impl Stream {
    pub fn to(server: SocketAddr, source: Ipv4Addr) -> anyhow::Result<Stream> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((source, 0)).into())?;
        socket.connect(&server.into()).context("the server takes no connection")?;
        socket.set_nonblocking(true)?;
        let socket = TcpStream::from(socket);
        socket.set_nodelay(true)?;
        let read = vec![0; BUFFER_BYTES];
        Ok(Stream { socket, awaited: Awaited::new(), unsent: Vec::new(), read, filled: 0 })
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        if self.unsent.is_empty() {
            return Ok(());
        }
        match self.socket.write(&self.unsent) {
            Ok(written) => drop(self.unsent.drain(..written)),
            Err(error) if is_later(&error) => {}
            Err(error) => return Err(error).context("the server takes no questions"),
        }
        Ok(())
    }
}

impl Lane for Stream {
    fn awaited(&mut self) -> &mut Awaited {
        &mut self.awaited
    }

    fn send(&mut self, burst: Burst<'_>, tally: &mut Tally) -> anyhow::Result<()> {
        for (query, right) in burst.wire.chunks_exact_mut(burst.length).zip(burst.rights) {
            self.awaited.ask(query, *right, tally);
            self.unsent.extend_from_slice(&(query.len() as u16).to_be_bytes());
            self.unsent.extend_from_slice(query);
        }
        self.flush()
    }

    fn receive(&mut self, tally: &mut Tally, answered: &mut dyn FnMut(u16)) -> anyhow::Result<usize> {
        self.flush()?;
        match self.socket.read(&mut self.read[self.filled..]) {
            Ok(0) => bail!("the server closed a connection"),
            Ok(length) => self.filled += length,
            Err(error) if is_later(&error) => return Ok(0),
            Err(error) => return Err(error).context("the server is gone"),
        }
        let (mut start, mut count) = (0, 0);
        while let Some(length) = self.read[start..self.filled].first_chunk::<2>() {
            let end = start + 2 + usize::from(u16::from_be_bytes(*length));
            if end > self.filled {
                break;
            }
            let message = &self.read[start + 2..end];
            let header = message.first_chunk::<HEADER>().context("a reply without a header")?;
            if let Some(id) = self.awaited.judge(header, tally) {
                answered(id);
            }
            (start, count) = (end, count + 1);
        }
        self.read.copy_within(start..self.filled, 0);
        self.filled -= start;
        Ok(count)
    }
}

fn is_later(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
