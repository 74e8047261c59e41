//! The Basic scheme: who a client says it is (RFC 7617).

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::list::trim;

/// A user's name and password as they were sent. Shown without the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The name, without colons.
    pub user: Vec<u8>,
    /// The password.
    pub password: Vec<u8>,
}

/// Bytes of a name and a password together; longer ones are none. Some hashes take time that grows faster than a password.
const MOST: usize = 1024;

/// Padding is passed over: it says nothing.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl Credentials {
    /// Reads the value of Authorization; `None` if it is of another scheme, or malformed: the answer is 401.
    ///
    /// ```
    /// use file_server::http::authorization::Credentials;
    ///
    /// let credentials = Credentials::parse(b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==").unwrap();
    /// assert_eq!((&credentials.user[..], &credentials.password[..]), (&b"Aladdin"[..], &b"open sesame"[..]));
    /// ```
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (scheme, rest) = value.split_at_checked(b"Basic".len())?;
        if !scheme.eq_ignore_ascii_case(b"Basic") || rest.first() != Some(&b' ') {
            return None;
        }
        let text = BASE64.decode(trim(rest)).ok()?;
        let colon = text.iter().position(|&byte| byte == b':')?;
        if text.len() > MOST || text.iter().any(u8::is_ascii_control) {
            return None;
        }
        Some(Self { user: text[..colon].to_vec(), password: text[colon + 1..].to_vec() })
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials(\"{}\")", self.user.escape_ascii())
    }
}

/// The value of WWW-Authenticate that goes with 401. Characters of the realm that would have to be escaped are dropped.
///
/// ```
/// use file_server::http::authorization::challenge;
///
/// assert_eq!(challenge("files"), "Basic realm=\"files\", charset=\"UTF-8\"");
/// ```
#[must_use]
pub fn challenge(realm: &str) -> String {
    let realm: String =
        realm.chars().filter(|&char| (' '..='~').contains(&char) && !matches!(char, '"' | '\\')).collect();
    format!("Basic realm=\"{realm}\", charset=\"UTF-8\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(scheme: &str, text: &str) -> Option<(String, String)> {
        let value = format!("{scheme}{}", BASE64.encode(text));
        let Credentials { user, password } = Credentials::parse(value.as_bytes())?;
        Some((String::from_utf8(user).ok()?, String::from_utf8(password).ok()?))
    }

    #[test]
    fn the_first_colon_ends_the_name() {
        for (text, user, password) in
            [("a:b", "a", "b"), ("a:b:c", "a", "b:c"), (":", "", ""), ("\u{fc}: \u{df}", "\u{fc}", " \u{df}")]
        {
            assert_eq!(parsed("basic  ", text), Some((user.into(), password.into())), "{text}");
        }
    }

    #[test]
    fn what_is_no_name_and_password_is_none() {
        assert_eq!(parsed("Basic ", "ab"), None);
        assert_eq!(parsed("Basic ", "a\0:b"), None);
        assert_eq!(parsed("Bearer ", "a:b"), None);
        assert_eq!(parsed("Basic", "a:b"), None);
        assert_eq!(parsed("Basic ", &format!("a:{}", "b".repeat(MOST - 2))).map(|(user, _)| user), Some("a".into()));
        assert_eq!(parsed("Basic ", &format!("a:{}", "b".repeat(MOST - 1))), None);
        for value in ["", "Basic", "Basic ", "Basic YTpi!", "Basic YTp", "Basic YTpi, Basic YTpi", "Basic YTpi YTpi"] {
            assert_eq!(Credentials::parse(value.as_bytes()), None, "{value}");
        }
        // Without padding it is as good.
        assert!(Credentials::parse(b"Basic YTo").is_some());
    }

    #[test]
    fn a_password_is_never_shown() {
        let credentials = Credentials { user: b"a\n".to_vec(), password: b"secret".to_vec() };
        assert_eq!(format!("{credentials:?}"), "Credentials(\"a\\n\")");
    }

    #[test]
    fn a_realm_never_ends_its_string() {
        assert_eq!(challenge("a\"b\\c\r\n\u{fc}d"), "Basic realm=\"abcd\", charset=\"UTF-8\"");
    }
}
