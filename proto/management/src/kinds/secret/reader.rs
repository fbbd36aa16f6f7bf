//! Reads what may hold private data. Deserializers repeat in a refusal what they found, such as the number that was written in the
//! place of a text. These say what is wanted, and nothing of what is there.

use std::{fmt, marker::PhantomData};

use serde::{Deserialize, Deserializer, de};

/// Reads a `T` that is a mapping.
pub(super) fn mapping<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    deserializer.deserialize_any(Quiet(Mapping(PhantomData)))
}

/// What is said where a mapping is wanted.
pub(super) const MAPPING: &str = "a mapping is wanted here: write each field as `name: value`";

/// What may be found in a place. A value that no method accepts is refused without being repeated.
pub(super) trait Wanted<'de>: Sized {
    type Value;

    /// What is wanted, with what to do.
    const WANTED: &'static str;

    fn text(self, _text: String) -> Option<Self::Value> {
        None
    }

    fn mapping<A: de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error>;
}

/// A visitor that repeats nothing.
pub(super) struct Quiet<W>(pub(super) W);

impl<'de, W: Wanted<'de>> Quiet<W> {
    fn refused<E: de::Error>() -> E {
        E::custom(W::WANTED)
    }
}

impl<'de, W: Wanted<'de>> de::Visitor<'de> for Quiet<W> {
    type Value = W::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(W::WANTED)
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<W::Value, A::Error> {
        self.0.mapping(map)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<W::Value, E> {
        self.visit_string(text.to_owned())
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<W::Value, E> {
        self.0.text(text).ok_or_else(Self::refused)
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<W::Value, E> {
        Err(Self::refused())
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<W::Value, E> {
        Err(Self::refused())
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<W::Value, E> {
        Err(Self::refused())
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<W::Value, E> {
        Err(Self::refused())
    }

    fn visit_unit<E: de::Error>(self) -> Result<W::Value, E> {
        Err(Self::refused())
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, _: A) -> Result<W::Value, A::Error> {
        Err(Self::refused())
    }
}

/// A mapping that is a `T`.
struct Mapping<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Wanted<'de> for Mapping<T> {
    type Value = T;
    const WANTED: &'static str = MAPPING;

    fn mapping<A: de::MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(de::value::MapAccessDeserializer::new(map))
    }
}
