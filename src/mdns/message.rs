//! mDNS messages (RFC 6762 §18, RFC 1035 §4.1), as far as addresses of one-label `.local` names go; the rest is skipped.
//!
//! Written here and not taken from a crate: anybody on the local link can send these, and the parsers there are read dozens of record
//! types that nobody asks for here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Largest message that is read. Those for candidates have about a hundred bytes.
pub(super) const MAX_LEN: usize = 1_500;

/// Questions and records that one message may have.
const MAX_ENTRIES: u16 = 64;

/// Seconds that addresses of hosts are good for (RFC 6762 §10).
pub(super) const TTL: u32 = 120;

/// Seconds in answers to those who don't speak mDNS (§6.7).
const LEGACY_TTL: u32 = 10;

const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;
const TYPE_NSEC: u16 = 47;
const TYPE_ANY: u16 = 255;
const CLASS_IN: u16 = 1;
const CLASS_ANY: u16 = 255;
/// In a question: answer to me alone. In an answer: forget what you knew (§18.12, §18.13).
const TOP_BIT: u16 = 0x8000;
const RESPONSE: u16 = 0x8000;
const AUTHORITATIVE: u16 = 0x0400;
const OPCODE_AND_RCODE: u16 = 0x780f;

/// What is understood of a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Message {
    Query { id: u16, questions: Vec<Question>, known: Vec<Record> },
    Response(Vec<Record>),
}

/// Names are in lower case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Question {
    pub(super) name: String,
    kind: u16,
    /// Whether the answer may go to the asker alone.
    pub(super) unicast: bool,
}

impl Question {
    pub(super) fn asks_for(&self, ip: IpAddr) -> bool {
        self.kind == TYPE_ANY || self.kind == kind_of(ip)
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Record {
    pub(super) name: String,
    pub(super) ip: IpAddr,
    pub(super) ttl: u32,
}

fn kind_of(ip: IpAddr) -> u16 {
    if ip.is_ipv4() { TYPE_A } else { TYPE_AAAA }
}

/// `None` for what is malformed, of another kind (§18.3, §18.11) or too large.
pub(super) fn read(datagram: &[u8]) -> Option<Message> {
    if datagram.len() > MAX_LEN {
        return None;
    }
    let mut reader = Reader { data: datagram, at: 0 };
    let (id, flags) = (reader.u16()?, reader.u16()?);
    let counts = [reader.u16()?, reader.u16()?, reader.u16()?, reader.u16()?];
    let entries = counts.iter().fold(0_u16, |sum, count| sum.saturating_add(*count));
    if flags & OPCODE_AND_RCODE != 0 || entries > MAX_ENTRIES {
        return None;
    }
    let mut questions = Vec::new();
    for _ in 0..counts[0] {
        questions.extend(reader.question()?);
    }
    let mut records = Vec::new();
    if flags & RESPONSE == 0 {
        // The authority section is for probes (§8.2), which names made at random don't need.
        for _ in 0..counts[1] {
            records.extend(reader.record()?);
        }
        return Some(Message::Query { id, questions, known: records });
    }
    for _ in 0..counts[1].saturating_add(counts[2]).saturating_add(counts[3]) {
        records.extend(reader.record()?);
    }
    Some(Message::Response(records))
}

struct Reader<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let taken = self.data.get(self.at..)?.get(..len)?;
        self.at += len;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    /// `Some(None)` for a name that isn't one label and `local`.
    fn name(&mut self) -> Option<Option<String>> {
        let mut labels: [&[u8]; 2] = [&[], &[]];
        let mut count = 0;
        // Where the name goes on; only `self.at` if no pointer has been followed.
        let mut at = self.at;
        let mut end = None;
        loop {
            let len = usize::from(*self.data.get(at)?);
            match len & 0xc0 {
                0 if len == 0 => break,
                0 => {
                    let label = self.data.get(at + 1..)?.get(..len)?;
                    if let Some(slot) = labels.get_mut(count) {
                        *slot = label;
                    }
                    count += 1;
                    at += 1 + len;
                }
                0xc0 => {
                    let low = usize::from(*self.data.get(at + 1)?);
                    end.get_or_insert(at + 2);
                    let target = (len & 0x3f) << 8 | low;
                    // Only ever backwards, so that it ends.
                    if target >= at {
                        return None;
                    }
                    at = target;
                }
                _ => return None,
            }
            // 255 bytes (RFC 1035 §2.3.4) hold no more.
            if count > 127 {
                return None;
            }
        }
        self.at = end.unwrap_or(at + 1);
        let [label, domain] = labels;
        let text =
            std::str::from_utf8(label).ok().filter(|_| count == 2 && domain.eq_ignore_ascii_case(b"local"));
        Some(text.map(|label| format!("{}.local", label.to_ascii_lowercase())))
    }

    fn question(&mut self) -> Option<Option<Question>> {
        let name = self.name()?;
        let (kind, class) = (self.u16()?, self.u16()?);
        let fits = matches!(class & !TOP_BIT, CLASS_IN | CLASS_ANY);
        Some(name.filter(|_| fits).map(|name| Question { name, kind, unicast: class & TOP_BIT != 0 }))
    }

    fn record(&mut self) -> Option<Option<Record>> {
        let name = self.name()?;
        let (kind, class, ttl, len) = (self.u16()?, self.u16()?, self.u32()?, self.u16()?);
        let data = self.take(len.into())?;
        let ip = match kind {
            TYPE_A => <[u8; 4]>::try_from(data).ok().map(|octets| IpAddr::from(Ipv4Addr::from(octets))),
            TYPE_AAAA => <[u8; 16]>::try_from(data).ok().map(|octets| IpAddr::from(Ipv6Addr::from(octets))),
            _ => None,
        };
        let fits = class & !TOP_BIT == CLASS_IN;
        Some(name.zip(ip).filter(|_| fits).map(|(name, ip)| Record { name, ip, ttl }))
    }
}

/// Asks everybody on the link for the addresses of a name. Two messages, as Chromium answers none with two questions.
pub(super) fn queries(name: &str) -> [Vec<u8>; 2] {
    [TYPE_A, TYPE_AAAA].map(|kind| {
        let mut out = header(0, 0, [1, 0]);
        write_name(&mut out, name);
        write(&mut out, &[kind, CLASS_IN]);
        out
    })
}

/// Whom an answer is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum To {
    /// Everybody, or one that speaks mDNS.
    Mdns,
    /// One who asked from another port than 5353, with this identifier (§6.7).
    Legacy(u16),
}

/// Says that a name has this address, or if the question was for the other family, that it has this one only (§6.1).
pub(super) fn answer(name: &str, ip: IpAddr, question: &Question, to: To) -> Vec<u8> {
    let legacy = to != To::Mdns;
    let id = if let To::Legacy(id) = to { id } else { 0 };
    let mut out = header(id, RESPONSE | AUTHORITATIVE, [u16::from(legacy), 1]);
    if legacy {
        write_name(&mut out, name);
        write(&mut out, &[question.kind, CLASS_IN]);
    }
    let class = if legacy { CLASS_IN } else { CLASS_IN | TOP_BIT };
    let ttl = if legacy { LEGACY_TTL } else { TTL };
    write_name(&mut out, name);
    let data: Vec<u8> = match ip {
        _ if !question.asks_for(ip) => {
            // The next name, and the types there are as bits of window 0 (§6.1).
            let mut data = Vec::new();
            write_name(&mut data, name);
            let kind = kind_of(ip);
            let byte = kind / 8;
            data.extend([0, byte as u8 + 1]);
            data.extend(std::iter::repeat_n(0, byte.into()));
            data.push(0x80 >> (kind % 8));
            write(&mut out, &[TYPE_NSEC, class]);
            data
        }
        IpAddr::V4(ip) => {
            write(&mut out, &[TYPE_A, class]);
            ip.octets().to_vec()
        }
        IpAddr::V6(ip) => {
            write(&mut out, &[TYPE_AAAA, class]);
            ip.octets().to_vec()
        }
    };
    out.extend(ttl.to_be_bytes());
    write(&mut out, &[u16::try_from(data.len()).unwrap_or(0)]);
    out.extend(data);
    out
}

fn header(id: u16, flags: u16, [questions, answers]: [u16; 2]) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    write(&mut out, &[id, flags, questions, answers, 0, 0]);
    out
}

fn write(out: &mut Vec<u8>, numbers: &[u16]) {
    numbers.iter().for_each(|number| out.extend(number.to_be_bytes()));
}

/// A name whose labels have 1 to 63 bytes, as those that come here do.
fn write_name(out: &mut Vec<u8>, name: &str) {
    for label in name.split('.') {
        out.push(u8::try_from(label.len()).unwrap_or(0) & 0x3f);
        out.extend(label.bytes().take(63));
    }
    out.push(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "90d0c6a0-4209-41e1-81f2-b20684468535.local";

    fn question(kind: u16) -> Question {
        Question { name: NAME.to_owned(), kind, unicast: false }
    }

    #[test]
    fn what_is_written_is_read() {
        for (query, kind) in queries(NAME).iter().zip([TYPE_A, TYPE_AAAA]) {
            let questions = vec![question(kind)];
            assert_eq!(read(query), Some(Message::Query { id: 0, questions, known: vec![] }));
        }
        for ip in ["10.9.0.1", "fd09::1"] {
            let ip: IpAddr = ip.parse().unwrap();
            for kind in [kind_of(ip), TYPE_ANY] {
                let record = Record { name: NAME.to_owned(), ip, ttl: TTL };
                assert_eq!(
                    read(&answer(NAME, ip, &question(kind), To::Mdns)),
                    Some(Message::Response(vec![record.clone()]))
                );
                let legacy = answer(NAME, ip, &question(kind), To::Legacy(7));
                assert_eq!(legacy[..2], [0, 7]);
                let record = Record { ttl: LEGACY_TTL, ..record };
                assert_eq!(read(&legacy), Some(Message::Response(vec![record])));
            }
        }
    }

    #[test]
    fn a_question_for_the_other_family_is_answered_with_the_types_there_are() {
        let bytes = answer(NAME, "10.9.0.1".parse().unwrap(), &question(TYPE_AAAA), To::Mdns);
        assert_eq!(read(&bytes), Some(Message::Response(vec![])), "no address");
        // Window 0, one byte, the bit of type 1.
        assert!(bytes.ends_with(&[0, 1, 0x40]), "{bytes:02x?}");
        let bytes = answer(NAME, "fd09::1".parse().unwrap(), &question(TYPE_A), To::Mdns);
        assert!(bytes.ends_with(&[0, 4, 0, 0, 0, 0x08]), "{bytes:02x?}");
    }

    /// One answer, named by `name`, of a type and data.
    fn response(name: &[u8], kind: u16, data: &[u8]) -> Vec<u8> {
        let mut out = header(0, RESPONSE | AUTHORITATIVE, [0, 1]);
        out.extend(name);
        write(&mut out, &[kind, CLASS_IN | TOP_BIT, 0, 120, data.len() as u16]);
        out.extend(data);
        out
    }

    #[test]
    fn other_names_and_types_are_skipped() {
        let name = |labels: &[&str]| {
            let mut out = Vec::new();
            write_name(&mut out, &labels.join("."));
            out
        };
        let found = |bytes: &[u8]| match read(bytes) {
            Some(Message::Response(records)) => records.len(),
            other => panic!("{other:?}"),
        };
        assert_eq!(found(&response(&name(&["a", "local"]), TYPE_A, &[1, 2, 3, 4])), 1);
        assert_eq!(found(&response(&name(&["A", "LOCAL"]), TYPE_A, &[1, 2, 3, 4])), 1);
        assert_eq!(found(&response(&name(&["a", "b", "local"]), TYPE_A, &[1, 2, 3, 4])), 0);
        assert_eq!(found(&response(&name(&["local"]), TYPE_A, &[1, 2, 3, 4])), 0);
        assert_eq!(found(&response(&name(&["a", "example"]), TYPE_A, &[1, 2, 3, 4])), 0);
        assert_eq!(
            found(&response(&name(&["a", "local"]), TYPE_A, &[1, 2, 3])),
            0,
            "no address has three bytes"
        );
        assert_eq!(found(&response(&name(&["a", "local"]), 16, b"text")), 0);
        assert_eq!(found(&response(b"\x01\xff\x05local\0", TYPE_A, &[1, 2, 3, 4])), 0, "not UTF-8");
    }

    #[test]
    fn compressed_names_are_followed_backwards_only() {
        let mut out = header(0, RESPONSE, [0, 2]);
        write_name(&mut out, "a.local");
        write(&mut out, &[TYPE_A, CLASS_IN, 0, 120, 4]);
        out.extend([10, 0, 0, 1]);
        // `b`, and the second label of the first name.
        out.extend(b"\x01b\xc0\x0e");
        write(&mut out, &[TYPE_A, CLASS_IN, 0, 120, 4]);
        out.extend([10, 0, 0, 2]);
        let Some(Message::Response(records)) = read(&out) else { panic!("a response") };
        let names: Vec<_> = records.iter().map(|record| record.name.as_str()).collect();
        assert_eq!(names, ["a.local", "b.local"]);
        for pointer in [[0xc0, 12], [0xc0, 13], [0xff, 0xff], [0xc0, 14]] {
            assert_eq!(read(&response(&pointer, TYPE_A, &[1, 2, 3, 4])), None, "{pointer:?}");
        }
    }

    #[test]
    fn cut_changed_and_random_messages_are_harmless() {
        let whole = answer(NAME, "fd09::1".parse().unwrap(), &question(TYPE_AAAA), To::Legacy(1));
        for len in 0..whole.len() {
            assert_eq!(read(&whole[..len]), None, "{len}");
        }
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..50_000 {
            let mut bytes = whole.clone();
            for _ in 0..4 {
                random =
                    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let at = (random >> 33) as usize % bytes.len();
                bytes[at] = (random >> 24) as u8;
            }
            let _ = read(&bytes);
        }
        assert_eq!(read(&vec![0; MAX_LEN + 1]), None);
        let mut many = header(0, RESPONSE, [0, MAX_ENTRIES + 1]);
        many.resize(1_400, 0);
        assert_eq!(read(&many), None);
    }
}
