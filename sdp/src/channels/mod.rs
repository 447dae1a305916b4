//! Which data channels two sides have agreed on by SDP (RFC 8864 §6).
//!
//! A description lists every channel that its side wants to be there after the exchange: those in force and new ones. What
//! is in force changes when an answer completes an exchange, and never before; so taking an offer back needs no work here.
//!
//! | | offer | answer |
//! |---|---|---|
//! | a channel in force | listed, or left out to close it (§6.6.1) | listed again, or left out to close it |
//! | a new one | listed, with an id of the offerer's parity (§6.1) | listed to accept, left out to refuse (§6.4) |
//! | in force with other values | the old one is closed and its id used again (§6.6.1) | as a new one |
//! | anything else | | ignored |
//!
//! Ids are even for the DTLS client and odd for the server (§6.1). The first offer comes before the roles: its new ids
//! must have one parity, and an answer of ours takes the role that makes it right. Channels that DCEP has opened are never
//! listed; that their ids are not taken is for the caller to see to.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use crate::dcmap::{Dcmap, DcmapError, Dcsa};
use crate::{DtlsRole, MAX_CHANNELS};

/// A channel as a description lists it: one `a=dcmap`, and the attributes in its `a=dcsa` lines.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChannelDescription {
    /// What the channel is.
    pub map: Dcmap,
    /// What its subprotocol says: `name` or `name:value`, as it would follow `a=`.
    pub attributes: Vec<String>,
}

/// A channel that both sides have agreed on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NegotiatedChannel {
    /// What the channel is, as its offerer has said it.
    pub map: Dcmap,
    /// Whether the offer that opened it was ours.
    pub ours: bool,
    /// The subprotocol's attributes, as we said them last.
    pub local_attributes: Vec<String>,
    /// The subprotocol's attributes, as the peer said them last.
    pub remote_attributes: Vec<String>,
}

/// A new channel in the peer's offer, before the answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OfferedChannel {
    /// What the peer offers.
    pub channel: ChannelDescription,
    /// Whether its id is that of a channel in force, which it would take the place of.
    pub replaces: bool,
}

/// What an exchange has changed, told when it is complete.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ChannelChange {
    /// The channel is not in force any more: reset its stream (RFC 8831 §6.7).
    Closed {
        /// Which one.
        stream_id: u16,
    },
    /// The channel is in force.
    Opened(NegotiatedChannel),
    /// Our channel did not come to be.
    Refused {
        /// Which one.
        stream_id: u16,
        /// Why not.
        reason: Refusal,
    },
}

/// Why a channel that we wanted did not come to be.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Refusal {
    /// The answer has it not: the peer does not want it, or does not know `a=dcmap`.
    LeftOut,
    /// The roles came out so that ids of this parity are the peer's (RFC 8864 §6.1).
    Parity,
    /// The answer has another `max-retr` or `max-time` than the offer (§6.4), or none that can be read.
    Limit,
}

/// A channel can't be proposed, or answered, so.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// The id is that of a channel that is in force or proposed.
    #[error("channel id {0} is in use")]
    InUse(u16),
    /// The id has the parity of the other side, or not that of the other new channels in the first offer (RFC 8864 §6.1).
    #[error("channel id {0} is for the other side to use: the DTLS client has even ids, the server odd ones")]
    Parity(u16),
    /// A channel that takes the place of one that was closed since the last exchange must differ from it (§6.6.1).
    #[error("channel id {0} was the same channel before; let an offer without it be answered first")]
    SameAsBefore(u16),
    /// More than [`MAX_CHANNELS`].
    #[error("a description can have at most {MAX_CHANNELS} channels")]
    TooMany,
    /// The peer's offer, if there is one, does not have this channel.
    #[error("channel id {0} is not a new channel of a pending offer")]
    NotOffered(u16),
    /// An attribute that can't stand in an `a=dcsa` line.
    #[error(transparent)]
    Attribute(#[from] DcmapError),
}

/// The channels of a description that was read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Listed {
    pub(crate) channels: Vec<ChannelDescription>,
    /// Ids of channels with values that can't be used; those are closed, and nothing else happens (§8).
    pub(crate) unusable: Vec<u16>,
}

impl Listed {
    fn get(&self, id: u16) -> Option<&ChannelDescription> {
        self.channels.iter().find(|channel| channel.map.stream_id() == id)
    }
}

/// Channels in force, wanted and offered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Channels {
    in_force: BTreeMap<u16, NegotiatedChannel>,
    /// For our next offer. They stay here until an exchange that had them is complete, so that rollback keeps them.
    wanted: BTreeMap<u16, ChannelDescription>,
    /// In force, or thought so by the peer, and closed by a reset of the stream: to be left out from now on. True where
    /// an offer that does so is for us to make (§6.6.1: "the endpoint that closed").
    gone: BTreeMap<u16, bool>,
    /// New channels of the peer's pending offer, and what our answer will say.
    offered: BTreeMap<u16, Offered>,
    changes: VecDeque<ChannelChange>,
}

#[derive(Clone, Debug)]
struct Offered {
    channel: ChannelDescription,
    rejected: bool,
    answer_attributes: Vec<String>,
}

impl DtlsRole {
    /// Whether ids of this parity are for this side to open channels on: even ones for the client, odd ones for the
    /// server (RFC 8832 §6, RFC 8864 §6.1).
    pub fn owns(self, stream_id: u16) -> bool {
        (self == DtlsRole::Client) == stream_id.is_multiple_of(2)
    }
}

/// What the application wants.
impl Channels {
    pub(crate) fn propose(
        &mut self,
        channel: ChannelDescription,
        role: Option<DtlsRole>,
    ) -> Result<(), ChannelError> {
        let id = channel.map.stream_id();
        check_attributes(id, &channel.attributes)?;
        if self.wanted.contains_key(&id) || self.offered.contains_key(&id) {
            return Err(ChannelError::InUse(id));
        }
        if let Some(before) = self.in_force.get(&id) {
            if !self.gone.contains_key(&id) {
                return Err(ChannelError::InUse(id));
            }
            if before.map.is_same_channel(&channel.map) {
                return Err(ChannelError::SameAsBefore(id));
            }
        }
        // Before the roles are known, one of them at least must make all ids right.
        let fits = match role {
            Some(role) => role.owns(id),
            None => self.wanted.keys().next().is_none_or(|other| other % 2 == id % 2),
        };
        if !fits {
            return Err(ChannelError::Parity(id));
        }
        if self.in_force.len() + self.wanted.len() >= MAX_CHANNELS {
            return Err(ChannelError::TooMany);
        }
        self.wanted.insert(id, channel);
        Ok(())
    }

    pub(crate) fn withdraw(&mut self, id: u16) {
        self.wanted.remove(&id);
    }

    pub(crate) fn closed(&mut self, id: u16, by_us: bool) {
        if self.in_force.contains_key(&id) {
            *self.gone.entry(id).or_default() |= by_us;
        }
    }

    /// Whether an offer of ours is due.
    pub(crate) fn needs_offer(&self) -> bool {
        !self.wanted.is_empty() || self.gone.values().any(|by_us| *by_us)
    }

    pub(crate) fn is_known(&self, id: u16) -> bool {
        self.in_force.contains_key(&id) || self.wanted.contains_key(&id) || self.offered.contains_key(&id)
    }

    pub(crate) fn in_force(&self) -> impl Iterator<Item = &NegotiatedChannel> {
        self.in_force.values()
    }

    pub(crate) fn get(&self, id: u16) -> Option<&NegotiatedChannel> {
        self.in_force.get(&id)
    }

    pub(crate) fn next_change(&mut self) -> Option<ChannelChange> {
        self.changes.pop_front()
    }

    fn kept(&self) -> impl Iterator<Item = (u16, &NegotiatedChannel)> {
        let here = |(id, _): &(&u16, &NegotiatedChannel)| !self.gone.contains_key(id);
        self.in_force.iter().filter(here).map(|(id, channel)| (*id, channel))
    }
}

/// Our offer and its answer.
impl Channels {
    /// What an offer lists (§6.3, §6.6).
    pub(crate) fn offer(&self) -> Vec<ChannelDescription> {
        let kept = self.kept().map(|(_, channel)| ChannelDescription {
            map: channel.map.clone(),
            attributes: channel.local_attributes.clone(),
        });
        kept.chain(self.wanted.values().cloned()).collect()
    }

    /// The answer to an offer that listed `sent` has come (§6.5). `role` is ours.
    pub(crate) fn answered(&mut self, sent: &[ChannelDescription], answer: &Listed, role: DtlsRole) {
        for channel in sent {
            let id = channel.map.stream_id();
            let said = answer.get(id);
            let limit_stays = said.is_some_and(|said| said.map.limit() == channel.map.limit());
            let before = self.in_force.get_mut(&id).filter(|before| before.map.is_same_channel(&channel.map));
            if let (Some(before), Some(said), true) = (before, said, limit_stays) {
                before.remote_attributes.clone_from(&said.attributes);
                continue;
            }
            let old = self.close(id);
            let new = self.wanted.remove(&id).is_some() || !old;
            // The peer may have it open, though it should not: our next offer will not list it.
            let refusal = match said {
                Some(said) if limit_stays && role.owns(id) => {
                    let opened = NegotiatedChannel {
                        map: channel.map.clone(),
                        ours: true,
                        local_attributes: channel.attributes.clone(),
                        remote_attributes: said.attributes.clone(),
                    };
                    self.in_force.insert(id, opened.clone());
                    self.changes.push_back(ChannelChange::Opened(opened));
                    continue;
                }
                Some(_) if limit_stays => Refusal::Parity,
                None if !answer.unusable.contains(&id) => Refusal::LeftOut,
                _ => Refusal::Limit,
            };
            if refusal != Refusal::LeftOut {
                self.gone.insert(id, true);
            }
            if new {
                self.changes.push_back(ChannelChange::Refused { stream_id: id, reason: refusal });
            }
        }
        self.close_unlisted(sent);
        self.drop_foreign(role);
    }

    /// The session turned out to be one that knows no `a=dcmap`.
    pub(crate) fn refuse_all(&mut self) {
        for stream_id in std::mem::take(&mut self.wanted).into_keys() {
            self.changes.push_back(ChannelChange::Refused { stream_id, reason: Refusal::LeftOut });
        }
        self.close_unlisted(&[]);
    }
}

/// The peer's offer and our answer.
impl Channels {
    pub(crate) fn receive_offer(&mut self, listed: &Listed) {
        let is_new = |channel: &&ChannelDescription| {
            let before = self.in_force.get(&channel.map.stream_id());
            !before.is_some_and(|before| before.map.is_same_channel(&channel.map))
        };
        let new = listed.channels.iter().filter(is_new).map(|channel| {
            let offered =
                Offered { channel: channel.clone(), rejected: false, answer_attributes: Vec::new() };
            (channel.map.stream_id(), offered)
        });
        self.offered = new.collect();
    }

    pub(crate) fn forget_offer(&mut self) {
        self.offered.clear();
    }

    pub(crate) fn offered(&self) -> impl Iterator<Item = OfferedChannel> {
        self.offered.values().filter(|offered| !offered.rejected).map(|offered| OfferedChannel {
            channel: offered.channel.clone(),
            replaces: self.in_force.contains_key(&offered.channel.map.stream_id()),
        })
    }

    pub(crate) fn reject(&mut self, id: u16) -> Result<(), ChannelError> {
        self.offered.get_mut(&id).ok_or(ChannelError::NotOffered(id))?.rejected = true;
        Ok(())
    }

    pub(crate) fn set_answer_attributes(
        &mut self,
        id: u16,
        attributes: Vec<String>,
    ) -> Result<(), ChannelError> {
        check_attributes(id, &attributes)?;
        self.offered.get_mut(&id).ok_or(ChannelError::NotOffered(id))?.answer_attributes = attributes;
        Ok(())
    }

    /// The role in which the peer's new channels have ids of its parity, if there is one for all of them.
    pub(crate) fn role_that_fits(&self) -> Option<DtlsRole> {
        let mut ids = self.offered.values().filter(|o| !o.rejected).map(|o| o.channel.map.stream_id());
        let first = ids.next()?;
        let theirs = if first.is_multiple_of(2) { DtlsRole::Client } else { DtlsRole::Server };
        ids.all(|id| theirs.owns(id)).then(|| theirs.peer())
    }

    /// What our answer to the peer's offer lists (§6.4). `role` is ours.
    pub(crate) fn answer(&self, listed: &Listed, role: DtlsRole) -> Vec<ChannelDescription> {
        let answer = |channel: &ChannelDescription| {
            let id = channel.map.stream_id();
            let attributes = match self.offered.get(&id) {
                Some(offered) if offered.rejected || role.owns(id) => return None,
                // What we had refused for its id is not the peer's channel either.
                Some(_) if self.gone.contains_key(&id) && !self.in_force.contains_key(&id) => return None,
                Some(offered) => offered.answer_attributes.clone(),
                None if self.gone.contains_key(&id) => return None,
                None => self.in_force.get(&id)?.local_attributes.clone(),
            };
            Some(ChannelDescription { map: channel.map.without_unknown(), attributes })
        };
        listed.channels.iter().filter_map(answer).collect()
    }

    /// Our answer, which listed `sent`, is in force.
    pub(crate) fn answer_sent(&mut self, listed: &Listed, sent: &[ChannelDescription], role: DtlsRole) {
        for channel in sent {
            let id = channel.map.stream_id();
            let said = listed.get(id).map(|said| said.attributes.clone()).unwrap_or_default();
            if self.offered.contains_key(&id) {
                self.close(id);
                let opened = NegotiatedChannel {
                    map: channel.map.clone(),
                    ours: false,
                    local_attributes: channel.attributes.clone(),
                    remote_attributes: said,
                };
                self.in_force.insert(id, opened.clone());
                self.changes.push_back(ChannelChange::Opened(opened));
            } else if let Some(kept) = self.in_force.get_mut(&id) {
                kept.remote_attributes = said;
            }
        }
        self.offered.clear();
        self.close_unlisted(sent);
        self.drop_foreign(role);
    }
}

/// What both ends of an exchange have in common.
impl Channels {
    /// What neither description lists any more is over, and its id is free.
    fn close_unlisted(&mut self, sent: &[ChannelDescription]) {
        let listed = |id: &u16| sent.iter().any(|channel| channel.map.stream_id() == *id);
        let over: Vec<u16> = self.in_force.keys().filter(|id| !listed(id)).copied().collect();
        for id in over {
            self.close(id);
        }
        self.gone.retain(|id, _| listed(id));
    }

    /// Channels that we wanted while the roles were unknown, and on whose ids the peer now opens channels.
    fn drop_foreign(&mut self, role: DtlsRole) {
        let foreign: Vec<u16> = self.wanted.keys().filter(|id| !role.owns(**id)).copied().collect();
        for stream_id in foreign {
            self.wanted.remove(&stream_id);
            self.changes.push_back(ChannelChange::Refused { stream_id, reason: Refusal::Parity });
        }
    }

    fn close(&mut self, stream_id: u16) -> bool {
        self.gone.remove(&stream_id);
        let was_there = self.in_force.remove(&stream_id).is_some();
        if was_there {
            self.changes.push_back(ChannelChange::Closed { stream_id });
        }
        was_there
    }
}

fn check_attributes(id: u16, attributes: &[String]) -> Result<(), ChannelError> {
    attributes.iter().try_for_each(|text| Dcsa::new(id, text).map(|_| ()))?;
    Ok(())
}
