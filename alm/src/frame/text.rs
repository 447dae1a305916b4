//! Text as the old programs wrote it: UTF-16LE, without a byte-order mark.

use bytes::{BufMut, Bytes, BytesMut};

/// The body of a text frame.
pub fn write_text(text: &str) -> Bytes {
    let mut body = BytesMut::with_capacity(text.len() * 2);
    text.encode_utf16().for_each(|unit| body.put_u16_le(unit));
    body.freeze()
}

/// Reads a text frame's body. Half pairs become U+FFFD, as a browser shows them; a last odd byte is left out.
pub fn read_text(body: &[u8]) -> String {
    let units = body.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_is_utf_16_little_endian() {
        assert_eq!(write_text("aあ😀")[..], [0x61, 0, 0x42, 0x30, 0x3d, 0xd8, 0x00, 0xde]);
        assert_eq!(read_text(&[0x61, 0, 0x3d, 0xd8, 0x62, 0, 7]), "a\u{fffd}b");
    }

    proptest! {
        #[test]
        fn text_comes_back(text: String) {
            prop_assert_eq!(read_text(&write_text(&text)), text);
        }
    }
}
