//! What the server counts, and `/metrics`: Prometheus's text format, version 0.0.4. No label has a value that comes from outside.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Backend;
use crate::hub::Figure;
use crate::session::Ended;

/// Why a connection, a request or a WebSocket was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    /// The server has as many connections as it takes.
    Full,
    /// Its address has.
    Address,
    /// Its address says too much.
    Rate,
    /// The TLS handshake failed or took too long.
    Tls,
    /// A `Host` that is not ours.
    Host,
    /// An `Origin` that may not.
    Origin,
}

const REFUSALS: [(Refusal, &str); 6] = [
    (Refusal::Full, "full"),
    (Refusal::Address, "address"),
    (Refusal::Rate, "rate"),
    (Refusal::Tls, "tls"),
    (Refusal::Host, "host"),
    (Refusal::Origin, "origin"),
];

const ENDS: [&str; 6] = ["closed", "left", "broke_rules", "silent", "unread", "broken"];

fn end(ended: &Ended) -> usize {
    match ended {
        Ended::Local => 0,
        Ended::Peer(..) => 1,
        Ended::Refused(..) => 2,
        Ended::TimedOut => 3,
        Ended::Unread => 4,
        Ended::Broken(_) => 5,
    }
}

#[derive(Default, Debug)]
pub(super) struct Counters {
    accepted: AtomicU64,
    refused: [AtomicU64; REFUSALS.len()],
    opened: AtomicU64,
    ended: [AtomicU64; ENDS.len()],
    received: AtomicU64,
    sent: AtomicU64,
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl Counters {
    pub(super) fn accepted(&self) {
        add(&self.accepted);
    }

    pub(super) fn refused(&self, refusal: Refusal) {
        add(&self.refused[refusal as usize]);
    }

    pub(super) fn opened(&self) {
        add(&self.opened);
    }

    pub(super) fn ended(&self, ended: &Ended) {
        add(&self.ended[end(ended)]);
    }

    pub(super) fn received(&self) {
        add(&self.received);
    }

    pub(super) fn sent(&self) {
        add(&self.sent);
    }

    /// All that there is to tell.
    pub(super) fn text(&self, connections: u64, protocols: [(&str, &dyn Backend); 2]) -> String {
        let mut text = Text(String::with_capacity(4096));
        let ended: u64 = self.ended.iter().map(get).sum();
        text.figure("", &Figure::now("connections", "TCP connections that there are.", connections));
        text.figure(
            "",
            &Figure::total("connections_accepted", "TCP connections that came.", get(&self.accepted)),
        );
        let open = get(&self.opened).saturating_sub(ended);
        text.figure("", &Figure::now("websockets", "WebSockets that there are.", open));
        text.figure(
            "",
            &Figure::total("websockets_opened", "WebSockets that there were.", get(&self.opened)),
        );
        text.figure(
            "",
            &Figure::total("messages_received", "Messages and pings that came.", get(&self.received)),
        );
        text.figure("", &Figure::total("messages_sent", "Messages that were sent.", get(&self.sent)));
        let refused = REFUSALS.iter().map(|&(refusal, name)| (name, get(&self.refused[refusal as usize])));
        text.family("refused_total", "Connections and requests that were refused.", "reason", refused);
        let ended = ENDS.iter().zip(&self.ended).map(|(name, count)| (*name, get(count)));
        text.family("websockets_ended_total", "WebSockets that have ended.", "how", ended);
        for (protocol, backend) in protocols {
            for figure in backend.figures() {
                text.figure(protocol, &figure);
            }
        }
        text.0
    }
}

/// Metrics as they are written.
struct Text(String);

impl Text {
    fn figure(&mut self, protocol: &str, figure: &Figure) {
        let Figure { name, help, grows, value } = figure;
        let (kind, unit) = if *grows { ("counter", "_total") } else { ("gauge", "") };
        let protocol = if protocol.is_empty() { String::new() } else { format!("{protocol}_") };
        let name = format!("sinnet_{protocol}{name}{unit}");
        // Writing to a String does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
    }

    fn family<'a>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl Iterator<Item = (&'a str, u64)>,
    ) {
        let _ = writeln!(self.0, "# HELP sinnet_{name} {help}\n# TYPE sinnet_{name} counter");
        for (of, value) in values {
            let _ = writeln!(self.0, "sinnet_{name}{{{label}=\"{of}\"}} {value}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::CloseCode;

    #[test]
    fn every_refusal_and_every_end_has_its_own_line() {
        let counters = Counters::default();
        for (i, (refusal, _)) in REFUSALS.iter().enumerate() {
            for _ in 0..=i {
                counters.refused(*refusal);
            }
        }
        let ends = [
            Ended::Local,
            Ended::Peer(None, String::new()),
            Ended::Refused(CloseCode::POLICY, String::new()),
            Ended::TimedOut,
            Ended::Unread,
            Ended::Broken(String::new()),
        ];
        for (i, ended) in ends.iter().enumerate() {
            for _ in 0..=i {
                counters.opened();
                counters.ended(ended);
            }
        }
        let text = {
            let local = super::super::Local::new(crate::mesh::Server::new(Default::default(), [1; 32]));
            counters.text(3, [("alm", &local), ("p2p", &local)])
        };
        for line in [
            "sinnet_connections 3",
            "sinnet_websockets 0",
            "sinnet_websockets_opened_total 21",
            "sinnet_refused_total{reason=\"full\"} 1",
            "sinnet_refused_total{reason=\"origin\"} 6",
            "sinnet_websockets_ended_total{how=\"closed\"} 1",
            "sinnet_websockets_ended_total{how=\"unread\"} 5",
            "# TYPE sinnet_p2p_relayed_total counter",
            "sinnet_alm_groups 0",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is not in:\n{text}");
        }
        // A name is described once and before its values, as the format wants it.
        let described: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        let mut names: Vec<_> = described.iter().map(|line| line.split(' ').next().unwrap()).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
