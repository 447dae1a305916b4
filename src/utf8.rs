//! Whether bytes that come in pieces are UTF-8.

/// The check, at the end of a piece. A character may begin in one piece and end in another.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Utf8 {
    begun: [u8; 4],
    len: usize,
}

impl Utf8 {
    /// Takes the next bytes; false if they can't be UTF-8, whatever follows.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) -> bool {
        while self.len > 0
            && let Some((&byte, rest)) = bytes.split_first()
        {
            // Four bytes are a character, or none.
            let Some(place) = self.begun.get_mut(self.len) else { return false };
            *place = byte;
            self.len += 1;
            bytes = rest;
            match std::str::from_utf8(self.begun()) {
                Ok(_) => self.len = 0,
                Err(error) if error.error_len().is_some() => return false,
                Err(_) => {}
            }
        }
        match std::str::from_utf8(bytes) {
            Ok(_) => true,
            Err(error) if error.error_len().is_some() => false,
            Err(error) => {
                let begun = bytes.get(error.valid_up_to()..).unwrap_or_default();
                self.len = begun.len();
                self.begun.iter_mut().zip(begun).for_each(|(place, &byte)| *place = byte);
                true
            }
        }
    }

    /// The bytes of the character that has begun and not ended.
    pub(crate) fn begun(&self) -> &[u8] {
        self.begun.get(..self.len).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether it is UTF-8 when it comes in these pieces.
    fn is_utf8<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> bool {
        let mut check = Utf8::default();
        pieces.into_iter().all(|piece| check.feed(piece)) && check.begun().is_empty()
    }

    #[test]
    fn what_is_utf8_is_so_wherever_it_is_cut() {
        let text = "aß€😀\u{10ffff}\0é";
        for cuts in 0u32..1 << (text.len() - 1) {
            let mut pieces = Vec::new();
            let mut from = 0;
            for at in 1..=text.len() {
                if at == text.len() || cuts >> (at - 1) & 1 == 1 {
                    pieces.push(&text.as_bytes()[from..at]);
                    from = at;
                }
            }
            assert!(is_utf8(pieces.iter().copied()), "{pieces:?}");
            // And nothing else is.
            assert!(
                !is_utf8(pieces.iter().copied().chain([&b"\xf0\x9f"[..]])),
                "a character without its end"
            );
            assert!(!is_utf8(pieces.iter().copied().chain([&b"\x80"[..]])));
        }
        for bad in
            [&b"\xff"[..], b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82a", b"\xf0\x9f\x98a"]
        {
            assert!(!is_utf8([bad]));
            assert!(!is_utf8(bad.chunks(1)), "{bad:?}");
        }
    }
}
