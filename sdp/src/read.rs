//! From lines to meaning: which m-line is ours, and what it says about the transport.
//!
//! Attributes are looked up level by level, and the first level that has any line of that name wins as a whole
//! (RFC 8122 §5, RFC 8839 §5):
//! the data m-section, then the section that its BUNDLE group is tagged by (RFC 8843 §7.1.3: a section that is bundled
//! only leaves its transport out), then the session.

use std::collections::BTreeMap;

use crate::channels::{ChannelDescription, Listed};
use crate::dcmap::{Dcmap, DcmapError, Dcsa};
use crate::error::{Error, excerpt};
use crate::session::{Attribute, Media, MediaLine, Session};
use crate::transport::{RemoteTransport, check_candidate, check_credentials, check_fingerprints};
use crate::{MAX_CANDIDATES, MAX_CHANNELS, MAX_FINGERPRINTS, MAX_MID, Setup};

/// RFC 8841 §6.1: what a peer takes that does not say.
const DEFAULT_MAX_MESSAGE_SIZE: u64 = 65_536;

/// The m-lines of a description as later ones must keep them (RFC 3264 §8).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Layout {
    /// Every m-line with its mid; ports are those of the description that was read.
    pub(crate) slots: Vec<Slot>,
    /// Which of them is ours.
    pub(crate) data: usize,
    /// Whether a BUNDLE group has our m-line in it.
    pub(crate) bundle: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Slot {
    pub(crate) line: MediaLine,
    pub(crate) mid: Option<String>,
}

impl Layout {
    /// Our mid; empty if there is none.
    pub(crate) fn mid(&self) -> &str {
        self.slots.get(self.data).and_then(|slot| slot.mid.as_deref()).unwrap_or("")
    }

    /// Whether our m-line is in the form before RFC 8841, which knows no `a=dcmap`.
    pub(crate) fn is_old_form(&self) -> bool {
        self.slots.get(self.data).is_some_and(|slot| is_old_form(&slot.line))
    }
}

/// A description of the peer's, understood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Remote {
    pub(crate) transport: RemoteTransport,
    pub(crate) layout: Layout,
    pub(crate) channels: Listed,
}

/// Reads an offer. If m-lines were negotiated before, they must still be there.
pub(crate) fn offer(session: &Session, before: Option<&Layout>) -> Result<Remote, Error> {
    let layout = match before {
        None => {
            let data = session.media.iter().position(|m| is_data(m) && is_offered(session, m));
            layout(session, data.ok_or(Error::NoDataMediaLine)?)?
        }
        Some(before) => {
            if session.media.len() < before.slots.len() {
                return Err(Error::MLineMismatch("there are fewer than before"));
            }
            let Some(media) = session.media.get(before.data).filter(|m| is_data(m)) else {
                return Err(Error::MLineMismatch("the data channel's is not where it was"));
            };
            if !is_offered(session, media) {
                return Err(Error::NoDataMediaLine);
            }
            let layout = layout(session, before.data)?;
            if layout.mid() != before.mid() {
                return Err(Error::MLineMismatch("the data channel's has another mid than before"));
            }
            layout
        }
    };
    let transport = transport(session, &layout)?;
    if transport.setup == Setup::HoldConn {
        return Err(Error::SetupNotAllowed(Setup::HoldConn));
    }
    let channels = session.media.get(layout.data).map(listed).transpose()?.unwrap_or_default();
    Ok(Remote { transport, layout, channels })
}

/// Reads the answer to an offer of ours.
pub(crate) fn answer(session: &Session, offered: &Layout) -> Result<Remote, Error> {
    if session.media.len() != offered.slots.len() {
        return Err(Error::MLineMismatch("an answer must have as many as its offer"));
    }
    let Some(media) = session.media.get(offered.data) else {
        return Err(Error::MLineMismatch("an answer must have as many as its offer"));
    };
    if media.line.media != "application" {
        return Err(Error::MLineMismatch("the data channel's is not where it was offered"));
    }
    if media.line.port == 0 {
        return Err(Error::DataRejected);
    }
    let offered_line = offered.slots.get(offered.data).map(|slot| &slot.line);
    if !is_data(media) || !offered_line.is_some_and(|line| is_same_form(line, &media.line)) {
        return Err(Error::MLineMismatch("the data channel's has another protocol than offered"));
    }
    let channels = listed(media)?;
    let mut layout = layout(session, offered.data)?;
    if layout.mid().is_empty() {
        // RFC 5888 §9.1 wants it back; a peer that leaves it out still means this m-line.
        layout.slots.clone_from(&offered.slots);
    } else if layout.mid() != offered.mid() {
        return Err(Error::MLineMismatch("the data channel's has another mid than offered"));
    }
    let transport = transport(session, &layout)?;
    match transport.setup {
        Setup::Active | Setup::Passive => Ok(Remote { transport, layout, channels }),
        setup => Err(Error::SetupNotAllowed(setup)),
    }
}

/// RFC 8841 §4: what a data channel m-line looks like; and what it looked like before.
///
/// Chrome up to 76 and Firefox up to 62 (2013 to 2019) wrote `DTLS/SCTP` and the SCTP port for a format, which
/// `a=sctpmap:<port> webrtc-datachannel <streams>` explains (draft-ietf-mmusic-sctp-sdp-03 to -06). Drafts between the two
/// had one half of the one and one of the other.
fn is_data(media: &Media) -> bool {
    let line = &media.line;
    line.media == "application"
        && ["UDP/DTLS/SCTP", "TCP/DTLS/SCTP", "DTLS/SCTP"]
            .iter()
            .any(|proto| line.proto.eq_ignore_ascii_case(proto))
        && (!is_old_form(line) || mapped_port(media).is_some())
}

fn is_old_form(line: &MediaLine) -> bool {
    !line.formats.iter().any(|format| format == "webrtc-datachannel")
}

/// The format that an `a=sctpmap` says to be data channels: an SCTP port.
fn mapped_port(media: &Media) -> Option<&str> {
    let is_mapped = |format: &&String| {
        all(&media.attributes, "sctpmap").iter().any(|value| {
            let mut words = value.split_ascii_whitespace();
            words.next() == Some(format.as_str()) && words.next() == Some("webrtc-datachannel")
        })
    };
    media.line.formats.iter().find(is_mapped).map(String::as_str)
}

/// Whether an answer speaks the offer's language. UDP and TCP may be swapped: ICE decides between them (RFC 8841 §10.1).
fn is_same_form(offered: &MediaLine, answered: &MediaLine) -> bool {
    let is_before = |line: &MediaLine| line.proto.eq_ignore_ascii_case("DTLS/SCTP");
    is_before(offered) == is_before(answered) && is_old_form(offered) == is_old_form(answered)
}

/// The channels that a data section lists (RFC 8864 §5). Attributes of channels that are not there are discarded (§6.7).
fn listed(media: &Media) -> Result<Listed, Error> {
    let mut listed = Listed::default();
    if is_old_form(&media.line) {
        return Ok(listed);
    }
    let maps = all(&media.attributes, "dcmap");
    let attributes = all(&media.attributes, "dcsa");
    if maps.len() > MAX_CHANNELS || attributes.len() > MAX_CHANNELS {
        return Err(Error::TooLarge { what: "channels and their attributes", limit: MAX_CHANNELS });
    }
    let mut places = BTreeMap::new();
    for value in maps {
        let (id, place) = match value.parse::<Dcmap>() {
            Ok(map) => {
                let id = map.stream_id();
                listed.channels.push(ChannelDescription { map, attributes: Vec::new() });
                (id, Some(listed.channels.len() - 1))
            }
            // RFC 8864 §8: a value that can't be ends its channel, and nothing else.
            Err(DcmapError::Number { stream_id, .. }) => {
                listed.unusable.push(stream_id);
                (stream_id, None)
            }
            Err(error) => return Err(Error::Channel(error)),
        };
        if places.insert(id, place).is_some() {
            return Err(Error::DuplicateChannel(id));
        }
    }
    for value in attributes {
        let dcsa: Dcsa = value.parse().map_err(Error::Channel)?;
        let place = places.get(&dcsa.stream_id()).copied().flatten();
        if let Some(channel) = place.and_then(|place| listed.channels.get_mut(place)) {
            channel.attributes.push(dcsa.attribute().to_owned());
        }
    }
    Ok(listed)
}

/// Port 0 means "not offered" (RFC 3264 §5.1), but for a section that is bundled only (RFC 8843 §6).
fn is_offered(session: &Session, media: &Media) -> bool {
    media.line.port != 0 || (has(&media.attributes, "bundle-only") && tagged(session, media).is_some())
}

fn layout(session: &Session, data: usize) -> Result<Layout, Error> {
    let mut slots = session
        .media
        .iter()
        .map(|media| {
            let mid = first(&media.attributes, "mid");
            if mid.is_some_and(|mid| mid.len() > MAX_MID) {
                return Err(Error::TooLarge { what: "bytes of a mid", limit: MAX_MID });
            }
            if mid.is_some_and(|mid| mid.is_empty() || !mid.bytes().all(|b| b.is_ascii_graphic())) {
                return Err(Error::Syntax("a=mid must be one word of printable ASCII".to_owned()));
            }
            Ok(Slot { line: media.line.clone(), mid: mid.map(str::to_owned) })
        })
        .collect::<Result<Vec<_>, Error>>()?;
    // What is kept for as long as the connection lasts has no room to spare.
    slots.shrink_to_fit();
    let bundle = session.media.get(data).is_some_and(|media| tagged(session, media).is_some());
    Ok(Layout { slots, data, bundle })
}

/// The section that stands first in the BUNDLE group of this one, which may be itself; `None` if it is in no group.
fn tagged<'a>(session: &'a Session, media: &Media) -> Option<&'a Media> {
    let mid = first(&media.attributes, "mid")?;
    let first_of_group = session
        .attributes
        .iter()
        .filter(|a| a.name == "group")
        .filter_map(|a| a.value.as_deref()?.strip_prefix("BUNDLE "))
        .find(|mids| mids.split_ascii_whitespace().any(|m| m == mid))?
        .split_ascii_whitespace()
        .next()?;
    session.media.iter().find(|m| first(&m.attributes, "mid") == Some(first_of_group))
}

fn transport(session: &Session, layout: &Layout) -> Result<RemoteTransport, Error> {
    let own = session.media.get(layout.data).ok_or(Error::NoDataMediaLine)?;
    let tagged = tagged(session, own);
    let levels = [Some(&own.attributes), tagged.map(|m| &m.attributes), Some(&session.attributes)];
    let level = |name: &str| levels.into_iter().flatten().find(|attributes| has(attributes, name));
    let value = |name: &str| level(name).and_then(|attributes| first(attributes, name));

    let (Some(ufrag), Some(pwd)) = (value("ice-ufrag"), value("ice-pwd")) else {
        return Err(Error::MissingIceCredentials);
    };
    check_credentials(ufrag, pwd)?;

    let fingerprints = level("fingerprint").map(|a| all(a, "fingerprint")).unwrap_or_default();
    if fingerprints.len() > MAX_FINGERPRINTS {
        return Err(Error::TooLarge { what: "fingerprints", limit: MAX_FINGERPRINTS });
    }
    let mut fingerprints = fingerprints.into_iter().map(str::parse).collect::<Result<Vec<_>, _>>()?;
    fingerprints.shrink_to_fit();
    check_fingerprints(&fingerprints)?;

    // RFC 8839 §5.1 knows candidates in media sections only; they stand where the credentials stand.
    let of_candidates = match tagged {
        Some(tagged) if !has(&own.attributes, "ice-ufrag") => &tagged.attributes,
        _ => &own.attributes,
    };
    let candidates = all(of_candidates, "candidate");
    if candidates.len() > MAX_CANDIDATES {
        return Err(Error::TooLarge { what: "candidates", limit: MAX_CANDIDATES });
    }
    let candidates: Vec<_> = candidates.into_iter().map(|value| format!("candidate:{value}")).collect();
    candidates.iter().try_for_each(|line| check_candidate(line))?;

    let option =
        |name| value("ice-options").is_some_and(|v| v.split_ascii_whitespace().any(|option| option == name));
    Ok(RemoteTransport {
        ufrag: ufrag.to_owned(),
        pwd: pwd.to_owned(),
        ice_lite: level("ice-lite").is_some(),
        trickle: option("trickle"),
        renomination: option("renomination"),
        ice_restart: false,
        setup: value("setup").ok_or(Error::MissingSetup)?.parse()?,
        fingerprints,
        sctp_port: sctp_port(match is_old_form(&own.line) {
            true => mapped_port(own),
            false => first(&own.attributes, "sctp-port"),
        })?,
        max_message_size: max_message_size(first(&own.attributes, "max-message-size"))?,
        candidates,
        end_of_candidates: level("end-of-candidates").is_some(),
        mid: layout.mid().to_owned(),
        mline_index: layout.data,
    })
}

/// RFC 8841 §5. Zero would close the association (§9.2), which is done by closing the connection here.
fn sctp_port(value: Option<&str>) -> Result<u16, Error> {
    let value = value.ok_or(Error::MissingSctpPort)?;
    match decimal(value).map(u16::try_from) {
        Some(Ok(port)) if port != 0 => Ok(port),
        _ => Err(Error::BadSctpPort(excerpt(value))),
    }
}

/// RFC 8841 §6: absent is 64 KiB, 0 is any size. A number beyond 64 bits is any size, too.
fn max_message_size(value: Option<&str>) -> Result<u64, Error> {
    let Some(value) = value else { return Ok(DEFAULT_MAX_MESSAGE_SIZE) };
    match decimal(value) {
        Some(0) => Ok(u64::MAX),
        Some(size) => Ok(size),
        None => Err(Error::BadMaxMessageSize(excerpt(value))),
    }
}

/// `1*DIGIT`, without a sign; saturates.
fn decimal(value: &str) -> Option<u64> {
    let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| value.parse().unwrap_or(u64::MAX))
}

fn has(attributes: &[Attribute], name: &str) -> bool {
    attributes.iter().any(|a| a.name == name)
}

/// The value of the first attribute of that name; attributes that must not be repeated are read so.
fn first<'a>(attributes: &'a [Attribute], name: &str) -> Option<&'a str> {
    attributes.iter().find(|a| a.name == name)?.value.as_deref()
}

fn all<'a>(attributes: &'a [Attribute], name: &str) -> Vec<&'a str> {
    attributes.iter().filter(|a| a.name == name).filter_map(|a| a.value.as_deref()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_digits_only_and_saturate() {
        assert_eq!(max_message_size(None), Ok(65_536));
        assert_eq!(max_message_size(Some("0")), Ok(u64::MAX));
        assert_eq!(max_message_size(Some("1073741823")), Ok(1_073_741_823));
        assert_eq!(max_message_size(Some("18446744073709551616")), Ok(u64::MAX));
        for bad in ["", "-1", "+1", "1 2", "0x10", "1e9", "٣"] {
            assert_eq!(max_message_size(Some(bad)), Err(Error::BadMaxMessageSize(bad.to_owned())));
        }
        assert_eq!(sctp_port(Some("65535")), Ok(65_535));
        assert_eq!(sctp_port(None), Err(Error::MissingSctpPort));
        for bad in ["0", "65536", "18446744073709551621", "-5000", "+5000", ""] {
            assert_eq!(sctp_port(Some(bad)), Err(Error::BadSctpPort(bad.to_owned())));
        }
    }
}
