//! Which sockets have something to read.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use socket2::Socket;

/// Sockets that one look finds; those beyond are found by the next.
const READY_MAX: usize = 16;

/// Sockets and the keys they are known by.
pub struct Poll(Epoll);

impl Poll {
    pub fn new() -> io::Result<Poll> {
        Ok(Poll(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?))
    }

    /// Watches a socket until it is closed.
    pub fn add(&self, socket: &Socket, key: usize) -> io::Result<()> {
        Ok(self.0.add(socket, EpollEvent::new(EpollFlags::EPOLLIN, key as u64))?)
    }

    /// Watches a socket no more.
    pub fn remove(&self, socket: &Socket) {
        // It fails only for what is not watched.
        let _ = self.0.delete(socket);
    }

    /// The keys of sockets that have something now.
    pub fn ready(&self) -> impl Iterator<Item = usize> + use<> {
        let mut events = [EpollEvent::empty(); READY_MAX];
        let count = self.0.wait(&mut events, EpollTimeout::ZERO).unwrap_or(0);
        events.into_iter().take(count).map(|event| event.data() as usize)
    }
}

impl AsFd for Poll {
    /// Readable when one of the sockets is.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.0.as_fd()
    }
}

/// What can be read without waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    pub socket: bool,
    pub other: bool,
}

/// Waits until a socket or something else can be read, or for `timeout`.
pub fn wait_for_either(socket: Option<&Socket>, other: BorrowedFd<'_>, timeout: Duration) -> Ready {
    // Rounded up, so that what is waited for is over.
    let timeout = PollTimeout::try_from(timeout.as_micros().div_ceil(1000)).unwrap_or(PollTimeout::MAX);
    let watched = |descriptor| PollFd::new(descriptor, PollFlags::POLLIN);
    let mut polled = [watched(other), watched(socket.map_or(other, AsFd::as_fd))];
    let polled = &mut polled[..1 + usize::from(socket.is_some())];
    // Errors are read as well.
    let is_ready = |polled: &PollFd<'_>| polled.any().unwrap_or(true);
    match poll(polled, timeout) {
        Ok(1..) => Ready { socket: polled.get(1).is_some_and(is_ready), other: is_ready(&polled[0]) },
        _ => Ready { socket: false, other: false },
    }
}
