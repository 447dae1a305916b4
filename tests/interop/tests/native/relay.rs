//! A bad network between the browser and the library, where the kernel can't make one: a relay in user space that both
//! take for the other side. It loses, doubles and holds back datagrams; its chance comes from a seed.

use std::net::SocketAddr;

use serde_json::Value;
use sinnet_interop::net::PEER_ADDRESS;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

/// How bad it is. Only DTLS application data suffers, so that the connection comes up in no time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BadNetwork {
    /// Not 0.
    pub(crate) seed: u32,
    /// Of 1000 datagrams so many are lost, and as many held back, and as many doubled.
    pub(crate) per_mille: u32,
}

/// DTLS application data (RFC 6347 §4.1).
const APPLICATION_DATA: u8 = 23;

/// A datagram that is held back comes after so many others.
const HELD_FOR: usize = 3;

type Lines = (mpsc::UnboundedReceiver<Value>, mpsc::UnboundedSender<Value>);

/// Puts a relay into the way of the datagrams, by changing the candidates in the lines: the browser gets the relay's
/// address for ours; we get no address at all, and learn the relay's from its first check.
pub(crate) async fn put_between(
    bad: BadNetwork,
    mut from_page: mpsc::UnboundedReceiver<Value>,
    to_page: mpsc::UnboundedSender<Value>,
) -> Lines {
    let [front, back] = [(); 2].map(|()| UdpSocket::bind((PEER_ADDRESS, 0)));
    let (front, back) = (front.await.expect("a socket"), back.await.expect("a socket"));
    let port = front.local_addr().expect("bound").port();
    let (ours, address) = mpsc::unbounded_channel();
    tokio::spawn(relay(bad, front, back, address));

    let (to_us, lines_in) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(mut line) = from_page.recv().await {
            match line["type"].as_str() {
                Some("offer" | "answer") => {
                    let sdp = line["sdp"].as_str().unwrap_or_default();
                    let kept = sdp.lines().filter(|line| !line.starts_with("a=candidate:"));
                    let kept = kept.filter(|line| *line != "a=end-of-candidates");
                    line["sdp"] = kept.map(|line| format!("{line}\r\n")).collect::<String>().into();
                    let _ = to_us.send(line);
                }
                _ => continue,
            }
        }
    });
    let (lines_out, mut from_us) = mpsc::unbounded_channel::<Value>();
    tokio::spawn(async move {
        while let Some(mut line) = from_us.recv().await {
            if let Some(candidate) = line["candidate"].as_str() {
                let mut fields: Vec<String> = candidate.split(' ').map(str::to_owned).collect();
                // candidate:foundation component transport priority ADDRESS PORT typ …
                if fields[4] != PEER_ADDRESS {
                    continue;
                }
                let _ = ours.send(format!("{PEER_ADDRESS}:{}", fields[5]).parse().expect("an address"));
                fields[5] = port.to_string();
                line["candidate"] = fields.join(" ").into();
            }
            let _ = to_page.send(line);
        }
    });
    (lines_in, lines_out)
}

/// One direction's chance and what it holds back.
struct Direction {
    bad: BadNetwork,
    state: u32,
    held: Option<(usize, Vec<u8>)>,
}

impl Direction {
    fn new(bad: BadNetwork, which: u32) -> Self {
        Self { bad, state: bad.seed.wrapping_mul(2).wrapping_add(which) | 1, held: None }
    }

    fn happens(&mut self) -> bool {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 17;
        self.state ^= self.state << 5;
        self.state % 1000 < self.bad.per_mille
    }

    /// What comes out when this goes in.
    fn pass(&mut self, datagram: &[u8]) -> Vec<Vec<u8>> {
        if datagram.first() != Some(&APPLICATION_DATA) {
            return vec![datagram.to_vec()];
        }
        let (lost, doubled, held) = (self.happens(), self.happens(), self.happens());
        let mut out = Vec::new();
        if held && self.held.is_none() {
            self.held = Some((HELD_FOR, datagram.to_vec()));
        } else if !lost {
            out.resize(1 + usize::from(doubled), datagram.to_vec());
        }
        if let Some((left, _)) = &mut self.held {
            match left.checked_sub(1) {
                Some(less) => *left = less,
                None => out.extend(self.held.take().map(|(_, datagram)| datagram)),
            }
        }
        out
    }
}

async fn relay(
    bad: BadNetwork,
    front: UdpSocket,
    back: UdpSocket,
    mut address: mpsc::UnboundedReceiver<SocketAddr>,
) {
    let Some(ours) = address.recv().await else { return };
    let (mut inward, mut outward) = (Direction::new(bad, 0), Direction::new(bad, 1));
    let (mut from_front, mut from_back) = (vec![0; 65_536], vec![0; 65_536]);
    let mut theirs = None;
    loop {
        tokio::select! {
            got = front.recv_from(&mut from_front) => {
                let Ok((size, from)) = got else { continue };
                theirs = Some(from);
                for datagram in inward.pass(&from_front[..size]) {
                    let _ = back.send_to(&datagram, ours).await;
                }
            }
            got = back.recv_from(&mut from_back) => {
                let (Ok((size, _)), Some(theirs)) = (got, theirs) else { continue };
                for datagram in outward.pass(&from_back[..size]) {
                    let _ = front.send_to(&datagram, theirs).await;
                }
            }
        }
    }
}
