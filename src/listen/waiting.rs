//! Messages that wait for upstream: how many of each client network, and when their replies may leave.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, OccupiedEntry};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use foldhash::quality::RandomState;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::met::{Limit, LimitsMet};
use super::pace::Pace;
use super::settings::Settings;
use crate::dns::{ClientNetwork, ExtendedError};
use crate::forward::{Asker, Pool};
use crate::respond::{Client, Transport};
use crate::zone::AddressRanges;

/// The longest that a reply is held back, from when its message came: a client asks again after two seconds.
const HELD_MAX: Duration = Duration::from_millis(1900);

/// All messages that wait.
#[derive(Debug)]
pub struct Waiting {
    wait_limit: usize,
    exempt: AddressRanges<()>,
    udp_max: usize,
    tcp_max: usize,
    table: Mutex<Table>,
    met: Arc<LimitsMet>,
}

/// The messages that wait, by asker.
#[derive(Debug, Default)]
struct Table {
    udp: usize,
    /// With those over TLS.
    tcp: usize,
    /// Those of whom a message waits.
    askers: HashMap<Asker, Waiters, RandomState>,
}

/// Messages of one network.
#[derive(Debug)]
struct Waiters {
    waiting: usize,
    pace: Pace,
}

/// The right of a message to wait; it waits no more when this is dropped.
#[derive(Debug)]
pub struct Ticket {
    waiting: Arc<Waiting>,
    asker: Asker,
    transport: Transport,
    came: Instant,
    /// Whether its place was given back already.
    is_over: bool,
}

/// Why a message cannot wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoRoom {
    /// So many wait already, whoever sent them.
    Full(usize),
    /// So many of this network wait already.
    WaitLimit(ClientNetwork, usize),
    /// This network has its share of those that wait.
    Share(ClientNetwork),
}

/// When a reply may be sent.
#[derive(Debug)]
pub enum Leave {
    Now,
    /// Until then the message goes on to wait.
    At(Instant, Ticket),
    /// It would come too late.
    Never,
}

impl Waiting {
    pub fn new(settings: &Settings, met: Arc<LimitsMet>) -> Arc<Waiting> {
        let limits = &settings.limits;
        Arc::new(Waiting {
            wait_limit: limits.wait_limit,
            exempt: AddressRanges::new(limits.exempt.iter().map(|range| (*range, ()))),
            udp_max: settings.udp_waiting_max,
            tcp_max: settings.tcp.waiting_max,
            table: Mutex::default(),
            met,
        })
    }

    /// Messages that wait now, over UDP and over TCP.
    pub fn taken(&self) -> [usize; 2] {
        let table = self.table.lock();
        [table.udp, table.tcp]
    }

    /// How many may.
    pub fn limits(&self) -> [usize; 2] {
        [self.udp_max, self.tcp_max]
    }

    /// Lets a message that comes now wait, if its network may have one more.
    pub fn admit(self: &Arc<Self>, client: Client, now: Instant) -> Result<Ticket, NoRoom> {
        let admitted = self.try_admit(client, now);
        match admitted {
            Err(NoRoom::WaitLimit(network, _)) => self.met.note(network, Limit::WaitLimit),
            Err(NoRoom::Share(network)) => self.met.note(network, Limit::Share),
            Ok(_) | Err(NoRoom::Full(_)) => {}
        }
        admitted
    }

    fn try_admit(self: &Arc<Self>, client: Client, now: Instant) -> Result<Ticket, NoRoom> {
        let (asker, transport) = (self.asker(client.address.ip()), client.transport);
        let mut table = self.table.lock();
        let Table { udp, tcp, askers } = &mut *table;
        let (taken, max) = match transport {
            Transport::Udp => (udp, self.udp_max),
            Transport::Tcp | Transport::Tls => (tcp, self.tcp_max),
        };
        let all = Pool { max, taken: *taken };
        if !all.has_room() {
            return Err(NoRoom::Full(max));
        }
        let entry = askers.entry(asker);
        let own = match &entry {
            Entry::Occupied(waiters) => waiters.get().waiting,
            Entry::Vacant(_) => 0,
        };
        match asker {
            Asker::Network(network) if own >= self.wait_limit => {
                return Err(NoRoom::WaitLimit(network, self.wait_limit));
            }
            Asker::Network(network) if !all.grants(own) => return Err(NoRoom::Share(network)),
            Asker::Exempt(network) if !all.grants_exempt(own) => return Err(NoRoom::Share(network)),
            _ => {}
        }
        let waiters = entry.or_insert_with(|| Waiters { waiting: 0, pace: Pace::new(now) });
        waiters.waiting += 1;
        if transport == Transport::Udp {
            waiters.pace.note(now);
        }
        *taken += 1;
        drop(table);
        Ok(Ticket { waiting: self.clone(), asker, transport, came: now, is_over: false })
    }

    fn asker(&self, client: IpAddr) -> Asker {
        match self.exempt.get(client) {
            None => Asker::Network(client.into()),
            Some(()) => Asker::Exempt(client.into()),
        }
    }
}

impl Ticket {
    /// For whom upstream is asked.
    pub fn asker(&self) -> Asker {
        self.asker
    }

    /// When the reply, which is ready, may be sent over UDP.
    // A reply over TCP goes to who asked, and no address can be forged.
    pub fn leave(mut self, now: Instant) -> Leave {
        let Asker::Network(network) = self.asker else { return Leave::Now };
        let mut table = self.waiting.table.lock();
        let mut at = Some(now);
        if let Entry::Occupied(mut waiters) = table.askers.entry(self.asker) {
            at = waiters.get_mut().pace.leave(now, self.came + HELD_MAX);
            if let Some(at) = at.filter(|at| *at > now) {
                drop(table);
                return Leave::At(at, self);
            }
            release(waiters);
        }
        *table.taken(self.transport) -= 1;
        drop(table);
        self.is_over = true;
        if at.is_some() {
            return Leave::Now;
        }
        self.waiting.met.note(network, Limit::Pace);
        Leave::Never
    }
}

impl Table {
    /// How many messages wait that came over a transport.
    fn taken(&mut self, transport: Transport) -> &mut usize {
        match transport {
            Transport::Udp => &mut self.udp,
            Transport::Tcp | Transport::Tls => &mut self.tcp,
        }
    }
}

/// Counts one message less of an asker.
fn release(mut waiters: OccupiedEntry<'_, Asker, Waiters>) {
    waiters.get_mut().waiting -= 1;
    if waiters.get().waiting == 0 {
        waiters.remove();
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let mut table = self.waiting.table.lock();
        *table.taken(self.transport) -= 1;
        if let Entry::Occupied(waiters) = table.askers.entry(self.asker) {
            release(waiters);
        }
    }
}

impl NoRoom {
    /// What the client is told.
    pub fn explain(self) -> ExtendedError {
        let why = match self {
            NoRoom::Full(max) => format!("{max} questions wait for upstream already"),
            NoRoom::WaitLimit(network, max) => {
                format!("{max} questions of {network} wait for upstream already")
            }
            NoRoom::Share(network) => {
                format!("too many questions of {network} wait for upstream, and others' do, too")
            }
        };
        ExtendedError::new(ExtendedError::OTHER, why)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::super::settings::{Limits, TcpSettings};
    use super::*;

    const EXEMPT: u32 = 77;

    fn waiting(max: usize, wait_limit: usize) -> Arc<Waiting> {
        let exempt = vec![ipnet::IpNet::new(client(EXEMPT, Transport::Udp).address.ip(), 32).unwrap()];
        let tcp = TcpSettings { waiting_max: max, ..TcpSettings::default() };
        let limits = Limits { wait_limit, exempt };
        Waiting::new(&Settings { udp_waiting_max: max, tcp, limits, ..Settings::default() }, Arc::default())
    }

    /// A client of the network of this number.
    fn client(number: u32, transport: Transport) -> Client {
        let address = Ipv4Addr::from_bits(0x0A00_0001 | number << 8);
        Client::new((address, 4711).into(), transport)
    }

    /// Has a network wait as often as it may.
    fn all(waiting: &Arc<Waiting>, number: u32) -> Vec<Ticket> {
        std::iter::from_fn(|| waiting.admit(client(number, Transport::Udp), Instant::now()).ok()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_heaviest_are_refused_first_and_the_floor_is_everybodys() {
        let waiting = waiting(8192, 1000);
        let mut heavy: Vec<Vec<Ticket>> = (0..12).map(|number| all(&waiting, number)).collect();
        assert!(heavy.iter().all(|tickets| tickets.len() >= Pool::FLOOR));
        let refused = waiting.admit(client(0, Transport::Udp), Instant::now()).unwrap_err();
        assert!(matches!(refused, NoRoom::WaitLimit(_, 1000)), "{refused:?}");
        assert!(matches!(waiting.admit(client(11, Transport::Udp), Instant::now()), Err(NoRoom::Share(_))));
        let light: Vec<Ticket> = (0..Pool::FLOOR)
            .map(|_| waiting.admit(client(50, Transport::Udp), Instant::now()).unwrap())
            .collect();
        // TCP has places of its own.
        assert!(waiting.admit(client(51, Transport::Tcp), Instant::now()).is_ok());
        heavy.clear();
        drop(light);
        let table = waiting.table.lock();
        assert!(table.askers.is_empty() && (table.udp, table.tcp) == (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn an_exempt_one_has_all_but_what_is_kept_for_those_with_little() {
        let waiting = waiting(4096, 1000);
        let exempt = all(&waiting, EXEMPT);
        assert!(exempt.len() > 3000);
        assert!(exempt.iter().all(|ticket| matches!(ticket.asker(), Asker::Exempt(_))));
        assert!(all(&waiting, 1).len() >= Pool::FLOOR);
        // It is not paced.
        assert!(exempt.into_iter().all(|ticket| matches!(ticket.leave(Instant::now()), Leave::Now)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_piled_up_in_a_network_leaves_in_its_time_or_not_at_all() {
        let waiting = waiting(8192, 1000);
        let last = waiting.admit(client(1, Transport::Udp), Instant::now()).unwrap();
        let mut tickets = Vec::new();
        for _ in 0..18 {
            tickets
                .extend((0..50).map(|_| waiting.admit(client(1, Transport::Udp), Instant::now()).unwrap()));
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        let other = waiting.admit(client(2, Transport::Udp), Instant::now()).unwrap();
        let now = Instant::now();
        let mut at_once = 0;
        let mut held = Vec::new();
        for ticket in tickets {
            let latest = ticket.came + HELD_MAX;
            match ticket.leave(Instant::now()) {
                Leave::Now => at_once += 1,
                Leave::At(at, ticket) => {
                    assert!((now..=latest).contains(&at));
                    held.push(ticket);
                }
                Leave::Never => panic!("the eldest came 1.8 s ago, and went first"),
            }
        }
        assert!((50..=150).contains(&at_once), "{at_once}");
        assert!(matches!(other.leave(Instant::now()), Leave::Now));
        // One that came first and is answered behind all others would come too late.
        assert!(matches!(last.leave(Instant::now()), Leave::Never));
        // What is held back waits on.
        assert_eq!(waiting.table.lock().udp, held.len());
        drop(held);
        assert!(waiting.table.lock().askers.is_empty());
        let met = waiting.met.of_late(HELD_MAX);
        assert_eq!(met.iter().map(|met| met.limit).collect::<Vec<_>>(), [Limit::Pace]);
    }
}
