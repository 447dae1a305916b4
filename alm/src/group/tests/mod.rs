//! Members at a real server, over real connections on 127.0.0.1.

mod cast;
mod scripted;
mod server;

use std::net::{Ipv4Addr, SocketAddr};
use std::thread::JoinHandle;
use std::time::Duration;

use sinnet::{Endpoint, EndpointConfig};
use sinnet_signaling::{Server, ServerConfig};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{
    Direction, Ended, GroupEvent, GroupKind, LinkState, MAX_MESSAGE, Message, MulticastError, NodeId,
    Options, StartError, WebRtcAlm,
};

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

/// A group called `room`.
async fn owner(url: &str, kind: GroupKind, options: Options) -> WebRtcAlm {
    let owner = WebRtcAlm::new(kind, url, options);
    owner.create("room", "a room").await.unwrap();
    owner
}

async fn member(url: &str) -> WebRtcAlm {
    let member = WebRtcAlm::new(GroupKind::Reliable, url, options());
    member.join("room").await.unwrap();
    member
}

async fn event(member: &WebRtcAlm) -> GroupEvent {
    timeout(SOON, member.next_event()).await.expect("something happens soon").expect("the membership goes on")
}

/// The first event that is of interest.
async fn find<T>(member: &WebRtcAlm, mut of_interest: impl FnMut(GroupEvent) -> Option<T>) -> T {
    let finding = async {
        loop {
            let event = member.next_event().await.expect("the membership goes on");
            if let Some(found) = of_interest(event) {
                return found;
            }
        }
    };
    timeout(SOON, finding).await.expect("it happens soon")
}

async fn message(member: &WebRtcAlm) -> (u64, Message) {
    find(member, |event| match event {
        GroupEvent::Message { sequence, message } => Some((sequence.0, message)),
        GroupEvent::Missed { .. } | GroupEvent::Closed(_) => panic!("{event:?}"),
        _ => None,
    })
    .await
}

/// Until the member's status is as wanted.
async fn until(member: &WebRtcAlm, what: &str, wanted: impl Fn(&super::Status) -> bool) {
    let waiting = async {
        while !wanted(&member.status().await.expect("a member")) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if timeout(SOON, waiting).await.is_err() {
        panic!("{what}: {:?}", member.status().await);
    }
}

/// Until no connection of the endpoint's is left.
async fn until_released(endpoint: &Endpoint, what: &str) {
    let waiting = async {
        while endpoint.held()[0] > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, waiting).await.unwrap_or_else(|_| panic!("{what}: {:?}", endpoint.held()));
}

/// A member on a thread and runtime of its own, so that it can die without a word.
struct Mortal {
    alm: WebRtcAlm,
    life: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Mortal {
    async fn join(url: &str, options: Options) -> Self {
        let alm = WebRtcAlm::new(GroupKind::Reliable, url, options);
        let (life, death) = oneshot::channel();
        let (joined, is_in) = oneshot::channel();
        let joining = alm.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                joined.send(joining.join("room").await).unwrap();
                drop(joining);
                let _ = death.await;
            });
            // All of its tasks end here, between two instructions so to say; the sockets with them.
            drop(runtime);
        });
        is_in.await.unwrap().unwrap();
        Self { alm, life, thread }
    }

    fn kill(self) {
        drop(self.life);
        self.thread.join().unwrap();
    }
}

#[tokio::test]
async fn five_members_get_what_the_owner_sends_and_the_fifth_hangs_below_another() {
    let (_server, url) = server().await;
    let owner = WebRtcAlm::new(GroupKind::Reliable, &url, options());
    assert_eq!(owner.multicast("early").await, Err(MulticastError::NotMember));
    owner.create("room", "a room").await.unwrap();
    let mut members = Vec::new();
    for _ in 0..5 {
        members.push(member(&url).await);
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
    assert_eq!((status.id, &status.path[..], status.parent), (NodeId(0), &[NodeId(0)][..], None));
    assert_eq!(status.children.len(), 4, "{status:?}");
    let mut below = false;
    for member in &members {
        below |= member.status().await.unwrap().path.len() > 2;
    }
    assert!(below, "five do not fit below the owner");
}

#[tokio::test]
async fn two_siblings_that_want_each_other_as_standby_get_one_connection() {
    let (_server, url) = server().await;
    let _owner = owner(&url, GroupKind::Reliable, options()).await;
    let mut endpoints = Vec::new();
    let mut members = Vec::new();
    for _ in 0..2 {
        let endpoint = Endpoint::bind("127.0.0.1:0").await.unwrap();
        let own = Options { endpoint: Some(endpoint.clone()), ..options() };
        let member = WebRtcAlm::new(GroupKind::Reliable, &url, own);
        member.join("room").await.unwrap();
        endpoints.push(endpoint);
        members.push(member);
    }
    for member in &members {
        until(member, "it is in the tree", |status| status.parent == Some(NodeId(0))).await;
    }
    let linked = async {
        loop {
            let (one, two) = (members[0].status().await.unwrap(), members[1].status().await.unwrap());
            let child = |below: &super::Status, above: &super::Status| {
                below.standbys == [above.id] && above.children.iter().any(|(id, _)| *id == below.id)
            };
            if child(&one, &two) || child(&two, &one) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, linked).await.expect("one stands by for the other");
    for (member, endpoint) in members.iter().zip(&endpoints) {
        member.leave().await;
        until_released(endpoint, "the attempt that gave way is over, too").await;
    }
}

#[tokio::test]
async fn calls_at_the_wrong_time_and_messages_that_are_too_large_are_refused() {
    let (server, url) = server().await;
    let lost = WebRtcAlm::new(GroupKind::Reliable, &url, options());
    assert!(matches!(lost.join("nowhere").await, Err(StartError::Refused(why)) if why.contains("nowhere")));
    assert!(lost.id().is_none() && lost.status().await.is_none() && lost.tree().await.is_empty());
    lost.leave().await;

    let owner = owner(&url, GroupKind::Reliable, options()).await;
    assert!(matches!(owner.create("other", "").await, Err(StartError::Used)));
    assert!(matches!(owner.join("room").await, Err(StartError::Used)));
    assert!(
        matches!(lost.create("room", "").await, Err(StartError::Refused(why)) if why.contains("already"))
    );
    assert_eq!(owner.multicast(vec![0; MAX_MESSAGE + 1]).await, Err(MulticastError::TooLarge));
    assert_eq!(owner.multicast("あ".repeat(MAX_MESSAGE / 2 + 1)).await, Err(MulticastError::TooLarge));

    // The largest goes all the way, and an attempt that failed can be repeated.
    lost.join("room").await.unwrap();
    let largest: Vec<u8> = (0..MAX_MESSAGE).map(|n| n as u8).collect();
    owner.multicast(largest.clone()).await.unwrap();
    assert_eq!(message(&lost).await.1, largest.into());
    owner.timer();

    server.shutdown(Duration::from_secs(1)).await;
    let late = WebRtcAlm::new(GroupKind::Live, &url, options());
    assert!(matches!(late.join("room").await, Err(StartError::Connect(_) | StartError::Answer(_))));
}

#[tokio::test]
async fn who_leaves_is_gone_at_once_and_children_find_another_parent() {
    let (_server, url) = server().await;
    let mut narrow = options();
    narrow.tree.max_down_streams = 1;
    let owner = owner(&url, GroupKind::Reliable, narrow).await;
    let first = member(&url).await;
    until(&first, "the first hangs below the owner", |status| status.parent == Some(NodeId(0))).await;
    let second = member(&url).await;
    until(&second, "the second hangs below the first", |status| status.path.len() == 3).await;
    owner.multicast("one").await.unwrap();
    assert_eq!(message(&second).await.1, "one".into());
    assert_eq!(owner.status().await.unwrap().children.len(), 1);

    let gone = first.id().unwrap();
    first.leave().await;
    assert!(first.status().await.is_none() && first.multicast("?").await == Err(MulticastError::NotMember));
    find(&first, |event| (event == GroupEvent::Closed(Ended::Left)).then_some(())).await;
    assert_eq!(first.next_event().await, None);
    let (mut states, mut done) = (Vec::new(), false);
    while !done {
        if let GroupEvent::StateChange { id, direction, state } = event(&owner).await
            && id == gone
        {
            assert_eq!(direction, Direction::Down);
            done = state == LinkState::Closed;
            states.push(state);
        }
    }
    assert_eq!(states, [LinkState::Connecting, LinkState::Connected, LinkState::Closed]);

    owner.multicast("two").await.unwrap();
    assert_eq!(message(&second).await.1, "two".into());
    until(&second, "it hangs below the owner now", |status| status.parent == Some(NodeId(0))).await;
    // With the owner goes the group.
    owner.leave().await;
    let late = WebRtcAlm::new(GroupKind::Reliable, &url, options());
    assert!(matches!(late.join("room").await, Err(StartError::Refused(_))));
}

#[tokio::test]
async fn the_owner_sees_the_tree_with_its_round_trips_and_rates() {
    let (_server, url) = server().await;
    let mut watching = options();
    watching.tree.tree_interval = Duration::from_millis(500);
    let owner = owner(&url, GroupKind::Reliable, watching).await;
    let members = [member(&url).await, member(&url).await];
    let seen = async {
        loop {
            let _ = owner.multicast(vec![7; 1000]).await;
            match timeout(Duration::from_millis(50), owner.next_event()).await {
                Ok(Some(GroupEvent::TreeUpdate)) | Err(_) => {}
                _ => continue,
            }
            let tree = owner.tree().await;
            let of = |member: &WebRtcAlm| tree.get(&member.id().unwrap()).map(|entry| entry.report.clone());
            if let [Some(one), Some(two)] = [of(&members[0]), of(&members[1])]
                && [&one, &two].iter().all(|report| report.rate > 0 && !report.rtt.is_zero())
                && tree.get(&NodeId(0)).is_some_and(|entry| entry.report.links.downstreams.len() == 2)
            {
                assert!(one.links.upstreams.contains(&NodeId(0)), "{one:?}");
                return;
            }
        }
    };
    let reading = async {
        loop {
            tokio::join!(members[0].next_event(), members[1].next_event());
        }
    };
    tokio::select! {
        seen = timeout(SOON, seen) => seen.expect("the owner sees them soon"),
        () = reading => {}
    }
    assert!(members[0].tree().await.is_empty(), "others see nothing");
}

#[tokio::test]
async fn who_waits_for_events_hears_of_a_member_whose_task_is_stopped() {
    let (_server, url) = server().await;
    let _owner = owner(&url, GroupKind::Live, options()).await;
    let mortal = Mortal::join(&url, options()).await;
    let alm = mortal.alm.clone();
    mortal.kill();
    find(&alm, |event| (event == GroupEvent::Closed(Ended::Stopped)).then_some(())).await;
    assert_eq!(alm.next_event().await, None);
}

#[tokio::test]
async fn the_last_handle_takes_the_member_with_it() {
    let (_server, url) = server().await;
    let owner = owner(&url, GroupKind::Live, options()).await;
    let one = member(&url).await;
    until(&owner, "it is there", |status| status.children.len() == 1).await;
    drop(one);
    until(&owner, "it is gone", |status| status.children.is_empty()).await;
}
