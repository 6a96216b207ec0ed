//! What servers forward to: addresses and aliases of public names, made from the question.
//!
//! While a server is measured the generator answers for it in its own loop; otherwise a thread does.

use std::cell::RefCell;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::bare::{self, A, HEADER, MESSAGE_SIZE, OPT, Responder};
use crate::machine::SOCKET_BUFFER_BYTES;

/// Longer than any run: nothing ends while it is measured.
const TTL_SECS: u32 = 43_200;
const CNAME: u16 = 5;

/// The sorts of names, by what the first label begins with.
pub const PLAIN: &str = "host";
pub const ALIAS: &str = "edge";
/// A resource with a private endpoint; see `zones::label`.
const RESOURCE: &str = "acct";

/// Where such a resource is for the public.
const CLUSTER: &str = "blob.ams09prdstr01a.store.core.windows.net";
const CLUSTER_ADDRESS: Ipv4Addr = Ipv4Addr::new(20, 60, 1, 4);

/// How often the thread looks whether it is wanted.
const PAUSE_MS: i32 = 10;

/// A server of public names.
pub struct Upstream {
    pub address: SocketAddr,
    socket: Arc<UdpSocket>,
    /// The generator answers, not the thread.
    is_taken: Arc<AtomicBool>,
    turns: RefCell<(Responder, Names)>,
}

/// While it lives, the generator answers.
pub struct Taken<'u>(&'u AtomicBool);

impl Upstream {
    /// Answers from now on.
    pub fn start() -> anyhow::Result<Upstream> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_nonblocking(true)?;
        let socket = socket2::Socket::from(socket);
        socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES as usize)?;
        socket.set_send_buffer_size(SOCKET_BUFFER_BYTES as usize)?;
        let socket: Arc<UdpSocket> = Arc::new(socket.into());
        let is_taken = Arc::new(AtomicBool::new(false));
        thread::spawn({
            // Both know when it is gone by the count of those that hold the socket.
            let (socket, is_taken) = (socket.clone(), is_taken.clone());
            move || {
                let (mut responder, names) = (Responder::new(), Names::new());
                while Arc::strong_count(&socket) > 1 {
                    if is_taken.load(Ordering::Relaxed) {
                        thread::sleep(Duration::from_millis(PAUSE_MS as u64));
                    } else {
                        wait_for(&socket);
                        // What cannot be answered is lost.
                        let _ = responder.turn(&socket, libc::MSG_DONTWAIT, |message, length| {
                            names.reply(message, length)
                        });
                    }
                }
            }
        });
        let turns = RefCell::new((Responder::new(), Names::new()));
        Ok(Upstream { address: socket.local_addr()?, socket, is_taken, turns })
    }

    /// Has the caller answer by calling `turn`.
    pub fn take_over(&self) -> Taken<'_> {
        self.is_taken.store(true, Ordering::Relaxed);
        Taken(&self.is_taken)
    }

    /// Answers what is there.
    pub fn turn(&self) -> anyhow::Result<()> {
        let (responder, names) = &mut *self.turns.borrow_mut();
        let reply = |message: &mut [u8; MESSAGE_SIZE], length| names.reply(message, length);
        match responder.turn(&self.socket, libc::MSG_DONTWAIT, reply) {
            // A server that ended has closed the port a reply went to.
            Err(error) if error.kind() != io::ErrorKind::ConnectionRefused => Err(error.into()),
            _ => Ok(()),
        }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// What a name's address is for the public.
pub fn public_address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x1400_0000 | number & 0x00ff_ffff)
}

/// Records as they are appended, but for what the name tells.
struct Names {
    address: Vec<u8>,
    cluster: Vec<u8>,
}

impl Names {
    fn new() -> Names {
        Names { address: bare::record(A, TTL_SECS, &[0; 4]), cluster: bare::name(CLUSTER) }
    }

    /// Makes the reply of a query in its place; its length, or 0 for what is no query.
    fn reply(&self, message: &mut [u8; MESSAGE_SIZE], length: usize) -> usize {
        let Some(name_end) = bare::name_end(&message[..length]) else { return 0 };
        let is_address = message[name_end + 1..name_end + 3] == A.to_be_bytes();
        let has_opt = message[11] == 1;
        // QR and AA beside RD; RA.
        message[2] |= 0x84;
        message[3] = 0x80;
        let mut end = name_end + 5;
        let size = usize::from(message[HEADER]);
        let label: Vec<u8> = message[HEADER + 1..][..size].to_ascii_lowercase();
        let is_sort = |sort: &str| label.starts_with(sort.as_bytes());
        let (next, is_private) = (HEADER + 1 + size, is_second(message, size, b"privatelink"));
        if !is_address {
            // No data, and no SOA that would have it kept.
        } else if is_sort(ALIAS) && !is_second(message, size, b"cdn") {
            let mut target = message[HEADER..next].to_vec();
            target.extend_from_slice(b"\x03cdn");
            target.extend_from_slice(&pointer(next));
            let owner = end + 12;
            end = append(message, end, HEADER, &bare::record(CNAME, TTL_SECS, &target));
            end = self.append_address(message, end, owner, public_address(bare::number(&label)));
        } else if is_sort(RESOURCE) {
            let mut owner = HEADER;
            if !is_private {
                let mut target = message[HEADER..next].to_vec();
                target.extend_from_slice(b"\x0bprivatelink");
                target.extend_from_slice(&pointer(next));
                owner = end + 12;
                end = append(message, end, HEADER, &bare::record(CNAME, TTL_SECS, &target));
            }
            let cluster = end + 12;
            end = append(message, end, owner, &bare::record(CNAME, TTL_SECS, &self.cluster));
            end = self.append_address(message, end, cluster, CLUSTER_ADDRESS);
        } else if is_sort("blob") {
            end = self.append_address(message, end, HEADER, CLUSTER_ADDRESS);
        } else {
            end = self.append_address(message, end, HEADER, public_address(bare::number(&label)));
        }
        if has_opt {
            message[end..end + OPT.len()].copy_from_slice(&OPT);
            end += OPT.len();
        }
        end
    }

    fn append_address(
        &self,
        message: &mut [u8; MESSAGE_SIZE],
        end: usize,
        owner: usize,
        address: Ipv4Addr,
    ) -> usize {
        let end = append(message, end, owner, &self.address);
        message[end - 4..end].copy_from_slice(&address.octets());
        end
    }
}

/// Appends a record of the answer section; where it ends.
fn append(message: &mut [u8; MESSAGE_SIZE], start: usize, owner: usize, record: &[u8]) -> usize {
    message[start..start + record.len()].copy_from_slice(record);
    message[start..start + 2].copy_from_slice(&pointer(owner));
    message[7] += 1;
    start + record.len()
}

fn pointer(to: usize) -> [u8; 2] {
    (0xc000 | to as u16).to_be_bytes()
}

/// Whether the second label is this, the first one being so long.
fn is_second(message: &[u8; MESSAGE_SIZE], size: usize, label: &[u8]) -> bool {
    let second = &message[HEADER + 1 + size..];
    usize::from(second[0]) == label.len() && second[1..=label.len()].eq_ignore_ascii_case(label)
}

fn wait_for(socket: &UdpSocket) {
    let mut poll = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: it writes to one `pollfd`.
    unsafe { libc::poll(&mut poll, 1, PAUSE_MS) };
}
