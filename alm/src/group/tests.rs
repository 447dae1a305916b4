//! Members at a real server, over real connections on 127.0.0.1.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use sinnet::EndpointConfig;
use sinnet_signaling::{Server, ServerConfig};
use tokio::time::timeout;

use super::{GroupEvent, GroupKind, Message, MulticastError, NodeId, Options, WebRtcAlm};

/// Longer than anything takes on a busy machine.
const SOON: Duration = Duration::from_secs(60);

async fn server() -> (Server, String) {
    let server = Server::bind(ServerConfig::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))).await.unwrap();
    let url = format!("ws://{}/alm", server.local_addr());
    (server, url)
}

fn options() -> Options {
    Options { bind: EndpointConfig::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))), ..Options::default() }
}

async fn member(url: &str, group: &str) -> WebRtcAlm {
    let member = WebRtcAlm::new(GroupKind::Reliable, url, options());
    member.join(group).await.unwrap();
    member
}

async fn event(member: &WebRtcAlm) -> GroupEvent {
    timeout(SOON, member.next_event()).await.expect("something happens soon").expect("the membership goes on")
}

async fn message(member: &WebRtcAlm) -> (u64, Message) {
    loop {
        match event(member).await {
            GroupEvent::Message { sequence, message } => return (sequence.0, message),
            GroupEvent::Missed { .. } | GroupEvent::Closed(_) => panic!("a message was missed"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn five_members_get_what_the_owner_sends() {
    let (_server, url) = server().await;
    let owner = WebRtcAlm::new(GroupKind::Reliable, &url, options());
    assert_eq!(owner.multicast("early").await, Err(MulticastError::NotMember));
    owner.create("room", "a room").await.unwrap();
    let mut members = Vec::new();
    for _ in 0..5 {
        members.push(member(&url, "room").await);
    }
    for n in 0..200_u32 {
        owner.multicast(n.to_le_bytes().to_vec()).await.unwrap();
    }
    owner.multicast("the end — 終わり").await.unwrap();
    for member in &members {
        assert_eq!(member.group_description().as_deref(), Some("a room"));
        assert_eq!(member.multicast("me too").await, Err(MulticastError::NotOwner));
        for n in 0..200_u32 {
            assert_eq!(message(member).await, (u64::from(n) + 1, n.to_le_bytes().to_vec().into()));
        }
        assert_eq!(message(member).await.1, "the end — 終わり".into());
    }
    let status = owner.status().await.unwrap();
    assert_eq!((status.id, status.path, status.parent), (NodeId(0), vec![NodeId(0)], None));
    assert_eq!(status.children.len(), 4, "the fifth is below one of them");
}
