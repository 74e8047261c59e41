//! What the servers are asked to do.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use benches::load::{Churn, ClosedLoop, Shape};

use crate::server::{Launch, Server};

/// One kind of load.
pub(crate) struct Workload {
    /// What it is called on command lines and in tables.
    pub(crate) name: &'static str,
    /// What it is, in a line.
    pub(crate) about: &'static str,
    /// Whether it belongs to a quick look.
    pub(crate) is_quick: bool,
    kind: Kind,
    /// Whether servers answer each 64 bytes by a send of its own.
    answers: bool,
}

enum Kind {
    /// Messages on some connections, among others that only are there.
    Exchange { shape: Shape, idle: usize },
    /// So many clients at a time that come, exchange a message and go.
    Churn(usize),
}

impl Workload {
    /// Connections that a server holds at once.
    pub(crate) fn connections(&self) -> usize {
        match self.kind {
            Kind::Exchange { shape, idle } => shape.connections + idle,
            Kind::Churn(clients) => clients,
        }
    }

    /// Connections that do something.
    pub(crate) fn active(&self) -> usize {
        match self.kind {
            Kind::Exchange { shape, .. } => shape.connections,
            Kind::Churn(clients) => clients,
        }
    }

    /// Whether a server can be asked for it.
    pub(crate) fn suits(&self, server: &Server) -> bool {
        self.connections() <= server.max_connections && (server.can_answer || !self.answers)
    }

    /// How servers are started for it.
    pub(crate) fn launch(&self) -> Launch {
        Launch { answers: self.answers, ..Launch::default() }
    }

    /// Connects to a server.
    pub(crate) fn start(&self, server: SocketAddr) -> io::Result<Load> {
        match self.kind {
            Kind::Exchange { shape, idle } => Load::exchange(server, shape, idle),
            Kind::Churn(clients) => Ok(Load::Churn(Churn::new(server, clients, SMALL)?)),
        }
    }

    const fn exchange(name: &'static str, about: &'static str, shape: Shape) -> Self {
        Self { name, about, is_quick: false, kind: Kind::Exchange { shape, idle: 0 }, answers: false }
    }

    const fn quick(self) -> Self {
        Self { is_quick: true, ..self }
    }
}

/// A load that is connected.
pub(crate) enum Load {
    Exchange {
        active: ClosedLoop,
        connections: u64,
        /// Held, not used.
        _idle: Option<ClosedLoop>,
    },
    Churn(Churn),
}

impl Load {
    /// Messages on some connections, among others that have been served once and then are idle.
    pub(crate) fn exchange(server: SocketAddr, shape: Shape, idle: usize) -> io::Result<Self> {
        let idle = match idle {
            0 => None,
            connections => {
                let mut idle = ClosedLoop::connect(server, Shape { connections, size: SMALL, depth: 1 })?;
                idle.run(1)?;
                Some(idle)
            }
        };
        let active = ClosedLoop::connect(server, shape)?;
        Ok(Self::Exchange { active, connections: shape.connections as u64, _idle: idle })
    }

    /// Does at least so many units; answers how many, and in what time.
    pub(crate) fn run(&mut self, units: u64) -> io::Result<(u64, Duration)> {
        match self {
            Self::Exchange { active, connections, .. } => {
                let each = units.div_ceil(*connections);
                Ok((each * *connections, active.run(each)?))
            }
            Self::Churn(churn) => Ok((units, churn.run(units)?)),
        }
    }

    /// How many units take so long, after a warm-up that finds out.
    pub(crate) fn units_in(&mut self, sample: Duration) -> io::Result<u64> {
        let mut units = 1;
        loop {
            let (done, took) = self.run(units)?;
            if took >= sample / 8 || done >= MOST_UNITS {
                let fitting = done as f64 * sample.as_secs_f64() / took.as_secs_f64().max(1e-9);
                return Ok((fitting as u64).clamp(1, MOST_UNITS));
            }
            units = done * 2;
        }
    }
}

/// All workloads, the one that matters most first.
pub(crate) const ALL: [Workload; 8] = [
    Workload::exchange("64x64B", "64 connections, a message of 64 bytes under way on each", PING_PONG).quick(),
    Workload::exchange("64x64Bx16", "the same with 16 messages under way on each", Shape { depth: 16, ..PING_PONG })
        .quick(),
    Workload {
        answers: true,
        ..Workload::exchange("answers", "64 connections, 16 requests come at once, a send answers each", REQUESTS)
    },
    Workload::exchange("64x16KiB", "64 connections, a message of 16 KiB under way on each", LARGE),
    Workload {
        name: "100of10000",
        about: "100 connections exchange messages, 9 900 are idle",
        is_quick: false,
        kind: Kind::Exchange { shape: Shape { connections: 100, ..PING_PONG }, idle: 9_900 },
        answers: false,
    },
    Workload {
        name: "bulk",
        about: "one connection on which bytes flow both ways as fast as they can",
        is_quick: false,
        kind: Kind::Exchange { shape: Shape { connections: 1, size: 1 << 20, depth: u64::MAX }, idle: 0 },
        answers: false,
    },
    Workload {
        name: "churn",
        about: "16 clients at a time connect, exchange 64 bytes and close",
        is_quick: true,
        kind: Kind::Churn(16),
        answers: false,
    },
    Workload::exchange("1x64B", "one connection, one message under way", Shape { connections: 1, ..PING_PONG }).quick(),
];

pub(crate) const PING_PONG: Shape = Shape { connections: 64, size: SMALL, depth: 1 };

/// What 16 requests of 64 bytes are to the load: one message, which it sends again when the last answer has come.
const REQUESTS: Shape = Shape { size: 16 * SMALL, ..PING_PONG };

const LARGE: Shape = Shape { size: 16 << 10, ..PING_PONG };

const SMALL: usize = 64;

/// Keeps a sample finite whatever the clock says.
const MOST_UNITS: u64 = 50_000_000;
