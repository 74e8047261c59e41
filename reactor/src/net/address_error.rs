//! What is wrong with the text of an address, and what to write instead.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::io;

/// Why a text is no address: what was written, what is wrong with it, what to write instead.
///
/// ```
/// use reactor::net::Address;
///
/// let error = Address::try_from("::1:80").unwrap_err();
/// let told = r#"bad address "::1:80": an IPv6 address needs brackets; write "[::1]:80""#;
/// assert_eq!(error.to_string(), told);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressError {
    text: String,
    flaw: Flaw,
}

impl AddressError {
    pub(super) fn new(text: &str, flaw: Flaw) -> Self {
        Self { text: text.to_owned(), flaw }
    }
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { text, flaw: Flaw { problem, instead } } = self;
        write!(f, "bad address {text:?}: {problem}; {instead}")
    }
}

impl Error for AddressError {}

/// An address already parsed cannot fail: `A: TryInto<Address, Error: Into<AddressError>>` takes
/// texts and addresses alike.
impl From<Infallible> for AddressError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl From<AddressError> for io::Error {
    fn from(error: AddressError) -> Self {
        Self::new(io::ErrorKind::InvalidInput, error)
    }
}

/// The two halves of an error's message, before the text they are about is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Flaw {
    problem: String,
    instead: String,
}

/// Every parser of addresses fails through here, so that none can forget to say what to write.
pub(super) fn flaw<T>(problem: impl Into<String>, instead: impl Into<String>) -> Result<T, Flaw> {
    Err(Flaw { problem: problem.into(), instead: instead.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_its_text_as_an_io_error() {
        let error = AddressError::new("a b", flaw::<()>("it has a space", "write none").unwrap_err());
        let error = io::Error::from(error);
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert_eq!(error.to_string(), r#"bad address "a b": it has a space; write none"#);
    }
}
