//! Status codes, each with its line and its phrase.

/// The status of an answer, one of those that a file server sends.
///
/// ```
/// use file_server::http::status::Status;
///
/// assert_eq!(Status::NOT_FOUND.code(), 404);
/// assert_eq!(Status::NOT_FOUND.to_string(), "404 Not Found");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Status(u16);

macro_rules! statuses {
    ($($code:literal $name:ident $phrase:literal;)*) => {
        impl Status {
            $(
                #[doc = concat!(stringify!($code), " ", $phrase)]
                pub const $name: Self = Self($code);
            )*

            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The first line of an answer with it, line end included.
            #[must_use]
            pub const fn line(self) -> &'static str {
                match self.0 {
                    $($code => concat!("HTTP/1.1 ", stringify!($code), " ", $phrase, "\r\n"),)*
                    _ => unreachable!(),
                }
            }
        }
    };
}

statuses! {
    100 CONTINUE "Continue";
    200 OK "OK";
    201 CREATED "Created";
    204 NO_CONTENT "No Content";
    206 PARTIAL_CONTENT "Partial Content";
    301 MOVED_PERMANENTLY "Moved Permanently";
    302 FOUND "Found";
    303 SEE_OTHER "See Other";
    304 NOT_MODIFIED "Not Modified";
    307 TEMPORARY_REDIRECT "Temporary Redirect";
    308 PERMANENT_REDIRECT "Permanent Redirect";
    400 BAD_REQUEST "Bad Request";
    401 UNAUTHORIZED "Unauthorized";
    403 FORBIDDEN "Forbidden";
    404 NOT_FOUND "Not Found";
    405 METHOD_NOT_ALLOWED "Method Not Allowed";
    406 NOT_ACCEPTABLE "Not Acceptable";
    408 REQUEST_TIMEOUT "Request Timeout";
    409 CONFLICT "Conflict";
    411 LENGTH_REQUIRED "Length Required";
    412 PRECONDITION_FAILED "Precondition Failed";
    413 CONTENT_TOO_LARGE "Content Too Large";
    414 URI_TOO_LONG "URI Too Long";
    415 UNSUPPORTED_MEDIA_TYPE "Unsupported Media Type";
    416 RANGE_NOT_SATISFIABLE "Range Not Satisfiable";
    417 EXPECTATION_FAILED "Expectation Failed";
    421 MISDIRECTED_REQUEST "Misdirected Request";
    428 PRECONDITION_REQUIRED "Precondition Required";
    429 TOO_MANY_REQUESTS "Too Many Requests";
    431 HEADER_FIELDS_TOO_LARGE "Request Header Fields Too Large";
    500 INTERNAL_SERVER_ERROR "Internal Server Error";
    501 NOT_IMPLEMENTED "Not Implemented";
    503 SERVICE_UNAVAILABLE "Service Unavailable";
    505 VERSION_NOT_SUPPORTED "HTTP Version Not Supported";
    507 INSUFFICIENT_STORAGE "Insufficient Storage";
}

impl Status {
    /// Its number.
    #[must_use]
    pub const fn code(self) -> u16 {
        self.0
    }

    /// Its number and its phrase, such as `404 Not Found`.
    #[must_use]
    pub fn text(self) -> &'static str {
        let line = self.line();
        &line["HTTP/1.1 ".len()..line.len() - 2]
    }

    /// Its phrase, such as `Not Found`.
    #[must_use]
    pub fn reason(self) -> &'static str {
        &self.text()["404 ".len()..]
    }

    /// Whether an answer with it has no content, and no length (RFC 9110, section 6.4.1).
    #[must_use]
    pub const fn is_bodiless(self) -> bool {
        matches!(self.0, 100..=199 | 204 | 304)
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_a_line_a_text_and_a_phrase() {
        for status in Status::ALL {
            assert_eq!(status.line(), format!("HTTP/1.1 {} {}\r\n", status.code(), status.reason()));
            assert_eq!(status.text(), format!("{} {}", status.code(), status.reason()));
        }
    }

    #[test]
    fn only_these_have_no_content() {
        let bodiless = Status::ALL.iter().filter(|status| status.is_bodiless());
        assert!(bodiless.eq(&[Status::CONTINUE, Status::NO_CONTENT, Status::NOT_MODIFIED]));
    }
}
