//! Digests of content: what a client says of the body it sends, and whether that is true (RFC 9530).

use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq;

use super::structured_field::{Malformed, members};

/// What Content-Digest says of a body, as far as algorithms are known that nobody can forge: SHA-256 and SHA-512.
///
/// ```
/// use file_server::http::digest::ContentDigest;
///
/// let value = b"sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:";
/// let mut check = ContentDigest::parse(value).unwrap().check();
/// check.update(b"he");
/// check.update(b"llo");
/// assert!(check.holds());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContentDigest {
    sha256: Option<Vec<u8>>,
    sha512: Option<Vec<u8>>,
}

impl ContentDigest {
    /// Reads the value of Content-Digest. Algorithms that are not known are passed over.
    ///
    /// # Errors
    ///
    /// If it is no dictionary, or what is said to be a digest is none: the answer is 400.
    pub fn parse(value: &[u8]) -> Result<Self, Malformed> {
        let mut digest = Self::default();
        let mut is_digest = true;
        members(value, |key, bytes| {
            let (place, length) = match key {
                b"sha-256" => (&mut digest.sha256, 32),
                b"sha-512" => (&mut digest.sha512, 64),
                _ => return,
            };
            is_digest &= bytes.as_ref().is_some_and(|bytes| bytes.len() == length);
            *place = bytes;
        })?;
        if is_digest { Ok(digest) } else { Err(Malformed) }
    }

    /// Whether there is nothing to check: the body need not be hashed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.sha256.is_none() && self.sha512.is_none()
    }

    /// Begins to check a body. Hashing is work for a thread that may block.
    #[must_use]
    pub fn check(self) -> DigestCheck {
        DigestCheck {
            sha256: self.sha256.map(|expected| (Sha256::new(), expected)),
            sha512: self.sha512.map(|expected| (Sha512::new(), expected)),
        }
    }
}

/// A body that is checked while it arrives.
#[derive(Clone, Debug)]
pub struct DigestCheck {
    sha256: Option<(Sha256, Vec<u8>)>,
    sha512: Option<(Sha512, Vec<u8>)>,
}

impl DigestCheck {
    /// Takes the next bytes of the body.
    pub fn update(&mut self, bytes: &[u8]) {
        if let Some((hash, _)) = &mut self.sha256 {
            hash.update(bytes);
        }
        if let Some((hash, _)) = &mut self.sha512 {
            hash.update(bytes);
        }
    }

    /// Whether all that was said of the body is true.
    #[must_use]
    pub fn holds(self) -> bool {
        let sha256 = self.sha256.is_none_or(|(hash, expected)| hash.finalize().ct_eq(&expected).into());
        let sha512 = self.sha512.is_none_or(|(hash, expected)| hash.finalize().ct_eq(&expected).into());
        sha256 && sha512
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The examples of RFC 9530, appendices B.1 and D: the body ends with a line feed.
    const BODY: &[u8] = b"{\"hello\": \"world\"}\n";
    const SHA256: &str = "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:";
    const SHA512: &str =
        "sha-512=:YMAam51Jz/jOATT6/zvHrLVgOYTGFy1d6GJiOHTohq4yP+pgk4vf2aCsyRZOtw8MjkM7iw7yZ/WkppmM44T3qg==:";

    fn holds(value: &str, body: &[u8]) -> Result<bool, Malformed> {
        let mut check = ContentDigest::parse(value.as_bytes())?.check();
        body.chunks(7).for_each(|piece| check.update(piece));
        Ok(check.holds())
    }

    #[test]
    fn the_examples_of_the_rfc() {
        for value in [SHA256, SHA512, &format!("{SHA256}, {SHA512}"), &format!("md5=:AA==:, {SHA256};a=b")] {
            assert_eq!(holds(value, BODY), Ok(true), "{value}");
            assert_eq!(holds(value, &BODY[1..]), Ok(false), "{value}");
        }
    }

    #[test]
    fn all_that_is_said_has_to_be_true() {
        let wrong = SHA512.replace("YMAa", "YMAb");
        assert_eq!(holds(&format!("{SHA256}, {wrong}"), BODY), Ok(false));
        assert_eq!(holds(&format!("{}, {SHA512}", SHA256.replace("RK/", "RK+")), BODY), Ok(false));
    }

    #[test]
    fn what_is_not_known_says_nothing() {
        for value in ["", "md5=:AAAA:", "sha=5, unixsum=7"] {
            assert!(ContentDigest::parse(value.as_bytes()).is_ok_and(|digest| digest.is_empty()), "{value}");
        }
        assert!(ContentDigest::parse(SHA256.as_bytes()).is_ok_and(|digest| !digest.is_empty()));
    }

    #[test]
    fn what_is_no_digest_is_refused() {
        for value in ["sha-256=:AAAA:", "sha-512=5", "sha-256", "sha-256=AAAA", "sha-256=:AAAA", "SHA-256=:AAAA:"] {
            assert_eq!(holds(value, BODY), Err(Malformed), "{value}");
        }
    }
}
