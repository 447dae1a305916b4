//! A WebRTC data connection over `std::net::UdpSocket` alone: no runtime, no async, one thread a peer.
//!
//! ```sh
//! cargo run -p sinnet-peer --example udp
//! ```
//!
//! Two peers, Alice and Bob, run in two threads of this process and exchange their descriptions over channels, as two
//! programs would by any signalling. All that is asked of an owner of a [`Peer`] is in [`Node::run`]: bring datagrams and
//! the time, take datagrams, events and the next deadline away.

use std::error::Error;
use std::io::ErrorKind;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rand::TryRng;
use rand::rngs::SysRng;
use sinnet_peer::{
    Certificate, ChannelOptions, ChannelState, CloseReason, Config, Event, Message, Path, Peer, SdpType,
};

type Done<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Done<()> {
    let (to_bob, from_alice) = channel();
    let (to_alice, from_bob) = channel();
    let bob = thread::spawn(move || bob(&from_alice, &to_alice));
    alice(&to_bob, &from_bob)?;
    bob.join().map_err(|_| "Bob panicked")?
}

/// Offers, says hello on a channel of hers, and closes when an echo has come.
fn alice(to_bob: &Sender<String>, from_bob: &Receiver<String>) -> Done<()> {
    let mut node = Node::new("Alice")?;
    let chat = ChannelOptions { label: "chat".into(), ..Default::default() };
    let chat = node.peer.open_channel(now(), chat)?;

    let offer = node.peer.create_offer()?;
    node.peer.set_local_description(now(), SdpType::Offer, &offer)?;
    to_bob.send(node.description()?)?;
    node.peer.set_remote_description(now(), SdpType::Answer, &from_bob.recv()?)?;

    let reason = node.run(|peer, event| {
        match event {
            Event::ChannelState(key, ChannelState::Open) if key == chat => {
                println!("Alice: open on stream {:?}", peer.channel_id(chat));
                peer.try_send(now(), chat, "hello, Bob".into())?;
            }
            Event::Readable(key) => {
                while let Some(message) = peer.recv(key) {
                    println!("Alice: got {message:?}");
                    // In order: what was accepted is delivered first.
                    peer.close(now());
                }
            }
            Event::ConnectionState(state) => println!("Alice: {state}"),
            _ => {}
        }
        Ok(())
    })?;
    let stats = node.peer.stats();
    println!(
        "Alice: {reason}; {} datagrams sent, {} received",
        stats.datagrams_sent, stats.datagrams_received
    );
    Ok(())
}

/// Answers, and sends back whatever comes on any channel until the connection ends.
fn bob(from_alice: &Receiver<String>, to_alice: &Sender<String>) -> Done<()> {
    let mut node = Node::new("Bob")?;
    node.peer.set_remote_description(now(), SdpType::Offer, &from_alice.recv()?)?;
    let answer = node.peer.create_answer()?;
    node.peer.set_local_description(now(), SdpType::Answer, &answer)?;
    to_alice.send(node.description()?)?;

    let reason = node.run(|peer, event| {
        match event {
            Event::ChannelOpened(key) => {
                let label = peer.channel_options(key).map_or("", |options| options.label.as_str());
                println!("Bob: Alice opened {label:?}");
            }
            Event::Readable(key) => {
                while let Some(message) = peer.recv(key) {
                    if let Message::Text(text) = &message {
                        println!("Bob: got {text:?}");
                    }
                    // A full send buffer would give the message back, to be sent on `Event::Writable`.
                    peer.try_send(now(), key, message)?;
                }
            }
            _ => {}
        }
        Ok(())
    })?;
    println!("Bob: {reason}");
    Ok(())
}

/// A peer and its socket.
struct Node {
    peer: Peer,
    socket: UdpSocket,
}

impl Node {
    fn new(name: &str) -> Done<Self> {
        // Bound to one address, so that every datagram's local address is known; recvfrom doesn't tell it.
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        println!("{name}: on {}", socket.local_addr()?);
        #[expect(clippy::disallowed_methods, reason = "a certificate's dates are real ones")]
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
        let mut config = Config::new(Arc::new(Certificate::generate(unix)?));
        // The standard library can't forbid fragmentation (DF), so sizes that pass say nothing about the path.
        config.max_mtu = config.mtu;
        // Credentials, tags and sequence numbers are made from it.
        let mut seed = [0; 32];
        SysRng.try_fill_bytes(&mut seed)?;
        Ok(Self { peer: Peer::new(Arc::new(config), now(), seed), socket })
    }

    /// Our description with our one candidate in it. With candidates to come later (trickle), one would send it at once,
    /// and then what `add_local_host` returns.
    fn description(&mut self) -> Done<String> {
        self.peer.add_local_host(now(), self.socket.local_addr()?);
        self.peer.end_of_local_candidates(now());
        let (_, sdp) = self.peer.local_description().ok_or("no description")?;
        Ok(sdp)
    }

    /// The event loop, until the connection has ended and said goodbye. Tells why it ended.
    fn run(&mut self, mut on_event: impl FnMut(&mut Peer, Event) -> Done<()>) -> Done<CloseReason> {
        let local = self.socket.local_addr()?;
        let mut incoming = [0; 65_536];
        let mut outgoing = [0; 1500];
        let mut ended = None;
        loop {
            // What there is to send, and what there is to tell, until there is neither: each may lead to the other.
            loop {
                // One datagram at a time, as std has no UDP_SEGMENT.
                while let Some(transmit) = self.peer.poll_transmit(now(), 1, &mut outgoing) {
                    // What the system does not take is lost, and sent again in time like anything that is lost.
                    let _ = self.socket.send_to(&outgoing[..transmit.size], transmit.path.remote);
                }
                let Some(event) = self.peer.poll_event() else { break };
                if let Event::Closed(reason) = &event {
                    ended = Some(reason.clone());
                }
                on_event(&mut self.peer, event)?;
            }
            if let Some(reason) = ended.take_if(|_| self.peer.is_finished()) {
                return Ok(reason);
            }
            // Until a datagram comes or something is due. A time-out of zero would mean none at all.
            let due = self.peer.poll_timeout().map(|at| at.saturating_duration_since(now()));
            self.socket.set_read_timeout(due.map(|wait| wait.max(Duration::from_millis(1))))?;
            match self.socket.recv_from(&mut incoming) {
                Ok((len, remote)) => {
                    let path = Path::udp(local, remote);
                    self.peer.handle_datagram(now(), path, &mut incoming[..len]);
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                // ICMP errors of datagrams that we have sent; ICE sees by itself that nobody answers.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                Err(error) => return Err(error.into()),
            }
            // Harmless when nothing is due.
            self.peer.handle_timeout(now());
        }
    }
}

/// The clock: time enters here.
#[expect(clippy::disallowed_methods, reason = "an owner of a peer reads the clock")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    #[test]
    fn they_meet_talk_and_part_in_order() {
        super::main().unwrap();
    }
}
