//! The page of groups, used as somebody would use it, and looked at.
//!
//! Pictures of it are put into `screenshots/` of the target directory, for eyes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use sinnet::{Endpoint, EndpointConfig, Message};
use sinnet_alm::group::{GroupEvent as AlmEvent, GroupKind, Message as AlmMessage, Options, WebRtcAlm};
use sinnet_alm::mesh::{Group, GroupEvent, Service, UserId};
use sinnet_interop::browser::{Kind, Privacy};
use sinnet_interop::lab::Lab;
use sinnet_interop::net::PEER_ADDRESS;
use sinnet_interop::pattern::sha256;
use sinnet_signaling::server::tokens::{Required, Tokens};
use tokio::time::timeout;

use crate::site::{Site, Visit};

const SOON: Duration = Duration::from_secs(30);

/// What `hand.choose` makes.
fn content(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at % 251) as u8).collect()
}

/// A page, at its entrance or at the place that a link leads to.
async fn visit(lab: &mut Lab, kind: Kind, site: &Site, path: &str) -> Visit {
    Visit::watched(lab.browser(kind, Privacy::Plain).await, site, path).await
}

/// Nothing has gone wrong in a page, and nothing of it is wider than it.
async fn is_well(visit: &Visit) {
    assert_eq!(visit.ask("[troubles, hand.tooWide()]").await, json!([[], []]));
}

/// Brings a page to the front: one that is not seen asks for nothing.
async fn front(visit: &Visit) {
    visit.page.look(1280, 900, false).await.expect("the front");
}

/// Looks at the page: wide and light, wide and dark, on a phone.
async fn look(visit: &Visit, kind: Kind, name: &str) {
    for (look, width, height, is_dark) in
        [("wide", 1280, 900, false), ("dark", 1280, 900, true), ("phone", 390, 844, false)]
    {
        visit.page.look(width, height, is_dark).await.expect("another size");
        visit
            .until(&format!("document.documentElement.clientWidth <= {width} && innerWidth <= {width}"))
            .await;
        // The tree is drawn anew when its frame has another size, and then painted.
        visit.ask("new Promise((done) => setTimeout(done, 300))").await;
        is_well(visit).await;
        let picture = from_base64(&visit.page.picture().await.expect("a picture"));
        assert!(picture.starts_with(b"\x89PNG"), "no picture");
        let folder = folder();
        std::fs::create_dir_all(&folder).expect("a folder for pictures");
        let file = format!("{}-{name}-{look}.png", format!("{kind:?}").to_lowercase());
        std::fs::write(folder.join(file), picture).expect("a picture on the disk");
    }
    front(visit).await;
}

fn folder() -> PathBuf {
    // <target>/tmp
    Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .map(|target| target.join("screenshots"))
        .expect("a folder")
}

fn from_base64(text: &str) -> Vec<u8> {
    let value = |c: u8| match c {
        b'A'..=b'Z' => u32::from(c - b'A'),
        b'a'..=b'z' => u32::from(c - b'a') + 26,
        b'0'..=b'9' => u32::from(c - b'0') + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits: Vec<u8> = text.bytes().filter(|c| *c != b'=').collect();
    digits
        .chunks(4)
        .flat_map(|four| {
            let bits = four.iter().enumerate().fold(0, |bits, (at, c)| bits | value(*c) << (18 - 6 * at));
            bits.to_be_bytes()[1..four.len()].to_vec()
        })
        .collect()
}

/// A page makes a group, three others join it by the list and by the link, one of them with another below it.
pub(crate) async fn a_group_is_made_joined_and_drawn(lab: &mut Lab, kind: Kind) {
    const NAME: &str = "a <b>talk</b> & \u{202e}more+";
    let site = Site::start(lab).await;
    let owner = visit(lab, kind, &site, "/").await;
    let by_list = visit(lab, kind, &site, "/").await;
    look(&owner, kind, "lobby").await;
    owner.call("hand.fill", json!(["group-name", NAME])).await;
    owner.call("hand.fill", json!(["group-description", "what we learnt"])).await;
    owner.ask("hand.click('#create button')").await;
    owner.until("document.getElementById('room').hidden === false").await;
    assert_eq!(owner.ask("document.getElementById('room-name').textContent").await, "a <b>talk</b> & more+");

    // One by the list, five by the link.
    front(&by_list).await;
    by_list.until("document.querySelector('#groups .name')?.textContent === 'a <b>talk</b> & more+'").await;
    by_list.ask("hand.click('#groups button')").await;
    let link = owner.ask("document.getElementById('share').value").await;
    let path =
        link.as_str().and_then(|link| link.strip_prefix(&site.url("http", ""))).expect("a link").to_owned();
    let mut members = vec![by_list];
    for _ in 0..5 {
        members.push(visit(lab, kind, &site, &path).await);
    }
    let in_the_tree = "document.getElementById('room-state').textContent.startsWith('in the tree')";
    for member in &members {
        member.until(in_the_tree).await;
    }
    owner.until("document.querySelectorAll('#graph .node.fresh').length === 7").await;
    owner.until("document.getElementById('room-state').textContent === '6 listen'").await;

    // The owner speaks; what looks like markup is text.
    owner.call("hand.fill", json!(["chat-input", "<i>hello</i> \u{202e}☃"])).await;
    owner.ask("hand.click('#chat button')").await;
    for member in &members {
        member.until("hand.chat().length === 1").await;
        assert_eq!(member.ask("hand.chat()").await, json!([["theirs", "<i>hello</i> \u{202e}☃"]]));
        assert_eq!(member.ask("document.getElementById('chat').hidden").await, true);
    }

    // A file, with a name that wants to be something else.
    owner.call("hand.choose", json!(["../.photo\u{202e}gpj.exe", 3_000_000])).await;
    owner.ask("hand.click('#file-send')").await;
    let hash = sha256(&content(3_000_000));
    let received = json!({
        "name": "photogpj.exe", "state": "done", "said": "received, SHA-256 verified", "sha256": hash, "save": "photogpj.exe",
    });
    for member in &members {
        member.until("hand.file() !== null && hand.file().state !== 'busy'").await;
        assert_eq!(member.ask("hand.file()").await, received);
    }
    owner.until("hand.file().state === 'done'").await;
    assert_eq!(owner.ask("hand.file().sha256").await, json!(hash));

    front(&owner).await;
    // The tree by the keyboard: from the owner to its first child, and what is known of it.
    owner.ask("void document.querySelector('#graph [tabindex=\"0\"]').focus()").await;
    assert_eq!(owner.ask("document.activeElement.getAttribute('aria-level')").await, "1");
    owner.ask("hand.key('ArrowRight')").await;
    assert_eq!(owner.ask("document.activeElement.getAttribute('aria-level')").await, "2");
    owner.ask("hand.key('Enter')").await;
    owner.until("document.querySelector('#node h3')?.textContent.startsWith('node ')").await;
    assert_eq!(owner.ask("document.activeElement.getAttribute('aria-selected')").await, "true");
    owner.until("document.querySelectorAll('#links li dd')[0]?.textContent.endsWith('(host, udp)')").await;
    look(&owner, kind, "tree").await;
    look(&members[5], kind, "member").await;

    // One leaves; the owner sees it go.
    members[0].ask("hand.click('#leave')").await;
    members[0].until("document.getElementById('lobby').hidden === false").await;
    owner.until("document.querySelectorAll('#graph .node').length === 6").await;
    for member in &members {
        is_well(member).await;
    }
}

/// A message of either kind of group.
enum Said {
    Text(String),
    Bytes(Vec<u8>),
}

/// Takes a file by the letter of what was agreed on: its name and content.
async fn take_file(mut next: impl AsyncFnMut() -> Said) -> (String, Vec<u8>) {
    let Said::Text(head) = next().await else { panic!("bytes before a name") };
    let head: Value = serde_json::from_str(&head).expect("JSON");
    let (id, name, size) = (head["id"].clone(), head["name"].clone(), head["size"].clone());
    assert_eq!(head, json!({"sinnet": "file", "id": id, "name": name, "size": size}));
    let mut received = Vec::new();
    let end = loop {
        match next().await {
            Said::Text(end) => break end,
            Said::Bytes(piece) => {
                assert!(piece.len() <= 64 * 1024);
                assert_eq!(json!(u32::from_le_bytes(piece[..4].try_into().expect("4 bytes"))), id);
                let offset = u64::from_le_bytes(piece[4..12].try_into().expect("8 bytes"));
                assert_eq!(offset, received.len() as u64);
                received.extend_from_slice(&piece[12..]);
            }
        }
    };
    assert_eq!(json!(received.len()), size);
    let end: Value = serde_json::from_str(&end).expect("JSON");
    assert_eq!(end, json!({"sinnet": "end", "id": id, "size": size, "sha256": sha256(&received)}));
    (name.as_str().expect("a name").to_owned(), received)
}

/// The messages of a file.
fn cast(id: u32, name: &str, size: Option<usize>, content: &[u8]) -> Vec<Said> {
    let mut head = json!({"sinnet": "file", "id": id, "name": name});
    if let Some(size) = size {
        head["size"] = json!(size);
    }
    let end = json!({"sinnet": "end", "id": id, "size": content.len(), "sha256": sha256(content)});
    let pieces = content.chunks(30_000).enumerate().map(|(at, data)| {
        let offset = (at * 30_000) as u64;
        Said::Bytes([&id.to_le_bytes()[..], &offset.to_le_bytes(), data].concat())
    });
    std::iter::once(Said::Text(head.to_string())).chain(pieces).chain([Said::Text(end.to_string())]).collect()
}

/// A native member of a mesh, which speaks the protocol of files by hand.
struct Native {
    service: Service,
    group: Group,
}

impl Native {
    async fn join(site: &Site, id: String) -> Self {
        let url = site.url("ws", "/p2p");
        site.run(async move {
            let endpoint = Endpoint::new(EndpointConfig::default()).await.expect("an endpoint");
            let service = Service::join(&endpoint, &url).await.expect("the service");
            let group = service.join_group(&id).await.expect("the group");
            Self { service, group }
        })
        .await
    }

    async fn message(&self) -> (UserId, Message) {
        loop {
            let event = timeout(SOON, self.group.next_event()).await.expect("something happens soon");
            if let GroupEvent::Message { from, message } = event.expect("the group lives") {
                return (from, message);
            }
        }
    }

    async fn say(&self, message: impl Into<Message>) {
        assert_eq!(self.group.broadcast(message).await, []);
    }

    async fn tell(&self, message: Value) {
        self.say(message.to_string()).await;
    }

    async fn piece(&self, id: u32, offset: u64, data: &[u8]) {
        self.say([&id.to_le_bytes()[..], &offset.to_le_bytes(), data].concat()).await;
    }
}

/// Everybody speaks in a mesh, a native node among them; files go both ways and are what was agreed on.
pub(crate) async fn a_mesh_has_chat_and_files_with_native_nodes(lab: &mut Lab, kind: Kind) {
    let site = Site::start(lab).await;
    let page = visit(lab, kind, &site, "/").await;
    page.ask("hand.click('input[value=mesh]')").await;
    page.ask("hand.click('#create button')").await;
    page.until("location.hash.startsWith('#mesh=')").await;
    let id = page.ask("location.hash.slice(6)").await.as_str().expect("an id").to_owned();
    // A piece of a file that had begun before.
    let native = Native::join(&site, id.clone()).await;
    let other = visit(lab, kind, &site, &format!("/#mesh={id}")).await;
    page.until("document.getElementById('room-state').textContent === '2 others are here'").await;
    other.until("document.getElementById('room-state').textContent === '2 others are here'").await;

    page.call("hand.fill", json!(["chat-input", "hello, all"])).await;
    page.ask("hand.click('#chat button')").await;
    assert_eq!(native.message().await.1, "hello, all".into());
    // Messages of two members come in either order.
    other.until("hand.chat().length === 1").await;
    native.say("{\"sinnet\":\"song\",\"id\":1}").await;
    other.until("hand.chat().length === 2").await;
    let said = json!([["theirs", "hello, all"], ["theirs", "{\"sinnet\":\"song\",\"id\":1}"]]);
    assert_eq!(other.ask("hand.chat()").await, said);
    assert_eq!(
        other.ask("document.querySelectorAll('#chat-log .who')[1].textContent").await,
        &native.service.info().0[..6]
    );

    // From a page: the announcement, the pieces, the end.
    page.call("hand.choose", json!(["notes.txt", 200_000])).await;
    page.ask("hand.click('#file-send')").await;
    let file = take_file(async || match native.message().await.1 {
        Message::Text(text) => Said::Text(text),
        Message::Binary(bytes) => Said::Bytes(bytes.to_vec()),
    });
    assert_eq!(file.await, ("notes.txt".to_owned(), content(200_000)));
    other.until("hand.file()?.save === 'notes.txt'").await;

    // From the native node: a file, an empty one, a stream.
    let ending = |state: &str, said: &str| {
        format!("hand.file()?.state === '{state}' && hand.file().said === {}", json!(said))
    };
    for (id, size, announced) in [(7, 100_000, true), (8, 0, true), (u32::MAX, 70_000, false)] {
        let name = format!("file {id}");
        for said in cast(id, &name, announced.then_some(size), &content(size)) {
            match said {
                Said::Text(text) => native.say(text).await,
                Said::Bytes(bytes) => native.say(bytes).await,
            }
        }
        page.until(&format!("hand.file()?.save === '{name}'")).await;
        page.until(&ending("done", "received, SHA-256 verified")).await;
    }

    // What is wrong is said, and is the file's own matter.
    let begin = async |id: u32, size: u64| {
        native.tell(json!({"sinnet": "file", "id": id, "name": format!("bad {id}"), "size": size})).await;
        page.until(&format!("hand.file()?.name === 'bad {id}'")).await;
    };
    begin(20, 10).await;
    native.piece(20, 5, b"12345").await;
    page.until(&ending("failed", "not received: pieces are missing")).await;
    begin(21, 10).await;
    native.piece(21, 0, b"12345678901").await;
    page.until(&ending("failed", "not received: more came than was announced")).await;
    begin(22, 3).await;
    native.piece(22, 0, b"abc").await;
    native.tell(json!({"sinnet": "end", "id": 22, "size": 3, "sha256": sha256(b"abd")})).await;
    page.until(&ending("failed", "not received: the hashes differ")).await;
    begin(23, 3).await;
    native.tell(json!({"sinnet": "stop", "id": 23, "error": "no\u{202e} more"})).await;
    page.until(&ending("failed", "not received: given up: no more")).await;
    native.piece(99, 0, b"?").await;
    page.until("document.getElementById('files-note').textContent.includes('joined too late')").await;
    for junk in
        [json!({"sinnet": "file", "id": -1, "name": "x"}), json!({"sinnet": "end", "id": 5}), json!(null)]
    {
        native.tell(junk).await;
    }
    native.say(vec![1_u8]).await;
    page.until("hand.chat().length === 5").await;

    // Who goes leaves an incomplete file.
    begin(24, 10).await;
    drop(native.group);
    page.until(&ending("failed", "not received: the sender has gone")).await;
    look(&page, kind, "mesh").await;
    is_well(&other).await;
}

/// In trees, too: a native owner casts to a page, and a page to a native node.
pub(crate) async fn trees_carry_files_between_pages_and_native_nodes(lab: &mut Lab, kind: Kind) {
    const SIZE: usize = 1_000_000;
    let site = Site::start(lab).await;
    let alm = |site: &Site| {
        let bind = EndpointConfig::bind(SocketAddr::new(PEER_ADDRESS.parse().expect("an address"), 0));
        let options = Options { bind, ..Default::default() };
        WebRtcAlm::new(GroupKind::Reliable, &site.url("ws", "/alm"), options)
    };
    let owner = site
        .run({
            let owner = alm(&site);
            async move { owner.create("native", "").await.map(|_| owner) }
        })
        .await
        .expect("a new group");
    let page = visit(lab, kind, &site, "/#group=native").await;
    page.until("document.getElementById('room-state').textContent.startsWith('in the tree')").await;
    for said in cast(3, "cast.bin", Some(SIZE), &content(SIZE)) {
        let sent = match said {
            Said::Text(text) => owner.multicast(text).await,
            Said::Bytes(bytes) => owner.multicast(bytes).await,
        };
        sent.expect("the owner");
    }
    page.until("hand.file()?.save === 'cast.bin'").await;
    assert_eq!(page.ask("hand.file().sha256").await, json!(sha256(&content(SIZE))));
    is_well(&page).await;

    let page = visit(lab, kind, &site, "/").await;
    page.call("hand.fill", json!(["group-name", "paged"])).await;
    page.ask("hand.click('#create button')").await;
    page.until("document.getElementById('room').hidden === false").await;
    let member = site
        .run({
            let member = alm(&site);
            async move { member.join("paged").await.map(|_| member) }
        })
        .await
        .expect("a group");
    page.until("document.getElementById('room-state').textContent === 'one listens'").await;
    page.call("hand.choose", json!(["cast.bin", SIZE])).await;
    page.ask("hand.click('#file-send')").await;
    let file = take_file(async || {
        loop {
            let event = timeout(SOON, member.next_event()).await.expect("something happens soon");
            match event.expect("the group lives") {
                AlmEvent::Message { message: AlmMessage::Text(text), .. } => return Said::Text(text),
                AlmEvent::Message { message: AlmMessage::Bytes(bytes), .. } => {
                    return Said::Bytes(bytes.to_vec());
                }
                _ => {}
            }
        }
    });
    assert_eq!(file.await, ("cast.bin".to_owned(), content(SIZE)));
    is_well(&page).await;
}

/// A server that wants tokens gets the one that was typed in, or that stood in the link.
pub(crate) async fn a_token_is_shown_to_a_server_that_wants_one(lab: &mut Lab, kind: Kind) {
    const TOKEN: &str = "a-token-of-the-list";
    let tokens = Tokens::new(Required::All, vec![TOKEN.to_owned()], None).expect("a token");
    let site = Site::start_with(lab, |config| config.tokens = tokens).await;
    let page = visit(lab, kind, &site, "/").await;
    page.call("hand.fill", json!(["group-name", "closed"])).await;
    page.ask("hand.click('#create button')").await;
    page.until("document.getElementById('lobby-state').textContent.includes('token')").await;
    assert_eq!(page.ask("document.getElementById('token-field').open").await, true);
    page.call("hand.fill", json!(["token", TOKEN])).await;
    page.ask("hand.click('#create button')").await;
    page.until("document.getElementById('room').hidden === false").await;
    assert_eq!(page.ask("document.getElementById('share').value.includes('token')").await, false);
    let other = visit(lab, kind, &site, &format!("/#group=closed&token={TOKEN}")).await;
    other.until("document.getElementById('room-state').textContent.startsWith('in the tree')").await;
    assert_eq!(other.ask("location.hash").await, "#group=closed");
    is_well(&page).await;
    is_well(&other).await;
}

/// What can't be done is said, and the page goes on.
pub(crate) async fn what_does_not_work_is_said(lab: &mut Lab, kind: Kind) {
    let site = Site::start(lab).await;
    let page = visit(lab, kind, &site, "/#group=nowhere").await;
    let said = "document.getElementById('lobby-state').textContent";
    page.until(&format!("{said}.startsWith('That did not work: ')")).await;
    assert_eq!(page.ask("location.hash").await, "");
    page.call("hand.fill", json!(["join-input", "0123456789abcdef0123456789abcdef"])).await;
    page.ask("hand.click('#join button')").await;
    page.until(&format!("{said} === 'That did not work: join: not found group id.'")).await;
    page.call("hand.fill", json!(["group-name", "taken"])).await;
    page.ask("hand.click('#create button')").await;
    page.until("document.getElementById('room').hidden === false").await;
    let other = visit(lab, kind, &site, "/").await;
    other.call("hand.fill", json!(["group-name", "taken"])).await;
    other.ask("hand.click('#create button')").await;
    other.until(&format!("{said}.startsWith('That did not work: ')")).await;
    is_well(&page).await;
    is_well(&other).await;
}
