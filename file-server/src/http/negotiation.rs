//! What the client would rather have: content codings and types (RFC 9110, section 12.5).

use super::list::{elements, trim};

/// A content coding that a file can be there in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coding {
    /// br
    Brotli,
    /// zstd
    Zstd,
    /// gzip
    Gzip,
    /// None: the file as it is.
    Identity,
}

impl Coding {
    /// All of them, the best first where the client has no preference: in the order of their usual size.
    pub const ALL: [Self; 4] = [Self::Brotli, Self::Zstd, Self::Gzip, Self::Identity];

    /// Those that make a file smaller, in the same order.
    pub const COMPRESSED: [Self; 3] = [Self::Brotli, Self::Zstd, Self::Gzip];

    /// The value of Content-Encoding, which a file that is sent as it is does not have.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::Brotli => Some("br"),
            Self::Zstd => Some("zstd"),
            Self::Gzip => Some("gzip"),
            Self::Identity => None,
        }
    }

    /// What is appended to the name of a file for its sibling in this coding.
    #[must_use]
    pub const fn suffix(self) -> Option<&'static str> {
        match self {
            Self::Brotli => Some(".br"),
            Self::Zstd => Some(".zst"),
            Self::Gzip => Some(".gz"),
            Self::Identity => None,
        }
    }

    fn from_name(name: &[u8]) -> Option<Self> {
        // What it was called before it was registered (RFC 9110, section 8.4.1.3).
        if name.eq_ignore_ascii_case(b"x-gzip") {
            return Some(Self::Gzip);
        }
        let named = |coding: &Self| name.eq_ignore_ascii_case(coding.name().unwrap_or("identity").as_bytes());
        Self::ALL.into_iter().find(named)
    }
}

/// The codings that a client takes, the one it likes best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptedCodings {
    order: [Coding; Coding::ALL.len()],
    count: usize,
}

impl AcceptedCodings {
    /// Reads Accept-Encoding. Without it the file is sent as it is, which is always right.
    ///
    /// ```
    /// use file_server::http::negotiation::{AcceptedCodings, Coding};
    ///
    /// let codings = AcceptedCodings::of(Some(b"gzip, br;q=0.5"));
    /// assert_eq!(codings.as_slice(), [Coding::Gzip, Coding::Brotli, Coding::Identity]);
    /// assert_eq!(AcceptedCodings::of(None).as_slice(), [Coding::Identity]);
    /// assert!(AcceptedCodings::of(Some(b"identity;q=0")).as_slice().is_empty());
    /// ```
    #[must_use]
    pub fn of(value: Option<&[u8]>) -> Self {
        let mut weights = [None; Coding::ALL.len()];
        let mut others = None;
        for element in value.into_iter().flat_map(elements) {
            let (name, weight) = weighted(element);
            if name == b"*" {
                others = weight;
            } else if let Some(coding) = Coding::from_name(name) {
                weights[coding as usize] = weight;
            }
        }
        let weight = |coding: Coding| match (weights[coding as usize], others) {
            (Some(weight), _) => weight,
            // It is taken unless it is ruled out, and anything that is asked for comes before it.
            (None, others) if coding == Coding::Identity => others.map_or(1, |others| others.min(1)),
            (None, others) => others.unwrap_or(0),
        };
        let mut order = Coding::ALL;
        order.sort_by_key(|&coding| std::cmp::Reverse(weight(coding)));
        Self { order, count: order.iter().filter(|&&coding| weight(coding) > 0).count() }
    }

    /// The codings in their order. None at all is a client that does not even take the file as it is: 406.
    #[must_use]
    pub fn as_slice(&self) -> &[Coding] {
        &self.order[..self.count]
    }
}

/// The coding to answer in, of those that a file is there in: the one the client likes best.
///
/// A client that takes none of them gets the file as it is, even if it says that it does not take that: it may say so by
/// mistake, and 406 would help nobody. Who wants to be stricter looks at [`AcceptedCodings`].
///
/// ```
/// use file_server::http::negotiation::{Coding, choose};
///
/// assert_eq!(choose(Some(b"br, gzip"), &[Coding::Gzip]), Coding::Gzip);
/// assert_eq!(choose(Some(b"gzip;q=0.5, br"), &Coding::COMPRESSED), Coding::Brotli);
/// assert_eq!(choose(Some(b"br"), &[Coding::Gzip]), Coding::Identity);
/// assert_eq!(choose(None, &Coding::COMPRESSED), Coding::Identity);
/// ```
#[must_use]
pub fn choose(accept_encoding: Option<&[u8]>, available: &[Coding]) -> Coding {
    let accepted = AcceptedCodings::of(accept_encoding);
    let there = |coding: &&Coding| **coding == Coding::Identity || available.contains(coding);
    accepted.as_slice().iter().find(there).copied().unwrap_or(Coding::Identity)
}

/// Whether a client would rather have JSON than a page. If it likes both as much, it is the one it names more closely.
///
/// ```
/// use file_server::http::negotiation::prefers_json;
///
/// assert!(prefers_json(Some(b"application/json")));
/// assert!(prefers_json(Some(b"application/json, text/plain, */*")));
/// assert!(!prefers_json(Some(b"text/html,application/xml;q=0.9,*/*;q=0.8")));
/// assert!(!prefers_json(Some(b"*/*")) && !prefers_json(None));
/// ```
#[must_use]
pub fn prefers_json(accept: Option<&[u8]>) -> bool {
    let Some(accept) = accept else { return false };
    liking(accept, b"application", b"json") > liking(accept, b"text", b"html")
}

/// How much a type is liked, and how closely it is named: by the closest range that it is in.
fn liking(accept: &[u8], kind: &[u8], subtype: &[u8]) -> (u16, u8) {
    let closeness = |range: &[u8]| {
        let slash = range.iter().position(|&byte| byte == b'/')?;
        let (range_kind, range_subtype) = (&range[..slash], &range[slash + 1..]);
        match (range_kind, range_subtype) {
            (b"*", b"*") => Some(1),
            (_, b"*") if range_kind.eq_ignore_ascii_case(kind) => Some(2),
            _ => (range_kind.eq_ignore_ascii_case(kind) && range_subtype.eq_ignore_ascii_case(subtype)).then_some(3),
        }
    };
    let ranges = elements(accept).filter_map(|element| {
        let (range, weight) = weighted(element);
        Some((closeness(range)?, weight?))
    });
    ranges.max_by_key(|&(closeness, _)| closeness).map_or((0, 0), |(closeness, weight)| (weight, closeness))
}

/// What comes before the parameters of an element, and its weight in thousandths. A weight that is malformed is none.
fn weighted(element: &[u8]) -> (&[u8], Option<u16>) {
    let mut parts = element.split(|&byte| byte == b';').map(trim);
    let name = parts.next().unwrap_or_default();
    let weight = parts.find_map(|part| match part {
        [b'q' | b'Q', b'=', weight @ ..] => Some(weight),
        _ => None,
    });
    (name, weight.map_or(Some(1000), thousandths))
}

/// A weight (RFC 9110, section 12.4.2): up to 1, with at most three digits after the point.
fn thousandths(weight: &[u8]) -> Option<u16> {
    let (whole, part) = match weight {
        [whole, b'.', part @ ..] => (*whole, part),
        [whole] => (*whole, &[][..]),
        _ => return None,
    };
    if part.len() > 3 || !part.iter().all(u8::is_ascii_digit) || !matches!(whole, b'0' | b'1') {
        return None;
    }
    let digit = |place: usize| part.get(place).map_or(0, |digit| u16::from(digit - b'0'));
    let thousandths = u16::from(whole - b'0') * 1000 + digit(0) * 100 + digit(1) * 10 + digit(2);
    (thousandths <= 1000).then_some(thousandths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codings_come_in_the_order_of_their_weights() {
        let names = |value: &str| {
            let codings = AcceptedCodings::of(Some(value.as_bytes()));
            codings.as_slice().iter().map(|coding| coding.name().unwrap_or("identity")).collect::<Vec<_>>().join(" ")
        };
        for (value, order) in [
            ("", "identity"),
            ("gzip, deflate, br, zstd", "br zstd gzip identity"),
            ("GZIP", "gzip identity"),
            ("x-gzip", "gzip identity"),
            ("gzip;q=0.5, br;q=0.25, zstd;q=0.75", "zstd gzip br identity"),
            ("gzip; Q=0.001 ,br;q=0", "gzip identity"),
            ("*", "br zstd gzip identity"),
            ("*;q=0", ""),
            ("gzip, *;q=0", "gzip"),
            ("identity, *;q=0", "identity"),
            ("br;q=0, *", "zstd gzip identity"),
            ("identity;q=0, gzip", "gzip"),
            ("identity;q=0", ""),
            ("identity, gzip;q=0.5", "identity gzip"),
            ("gzip;q=1.001, br;q=x, zstd;q=", "identity"),
            ("gzip;q=1.000", "gzip identity"),
            ("gzip;q=0.0000", "identity"),
            ("deflate", "identity"),
        ] {
            assert_eq!(names(value), order, "{value}");
        }
    }

    #[test]
    fn weights_are_read_to_the_letter() {
        for (weight, thousandth) in [("0", 0), ("0.", 0), ("0.5", 500), ("0.05", 50), ("0.999", 999), ("1", 1000)] {
            assert_eq!(thousandths(weight.as_bytes()), Some(thousandth), "{weight}");
        }
        for weight in ["", ".", ".5", "2", "1.1", "1.001", "0.0001", "-0", "0,5", "01", "0.a", " 1"] {
            assert_eq!(thousandths(weight.as_bytes()), None, "{weight}");
        }
    }

    #[test]
    fn json_is_for_those_who_ask_for_it() {
        for value in [
            "application/json",
            "Application/JSON;charset=utf-8",
            "application/*",
            "text/html;q=0.9, application/json",
            "*/*;q=0.1, application/json",
            "application/json, */*",
            "text/html;q=0, */*",
        ] {
            assert!(prefers_json(Some(value.as_bytes())), "{value}");
        }
        for value in [
            "",
            "*/*",
            "text/html",
            "text/html, application/json",
            "text/*, application/json;q=0.5",
            "application/json;q=0, */*;q=0.1",
            "application/json;q=x",
            "json",
            "application/jsonp",
        ] {
            assert!(!prefers_json(Some(value.as_bytes())), "{value}");
        }
    }
}
