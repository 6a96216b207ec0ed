//! A service for tests: the first letter of the name says what happens to a message.

use std::sync::Arc;

use tokio::sync::watch;

use super::{Attempt, Service};
use crate::respond::Client;

/// Sends messages back with QR set; `w…` waits until the gate is opened, `p…` panics, `n…` gets no reply, `l…` a large one.
pub struct Echo {
    pub gate: watch::Sender<bool>,
    /// How many messages came to the gate.
    pub at_gate: watch::Sender<usize>,
    /// Who asked last.
    pub client: watch::Sender<Option<Client>>,
}

/// Length of the reply to `l…`.
pub const LARGE: usize = 60_000;

impl Echo {
    pub fn new() -> Arc<Echo> {
        Arc::new(Echo {
            gate: watch::channel(false).0,
            at_gate: watch::channel(0).0,
            client: watch::channel(None).0,
        })
    }

    pub async fn wait_for_at_gate(&self, count: usize) {
        self.at_gate.subscribe().wait_for(|&at_gate| at_gate >= count).await.unwrap();
    }
}

impl Service for Echo {
    type View = ();

    fn view(&self) {}

    fn try_answer(&self, (): &(), message: &[u8], client: Client, buffer: &mut [u8]) -> Attempt {
        self.client.send_replace(Some(client));
        let length = match message.get(13) {
            Some(b'w') => return Attempt::Wait,
            Some(b'n') => return Attempt::Drop,
            Some(b'p') => panic!("a message asked for it"),
            Some(b'l') => LARGE,
            _ => message.len(),
        };
        buffer[..message.len()].copy_from_slice(message);
        buffer[2] |= 0x80;
        Attempt::Reply(length)
    }

    async fn answer(self: Arc<Self>, mut message: Vec<u8>, _client: Client) -> Option<Vec<u8>> {
        self.at_gate.send_modify(|count| *count += 1);
        if message.get(14) == Some(&b'p') {
            panic!("a message asked for it");
        }
        self.gate.subscribe().wait_for(|open| *open).await.ok()?;
        message[2] |= 0x80;
        Some(message)
    }
}

/// A question with this id; the name has one label.
pub fn question(id: u16, label: &str) -> Vec<u8> {
    let mut message = vec![0; 12];
    message[..2].copy_from_slice(&id.to_be_bytes());
    message[5] = 1;
    message.push(label.len() as u8);
    message.extend(label.as_bytes());
    message.extend([0, 0, 1, 0, 1]);
    message
}

pub fn id(message: &[u8]) -> u16 {
    u16::from_be_bytes([message[0], message[1]])
}
