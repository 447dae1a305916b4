//! `web/sinnet-alm.js`: pages in one multicast tree.

use serde_json::{Value, json};
use sinnet_interop::browser::{Browser, Kind, Privacy};
use sinnet_interop::lab::Lab;
use sinnet_interop::pattern::{pattern, sha256};
use sinnet_interop::tab;

use crate::site::{Site, Visit};

/// What is cast is made from it.
pub(crate) const SEED: u32 = 0x5eed_0a11;

/// A page in a group.
pub(crate) struct Member {
    pub(crate) visit: Visit,
    pub(crate) id: u64,
}

impl Member {
    async fn enter(browser: &Browser, site: &Site, call: &str, arguments: Value) -> Self {
        Self::enter_after(browser, site, "", call, arguments).await
    }

    /// With a script that is run first.
    async fn enter_after(browser: &Browser, site: &Site, script: &str, call: &str, arguments: Value) -> Self {
        let visit = Visit::open(browser, site, "/style.css", include_str!("../../page/alm.js")).await;
        tab::load(&visit.page).await;
        visit.page.run(script).await.expect("a script that runs");
        let entered = visit.call(call, arguments).await;
        Self { visit, id: entered["id"].as_u64().expect("a number") }
    }

    /// A page that makes the group.
    pub(crate) async fn create(browser: &Browser, site: &Site, name: &str, options: Value) -> Self {
        Self::enter(browser, site, "alm.create", json!([name, options])).await
    }

    /// A page that joins the group and has a parent that delivers.
    pub(crate) async fn join(browser: &Browser, site: &Site, name: &str, options: Value) -> Self {
        let member = Self::enter(browser, site, "alm.join", json!([name, options])).await;
        member.visit.until("alm.path().length > 1").await;
        member
    }

    /// Casts bytes that the harness knows, too.
    pub(crate) async fn cast(&self, size: usize, piece: usize) {
        self.visit.call("alm.cast", json!([SEED, size, piece])).await;
    }

    /// So many casts came, each whole.
    pub(crate) async fn has_files(&self, count: usize, size: usize) {
        self.visit.until(&format!("alm.log.files.length === {count}")).await;
        let hash = sha256(&pattern(SEED, size));
        let said =
            self.visit.ask("[alm.id(), alm.log.bytes, alm.log.missed, alm.log.states, alm.stats()]").await;
        assert_eq!(self.visit.ask("alm.log.files").await, json!(vec![hash; count]), "{said}");
    }

    /// Nothing was thrown in the page, and no promise of the group was broken.
    pub(crate) async fn is_well(&self) {
        assert_eq!(
            self.visit.ask("[alm.log.errors, alm.log.missed]").await,
            json!([[], []]),
            "node {}",
            self.id
        );
    }
}

pub(crate) async fn messages_reach_all_pages_of_a_chain(lab: &mut Lab, kind: Kind) {
    let site = Site::start(lab).await;
    let browser = lab.browser(kind, Privacy::Default).await;
    // One child each.
    let narrow = json!({ "maxDownStreams": 1 });
    let owner = Member::create(browser, &site, "chain", narrow.clone()).await;
    let mut members = Vec::new();
    for _ in 0..3 {
        members.push(Member::join(browser, &site, "chain", narrow.clone()).await);
    }
    owner.visit.call("alm.say", json!(["☃ first"])).await;
    owner.cast(3_000_000, 16_000).await;
    owner.visit.call("alm.say", json!([""])).await;
    for member in &members {
        member.has_files(1, 3_000_000).await;
        member.visit.until("alm.log.texts.length === 2").await;
        assert_eq!(member.visit.ask("alm.log.texts").await, json!(["☃ first", ""]));
        member.is_well().await;
    }
    assert_eq!(members[2].visit.ask("alm.path()").await, json!([0, 1, 2, 3]), "a chain");
    let states = json!([["up", 2, "connecting"], ["up", 2, "connected"]]);
    assert_eq!(members[2].visit.ask("alm.log.states").await, states);
    // The owner sees it.
    let all = json!([
        { "id": 0, "upstreams": [], "downstreams": [1] },
        { "id": 1, "upstreams": [0], "downstreams": [2] },
        { "id": 2, "upstreams": [1], "downstreams": [3] },
        { "id": 3, "upstreams": [2], "downstreams": [] },
    ]);
    owner.visit.until(&format!("JSON.stringify(alm.tree()) === JSON.stringify({all})")).await;
    owner
        .visit
        .until("Object.values(alm.log.tree ?? {}).some(({ date, rtt }) => date instanceof Date && rtt > 0)")
        .await;
    owner.is_well().await;
    // Who leaves is told of as closed, above and below.
    members[1].visit.ask("alm.leave()").await;
    members[0].visit.until("alm.log.states.some((change) => change.join() === 'down,2,closed')").await;
    members[2].visit.until("alm.log.states.some((change) => change.join() === 'up,2,closed')").await;
    // The server gives the orphan another place, where it gets what comes then.
    members[2].visit.until("alm.path().join() === '0,1,3'").await;
    owner.visit.call("alm.say", json!(["after"])).await;
    members[2].visit.until("alm.log.texts.length === 3").await;
    members[2].is_well().await;
}

pub(crate) async fn a_file_reaches_all_though_an_interior_page_closes(lab: &mut Lab, kind: Kind) {
    const SIZE: usize = 6_000_000;
    let site = Site::start(lab).await;
    let browser = lab.browser(kind, Privacy::Default).await;
    let wide = json!({ "maxDownStreams": 3 });
    let owner = Member::create(browser, &site, "file", wide.clone()).await;
    let mut members = Vec::new();
    for _ in 0..6 {
        members.push(Member::join(browser, &site, "file", wide.clone()).await);
    }
    let casting = owner.cast(SIZE, 16_000);
    let closing = async {
        // One that delivers to others, when it has some of the file.
        for at in 0.. {
            let at = at % members.len();
            let delivers =
                "alm.log.bytes > 500000 && alm.links().some((l) => l.direction === 'down' && l.delivers)";
            if members[at].visit.ask(delivers).await == json!(true) {
                return at;
            }
        }
        unreachable!("an endless search")
    };
    let closing = async {
        let at = closing.await;
        members[at].visit.page.close().await;
        at
    };
    let (at, ()) = tokio::join!(closing, casting);
    members.remove(at);
    for member in &members {
        member.has_files(1, SIZE).await;
        member.is_well().await;
    }
    owner.is_well().await;
}

pub(crate) async fn a_group_outlives_its_server_and_takes_newcomers_when_it_is_back(
    lab: &mut Lab,
    kind: Kind,
) {
    let mut site = Site::start(lab).await;
    let browser = lab.browser(kind, Privacy::Default).await;
    let owner = Member::create(browser, &site, "group", json!({})).await;
    let first = Member::join(browser, &site, "group", json!({})).await;
    let address = site.host.parse().expect("an address");
    site.end();
    owner.visit.until("alm.log.server.join() === 'lost'").await;
    owner.visit.call("alm.say", json!(["without a server"])).await;
    first.visit.until("alm.log.texts.length === 1").await;
    let site = Site::start_with(lab, |config| config.addr = address).await;
    owner.visit.until("alm.log.server.join() === 'lost,regained'").await;
    let browser = lab.browser(kind, Privacy::Default).await;
    let second = Member::join(browser, &site, "group", json!({})).await;
    assert_eq!((first.id, second.id), (1, 2), "numbers are not given twice");
    second.visit.until("alm.log.texts.join() === 'without a server'").await;
    owner.visit.call("alm.say", json!(["with one"])).await;
    for member in [&first, &second] {
        member.visit.until("alm.log.texts.length === 2").await;
        member.is_well().await;
    }
}

/// As in a tab that is not seen: timers come late. The owner's children hear from it often enough, since a worker keeps time.
pub(crate) async fn a_hidden_page_keeps_time(lab: &mut Lab, kind: Kind) {
    const HIDE: &str = "Object.defineProperty(document, 'hidden', { value: true });
        globalThis.inTime = setTimeout;
        globalThis.setTimeout = (call, wait, ...rest) => inTime(call, Math.max(wait, 3000), ...rest);";
    let site = Site::start(lab).await;
    let browser = lab.browser(kind, Privacy::Default).await;
    // Nothing else that would wake it between the child's heartbeats, of which there is one a second.
    let arguments = json!(["hidden", { "treeUpdateInterval": 600_000 }]);
    let owner = Member::enter_after(browser, &site, HIDE, "alm.create", arguments).await;
    let member = Member::join(browser, &site, "hidden", json!({})).await;
    // Some seconds' worth of heartbeats, of 43 bytes each.
    let enough = member.visit.ask("alm.stats().controlSent").await.as_u64().expect("a count") + 6 * 43;
    member.visit.until(&format!("alm.stats().controlSent >= {enough}")).await;
    let lost = member.visit.ask("[alm.stats().parentsLost, alm.log.states.length]").await;
    assert_eq!(lost, json!([0, 2]), "it was connecting and connected, and nothing else");
    owner.is_well().await;
}

pub(crate) async fn mistakes_and_callbacks_are_told_as_documented(lab: &mut Lab, kind: Kind) {
    let site = Site::start(lab).await;
    let browser = lab.browser(kind, Privacy::Default).await;
    let member = Member::create(browser, &site, "taken", json!({})).await;
    let other = Visit::open(browser, &site, "/style.css", include_str!("../../page/alm.js")).await;
    let said = other
        .ask(
            "(async () => {
                const { WebRTCALM } = await import('/sinnet-alm.js');
                const why = async (promise) => promise.then(() => 'it worked', (error) => error.message);
                const by = (call) => new Promise((ok) => call((value) => ok(['success', value?.id]), (error) => ok(['failure', error.message])));
                const alm = WebRTCALM.create('simple', `ws://${location.host}/alm`);
                const nobody = WebRTCALM.create('simple', `ws://${location.hostname}:59999/alm`);
                const said = {
                    defaults: [alm.maxDownStreams, alm.maxUpStreams, alm.id, alm.isGroupOwner, alm.timer() ?? null],
                    outside: await why(alm.multicast('x')),
                    unknown: await why(alm.join('nowhere')),
                    taken: await by((...callbacks) => alm.create('taken', 'd', ...callbacks)),
                    nobody: await why(nobody.join('taken')),
                    joined: await by((...callbacks) => alm.join('taken', ...callbacks)),
                    twice: await why(alm.join('taken')),
                    member: await why(alm.multicast(new ArrayBuffer(1))),
                    known: [alm.groupName, alm.groupDescription, alm.isGroupOwner],
                };
                alm.leave();
                alm.leave();
                said.made = await by((...callbacks) => alm.create('another', undefined, ...callbacks));
                said.types = await why(alm.multicast(7));
                said.long = await why(alm.multicast(new Uint8Array(262136)));
                said.longest = await why(alm.multicast(new DataView(new ArrayBuffer(262135))));
                alm.leave();
                return said;
            })()",
        )
        .await;
    let expected = json!({
        "defaults": [4, 2, null, false, null],
        "outside": "not in a group",
        "unknown": "unknown group id \"nowhere\"",
        "taken": ["failure", "there is a group \"taken\" already"],
        "nobody": said["nobody"],
        "joined": ["success", 1],
        "twice": "in a group already; leave it first",
        "member": "only the owner of the group can multicast",
        "known": ["taken", "a test", false],
        "made": ["success", 0],
        "types": "a message is a string, an ArrayBuffer or a view of one",
        "long": "a message has at most 262135 bytes",
        "longest": "it worked",
    });
    assert_eq!(said, expected);
    assert!(said["nobody"].as_str().is_some_and(|said| said.contains("reached")), "{said}");
    member.is_well().await;
}
