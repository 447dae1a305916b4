//! A TURN server for one user: `cargo run --example turn_server -- 192.0.2.1:3478 alice wonderland`.

use std::net::SocketAddr;
use std::time::Duration;

use sinnet::turn::ServerConfig;
use sinnet::{TurnServer, TurnServerConfig};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next =
        |what: &str| arguments.next().ok_or(format!("{what} is missing: ADDRESS:PORT USER PASSWORD"));
    let listen: SocketAddr = next("the address")?.parse()?;
    let mut core = ServerConfig::new("sinnet");
    core.users.insert(next("the user")?, next("the password")?);
    // For trying it on one machine; elsewhere nobody should get at what listens on loopback.
    core.peers.loopback = listen.ip().is_loopback();
    let server = TurnServer::bind(TurnServerConfig::new(core, listen, listen.ip())).await?;
    println!("UDP {:?}, TCP {:?}", server.udp_addrs(), server.tcp_addrs());
    loop {
        tokio::time::sleep(Duration::from_secs(10)).await;
        println!("{:?}", server.stats());
    }
}
