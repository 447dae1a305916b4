//! Messages that say which they are, and an ear that minds what may come of them.
//!
//! A [`Script`] is a long sequence of messages, each computed from the seed and its number: texts and bytes, of no byte
//! up to the largest allowed, with all the sizes between at which a fragment begins. From 8 bytes on, a message begins
//! with its number in hexadecimal; shorter ones have no room for it, and are only counted. An [`Ear`] holds what
//! arrives against the script: whole, once, in order where that is promised, and all of it where that is promised.
//! `tests/interop/page/converse.js` does the same in a browser.

use std::collections::HashMap;

use sinnet_peer::Message;

/// What one side says on one channel.
#[derive(Clone, Copy, Debug)]
pub struct Script {
    /// All else follows from it; not 0.
    pub seed: u32,
    /// How many messages.
    pub count: u32,
    /// Size of the largest messages, bytes.
    pub largest: usize,
}

/// Bytes of a message's number.
const NUMBER: usize = 8;

const ALPHABET: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyz0123456789 ,.;:-_#+*~<>|(){}[]=!?$%&/@";

impl Script {
    /// A hash of seed and number (the finalizer of MurmurHash3).
    fn mix(self, number: u32) -> u32 {
        let mut x = self.seed ^ number.wrapping_add(1).wrapping_mul(0x9e37_79b1);
        x = (x ^ (x >> 16)).wrapping_mul(0x85eb_ca6b);
        x = (x ^ (x >> 13)).wrapping_mul(0xc2b2_ae35);
        x ^ (x >> 16)
    }

    /// Size of that message in bytes: mostly small, two in 5,000 the largest.
    pub fn size(self, number: u32) -> usize {
        let hash = self.mix(number);
        let pick = (hash >> 10) as usize;
        let size = match (number % 2500, hash % 1000) {
            (1249, _) => self.largest,
            (200, _) => 65_535 + pick % 3,
            (_, 0..60) => 0,
            (_, 60..120) => 1,
            (_, 120..200) => 2 + pick % 7,
            (_, 200..850) => 8 + pick % 200,
            (_, 850..940) => 200 + pick % 900,
            // One, two and many fragments of what browsers and we put into a packet, more or less.
            (_, 940..980) => 1130 + pick % 50,
            (_, 980..994) => 2290 + pick % 40,
            (_, 994..997) => 16_380 + pick % 8,
            _ => pick % 20_000,
        };
        size.min(self.largest)
    }

    fn is_text(self, number: u32) -> bool {
        self.mix(number) & 0x8000_0000 != 0
    }

    /// That message.
    pub fn message(self, number: u32) -> Message {
        let (size, text) = (self.size(number), self.is_text(number));
        // Those without a number are all alike, if their sizes are.
        let seed = if size < NUMBER { 1 } else { self.mix(number) | 1 };
        let mut bytes = xorshift(seed, size);
        if text {
            bytes.iter_mut().for_each(|byte| *byte = ALPHABET[usize::from(*byte & 63)]);
        }
        if size >= NUMBER {
            bytes[..NUMBER].copy_from_slice(format!("{number:08x}").as_bytes());
        }
        match text {
            true => Message::Text(String::from_utf8(bytes).expect("of the alphabet")),
            false => bytes.into(),
        }
    }

    /// How many messages without a number there are, by type and size.
    fn unnumbered(self) -> HashMap<(bool, usize), u32> {
        let mut all = HashMap::new();
        for number in (0..self.count).filter(|number| self.size(*number) < NUMBER) {
            *all.entry((self.is_text(number), self.size(number))).or_default() += 1;
        }
        all
    }
}

fn xorshift(seed: u32, size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size + 4);
    let mut x = seed;
    while bytes.len() < size {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        bytes.extend_from_slice(&x.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// What has come of a script at the other end.
#[derive(Debug)]
pub struct Ear {
    script: Script,
    ordered: bool,
    reliable: bool,
    /// By number, whether it has come; of those with a number.
    seen: Vec<bool>,
    /// The last number that has come.
    last: Option<u32>,
    /// Messages without a number that may still come.
    unnumbered: HashMap<(bool, usize), u32>,
    /// Messages that have come.
    pub received: u32,
}

impl Ear {
    /// For a channel that promises so much.
    pub fn new(script: Script, ordered: bool, reliable: bool) -> Self {
        Self {
            script,
            ordered,
            reliable,
            seen: vec![false; script.count as usize],
            last: None,
            unnumbered: script.unnumbered(),
            received: 0,
        }
    }

    /// Takes the next message.
    ///
    /// # Panics
    /// If it is torn, comes twice, or in the wrong order.
    pub fn take(&mut self, message: &Message) {
        let size = message.len();
        if self.ordered && self.reliable {
            assert!(self.received < self.script.count, "a message too many, of {size} bytes");
            assert!(
                *message == self.script.message(self.received),
                "message {} is another, of {size} bytes",
                self.received
            );
        } else if size < NUMBER {
            let text = matches!(message, Message::Text(_));
            let left = self.unnumbered.get_mut(&(text, size)).filter(|left| **left > 0);
            *left.unwrap_or_else(|| panic!("a message of {size} bytes too many, text: {text}")) -= 1;
            let example = (0..self.script.count)
                .find(|n| self.script.size(*n) == size && self.script.is_text(*n) == text)
                .expect("there is one");
            assert!(*message == self.script.message(example), "{size} bytes are torn");
        } else {
            let number = std::str::from_utf8(&message.as_bytes()[..NUMBER]).ok();
            let number = number.and_then(|digits| u32::from_str_radix(digits, 16).ok());
            let number = number.filter(|number| *number < self.script.count);
            let number = number.unwrap_or_else(|| panic!("{size} bytes without a number"));
            assert!(*message == self.script.message(number), "message {number}, of {size} bytes, is torn");
            assert!(!std::mem::replace(&mut self.seen[number as usize], true), "{number} came twice");
            assert!(
                !self.ordered || self.last.is_none_or(|last| last < number),
                "{number} behind {:?}",
                self.last
            );
            self.last = Some(number);
        }
        self.received += 1;
    }

    /// Whether all have come.
    pub fn is_complete(&self) -> bool {
        self.received == self.script.count
    }
}

#[cfg(test)]
mod tests {
    use super::{Ear, Script};

    const SCRIPT: Script = Script { seed: 5, count: 5000, largest: 100_000 };

    #[test]
    fn a_script_has_messages_of_every_kind() {
        let sizes: Vec<usize> = (0..SCRIPT.count).map(|n| SCRIPT.size(n)).collect();
        for wanted in [0, 1, 8, 1150, 1160, 2300, 65_535, 100_000] {
            let near = sizes.iter().filter(|size| size.abs_diff(wanted) < 5).count();
            assert!(near > 0, "nothing near {wanted} bytes");
        }
        let texts = (0..SCRIPT.count).filter(|n| SCRIPT.is_text(*n)).count();
        assert!((2300..2700).contains(&texts), "{texts} of 5000 are texts");
    }

    fn hear(ear: &mut Ear, numbers: &[u32]) -> bool {
        let numbers = numbers.to_vec();
        let ear = std::panic::AssertUnwindSafe(ear);
        std::panic::catch_unwind(move || {
            let ear = ear;
            for number in numbers {
                ear.0.take(&SCRIPT.message(number));
            }
        })
        .is_ok()
    }

    #[test]
    fn an_ear_takes_what_a_channel_may_deliver_and_nothing_else() {
        let long: Vec<u32> = (0..SCRIPT.count).filter(|n| SCRIPT.size(*n) >= 8).take(3).collect();
        let [x, y, z] = long[..] else { panic!("three") };
        let all: Vec<u32> = (0..SCRIPT.count).collect();
        for (ordered, reliable) in [(true, true), (true, false), (false, true), (false, false)] {
            let new = || Ear::new(SCRIPT, ordered, reliable);
            let mut ear = new();
            assert!(hear(&mut ear, &all) && ear.is_complete());
            assert!(!hear(&mut ear, &[z]), "one too many");
            assert_eq!(hear(&mut new(), &[x, z, y]), !ordered);
            assert_eq!(hear(&mut new(), &[x, z]), !(ordered && reliable), "with a gap");
            assert!(!hear(&mut new(), &[x, x]), "twice");
            let mut torn = SCRIPT.message(x).as_bytes().to_vec();
            torn[7] ^= 1;
            let heard = std::panic::catch_unwind(|| new().take(&torn.clone().into()));
            assert!(heard.is_err(), "another number than its content");
        }
    }
}
