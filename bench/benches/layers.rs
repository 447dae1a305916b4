//! What a datagram costs, step by step: the parts of each layer by itself, and the steps of a whole connection.
//!
//! `cargo bench -p sinnet-bench --bench layers`. Processor time of this thread; the best of several turns, which is what the
//! machine can do when it does nothing else. The table of `docs/perf.md` comes from here.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sinnet_bench::cpu_time;
use sinnet_bench::stack::{Buffer, Pair, STEPS, Work, certificate};
use sinnet_dtls::{Certificate, CipherSuite, Config, Connection, HashAlgorithm, Role};
use sinnet_peer::classify;
use sinnet_stun::{Builder, Class, IntegrityKey, Message, Method, TransactionId};

/// Turns of each measurement.
const TURNS: u32 = 20;

/// Payload of a record in datagrams of 1200 bytes.
const RECORD: usize = 1160;

/// The least nanoseconds that one of `count` calls took, over all turns.
fn best(count: u32, mut call: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..TURNS {
        let begin = cpu_time();
        (0..count).for_each(|_| call());
        best = best.min((cpu_time() - begin).as_nanos() as f64 / f64::from(count));
    }
    best
}

fn row(what: &str, nanos: f64) {
    println!("| {what} | {nanos:.0} |");
}

#[expect(clippy::disallowed_methods, reason = "a benchmark needs one instant to start from")]
fn start() -> Instant {
    Instant::now()
}

/// A connected pair with AES-128-GCM.
fn dtls(certificate: &Arc<Certificate>, now: Instant) -> (Connection, Connection) {
    let mut config = Config::new(certificate.clone());
    config.suites = vec![CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256];
    let config = Arc::new(config);
    let end = |role, seed| {
        let expected = vec![certificate.fingerprint(HashAlgorithm::Sha256)];
        Connection::new(config.clone(), role, expected, now, [seed; 32])
    };
    let (mut client, mut server) = (end(Role::Client, 1), end(Role::Server, 2));
    let mut buffer = [0; 1500];
    while !client.is_connected() {
        while let Some(len) = client.poll_transmit(now, &mut buffer) {
            server.handle_input(now, &mut buffer[..len], |_| {}).expect("a good flight");
        }
        while let Some(len) = server.poll_transmit(now, &mut buffer) {
            client.handle_input(now, &mut buffer[..len], |_| {}).expect("a good flight");
        }
    }
    (client, server)
}

fn parts(certificate: &Arc<Certificate>) {
    println!("| part | ns |\n|---|---|");
    let key = IntegrityKey::short_term("VOkJxbRl1RmTxUk/WvJxBt");
    let mut out = [0; 128];
    let write = |out: &mut [u8]| {
        let mut builder = Builder::new(out, Class::Request, Method::BINDING, TransactionId([7; 12]));
        builder.username("EsAw:evtj").priority(1).ice_controlling(2).integrity(&key).fingerprint();
        builder.finish().expect("room")
    };
    row(
        "STUN: Binding request written, with integrity and fingerprint",
        best(2000, || _ = black_box(write(&mut out))),
    );
    let len = write(&mut out);
    let read = || {
        let message = Message::parse(black_box(&out[..len])).expect("a message");
        assert!(message.verify_fingerprint().is_valid() && message.verify_integrity(&key).is_valid());
    };
    row("STUN: the same read and checked", best(2000, read));
    let datagram = [23; 1200];
    row(
        "which layer a datagram is for (RFC 7983)",
        best(100_000, || _ = black_box(classify(black_box(&datagram)))),
    );
    let now = start();
    let (mut client, mut server) = dtls(certificate, now);
    let mut slot = vec![0x55; 1300];
    row("DTLS: a record of 1160 bytes sealed", best(2000, || _ = black_box(client.seal(&mut slot, RECORD))));
    let mut opened = 0;
    let mut sealed: Vec<Vec<u8>> = Vec::new();
    let mut least = f64::INFINITY;
    for _ in 0..TURNS {
        sealed.clear();
        for _ in 0..500 {
            let mut slot = vec![0x55; 1300];
            let len = client.seal(&mut slot, RECORD).expect("sealed");
            slot.truncate(len);
            sealed.push(slot);
        }
        let begin = cpu_time();
        for record in &mut sealed {
            server.handle_input(now, record, |_| opened += 1).expect("opened");
        }
        least = least.min((cpu_time() - begin).as_nanos() as f64 / 500.0);
    }
    assert_eq!(opened, TURNS * 500);
    row("DTLS: the same opened", least);
}

/// The steps of a whole connection.
fn steps(certificate: &Arc<Certificate>) {
    let mut buffer = Buffer::default();
    for (name, size, queue) in [("64 KiB", 65_536, 64), ("1 KiB", 1024, 512), ("100 bytes", 100, 2048)] {
        let mut pair = Pair::new(certificate, 1, 1, None, |config| config.max_mtu = 0);
        let payload = Bytes::from(vec![7; size]);
        let mut least: Option<Work> = None;
        for turn in 0..TURNS {
            pair.work = Work::default();
            while pair.work.total() < Duration::from_millis(50) {
                pair.turn(&mut buffer, &payload, queue);
            }
            let cost = |work: &Work| work.total().as_secs_f64() / work.bytes as f64;
            // The first warms up.
            if turn > 0 && least.is_none_or(|least| cost(&pair.work) < cost(&least)) {
                least = Some(pair.work);
            }
        }
        let work = least.expect("turns");
        println!(
            "\nMessages of {name}: {:.2} Gbit/s of payload in one thread, {:.0} ns per datagram, {:.0} ns per message, {:.1} \
             acknowledgements per 100 datagrams.\n",
            work.bytes as f64 * 8e-9 / work.total().as_secs_f64(),
            work.total().as_nanos() as f64 / work.datagrams as f64,
            work.total().as_nanos() as f64 / work.messages as f64,
            work.answers as f64 * 100.0 / work.datagrams as f64,
        );
        println!("| step | ns per datagram of data | ns per message | share |\n|---|---|---|---|");
        for step in STEPS {
            let nanos = work.steps[step as usize].as_nanos() as f64;
            println!(
                "| {step:?} | {:.0} | {:.0} | {:.0} % |",
                nanos / work.datagrams as f64,
                nanos / work.messages as f64,
                nanos * 100.0 / work.total().as_nanos() as f64
            );
        }
    }
}

fn main() {
    let certificate = certificate();
    parts(&certificate);
    steps(&certificate);
}
