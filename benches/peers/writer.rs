//! One who writes records by the API, one each millisecond, and never waits: the generator calls it between questions.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

/// So many writes may wait for the store at once.
const CONNECTIONS: usize = 16;
const PERIOD: Duration = Duration::from_millis(1);
/// Far more than an answer has.
const ANSWER_BYTES_MAX: usize = 1 << 16;

/// Connections that write.
pub struct Writer {
    connections: Vec<Connection>,
    head: String,
    due: Instant,
    /// Writes that were answered well.
    pub written: u64,
    /// Writes that were due while all connections waited.
    pub late: u64,
}

/// A record set to write: its path below the API, and its body.
pub struct Change {
    pub path: String,
    pub body: String,
}

struct Connection {
    socket: TcpStream,
    is_waiting: bool,
    answer: Vec<u8>,
}

impl Writer {
    pub fn to(api: SocketAddr, token: &str) -> anyhow::Result<Writer> {
        let connect = |_| -> anyhow::Result<Connection> {
            let socket = TcpStream::connect(api)?;
            socket.set_nonblocking(true)?;
            socket.set_nodelay(true)?;
            Ok(Connection { socket, is_waiting: false, answer: Vec::new() })
        };
        let connections = (0..CONNECTIONS).map(connect).collect::<anyhow::Result<_>>()?;
        let head = format!(
            "HTTP/1.1\r\nHost: {api}\r\nAuthorization: Bearer {}\r\nIf-Match: *\r\nContent-Type: application/json\r\n",
            token.trim()
        );
        Ok(Writer { connections, head, due: Instant::now(), written: 0, late: 0 })
    }

    /// Begins to count now.
    pub fn restart(&mut self) {
        (self.due, self.written, self.late) = (Instant::now(), 0, 0);
    }

    /// Writes if a write is due, and takes answers.
    pub fn turn(&mut self, next: &mut dyn FnMut() -> Change) -> anyhow::Result<()> {
        self.take_answers()?;
        if Instant::now() < self.due {
            return Ok(());
        }
        self.due += PERIOD;
        let Some(free) = self.connections.iter_mut().find(|connection| !connection.is_waiting) else {
            self.late += 1;
            return Ok(());
        };
        let Change { path, body } = next();
        let request = format!("PUT {path} {}Content-Length: {}\r\n\r\n{body}", self.head, body.len());
        // An empty socket takes so little at once.
        free.socket.write_all(request.as_bytes()).context("the API takes no write")?;
        free.is_waiting = true;
        Ok(())
    }

    /// Until nothing waits; `false` if something still does.
    pub fn settle(&mut self, patience: Duration) -> anyhow::Result<bool> {
        let begun = Instant::now();
        while self.connections.iter().any(|connection| connection.is_waiting) {
            if begun.elapsed() > patience {
                return Ok(false);
            }
            self.take_answers()?;
        }
        Ok(true)
    }

    fn take_answers(&mut self) -> anyhow::Result<()> {
        for connection in self.connections.iter_mut().filter(|connection| connection.is_waiting) {
            if connection.is_answered()? {
                self.written += 1;
            }
        }
        Ok(())
    }
}

impl Connection {
    fn is_answered(&mut self) -> anyhow::Result<bool> {
        let mut part = [0; 4096];
        match self.socket.read(&mut part) {
            Ok(0) => bail!("the API closed a connection"),
            Ok(length) => self.answer.extend_from_slice(&part[..length]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => return Err(error).context("the API is gone"),
        }
        ensure!(self.answer.len() < ANSWER_BYTES_MAX, "the API's answer has no end");
        let text = String::from_utf8_lossy(&self.answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { return Ok(false) };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
        });
        if body.len() < length.unwrap_or(0) {
            return Ok(false);
        }
        ensure!(head.starts_with("HTTP/1.1 2"), "a write failed: {text}");
        self.answer.clear();
        self.is_waiting = false;
        Ok(true)
    }
}
