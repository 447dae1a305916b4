//! A server that goes away, comes back, or talks nonsense.

use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::*;

async fn server_at(addr: SocketAddr) -> Server {
    // The port may take a moment to be free.
    let binding = async {
        loop {
            if let Ok(server) = Server::bind(ServerConfig::new(addr)).await {
                return server;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(SOON, binding).await.expect("the port is free again")
}

#[tokio::test]
async fn the_tree_goes_on_without_the_server_and_the_group_comes_back_with_it() {
    let (server, url) = server().await;
    let addr = server.local_addr();
    let mut narrow = options();
    narrow.tree.max_down_streams = 2;
    let owner = owner(&url, GroupKind::Reliable, narrow.clone()).await;
    let mut members = Vec::new();
    for _ in 0..3 {
        members.push(Mortal::join(&url, narrow.clone()).await);
    }
    for mortal in &members {
        until(&mortal.alm, "it is in the tree", |status| status.parent.is_some()).await;
    }
    server.shutdown(Duration::from_secs(5)).await;
    find(&owner, |event| matches!(event, GroupEvent::ServerLost { .. }).then_some(())).await;
    assert!(!owner.status().await.unwrap().server);
    owner.multicast("without a server").await.unwrap();
    for mortal in &members {
        assert_eq!(message(&mortal.alm).await.1, "without a server".into());
    }
    let nobody = WebRtcAlm::new(GroupKind::Reliable, &url, options());
    assert!(matches!(nobody.join("room").await, Err(StartError::Connect(_))));

    let _server = server_at(addr).await;
    find(&owner, |event| (event == GroupEvent::ServerRegained).then_some(())).await;
    let newcomer = member(&url).await;
    assert_eq!(newcomer.id(), Some(NodeId(4)), "the numbers of the others are not given away again");
    assert_eq!(message(&newcomer).await.1, "without a server".into());
    assert_eq!(newcomer.group_description().as_deref(), Some("a room"));

    // Who loses its parents now asks the new server, by its old number.
    let mut orphan = None;
    for mortal in &members {
        let status = mortal.alm.status().await.unwrap();
        if status.parent != Some(NodeId(0)) {
            orphan = Some(mortal.alm.clone());
        }
    }
    let orphan = orphan.expect("with two children, one of three hangs below another");
    let id = orphan.id();
    let (_survivor, others): (Vec<_>, Vec<_>) = members.into_iter().partition(|mortal| mortal.alm.id() == id);
    others.into_iter().for_each(Mortal::kill);
    owner.multicast("after two deaths").await.unwrap();
    assert_eq!(message(&orphan).await.1, "after two deaths".into());
    assert_eq!(orphan.id(), id);
    assert_eq!(message(&newcomer).await.1, "after two deaths".into());
}

#[tokio::test]
async fn a_group_that_is_gone_is_given_up_in_the_end() {
    let (_server, url) = server().await;
    let owner = owner(&url, GroupKind::Reliable, options()).await;
    let mut hasty = options();
    hasty.give_up = Duration::from_secs(1);
    hasty.tree.join_retry = Duration::from_millis(300);
    let member = WebRtcAlm::new(GroupKind::Reliable, &url, hasty);
    member.join("room").await.unwrap();
    until(&member, "it is in the tree", |status| status.parent.is_some()).await;
    owner.leave().await;
    let why = find(&member, |event| match event {
        GroupEvent::Closed(ended) => Some(ended),
        _ => None,
    })
    .await;
    assert!(matches!(&why, Ended::GroupGone(reason) if reason.contains("room")), "{why}");
    assert_eq!(member.next_event().await, None);
    assert!(member.status().await.is_none());
}

/// A server of the test's own: takes one WebSocket after another and says the same to each, whatever it hears.
async fn liar(says: Vec<Value>) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("ws://{}/alm", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let says = says.clone();
            tokio::spawn(async move { scripted::say_to(stream, says).await });
        }
    });
    url
}

#[tokio::test]
async fn a_server_that_is_busy_is_asked_again_one_that_knows_no_such_group_is_not_for_ever() {
    let mut hasty = options();
    hasty.give_up = Duration::from_millis(300);
    let refusing = async |reason: &str| {
        let says =
            [json!({"m": "join", "r": "ok", "g": 0, "i": 7}), json!({"m": "join", "r": reason})].to_vec();
        let member = WebRtcAlm::new(GroupKind::Reliable, &liar(says).await, hasty.clone());
        member.join("room").await.unwrap();
        member
    };
    let gone = refusing("unknown group 'room'").await;
    let waits = refusing("too many joins: try again").await;
    find(&gone, |event| matches!(event, GroupEvent::Closed(Ended::GroupGone(_))).then_some(())).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(waits.status().await.is_some(), "it is a member still");
}

#[tokio::test]
async fn a_server_that_lies_is_survived() {
    for answer in [json!({"m": "join", "r": "ok"}), json!({"m": "join", "r": "ok", "i": 0}), json!({"r": 7})]
    {
        let url = liar(vec![answer]).await;
        let member = WebRtcAlm::new(GroupKind::Reliable, &url, options());
        assert!(matches!(member.join("room").await, Err(StartError::Answer(_) | StartError::Refused(_))));
    }
    let sdp = json!({"type": "answer", "sdp": "v=0\r\n"}).to_string();
    let mut says = vec![
        json!({"m": "create", "r": "ok", "g": 0}),
        json!({"m": "join", "r": "ok", "g": 0, "i": 7}),
        json!({"m": "answer", "k": 5, "s": sdp}),
        json!({"m": "join_res", "i": 7, "k": 0}),
        json!({"m": "join_res", "i": -1, "k": 0}),
        json!({"m": "join_res", "i": 3, "k": "0"}),
        json!({"m": "join_res", "i": 3, "k": 0}),
        json!({"m": "answer", "k": 0, "s": sdp}),
        json!({"m": "answer", "k": 0, "s": 7}),
        json!({"m": "ice", "k": 0, "d": "{}"}),
        json!({"m": "join"}),
        json!({"m": "join", "i": 4_294_967_296_u64, "n": 1, "e": []}),
        json!({"m": "join", "i": 9, "e": "a", "x": {"v": 1, "p": [0, 9]}}),
        json!({"m": "join", "i": 9, "e": {"a": 1}, "n": 1e300}),
        json!({"m": "what"}),
        json!({"r": "you are wrong"}),
    ];
    // More acceptors than were asked for.
    says.extend((0..100).map(|n| json!({"m": "join_res", "i": 1000 + n, "k": 10 + n})));
    let url = liar(says).await;
    let mut hasty = options();
    hasty.patience = Duration::from_secs(1);
    let endpoint = Endpoint::bind("127.0.0.1:0").await.unwrap();
    hasty.endpoint = Some(endpoint.clone());
    let member = WebRtcAlm::new(GroupKind::Reliable, &url, hasty);
    member.join("room").await.unwrap();
    let (mut connecting, mut failed) = (0, 0);
    while failed < 3 {
        match event(&member).await {
            GroupEvent::StateChange { state: LinkState::Connecting, .. } => connecting += 1,
            GroupEvent::StateChange { state: LinkState::Failed, .. } => failed += 1,
            GroupEvent::StateChange { .. } => panic!("there is nobody to be connected with"),
            _ => {}
        }
    }
    assert!((3..=8).contains(&connecting), "{connecting} connections for a join of two");
    member.leave().await;
    until_released(&endpoint, "attempts that came to nothing are over").await;

    let owner = WebRtcAlm::new(GroupKind::Reliable, &url, options());
    owner.create("room", "").await.unwrap();
    owner.multicast("to nobody").await.unwrap();
    assert_eq!(owner.status().await.unwrap().children, []);
    owner.leave().await;
}
