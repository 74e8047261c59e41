//! Users and the hashes of their passwords, and those who have shown that they know theirs.

use std::collections::HashMap;

use sha_crypt::{PasswordVerifier, ShaCrypt};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::http::authorization::Credentials;

/// The users of a file of passwords, as `htpasswd -B` and `openssl passwd -6` make them.
///
/// A line is a name, a colon and a hash: bcrypt (`$2y$`, `$2b$`, `$2a$`) or SHA-crypt (`$5$`, `$6$`). Empty lines and
/// those that begin with `#` are passed over. Hashes that are quick to try (`$apr1$`, `{SHA}`, DES) and passwords as they
/// are get refused.
#[derive(Debug)]
pub struct Users {
    hashes: HashMap<Vec<u8>, PasswordHash>,
    /// What the password of one who is no user is compared with, so that it takes as long.
    decoy: Option<PasswordHash>,
}

/// A line that names no user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidUsers {
    /// The number of the line, from 1.
    pub line: usize,
    /// What is wrong with it. The line itself is not told: it may hold a password.
    pub reason: &'static str,
}

impl std::fmt::Display for InvalidUsers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

impl std::error::Error for InvalidUsers {}

impl Users {
    /// Reads the text of a file.
    ///
    /// # Errors
    ///
    /// The first line that is wrong.
    ///
    /// ```
    /// use file_server::http::authorization::Credentials;
    /// use file_server::users::Users;
    ///
    /// let users = Users::parse("ann:$5$abcdefgh$gruCpC7VkOTspMQTTSAR8mtlO9Upms.fwqE5y16JVM.\n");
    /// let credentials = Credentials { user: b"ann".to_vec(), password: b"secret".to_vec() };
    /// assert!(users.unwrap().verify(&credentials));
    /// assert!(Users::parse("ann:secret\n").is_err());
    /// ```
    pub fn parse(text: &str) -> Result<Self, InvalidUsers> {
        let mut hashes = HashMap::new();
        let mut decoy = None;
        for (index, line) in text.lines().enumerate() {
            let refuse = |reason| InvalidUsers { line: index + 1, reason };
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, hash) = line.split_once(':').ok_or(refuse("a line is a name, a colon and a hash"))?;
            let hash = PasswordHash::parse(hash).ok_or(refuse("the hash is neither bcrypt nor SHA-crypt"))?;
            decoy.get_or_insert_with(|| hash.clone());
            if hashes.insert(name.as_bytes().to_vec(), hash).is_some() {
                return Err(refuse("the name has been there before"));
            }
        }
        Ok(Self { hashes, decoy })
    }

    /// Whether there is such a user and the password is theirs.
    ///
    /// It takes some milliseconds up to a second, as the hash was made to: it is work for a thread that may block.
    #[must_use]
    pub fn verify(&self, credentials: &Credentials) -> bool {
        match (self.hashes.get(&credentials.user), &self.decoy) {
            (Some(hash), _) => hash.verify(&credentials.password),
            (None, Some(decoy)) => {
                decoy.verify(&credentials.password);
                false
            }
            (None, None) => false,
        }
    }
}

/// A hash whose form was checked.
#[derive(Clone)]
enum PasswordHash {
    Bcrypt(String),
    ShaCrypt(String),
}

impl PasswordHash {
    fn parse(text: &str) -> Option<Self> {
        if text.parse::<bcrypt::HashParts>().is_ok() {
            return Some(Self::Bcrypt(text.to_owned()));
        }
        is_sha_crypt(text).then(|| Self::ShaCrypt(text.to_owned()))
    }

    fn verify(&self, password: &[u8]) -> bool {
        match self {
            Self::Bcrypt(hash) => bcrypt::verify(password, hash).unwrap_or(false),
            Self::ShaCrypt(hash) => ShaCrypt::default().verify_password(password, hash.as_str()).is_ok(),
        }
    }
}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Bcrypt(_) => "Bcrypt",
            Self::ShaCrypt(_) => "ShaCrypt",
        })
    }
}

/// Whether it is `$5$` or `$6$`, perhaps a number of rounds, a salt and a digest (crypt(5)).
fn is_sha_crypt(text: &str) -> bool {
    let is_text = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/'));
    let mut parts = text.split('$');
    let digest_length = match (parts.next(), parts.next()) {
        (Some(""), Some("5")) => 43,
        (Some(""), Some("6")) => 86,
        _ => return false,
    };
    let (salt, digest) = match parts.collect::<Vec<_>>()[..] {
        [salt, digest] => (salt, digest),
        [rounds, salt, digest] if is_rounds(rounds) => (salt, digest),
        _ => return false,
    };
    (1..=16).contains(&salt.len()) && is_text(salt) && digest.len() == digest_length && is_text(digest)
}

/// Within what crypt(5) allows.
fn is_rounds(text: &str) -> bool {
    let rounds = text.strip_prefix("rounds=").and_then(|number| number.parse::<u32>().ok());
    rounds.is_some_and(|rounds| (1000..=999_999_999).contains(&rounds))
}

/// Those whose password was verified, so that the next request of theirs is not slow again.
///
/// It holds no passwords: a hash under a key that no one else has. There is at most one for each name that was ever
/// verified, and at most [`MOST_VERIFIED`].
#[derive(Debug)]
pub struct VerifiedUsers {
    key: [u8; 32],
    /// Of each user's password.
    digests: HashMap<Vec<u8>, [u8; 32]>,
}

/// How many users are remembered; who comes after that takes the place of one of them.
pub const MOST_VERIFIED: usize = 4096;

impl VerifiedUsers {
    /// One that knows nobody. The key has to be random.
    ///
    /// ```
    /// use file_server::http::authorization::Credentials;
    /// use file_server::users::VerifiedUsers;
    ///
    /// let mut verified = VerifiedUsers::new([7; 32]);
    /// let credentials = Credentials { user: b"ann".to_vec(), password: b"secret".to_vec() };
    /// assert!(!verified.contains(&credentials));
    /// verified.insert(&credentials);
    /// assert!(verified.contains(&credentials));
    /// ```
    #[must_use]
    pub fn new(key: [u8; 32]) -> Self {
        Self { key, digests: HashMap::new() }
    }

    /// Whether these very credentials were verified. The comparison of passwords takes the same time for every password.
    #[must_use]
    pub fn contains(&self, credentials: &Credentials) -> bool {
        let digest = self.digest(credentials);
        self.digests.get(&credentials.user).is_some_and(|known| known.ct_eq(&digest).into())
    }

    /// Remembers credentials that were verified.
    pub fn insert(&mut self, credentials: &Credentials) {
        if self.digests.len() >= MOST_VERIFIED && !self.digests.contains_key(&credentials.user) {
            let one = self.digests.keys().next().cloned().unwrap_or_default();
            self.digests.remove(&one);
        }
        let digest = self.digest(credentials);
        self.digests.insert(credentials.user.clone(), digest);
    }

    /// Forgets all of them, as when the passwords may have changed.
    pub fn clear(&mut self) {
        self.digests.clear();
    }

    fn digest(&self, credentials: &Credentials) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.key);
        hash.update(&credentials.password);
        hash.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

    use super::*;

    fn credentials(user: &str, password: &str) -> Credentials {
        Credentials { user: user.as_bytes().to_vec(), password: password.as_bytes().to_vec() }
    }

    // Made by crypt(3) and by openssl-passwd(1).
    const FILE: &str = "# users\n\n\
        ann:$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW\n\
        bob:$6$rounds=1000$saltsalt$LAV5VE5Y7w1d73x1mFNspYWUpazfmwv2SoepNXNKJ/otop/\
        Zok96Hr8Q13LEv0DRY/x8v0/crpIjl8NJSAqXV/\n\
        cid:$6$abcdefgh$ltjgWl6579NluT/Vi1nwEvcil.G5Nbc4NiXZaNGStk8PSwGfQv72N2CKPPrVACtLtip/\
        cZ/1GM/O6IND4WQhG.\r\n\
        d\u{fc}:$5$abcdefgh$gruCpC7VkOTspMQTTSAR8mtlO9Upms.fwqE5y16JVM.\n";

    #[test]
    fn users_know_their_passwords() {
        let users = Users::parse(FILE).unwrap();
        for name in ["ann", "bob", "cid", "d\u{fc}"] {
            assert!(users.verify(&credentials(name, "secret")), "{name}");
            for wrong in ["", "Secret", "secret ", "secre"] {
                assert!(!users.verify(&credentials(name, wrong)), "{name} {wrong}");
            }
        }
        assert!(!users.verify(&credentials("eve", "secret")));
        assert!(!users.verify(&credentials("", "secret")));
        assert!(!Users::parse("").unwrap().verify(&credentials("", "")));
    }

    #[test]
    fn what_is_quick_to_try_is_refused() {
        for hash in [
            "",
            "secret",
            "$apr1$r31abcde$HqJZimcKQFAMYayBlzkrA/",
            "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
            "$1$abcdefgh$irWbblnpmw.5z7wgBnprh0",
            "$2y$04$short",
            "$6$salt$short",
            "$6$rounds=999$salt$",
            "$6$",
            "$7$a$b",
        ] {
            let error = Users::parse(&format!("# a\nann:{hash}")).unwrap_err();
            assert_eq!(error.to_string(), "line 2: the hash is neither bcrypt nor SHA-crypt", "{hash}");
        }
        assert_eq!(Users::parse("ann").unwrap_err().line, 1);
        let twice = FILE.to_owned() + FILE;
        assert_eq!(Users::parse(&twice).unwrap_err().reason, "the name has been there before");
    }

    #[test]
    fn hashes_are_not_shown() {
        let told = format!("{:?}", Users::parse(FILE).unwrap());
        assert!(told.contains("Bcrypt") && !told.contains('$'), "{told}");
    }

    #[test]
    fn only_what_was_verified_is_remembered() {
        let mut verified = VerifiedUsers::new([1; 32]);
        verified.insert(&credentials("ann", "secret"));
        assert!(verified.contains(&credentials("ann", "secret")));
        for (user, password) in
            [("ann", "secre"), ("ann", ""), ("bob", "secret"), ("ann", "secretx"), ("anns", "ecret")]
        {
            assert!(!verified.contains(&credentials(user, password)), "{user} {password}");
        }
        verified.insert(&credentials("ann", "new"));
        assert!(verified.contains(&credentials("ann", "new")) && !verified.contains(&credentials("ann", "secret")));
        verified.clear();
        assert!(!verified.contains(&credentials("ann", "new")));
    }

    #[test]
    fn so_many_are_remembered() {
        let mut verified = VerifiedUsers::new([1; 32]);
        for number in 0..MOST_VERIFIED + 10 {
            verified.insert(&credentials(&number.to_string(), "secret"));
            assert!(verified.contains(&credentials(&number.to_string(), "secret")));
        }
        assert_eq!(verified.digests.len(), MOST_VERIFIED);
    }
}
