//! CBOR (RFC 8949) without a schema, as far as frames use it.

use minicbor::data::Type;
use minicbor::{Decoder, Encoder};

/// One item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Uint(u64),
    Bytes(Vec<u8>),
    Text(String),
    Bool(bool),
    Null,
    Array(Vec<Value>),
    /// Keys are integers.
    Map(Vec<(u64, Value)>),
}

impl Value {
    pub(crate) fn read(bytes: &[u8]) -> Value {
        let mut d = Decoder::new(bytes);
        let value = Value::take(&mut d);
        assert_eq!(d.position(), bytes.len(), "one item");
        value
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "what a frame does not have is not read"
    )]
    fn take(d: &mut Decoder<'_>) -> Value {
        match d.datatype().unwrap() {
            Type::U8 | Type::U16 | Type::U32 | Type::U64 => Value::Uint(d.u64().unwrap()),
            Type::Bytes => Value::Bytes(d.bytes().unwrap().to_vec()),
            Type::String => Value::Text(d.str().unwrap().to_owned()),
            Type::Bool => Value::Bool(d.bool().unwrap()),
            Type::Null => {
                d.null().unwrap();
                Value::Null
            }
            Type::Array => {
                let len = d.array().unwrap().expect("of definite length");
                Value::Array((0..len).map(|_| Value::take(d)).collect())
            }
            Type::Map => {
                let len = d.map().unwrap().expect("of definite length");
                let pairs = (0..len).map(|_| (d.u64().unwrap(), Value::take(d)));
                Value::Map(pairs.collect())
            }
            other => panic!("{other} has no place in a frame"),
        }
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.put(&mut Encoder::new(&mut bytes));
        bytes
    }

    fn put(&self, e: &mut Encoder<&mut Vec<u8>>) {
        match self {
            Value::Uint(n) => drop(e.u64(*n)),
            Value::Bytes(bytes) => drop(e.bytes(bytes)),
            Value::Text(text) => drop(e.str(text)),
            Value::Bool(bool) => drop(e.bool(*bool)),
            Value::Null => drop(e.null()),
            Value::Array(items) => {
                let _ = e.array(items.len() as u64);
                items.iter().for_each(|item| item.put(e));
            }
            Value::Map(pairs) => {
                let _ = e.map(pairs.len() as u64);
                for (key, value) in pairs {
                    let _ = e.u64(*key);
                    value.put(e);
                }
            }
        }
    }

    /// Whether every key of `other` is here with the same value, in all depths.
    pub(crate) fn contains(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Map(mine), Value::Map(theirs)) => theirs.iter().all(|(key, value)| {
                let same = mine.iter().find(|(other, _)| other == key);
                same.is_some_and(|(_, mine)| mine.contains(value))
            }),
            (Value::Array(mine), Value::Array(theirs)) => {
                mine.len() == theirs.len()
                    && mine
                        .iter()
                        .zip(theirs)
                        .all(|(mine, theirs)| mine.contains(theirs))
            }
            _ => self == other,
        }
    }

    /// This with one more key in every map, in all depths, which no build knows.
    pub(crate) fn grown(&self) -> Value {
        match self {
            Value::Map(pairs) => {
                let mut pairs: Vec<_> = pairs.iter().map(|(k, v)| (*k, v.grown())).collect();
                let later = [Value::Null, Value::Uint(7), Value::Bytes(vec![1, 2])];
                let later = vec![
                    (0, Value::Array(later.into())),
                    (1, Value::Text("x".into())),
                ];
                pairs.push((90, Value::Map(later)));
                Value::Map(pairs)
            }
            Value::Array(items) => Value::Array(items.iter().map(Value::grown).collect()),
            Value::Uint(_) | Value::Bytes(_) | Value::Text(_) | Value::Bool(_) | Value::Null => {
                self.clone()
            }
        }
    }
}
