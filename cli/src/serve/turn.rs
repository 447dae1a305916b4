//! `sinnet serve --turn`: a TURN and STUN server beside the web server.

use std::net::IpAddr;

use sinnet::turn::ServerConfig;
use sinnet::{TurnServer, TurnServerConfig};

use super::outward;
use super::settings::Settings;
use crate::failure::{Context, Failure};
use crate::terminal::Screen;

/// The realm that clients are asked for.
const REALM: &str = "sinnet";

/// What the settings ask for; `None` without `--turn`.
pub(super) fn config(settings: &Settings) -> Result<Option<TurnServerConfig>, Failure> {
    let users = settings.turn_user.iter().flatten();
    let Some(listen) = settings.turn else {
        return match (users.count(), &settings.turn_secret, &settings.turn_external) {
            (0, None, None) => Ok(None),
            _ => Err(Failure::new("the settings of a TURN server need --turn ADDR:PORT")),
        };
    };
    let mut core = ServerConfig::new(REALM);
    for user in users {
        match user.split_once(':') {
            Some((name, password)) if !name.is_empty() && !password.is_empty() => {
                core.users.insert(name.to_owned(), password.to_owned());
            }
            _ => return Err(Failure::new("a user of the TURN server is NAME:PASSWORD")),
        }
    }
    core.secrets.extend(settings.turn_secret.iter().map(|secret| secret.clone().into_bytes()));
    if core.users.is_empty() && core.secrets.iter().all(Vec::is_empty) {
        return Err(Failure::new(
            "a TURN server relays for users only: give --turn-secret SECRET or --turn-user NAME:PASSWORD",
        ));
    }
    let relay = if listen.ip().is_unspecified() {
        outward(listen)
            .ok_or_else(|| Failure::new("--turn needs an address to relay from, as 192.0.2.1:3478"))?
    } else {
        listen.ip()
    };
    // A server that only this machine reaches is there to try things out on it.
    core.peers.loopback = listen.ip().is_loopback();
    let external: Vec<IpAddr> = settings.turn_external.into_iter().collect();
    Ok(Some(TurnServerConfig { external, ..TurnServerConfig::new(core, listen, relay) }))
}

/// Opens its sockets.
pub(super) async fn start(config: TurnServerConfig) -> Result<TurnServer, Failure> {
    let listen: Vec<String> = config.udp.iter().map(ToString::to_string).collect();
    let server = TurnServer::bind(config).await;
    server.context(format_args!("can't open the TURN server at {}", listen.join(", ")))
}

/// Says where it is.
pub(super) fn announce(server: &TurnServer, screen: &Screen) {
    for (addrs, transport) in [(server.udp_addrs(), ""), (server.tcp_addrs(), "?transport=tcp")] {
        for addr in addrs {
            println!("turn:{addr}{transport}");
            screen.say(format!("Relays at turn:{addr}{transport}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(turn: Option<&str>, users: &[&str], secret: Option<&str>) -> Settings {
        Settings {
            turn: turn.map(|addr| addr.parse().unwrap()),
            turn_user: (!users.is_empty()).then(|| users.iter().map(|user| (*user).to_owned()).collect()),
            turn_secret: secret.map(str::to_owned),
            ..Settings::default()
        }
    }

    #[test]
    fn a_server_needs_somebody_to_relay_for_and_says_so() {
        assert!(config(&settings(None, &[], None)).unwrap().is_none());
        let here = Some("127.0.0.1:3478");
        for (users, secret, part) in [
            (&[][..], None, "--turn-secret"),
            (&[], Some(""), "--turn-secret"),
            (&["alice"], None, "NAME:PASSWORD"),
            (&[":pw"], None, "NAME:PASSWORD"),
        ] {
            let error = config(&settings(here, users, secret)).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        let error = config(&settings(None, &[], Some("s"))).unwrap_err().to_string();
        assert!(error.contains("--turn "), "{error}");
    }

    #[test]
    fn loopback_is_relayed_to_from_loopback_only() {
        let of = |addr: &str| config(&settings(Some(addr), &["alice:pw"], Some("s"))).unwrap().unwrap();
        let here = of("127.0.0.1:3478");
        assert!(here.core.peers.loopback && here.core.users["alice"] == "pw" && here.core.secrets == [b"s"]);
        let public = of("192.0.2.1:3478");
        assert!(!public.core.peers.loopback);
        assert_eq!(public.relay, ["192.0.2.1".parse::<IpAddr>().unwrap()]);
    }
}
