//! A file's messages in a group, byte by byte: "Files in a group" of `docs/alm.md`.

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use sinnet_alm::group::Message;

/// Largest piece with its header.
pub(super) const MAX_PIECE: usize = 64 * 1024;

/// `id` and `offset`.
const HEADER: usize = 12;

/// Most bytes of a file in one message.
pub(super) const MAX_DATA: usize = MAX_PIECE - HEADER;

/// A text about a file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "sinnet", rename_all = "lowercase")]
pub(super) enum Note {
    /// It begins.
    File {
        id: u32,
        name: String,
        /// `None`: a stream, whose end nobody knows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        size: Option<u64>,
    },
    /// All of it has been sent.
    End { id: u32, size: u64, sha256: String },
    /// The rest does not come.
    Stop { id: u32, error: String },
}

impl Note {
    /// `None`: the text is chat.
    pub(super) fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    pub(super) fn message(&self) -> Message {
        // Strings, numbers and fixed keys: there is nothing here that serde_json refuses.
        Message::Text(serde_json::to_string(self).unwrap_or_default())
    }
}

/// Some bytes of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Piece {
    pub(super) id: u32,
    pub(super) offset: u64,
    pub(super) data: Bytes,
}

impl Piece {
    /// `None`: shorter than a piece's header.
    pub(super) fn parse(mut bytes: Bytes) -> Option<Self> {
        let header: [u8; HEADER] = bytes.get(..HEADER)?.try_into().ok()?;
        let (id, offset) = header.split_at(4);
        let id = u32::from_le_bytes(id.try_into().ok()?);
        let offset = u64::from_le_bytes(offset.try_into().ok()?);
        Some(Self { id, offset, data: bytes.split_off(HEADER) })
    }

    /// A message of `data`, which is copied: at most [`MAX_DATA`] bytes.
    pub(super) fn message(id: u32, offset: u64, data: &[u8]) -> Message {
        let mut bytes = BytesMut::with_capacity(HEADER + data.len());
        bytes.put_u32_le(id);
        bytes.put_u64_le(offset);
        bytes.put_slice(data);
        Message::Bytes(bytes.freeze())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn notes_look_as_documented() {
        let file = Note::File { id: 7, name: "photo.jpg".into(), size: Some(52_428_800) };
        let text = r#"{"sinnet":"file","id":7,"name":"photo.jpg","size":52428800}"#;
        assert_eq!(file.message(), Message::Text(text.into()));
        assert_eq!(Note::parse(text), Some(file));
        let stream = r#"{"sinnet":"file","id":8,"name":"s","more":[1]}"#;
        assert_eq!(Note::parse(stream), Some(Note::File { id: 8, name: "s".into(), size: None }));
        let end = r#"{"sinnet":"end","id":7,"size":3,"sha256":"ab"}"#;
        assert_eq!(Note::parse(end), Some(Note::End { id: 7, size: 3, sha256: "ab".into() }));
        let stop = r#"{"sinnet":"stop","id":7,"error":"why"}"#;
        assert_eq!(Note::parse(stop), Some(Note::Stop { id: 7, error: "why".into() }));
        for chat in [
            "",
            "hello",
            "{}",
            r#"{"sinnet":"dance","id":1}"#,
            r#"{"sinnet":"file","id":-1,"name":"x"}"#,
            r#"{"sinnet":"file","id":4294967296,"name":"x"}"#,
            r#"{"sinnet":"end","id":1,"size":1.5,"sha256":""}"#,
        ] {
            assert_eq!(Note::parse(chat), None, "{chat}");
        }
    }

    #[test]
    fn a_piece_is_little_endian() {
        let Message::Bytes(bytes) = Piece::message(7, 0x0102, b"abc") else { panic!("bytes") };
        assert_eq!(&bytes[..], b"\x07\0\0\0\x02\x01\0\0\0\0\0\0abc");
        assert!(Piece::parse(bytes.slice(..11)).is_none());
        assert_eq!(Piece::parse(bytes.slice(..12)).unwrap().data.len(), 0);
    }

    proptest! {
        #[test]
        fn pieces_and_notes_read_back(id: u32, offset: u64, data: Vec<u8>, name: String, size: Option<u64>) {
            let Message::Bytes(bytes) = Piece::message(id, offset, &data) else { panic!("bytes") };
            prop_assert_eq!(Piece::parse(bytes), Some(Piece { id, offset, data: data.into() }));
            let note = Note::File { id, name, size };
            let Message::Text(text) = note.message() else { panic!("text") };
            prop_assert_eq!(Note::parse(&text), Some(note));
        }
    }
}
