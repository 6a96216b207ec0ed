//! Many datagrams with one system call, each answered from the address it was sent to.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use socket2::Socket;

use super::replies::{BATCH, Replies, Sent};
use crate::net::{Incoming, ReturnPath, Senders, Size, Wait};

/// Buffers for one system call's worth of datagrams and their replies.
pub struct Batch {
    incoming: Incoming,
    replies: Replies,
    kernel_drops: Option<u32>,
}

/// One datagram that was read, and the room for its reply.
pub struct Datagram<'a> {
    pub message: &'a [u8],
    pub reply: &'a mut [u8],
    pub path: ReturnPath,
    pub size: Size,
}

impl Batch {
    pub fn new() -> Batch {
        Batch { incoming: Incoming::new(BATCH, Senders::Told), replies: Replies::new(), kernel_drops: None }
    }

    /// Reads up to one batch; returns the number of datagrams.
    pub fn receive(&mut self, socket: &Socket, wait: Wait) -> io::Result<usize> {
        self.kernel_drops = None;
        self.replies.clear();
        self.incoming.receive(socket, wait)
    }

    /// The datagram at `index` of those received; `None` if it has no sender to reply to.
    pub fn datagram(&mut self, index: usize) -> Option<Datagram<'_>> {
        let (source, drops) = self.incoming.source_and_drops(index);
        self.kernel_drops = drops.or(self.kernel_drops);
        let path = ReturnPath { peer: self.incoming.sender(index)?, source };
        let (message, size) = (self.incoming.get(index), self.incoming.size(index));
        Some(Datagram { message, reply: self.replies.room_at(index), path, size })
    }

    /// What was received, one by one, and from whom.
    pub fn messages(&self) -> impl Iterator<Item = (&[u8], IpAddr)> {
        (0..self.incoming.count()).map(|index| {
            let sender = self.incoming.sender(index);
            (self.incoming.get(index), sender.map_or(Ipv4Addr::UNSPECIFIED.into(), |sender| sender.ip()))
        })
    }

    /// Queues the first `length` bytes of the reply to the datagram at `index`.
    pub fn queue(&mut self, index: usize, length: usize, path: &ReturnPath) {
        self.replies.queue(index, length, path);
    }

    /// Sends what was queued; a reply that cannot be sent does not stop the others.
    pub fn send(&mut self, socket: &Socket) -> Sent {
        self.replies.send(socket)
    }

    /// What the socket has dropped in its life for want of room, if the last datagrams tell.
    pub fn kernel_drops(&self) -> Option<u32> {
        self.kernel_drops
    }
}

#[cfg(test)]
mod tests {
    use std::mem::MaybeUninit;
    use std::net::SocketAddr;

    use socket2::{Domain, Type};

    use super::super::replies::send_one;
    use super::super::sockets::ask_for_paths;
    use super::*;

    fn socket(address: &str) -> (Socket, SocketAddr) {
        let address: SocketAddr = address.parse().unwrap();
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None).unwrap();
        ask_for_paths(&socket, address).unwrap();
        socket.bind(&address.into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        (socket, address)
    }

    /// A socket that is told where each datagram was sent to, and where to send them.
    fn any_address() -> (Socket, SocketAddr) {
        let (server, address) = socket("0.0.0.0:0");
        (server, ([127, 0, 0, 1], address.port()).into())
    }

    #[test]
    fn a_reply_that_cannot_be_sent_does_not_stop_the_others() {
        let (server, address) = any_address();
        let clients: Vec<_> = (0..3).map(|_| socket("127.0.0.1:0").0).collect();
        for client in &clients {
            client.send_to(b"question", &address.into()).unwrap();
        }
        let mut batch = Batch::new();
        assert_eq!(batch.receive(&server, Wait::ForOne).unwrap(), 3);
        for index in 0..3 {
            let datagram = batch.datagram(index).unwrap();
            assert_eq!((datagram.message, datagram.size), (&b"question"[..], Size::Whole));
            datagram.reply[0] = index as u8;
            let mut path = datagram.path;
            if index == 1 {
                // No host sends from TEST-NET-1.
                path.source.as_mut().unwrap().address = [192, 0, 2, 1].into();
            }
            batch.queue(index, 1, &path);
        }
        assert_eq!(batch.send(&server), Sent { replies: 2, failures: 1 });
        let mut buffer = [MaybeUninit::uninit(); 16];
        assert_eq!(clients[0].recv(&mut buffer).unwrap(), 1);
        assert_eq!(clients[2].recv(&mut buffer).unwrap(), 1);
        // SAFETY: one byte was received.
        assert_eq!(unsafe { buffer[0].assume_init() }, 2);
        assert_eq!(batch.receive(&server, Wait::No).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn buffers_are_as_new_for_each_batch() {
        let (server, address) = any_address();
        let (client, client_address) = socket("127.0.0.1:0");
        let mut batch = Batch::new();
        for round in 1..=3 {
            for length in 1..=round * 40 {
                client.send_to(&vec![7; length], &address.into()).unwrap();
            }
            let mut expected = 1;
            while let Ok(received) = batch.receive(&server, Wait::No) {
                assert!(received <= BATCH);
                for index in 0..received {
                    let datagram = batch.datagram(index).unwrap();
                    assert_eq!(datagram.message, vec![7; expected]);
                    assert_eq!(datagram.path.peer, client_address);
                    assert_eq!(datagram.path.source.unwrap().address, address.ip());
                    expected += 1;
                }
            }
            assert_eq!(expected, round * 40 + 1);
        }
    }

    #[test]
    fn one_message_goes_back_the_way_it_came() {
        let (server, address) = socket("0.0.0.0:0");
        let (client, _) = socket("127.0.0.1:0");
        let asked: SocketAddr = ([127, 0, 0, 9], address.port()).into();
        client.send_to(b"question", &asked.into()).unwrap();
        let mut batch = Batch::new();
        batch.receive(&server, Wait::ForOne).unwrap();
        let path = batch.datagram(0).unwrap().path;
        send_one(&server, b"reply", &path).unwrap();
        let mut buffer = [MaybeUninit::uninit(); 16];
        let (length, from) = client.recv_from(&mut buffer).unwrap();
        assert_eq!((length, from.as_socket()), (5, Some(asked)));
    }
}
