//! Targets of requests in their four forms (RFC 9112, section 3.2), and the hosts that they and Host name.

use super::method::Method;
use super::status::Status;

/// What a target is made of.
pub(super) struct RequestTarget<'a> {
    /// That of an absolute target.
    pub(super) host: Option<&'a [u8]>,
    pub(super) path: &'a [u8],
    pub(super) query: Option<&'a [u8]>,
}

impl<'a> RequestTarget<'a> {
    /// The four forms of RFC 9112, section 3.2.
    #[inline]
    pub(super) fn of(target: &'a [u8], method: Method) -> Result<Self, Status> {
        match target {
            [b'/', ..] => Self::split(None, target),
            b"*" if method == Method::Options => Ok(Self { host: None, path: target, query: None }),
            _ if method == Method::Connect => Ok(Self { host: None, path: target, query: None }),
            _ => Self::absolute(target),
        }
    }

    #[inline]
    fn split(host: Option<&'a [u8]>, target: &'a [u8]) -> Result<Self, Status> {
        let mark = target.iter().position(|&byte| byte == b'?' || byte == b'#').unwrap_or(target.len());
        let (path, rest) = target.split_at(mark);
        let query = rest.strip_prefix(b"?");
        // A fragment is never sent.
        if query.unwrap_or(rest).contains(&b'#') {
            return Err(Status::BAD_REQUEST);
        }
        Ok(Self { host, path: if path.is_empty() { b"/" } else { path }, query })
    }

    #[cold]
    fn absolute(target: &'a [u8]) -> Result<Self, Status> {
        let scheme = target.iter().position(|&byte| byte == b':').ok_or(Status::BAD_REQUEST)?;
        if !(target[..scheme].eq_ignore_ascii_case(b"http") || target[..scheme].eq_ignore_ascii_case(b"https")) {
            return Err(Status::BAD_REQUEST);
        }
        let rest = target[scheme..].strip_prefix(b"://").ok_or(Status::BAD_REQUEST)?;
        let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
        let (host, rest) = rest.split_at(end);
        if matches!(host, [] | [b':', ..]) || !is_host(host) {
            return Err(Status::BAD_REQUEST);
        }
        Self::split(Some(host), rest)
    }
}

/// Whether it is a host with or without a port (RFC 3986, section 3.2), or empty.
#[inline]
pub(super) fn is_host(host: &[u8]) -> bool {
    if host.first() == Some(&b'[') {
        return is_literal(host);
    }
    let end = host.iter().position(|&byte| !IN_NAME[usize::from(byte)]).unwrap_or(host.len());
    is_port(&host[end..])
}

/// An address of IPv6 in brackets.
#[cold]
fn is_literal(host: &[u8]) -> bool {
    let Some(end) = host.iter().position(|&byte| byte == b']') else { return false };
    end > 1 && host[1..end].iter().all(|&byte| byte == b':' || IN_NAME[usize::from(byte)]) && is_port(&host[end + 1..])
}

/// A colon and digits, or nothing.
#[inline]
fn is_port(after: &[u8]) -> bool {
    match after {
        [] => true,
        [b':', port @ ..] => port.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// For each byte whether it may be in a name of a host.
const IN_NAME: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = is_name_byte(byte as u8);
        byte += 1;
    }
    table
};

const fn is_name_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'%')
        || matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_have_four_forms() {
        let parts = |method, target: &'static str| {
            let target = RequestTarget::of(target.as_bytes(), method)?;
            let text = |bytes: &'static [u8]| str::from_utf8(bytes).expect("it is text");
            Ok::<_, Status>((target.host.map(text), text(target.path), target.query.map(text)))
        };
        let get = |target| parts(Method::Get, target);
        assert_eq!(get("/b?c?d"), Ok((None, "/b", Some("c?d"))));
        assert_eq!(get("//a/b"), Ok((None, "//a/b", None)));
        assert_eq!(get("http://a.org:1/b?c"), Ok((Some("a.org:1"), "/b", Some("c"))));
        assert_eq!(get("HTTPS://a.org"), Ok((Some("a.org"), "/", None)));
        assert_eq!(get("http://[::1]?c"), Ok((Some("[::1]"), "/", Some("c"))));
        assert_eq!(parts(Method::Options, "*"), Ok((None, "*", None)));
        assert_eq!(parts(Method::Connect, "a:1"), Ok((None, "a:1", None)));
        for bad in ["*", "a", "a/b", "/#a", "/a?b#c", "http:", "http://", "http:///a", "http://?a", "http://u@a/"] {
            assert_eq!(get(bad), Err(Status::BAD_REQUEST), "{bad}");
        }
        for bad in ["ftp://a/", "http:/a", "http://:80/", "http://a b/", "http://a#b", "://a/", "http://a:b/"] {
            assert_eq!(get(bad), Err(Status::BAD_REQUEST), "{bad}");
        }
    }

    #[test]
    fn hosts_may_have_a_port() {
        for host in ["", "a", "a:", "a.b-c:8080", "127.0.0.1:1", "[::1]", "[::1]:80", "%C3%BC", "a_b"] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in ["a:b", "[::1", "[::1]a", "a:80:80", "::1", "a?", "a/b", "u@a", "a b", "a, b", "\u{fc}", "a]"] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }
}
