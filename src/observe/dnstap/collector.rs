//! The connection to a collector: made anew whenever it breaks.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::super::outlet::{Inlet, Order};
use super::frames;

/// How long a collector may take for one step: to be connected, to answer, to take a piece.
const STEP_TIMEOUT: Duration = Duration::from_secs(5);

/// The pauses between attempts double from the first to the last.
const PAUSE_FIRST: Duration = Duration::from_millis(250);
const PAUSE_LAST: Duration = Duration::from_secs(15);

/// Where a collector listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Collector {
    Socket(PathBuf),
    Address(SocketAddr),
}

impl std::fmt::Display for Collector {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Collector::Socket(path) => write!(out, "{}", path.display()),
            Collector::Address(address) => write!(out, "{address}"),
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// How a connection came to its end.
enum End {
    /// All was taken that there will be.
    Finished,
    Lost(io::Error),
}

impl Collector {
    /// Sends what comes until there will be no more, or until `given_up`.
    pub(super) async fn serve(self, mut frames: Inlet, given_up: CancellationToken) {
        tokio::select! {
            () = self.send_all(&mut frames) => {}
            () = given_up.cancelled() => {}
        }
        frames.drop_rest();
    }

    async fn send_all(&self, frames: &mut Inlet) {
        let (mut pause, mut is_told) = (PAUSE_FIRST, false);
        loop {
            let lost = match self.connect().await {
                Ok(mut stream) => {
                    match is_told {
                        true => info!("dnstap goes to {self} again"),
                        false => info!("dnstap goes to {self}"),
                    }
                    is_told = false;
                    let began = Instant::now();
                    match send(&mut stream, frames).await {
                        End::Finished => return,
                        End::Lost(error) => {
                            // One that hangs up at once is not asked all the time.
                            if began.elapsed() >= PAUSE_LAST {
                                pause = PAUSE_FIRST;
                            }
                            error
                        }
                    }
                }
                Err(error) => error,
            };
            if !is_told {
                warn!("dnstap does not reach {self}, and drops what does not wait: {lost}");
                is_told = true;
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_LAST);
        }
    }

    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        in_time(async {
            let mut stream: Box<dyn Stream> = match self {
                Collector::Socket(path) => Box::new(UnixStream::connect(path).await?),
                Collector::Address(address) => Box::new(TcpStream::connect(address).await?),
            };
            frames::begin(&mut stream).await?;
            Ok(stream)
        })
        .await
    }
}

async fn send(stream: &mut impl Stream, frames: &mut Inlet) -> End {
    let (mut reading, mut writing) = tokio::io::split(&mut *stream);
    loop {
        let mut said = [0];
        let order = tokio::select! {
            biased;
            // A collector says nothing before the end, but closes: what is written then fails with the second piece only.
            _ = reading.read(&mut said) => return End::Lost(ErrorKind::ConnectionReset.into()),
            order = frames.next() => order,
        };
        match order {
            Some(Order::Write(piece)) => match in_time(writing.write_all(&piece.bytes)).await {
                Ok(()) => frames.tally.add_written(piece.items),
                Err(error) => {
                    frames.tally.add_dropped(piece.items);
                    return End::Lost(error);
                }
            },
            Some(Order::Reopen) => {}
            None => break,
        }
    }
    match in_time(frames::end(stream)).await {
        Ok(()) => {}
        Err(error) => warn!("The collector of dnstap did not confirm the end: {error}"),
    }
    End::Finished
}

async fn in_time<T>(step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(STEP_TIMEOUT, step).await.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
}
