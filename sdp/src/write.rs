//! From meaning to lines: a description of ours (RFC 8829 §5.2, §5.3).

use crate::channels::ChannelDescription;
use crate::dcmap::Dcsa;
use crate::read::{Layout, Slot};
use crate::session::{Attribute, Media, MediaLine, Session};
use crate::{LocalTransport, SdpType, Setup};

/// A description of ours, as it was made.
#[derive(Clone, Debug)]
pub(crate) struct Local {
    /// Offer or answer.
    pub(crate) kind: SdpType,
    pub(crate) session_id: u64,
    pub(crate) version: u64,
    pub(crate) transport: LocalTransport,
    pub(crate) setup: Setup,
    pub(crate) layout: Layout,
    /// What `a=dcmap` lists (RFC 8864).
    pub(crate) channels: Vec<ChannelDescription>,
}

/// Streams in `a=sctpmap`, as Chrome wrote it. Nobody is known to have acted on it: INIT decides.
const SCTPMAP_STREAMS: u16 = 1024;

impl Layout {
    /// What a first offer has: our m-line alone.
    pub(crate) fn first_offer() -> Self {
        let line = MediaLine {
            media: "application".to_owned(),
            port: 9,
            proto: "UDP/DTLS/SCTP".to_owned(),
            formats: vec!["webrtc-datachannel".to_owned()],
        };
        Self { slots: vec![Slot { line, mid: Some("0".to_owned()) }], data: 0, bundle: true }
    }
}

impl Local {
    pub(crate) fn text(&self) -> String {
        let mut attributes = Vec::new();
        if self.layout.bundle {
            // RFC 8843 §7.3: an answer's group has the accepted sections only, and ours is the only one accepted.
            attributes.push(Attribute::new("group", format!("BUNDLE {}", self.layout.mid())));
        }
        if self.transport.ice_lite {
            attributes.push(Attribute::flag("ice-lite"));
        }
        let section = |(index, slot): (usize, &Slot)| {
            if index == self.layout.data { self.data_section(slot) } else { rejected(slot) }
        };
        Session {
            session_id: self.session_id,
            session_version: self.version,
            attributes,
            media: self.layout.slots.iter().enumerate().map(section).collect(),
        }
        .write()
    }

    fn data_section(&self, slot: &Slot) -> Media {
        let transport = &self.transport;
        let mut attributes: Vec<_> = slot.mid.iter().map(|mid| Attribute::new("mid", mid)).collect();
        let mut line = MediaLine { port: 9, ..slot.line.clone() };
        if self.layout.is_old_form() {
            line.formats = vec![transport.sctp_port.to_string()];
            let map = format!("{} webrtc-datachannel {SCTPMAP_STREAMS}", transport.sctp_port);
            attributes.push(Attribute::new("sctpmap", map));
        } else {
            attributes.push(Attribute::new("sctp-port", transport.sctp_port));
        }
        let size = transport.max_message_size;
        attributes.push(Attribute::new("max-message-size", if size == u64::MAX { 0 } else { size }));
        attributes.push(Attribute::new("setup", self.setup));
        attributes.extend(transport.fingerprints.iter().map(|f| Attribute::new("fingerprint", f)));
        attributes.push(Attribute::new("ice-ufrag", &transport.ufrag));
        attributes.push(Attribute::new("ice-pwd", &transport.pwd));
        // RFC 8445 §10: who nominates as that document says, says so. Later nominations are numbered where both sides say so
        // (draft-thatcher-ice-renomination).
        attributes.push(Attribute::new("ice-options", "trickle ice2 renomination"));
        for ChannelDescription { map, attributes: said } in &self.channels {
            attributes.push(Attribute::new("dcmap", map));
            // Checked when they came in, so none is lost here.
            let said = said.iter().filter_map(|text| Dcsa::new(map.stream_id(), text).ok());
            attributes.extend(said.map(|dcsa| Attribute::new("dcsa", dcsa)));
        }
        let candidates = transport.candidates.iter().filter_map(|line| line.strip_prefix("candidate:"));
        attributes.extend(candidates.map(|value| Attribute::new("candidate", value)));
        if transport.end_of_candidates {
            attributes.push(Attribute::flag("end-of-candidates"));
        }
        // Port 9 and address 0.0.0.0: the default destination is left to the candidates (RFC 8840 §4.1.1).
        Media { line, attributes }
    }
}

/// RFC 3264 §6: port 0, and the protocol and formats as they were offered.
fn rejected(slot: &Slot) -> Media {
    let mut attributes: Vec<_> = slot.mid.iter().map(|mid| Attribute::new("mid", mid)).collect();
    if slot.line.media != "application" {
        attributes.push(Attribute::flag("inactive"));
    }
    Media { line: MediaLine { port: 0, ..slot.line.clone() }, attributes }
}
