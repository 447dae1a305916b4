//! Much data to many: through deaths, slow members and late ones.

use std::collections::BTreeMap;

use ring::digest::{Context, SHA256};
use tokio::time::Instant;

use super::*;

/// Bytes of a message.
const PIECE: usize = 32 * 1024;

#[expect(clippy::disallowed_methods, reason = "how long a repair takes is the question")]
fn now() -> Instant {
    Instant::now()
}

fn piece(n: usize) -> Vec<u8> {
    // Not the same in any two pieces, so that a lost, doubled or swapped one changes the hash.
    let mut state = n as u64 | 1 << 40;
    let mut bytes = Vec::with_capacity(PIECE);
    while bytes.len() < PIECE {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes
}

fn hash_of(pieces: usize) -> String {
    let mut hash = Context::new(&SHA256);
    (0..pieces).for_each(|n| hash.update(&piece(n)));
    hex(hash)
}

fn hex(hash: Context) -> String {
    hash.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a member has seen of a cast.
#[derive(Default, Debug)]
struct Seen {
    hash: String,
    /// When it lost its parent, and how long it was without one.
    orphan: Vec<(Instant, Duration)>,
}

/// Reads until the end of the cast.
async fn receive(member: WebRtcAlm) -> Option<Seen> {
    let (mut hash, mut next, mut seen) = (Context::new(&SHA256), 1, Seen::default());
    let mut alone: Option<Instant> = None;
    while let Some(event) = member.next_event().await {
        match event {
            GroupEvent::Message { sequence, message } => {
                assert_eq!(sequence.0, next, "in order, each once");
                next += 1;
                match message {
                    Message::Bytes(bytes) => hash.update(&bytes),
                    Message::Text(_) => {
                        seen.hash = hex(hash);
                        return Some(seen);
                    }
                }
            }
            GroupEvent::ParentChange(None) => alone = Some(now()),
            GroupEvent::ParentChange(Some(_)) => {
                seen.orphan.extend(alone.take().map(|since| (since, now() - since)))
            }
            GroupEvent::Missed { .. } => panic!("{event:?}"),
            _ => {}
        }
    }
    None
}

/// How large the test is: `SINNET_CAST=members,MiB,deaths`.
fn size() -> (usize, usize, usize) {
    let said = std::env::var("SINNET_CAST").ok().and_then(|said| {
        let mut numbers = said.split(',').map(|number| number.parse().ok());
        Some((numbers.next()??, numbers.next()??, numbers.next()??))
    });
    said.unwrap_or((12, 8, 3))
}

#[tokio::test]
async fn a_cast_reaches_every_survivor_whole_while_nodes_with_children_die() {
    let (count, mib, deaths) = size();
    let pieces = mib * (1 << 20) / PIECE;
    let (_server, url) = server().await;
    let mut three = options();
    three.tree.max_down_streams = 3;
    let owner = owner(&url, GroupKind::Reliable, three.clone()).await;
    let mut members = BTreeMap::new();
    for _ in 0..count {
        let mortal = Mortal::join(&url, three.clone()).await;
        members.insert(mortal.alm.id().unwrap(), mortal);
    }
    for mortal in members.values() {
        until(&mortal.alm, "it is in the tree", |status| status.parent.is_some()).await;
    }
    let readers: BTreeMap<_, _> =
        members.iter().map(|(id, mortal)| (*id, tokio::spawn(receive(mortal.alm.clone())))).collect();

    let begun = now();
    let (mut killed, mut at) = (Vec::new(), Vec::new());
    for n in 0..pieces {
        timeout(SOON, owner.multicast(piece(n))).await.expect("the tree takes it").unwrap();
        // The deaths come evenly, between a fifth and four fifths of it.
        if killed.len() < deaths && n >= pieces / 5 + killed.len() * pieces * 3 / 5 / deaths {
            // One with as many below it as there are.
            let mut busiest = None;
            for (id, mortal) in &members {
                let children = mortal.alm.status().await.unwrap().children;
                let fed =
                    children.iter().filter(|(_, role)| *role == Some(crate::frame::Role::Eager)).count();
                busiest = busiest.max(Some((fed, *id)));
            }
            let (fed, id) = busiest.unwrap();
            assert!(fed > 0, "somebody has children");
            members.remove(&id).unwrap().kill();
            at.push(now());
            killed.push(id);
        }
    }
    owner.multicast("the end").await.unwrap();
    let expected = hash_of(pieces);
    let mut orphan = Vec::new();
    for (id, reader) in readers {
        if killed.contains(&id) {
            reader.abort();
            continue;
        }
        let seen = timeout(SOON, reader).await.expect("it comes to an end").unwrap().expect("still a member");
        assert_eq!(seen.hash, expected, "member {id}");
        orphan.extend(seen.orphan);
    }
    let took = begun.elapsed();
    // A loss within three seconds of a death is of that death.
    let known = |(lost, _): &(Instant, Duration)| {
        at.iter().filter_map(|at| lost.checked_duration_since(*at)).filter(|after| after.as_secs() < 3).min()
    };
    let mut noticed: Vec<_> = orphan.iter().filter_map(known).collect();
    let mut healed: Vec<_> = orphan.iter().map(|(_, lasted)| *lasted).collect();
    let spread = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        format!("{}, median {:?}, longest {:?}", times.len(), times.get(times.len() / 2), times.last())
    };
    println!(
        "{count} members, {mib} MiB in {took:?}: {:.1} MiB/s to each; {killed:?} killed; noticed: {}; without a parent: {}",
        mib as f64 / took.as_secs_f64(),
        spread(&mut noticed),
        spread(&mut healed),
    );
    assert_eq!(killed.len(), deaths);
}

#[tokio::test]
async fn who_comes_late_gets_what_is_kept_of_the_past() {
    let (_server, url) = server().await;
    let owner = owner(&url, GroupKind::Reliable, options()).await;
    for n in 0..64 {
        owner.multicast(piece(n)).await.unwrap();
    }
    let late = member(&url).await;
    owner.multicast("the end").await.unwrap();
    let seen = timeout(SOON, receive(late)).await.unwrap().unwrap();
    assert_eq!(seen.hash, hash_of(64));
}

#[tokio::test]
async fn a_member_that_takes_nothing_holds_up_nobody_for_long_and_loses_nothing() {
    let (_server, url) = server().await;
    let owner = owner(&url, GroupKind::Reliable, options()).await;
    let (slow, quick) = (member(&url).await, member(&url).await);
    until(&slow, "it is in the tree", |status| status.parent.is_some()).await;
    until(&quick, "it is in the tree", |status| status.parent.is_some()).await;
    let reading = tokio::spawn(receive(quick));
    // Far more than windows, queues and buffers hold; less than the store.
    for n in 0..256 {
        timeout(SOON, owner.multicast(piece(n))).await.expect("it goes on without the slow one").unwrap();
    }
    owner.multicast("the end").await.unwrap();
    let seen = timeout(SOON, reading).await.expect("the quick one is done").unwrap().unwrap();
    assert_eq!(seen.hash, hash_of(256));
    let seen = timeout(SOON, receive(slow)).await.expect("the slow one catches up").unwrap();
    assert_eq!(seen.hash, hash_of(256));
}

#[tokio::test]
async fn a_live_group_skips_for_who_takes_nothing_and_never_waits() {
    let (_server, url) = server().await;
    let owner = owner(&url, GroupKind::Live, options()).await;
    let (slow, quick) = (member(&url).await, member(&url).await);
    until(&slow, "it is in the tree", |status| status.parent.is_some()).await;
    until(&quick, "it is in the tree", |status| status.parent.is_some()).await;
    let reading = tokio::spawn(async move {
        let (mut last, mut count) = (0, 0);
        loop {
            let (sequence, message) = message(&quick).await;
            assert!(sequence > last, "in order");
            (last, count) = (sequence, count + 1);
            if matches!(message, Message::Text(_)) {
                return count;
            }
        }
    });
    for n in 0..256 {
        timeout(SOON, owner.multicast(piece(n))).await.expect("it never waits").unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    owner.multicast("the end").await.unwrap();
    let count = timeout(SOON, reading).await.expect("the newest comes").unwrap();
    // What the slow one gets now is the newest, in order, with a hole before it.
    let (mut last, mut got) = (0, 0);
    loop {
        let (sequence, message) = message(&slow).await;
        assert!(sequence > last, "in order");
        (last, got) = (sequence, got + 1);
        if matches!(message, Message::Text(_)) {
            break;
        }
    }
    println!("of 257 messages the quick one got {count}, the slow one {got}");
    assert_eq!(last, 257);
    assert!(got < 257 && got <= count, "{got} of 257, quick {count}");
}
