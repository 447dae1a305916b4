//! The body of a join: the signalling's JSON, as it goes down the tree.
//!
//! `{"m":"join","g":<group>,"e":<ephemeral key>,"i":<node id>,"n":<connections wanted>}`, and between our nodes
//! `"x":{"v":1,"p":[<root path>]}`. Old nodes pass the whole object on, so unknown keys are kept, ours among them.
//!
//! Old nodes write UTF-16LE, ours write UTF-8; both are read. Old nodes split `n` into fractions: it is read as the whole
//! number below, and as 1 where that would be 0.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::control::MAX_PATH;
use super::{NodeId, read_text, write_text};

/// Most bytes of a join's body.
pub const MAX_JOIN: usize = 16 * 1024;

/// Most connections that one join can want; more is read as this.
pub const MAX_WANTED: u32 = 16;

/// The version of our frames that a join offers in `x.v`.
pub const VERSION: u8 = 1;

/// Somebody wants upstreams.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Join {
    m: &'static str,
    /// The group, a number or a name; passed on as it came.
    pub g: Value,
    /// The server's key for this attempt: the acceptor answers with it.
    pub e: Value,
    /// Who joins.
    pub i: NodeId,
    /// How many upstreams are still to be found, 1 to [`MAX_WANTED`].
    pub n: u32,
    /// What only our nodes say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub x: Option<Extension>,
    /// Keys that we don't know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// Our part of a join.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Extension {
    /// The highest version of our frames that the joiner speaks.
    pub v: u8,
    /// The nodes that hang below the joiner must not become its parents: so it says its root path, root first and itself
    /// last, or nothing if it is in no tree and has no children.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub p: Vec<NodeId>,
}

/// Why a body is no join.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// More than [`MAX_JOIN`] bytes, or a root path of more than [`MAX_PATH`] ids.
    #[error("the join is over its limit")]
    TooLong,
    /// No JSON object, in neither UTF-8 nor UTF-16LE.
    #[error("the join is not a JSON object")]
    NotJson,
    /// `m`, `i`, `n` or `x` are missing or of the wrong type; the name of the key.
    #[error("the join's {0:?} is missing or makes no sense")]
    Field(&'static str),
}

impl Join {
    /// A join of one of our nodes.
    pub fn new(g: Value, e: Value, i: NodeId, n: u32, path: &[NodeId]) -> Self {
        let x = Some(Extension { v: VERSION, p: path.to_vec() });
        Self { m: "join", g, e, i, n: n.clamp(1, MAX_WANTED), x, rest: Map::new() }
    }

    /// Reads a body.
    ///
    /// # Errors
    ///
    /// See [`JoinError`].
    pub fn parse(body: &[u8]) -> Result<Self, JoinError> {
        if body.len() > MAX_JOIN {
            return Err(JoinError::TooLong);
        }
        // JSON begins with an ASCII character, so that the second byte tells.
        let value: Option<Value> = match body {
            [_, 0, ..] => serde_json::from_str(&read_text(body)).ok(),
            _ => serde_json::from_slice(body).ok(),
        };
        match value {
            Some(Value::Object(object)) => Self::from_object(object),
            _ => Err(JoinError::NotJson),
        }
    }

    /// Takes a join that came from the server, parsed already.
    ///
    /// # Errors
    ///
    /// [`JoinError::Field`], [`JoinError::TooLong`].
    pub fn from_object(mut object: Map<String, Value>) -> Result<Self, JoinError> {
        if object.remove("m").as_ref().and_then(Value::as_str) != Some("join") {
            return Err(JoinError::Field("m"));
        }
        let i =
            object.remove("i").and_then(|i| u32::try_from(i.as_u64()?).ok()).ok_or(JoinError::Field("i"))?;
        let n = object.remove("n").and_then(|n| n.as_f64()).ok_or(JoinError::Field("n"))?;
        if n <= 0.0 {
            return Err(JoinError::Field("n"));
        }
        let x = match object.remove("x") {
            // Somebody else's `x` is somebody else's.
            Some(x) => serde_json::from_value::<Extension>(x).ok(),
            None => None,
        };
        if x.as_ref().is_some_and(|x| x.p.len() > MAX_PATH) {
            return Err(JoinError::TooLong);
        }
        // The cast saturates.
        let n = (n as u32).clamp(1, MAX_WANTED);
        let (g, e) = (object.remove("g").unwrap_or(Value::Null), object.remove("e").unwrap_or(Value::Null));
        Ok(Self { m: "join", g, e, i: NodeId(i), n, x, rest: object })
    }

    /// The body for one of our nodes.
    pub fn write(&self) -> Bytes {
        Bytes::from(self.to_json())
    }

    /// The body for an old node.
    pub fn write_old(&self) -> Bytes {
        write_text(&self.to_json())
    }

    fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The joiner's root path; empty if it said none.
    pub fn path(&self) -> &[NodeId] {
        self.x.as_ref().map(|x| x.p.as_slice()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn an_old_nodes_join_is_read_and_its_fraction_rounded_down() {
        let body = write_text(r#"{"m":"join","g":0,"n":1.5,"i":3,"e":12,"z":[1]}"#);
        let join = Join::parse(&body).unwrap();
        assert_eq!((join.i, join.n, &join.x), (NodeId(3), 1, &None));
        assert_eq!(join.rest["z"], json!([1]));
        let again = Join::parse(&join.write_old()).unwrap();
        assert_eq!(again, join);
        assert_eq!(Join::parse(&join.write()).unwrap(), join);
    }

    #[test]
    fn wanted_is_at_least_one_and_bounded() {
        for (n, wanted) in [("0.2", 1), ("1", 1), ("2.99", 2), ("16", 16), ("1e300", 16), ("4294967297", 16)]
        {
            let body = format!(r#"{{"m":"join","i":1,"n":{n}}}"#);
            assert_eq!(Join::parse(body.as_bytes()).unwrap().n, wanted, "{n}");
        }
    }

    #[test]
    fn a_join_that_makes_no_sense_says_which_key() {
        for (body, key) in [
            (r#"{"i":1,"n":1}"#, "m"),
            (r#"{"m":"leave","i":1,"n":1}"#, "m"),
            (r#"{"m":"join","n":1}"#, "i"),
            (r#"{"m":"join","i":-1,"n":1}"#, "i"),
            (r#"{"m":"join","i":4294967296,"n":1}"#, "i"),
            (r#"{"m":"join","i":"1","n":1}"#, "i"),
            (r#"{"m":"join","i":1}"#, "n"),
            (r#"{"m":"join","i":1,"n":0}"#, "n"),
            (r#"{"m":"join","i":1,"n":-3}"#, "n"),
        ] {
            assert_eq!(Join::parse(body.as_bytes()), Err(JoinError::Field(key)), "{body}");
        }
        for body in ["", "[]", "{", "7", "\u{feff}{}"] {
            assert_eq!(Join::parse(body.as_bytes()), Err(JoinError::NotJson), "{body}");
        }
        assert_eq!(Join::parse(&vec![b' '; MAX_JOIN + 1]), Err(JoinError::TooLong));
        let long: Vec<u32> = (0..=MAX_PATH as u32).collect();
        let body = json!({"m": "join", "i": 1, "n": 1, "x": {"v": 1, "p": long}}).to_string();
        assert_eq!(Join::parse(body.as_bytes()), Err(JoinError::TooLong));
    }

    #[test]
    fn a_foreign_x_is_taken_for_an_old_nodes_join() {
        let body = br#"{"m":"join","i":1,"n":1,"x":"what"}"#;
        assert_eq!(Join::parse(body).unwrap().x, None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            i: u32, n in 1..=MAX_WANTED, e: u64, path in prop::collection::vec(any::<u32>(), 0..MAX_PATH),
        ) {
            let path: Vec<_> = path.into_iter().map(NodeId).collect();
            let join = Join::new(json!("group"), json!(e), NodeId(i), n, &path);
            prop_assert_eq!(&Join::parse(&join.write()).unwrap(), &join);
            prop_assert_eq!(&Join::parse(&join.write_old()).unwrap(), &join);
        }
    }
}
