//! The same socket buffers for all, as an operator gives them with `net.core.rmem_default`: Knot has no setting of its own.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use libc::{c_int, socklen_t};

use crate::machine::SOCKET_BUFFER_BYTES;

/// Gives all UDP sockets of processes room; the first error is told.
pub fn enlarge(processes: &[u32]) -> io::Result<()> {
    for process in processes {
        for entry in fs::read_dir(format!("/proc/{process}/fd"))?.flatten() {
            let is_socket =
                fs::read_link(entry.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket:"));
            let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
            if let (true, Some(number)) = (is_socket, number) {
                let socket = borrow(*process, number)?;
                if option(&socket, libc::SO_TYPE)? == libc::SOCK_DGRAM
                    && option(&socket, libc::SO_DOMAIN)? != libc::AF_UNIX
                {
                    set(&socket, libc::SO_RCVBUF)?;
                    set(&socket, libc::SO_SNDBUF)?;
                }
            }
        }
    }
    Ok(())
}

/// A descriptor of our own for a socket of another process.
fn borrow(process: u32, number: c_int) -> io::Result<OwnedFd> {
    // SAFETY: both calls take numbers and return a new descriptor, which nobody else owns.
    unsafe {
        let process = owned(libc::syscall(libc::SYS_pidfd_open, process, 0))?;
        owned(libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), number, 0))
    }
}

/// # Safety
/// `result` is what a system call returned that makes a descriptor.
unsafe fn owned(result: libc::c_long) -> io::Result<OwnedFd> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: as the caller says.
    Ok(unsafe { OwnedFd::from_raw_fd(result as c_int) })
}

fn option(socket: &OwnedFd, name: c_int) -> io::Result<c_int> {
    let (mut value, mut size) = (0, size_of::<c_int>() as socklen_t);
    // SAFETY: the kernel writes a number of this size.
    let result = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, name, (&raw mut value).cast(), &mut size)
    };
    if result == 0 { Ok(value) } else { Err(io::Error::last_os_error()) }
}

fn set(socket: &OwnedFd, name: c_int) -> io::Result<()> {
    let (value, size) = (SOCKET_BUFFER_BYTES, size_of::<c_int>() as socklen_t);
    // SAFETY: the kernel reads a number of this size.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, name, (&raw const value).cast(), size)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
