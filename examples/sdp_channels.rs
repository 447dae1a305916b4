//! Two peers open and close channels by SDP alone (RFC 8864): no DCEP message is ever sent.
//!
//! ```sh
//! cargo run --example sdp_channels
//! ```
//!
//! Both ends are in this process, and signalling is a function call. What it prints are the `a=dcmap` and `a=dcsa` lines
//! of each offer and answer, and what becomes of them.

use std::error::Error;

use sinnet::{
    DataChannel, DataChannelOptions, Endpoint, PeerConnection, PeerEvent, Reliability, SessionDescription,
};

type Done<T> = Result<T, Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Done<()> {
    let (here, there) = (Endpoint::bind("127.0.0.1:0").await?, Endpoint::bind("127.0.0.1:0").await?);
    let (alice, bob) =
        (here.peer_connection(Default::default())?, there.peer_connection(Default::default())?);

    println!("Alice offers two channels. Bob takes the MSRP one, and refuses the other.");
    let msrp = DataChannelOptions { protocol: "msrp".into(), ..Default::default() };
    let accept = ["accept-types:text/plain".to_owned()];
    let chat = alice.offer_data_channel("chat", msrp, &accept)?;
    let lossy = DataChannelOptions {
        ordered: false,
        reliability: Reliability::MaxRetransmits(0),
        ..Default::default()
    };
    let refused = alice.offer_data_channel("position", lossy, &[])?;
    exchange(&alice, &bob, |bob| {
        for offered in bob.offered_data_channels() {
            match offered.options.protocol.as_str() {
                "msrp" => bob.answer_offered_data_channel(offered.id, &["path:msrp://bob".to_owned()])?,
                _ => bob.reject_offered_data_channel(offered.id)?,
            }
        }
        Ok(())
    })?;
    refused.closed().await;
    let bobs_chat = next_channel(&bob).await?;
    chat.opened().await?;
    println!("  open: {} with {:?} on stream {:?}\n", chat.label(), chat.remote_attributes(), chat.id());
    chat.send("Hello, Bob").await?;
    println!("  Bob reads: {:?}\n", bobs_chat.recv().await.ok_or("nothing came")?);

    println!("Bob adds a channel while the first goes on.");
    let files = bob.offer_data_channel("files", Default::default(), &[])?;
    exchange(&bob, &alice, |_| Ok(()))?;
    let alices_files = next_channel(&alice).await?;
    files.send(vec![0; 1000]).await?;
    println!("  Alice reads {} bytes\n", alices_files.recv().await.ok_or("nothing came")?.len());

    println!("Alice closes the chat: its stream is reset, and her next offer leaves it out.");
    chat.close();
    chat.closed().await;
    bobs_chat.closed().await;
    assert!(alice.negotiation_needed());
    exchange(&alice, &bob, |_| Ok(()))?;

    println!("Bob lets go of his channel, which closes it.");
    drop(files);
    alices_files.closed().await;
    exchange(&bob, &alice, |_| Ok(()))?;
    assert!(!alice.negotiation_needed() && !bob.negotiation_needed());

    let stats = alice.stats();
    println!("Done. {} DCEP errors; {} datagrams sent by Alice.", stats.dcep_errors, stats.datagrams_sent);
    alice.close().await;
    Ok(())
}

/// One offer and its answer. `judge` is what the answerer does in between.
fn exchange(
    offerer: &PeerConnection,
    answerer: &PeerConnection,
    judge: impl Fn(&PeerConnection) -> Result<(), sinnet::Error>,
) -> Done<()> {
    offerer.set_local_description(offerer.create_offer()?)?;
    let offer = offerer.local_description().ok_or("no offer")?;
    show("offer", &offer);
    answerer.set_remote_description(offer)?;
    judge(answerer)?;
    answerer.set_local_description(answerer.create_answer()?)?;
    let answer = answerer.local_description().ok_or("no answer")?;
    show("answer", &answer);
    offerer.set_remote_description(answer)?;
    Ok(())
}

fn show(kind: &str, description: &SessionDescription) {
    println!("  {kind}:");
    let lines: Vec<_> = description.sdp.lines().filter(|line| line.starts_with("a=dc")).collect();
    lines.iter().for_each(|line| println!("    {line}"));
    if lines.is_empty() {
        println!("    (no channels)");
    }
}

async fn next_channel(peer: &PeerConnection) -> Done<DataChannel> {
    while let Some(event) = peer.next_event().await {
        match event {
            PeerEvent::DataChannel(channel) => return Ok(channel),
            PeerEvent::Closed(reason) => return Err(reason.to_string().into()),
            _ => {}
        }
    }
    Err("the connection has ended".into())
}
