//! Many datagrams of a connected socket with one system call.

use std::io::{self, IoSlice};

use smallvec::SmallVec;
use socket2::{Domain, Socket, Type};

use crate::net::{Control, Incoming, Letter, Outgoing, Senders, Wait, can_segment};

/// Datagrams a system call: past so many the call itself no longer counts.
pub const BATCH: usize = 32;

/// Room for what one call reads, and the headers of what one call sends.
pub struct Datagrams {
    incoming: Incoming,
    outgoing: Outgoing,
    segmenting: Segmenting,
}

impl Datagrams {
    pub fn new() -> Datagrams {
        Datagrams {
            incoming: Incoming::new(BATCH, Senders::Known),
            outgoing: Outgoing::new(BATCH),
            segmenting: Segmenting::of_kernel(),
        }
    }

    /// Reads up to one batch without waiting; returns the number of datagrams.
    pub fn receive(&mut self, socket: &Socket) -> io::Result<usize> {
        self.incoming.receive(socket, Wait::No)
    }

    /// The datagram at `index` of those received; of a longer one its beginning.
    pub fn get(&self, index: usize) -> &[u8] {
        self.incoming.get(index)
    }

    /// Sends up to a batch of datagrams without waiting; how many the kernel took of them, and what became of the next.
    ///
    /// Neighbours of one length go the kernel's way together.
    pub fn send<'m>(
        &mut self,
        socket: &Socket,
        messages: impl Iterator<Item = &'m [u8]>,
    ) -> (usize, io::Result<()>) {
        let parts: SmallVec<[IoSlice<'m>; BATCH]> = messages.take(BATCH).map(IoSlice::new).collect();
        let (mut next, segmenting) = (0, self.segmenting);
        loop {
            let groups: SmallVec<[(&[IoSlice<'_>], Control); BATCH]> =
                self.segmenting.groups(&parts[next..]).collect();
            let letters =
                groups.iter().map(|(parts, control)| Letter { parts, to: &[], control: control.as_bytes() });
            let (sent, result) = self.outgoing.send(socket, letters, Wait::No);
            next += groups[..sent].iter().map(|(parts, _)| parts.len()).sum::<usize>();
            match result {
                // A kernel or a device that cannot do it says so when it is asked to.
                Err(error)
                    if self.segmenting == Segmenting::Does
                        && matches!(error.raw_os_error(), Some(libc::EIO | libc::EINVAL)) =>
                {
                    self.segmenting = Segmenting::DoesNot;
                }
                Err(error) => {
                    // It was not for that.
                    self.segmenting = segmenting;
                    return (next, Err(error));
                }
                Ok(()) => return (next, Ok(())),
            }
        }
    }
}

/// Whether one message can be sent as several datagrams.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Segmenting {
    Does,
    DoesNot,
}

impl Segmenting {
    fn of_kernel() -> Segmenting {
        match Socket::new(Domain::IPV4, Type::DGRAM, None) {
            Ok(socket) if can_segment(&socket) => Segmenting::Does,
            _ => Segmenting::DoesNot,
        }
    }

    /// The datagrams that go as one message each, and what the kernel is told with it.
    fn groups<'m>(self, parts: &'m [IoSlice<'m>]) -> impl Iterator<Item = (&'m [IoSlice<'m>], Control)> {
        let groups = parts.chunk_by(move |one, other| self == Segmenting::Does && one.len() == other.len());
        groups.map(|group| match group.len() {
            1 => (group, Control::NONE),
            _ => (group, Control::segments(group[0].len() as u16)),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::time::Duration;

    use super::*;

    #[test]
    fn datagrams_arrive_one_by_one_and_in_order_however_they_are_sent() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        receiver.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        let sender = Socket::from(sender);
        let lengths = [5, 5, 5, 7, 5, 9, 9, 300, 300, 1];
        let messages: Vec<Vec<u8>> =
            lengths.iter().enumerate().map(|(index, length)| vec![index as u8; *length]).collect();
        let mut datagrams = Datagrams::new();
        for segmenting in [datagrams.segmenting, Segmenting::DoesNot] {
            datagrams.segmenting = segmenting;
            let (sent, result) = datagrams.send(&sender, messages.iter().map(Vec::as_slice));
            assert!(sent == messages.len() && result.is_ok());
            for message in &messages {
                let mut buffer = [0; 4096];
                let length = receiver.recv(&mut buffer).unwrap();
                assert_eq!(&buffer[..length], message);
            }
        }
    }

    #[test]
    fn messages_of_one_length_share_a_header_where_that_is_known() {
        let parts = [5, 5, 5, 7, 5, 9, 9].map(|length| IoSlice::new(&[0; 9][..length]));
        let groups = Segmenting::Does.groups(&parts).map(|(group, _)| group.len());
        assert_eq!(groups.collect::<Vec<_>>(), [3, 1, 1, 2]);
        assert_eq!(Segmenting::Does.groups(&parts[4..]).count(), 2);
        assert_eq!(Segmenting::DoesNot.groups(&parts[1..]).count(), 6);
        assert!(Segmenting::DoesNot.groups(&parts).all(|(_, control)| control.as_bytes().is_empty()));
    }
}
