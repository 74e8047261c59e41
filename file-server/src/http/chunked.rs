//! Bodies in chunks, decoded piece by piece in place (RFC 9112, section 7.1).
//!
//! Line ends are CR LF and nothing else, so that no two readers see different chunks. Extensions are passed over and trailers are
//! checked for their form and dropped; both are bounded.

/// Decodes a chunked body from however many pieces it arrives in; how it is cut makes no difference.
///
/// ```
/// use file_server::http::chunked::{ChunkedDecoder, Piece};
///
/// let mut decoder = ChunkedDecoder::new();
/// let mut input = &b"5\r\nhello\r\n0\r\n\r\nGET"[..];
/// assert_eq!(decoder.next(&mut input), Ok(Piece::Data(b"hello")));
/// assert_eq!(decoder.next(&mut input), Ok(Piece::End));
/// assert_eq!(input, b"GET");
/// ```
#[derive(Clone, Debug)]
pub struct ChunkedDecoder {
    state: State,
    /// The chunk's size while it is read, and then how much of it is still to come.
    remaining: u64,
    /// Bytes of this chunk's first line.
    line: u32,
    /// Bytes that were no data, beyond what the data before them allows.
    excess: u64,
    /// Bytes of trailers.
    trailers: u32,
}

/// What comes next in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Some bytes of the body.
    Data(&'a [u8]),
    /// All input was taken, and the body goes on.
    More,
    /// The body is complete; what is left of the input is the next request.
    End,
}

/// A body that is not chunked as it has to be: the answer is 400, and the connection closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidChunk;

impl std::fmt::Display for InvalidChunk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the body is not chunked as it has to be")
    }
}

impl std::error::Error for InvalidChunk {}

/// Bytes of a chunk's first line: its size, and extensions that nobody sends.
const MOST_LINE: u32 = 1024;

/// Digits of a size: all of a number of 64 bits.
const MOST_DIGITS: u32 = 16;

/// Bytes of all trailers: as much as a first line of a request.
const MOST_TRAILERS: u32 = 8 << 10;

/// What may be sent beside the data: for each chunk this much, and as much again as twice its data. A stream of small
/// chunks with long extensions would cost the server far more than it says.
const FREE_OF_EACH: u64 = 16;

/// What may be sent beside the data beyond that.
const MOST_EXCESS: u64 = 16 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The digits of a size.
    Size,
    /// White space after them, which only an extension may follow.
    Blank,
    /// An extension, up to the end of the line.
    Extension,
    /// The line feed that ends it.
    SizeEnd,
    Data,
    /// What ends the data.
    DataReturn,
    DataEnd,
    /// The first byte of a trailer, or of the end.
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerEnd,
    /// The last line feed.
    LastEnd,
    Done,
}

impl ChunkedDecoder {
    /// At the start of a body.
    #[must_use]
    pub const fn new() -> Self {
        Self { state: State::Size, remaining: 0, line: 0, excess: 0, trailers: 0 }
    }

    /// How many bytes of the present chunk are still to come, as far as its size is known: a body that will be too
    /// large can be refused before it is there.
    #[must_use]
    pub const fn announced(&self) -> u64 {
        match self.state {
            State::Data => self.remaining,
            _ => 0,
        }
    }

    /// Takes the next piece off the input. After [`Piece::End`] it takes nothing more.
    ///
    /// # Errors
    ///
    /// If the body is malformed or exceeds a bound. Nothing after it can be understood.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Piece<'a>, InvalidChunk> {
        loop {
            match self.state {
                State::Done => return Ok(Piece::End),
                State::Data if !input.is_empty() => return Ok(Piece::Data(self.take_data(input))),
                _ => {}
            }
            let Some((&byte, rest)) = input.split_first() else { return Ok(Piece::More) };
            *input = rest;
            self.state = self.step(byte)?;
        }
    }

    fn take_data<'a>(&mut self, input: &mut &'a [u8]) -> &'a [u8] {
        let there = usize::try_from(self.remaining).map_or(input.len(), |remaining| remaining.min(input.len()));
        let (data, rest) = input.split_at(there);
        *input = rest;
        self.remaining -= there as u64;
        if self.remaining == 0 {
            self.state = State::DataReturn;
        }
        data
    }

    /// The state after a byte that is no data.
    fn step(&mut self, byte: u8) -> Result<State, InvalidChunk> {
        match (self.state, byte) {
            (State::Size | State::Blank | State::Extension | State::SizeEnd, _) => self.step_line(byte),
            (State::DataReturn, b'\r') => Ok(State::DataEnd),
            (State::DataEnd, b'\n') => Ok(State::Size),
            (State::TrailerStart, b'\r') => Ok(State::LastEnd),
            (State::LastEnd, b'\n') => Ok(State::Done),
            (State::DataReturn | State::DataEnd | State::LastEnd | State::Data | State::Done, _) => Err(InvalidChunk),
            _ => self.step_trailer(byte),
        }
    }

    /// Within the first line of a chunk.
    fn step_line(&mut self, byte: u8) -> Result<State, InvalidChunk> {
        self.line += 1;
        match (self.state, byte) {
            (State::SizeEnd, b'\n') => return self.begin_data(),
            (State::SizeEnd, _) => return Err(InvalidChunk),
            _ if self.line > MOST_LINE => return Err(InvalidChunk),
            _ => {}
        }
        match (self.state, byte) {
            (State::Size, _) if byte.is_ascii_hexdigit() => {
                if self.line > MOST_DIGITS {
                    return Err(InvalidChunk);
                }
                self.remaining = self.remaining << 4 | u64::from(hex_digit(byte));
                Ok(State::Size)
            }
            // No digit before it.
            (State::Size, _) if self.line == 1 => Err(InvalidChunk),
            (State::Size | State::Extension, b'\r') => Ok(State::SizeEnd),
            (State::Size | State::Blank, b' ' | b'\t') => Ok(State::Blank),
            (State::Size | State::Blank, b';') => Ok(State::Extension),
            (State::Extension, _) if is_text(byte) => Ok(State::Extension),
            _ => Err(InvalidChunk),
        }
    }

    fn begin_data(&mut self) -> Result<State, InvalidChunk> {
        let free = self.remaining.saturating_mul(2).saturating_add(FREE_OF_EACH);
        self.excess = (self.excess + u64::from(self.line)).saturating_sub(free);
        self.line = 0;
        match self.remaining {
            _ if self.excess > MOST_EXCESS => Err(InvalidChunk),
            0 => Ok(State::TrailerStart),
            _ => Ok(State::Data),
        }
    }

    fn step_trailer(&mut self, byte: u8) -> Result<State, InvalidChunk> {
        self.trailers += 1;
        match (self.state, byte) {
            _ if self.trailers > MOST_TRAILERS => Err(InvalidChunk),
            (State::TrailerName, b':') => Ok(State::TrailerValue),
            (State::TrailerStart | State::TrailerName, _) if is_token(byte) => Ok(State::TrailerName),
            (State::TrailerValue, b'\r') => Ok(State::TrailerEnd),
            (State::TrailerValue, _) if is_text(byte) => Ok(State::TrailerValue),
            (State::TrailerEnd, b'\n') => Ok(State::TrailerStart),
            _ => Err(InvalidChunk),
        }
    }
}

impl Default for ChunkedDecoder {
    fn default() -> Self {
        Self::new()
    }
}

/// The value of a digit that is one.
const fn hex_digit(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => byte - b'0',
        _ => (byte | 0x20) - b'a' + 10,
    }
}

const fn is_text(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=0x7e | 0x80..)
}

const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body and how much of the input it took; `None` if more is needed.
    fn decoded(input: &[u8]) -> Result<Option<(Vec<u8>, usize)>, InvalidChunk> {
        let (mut decoder, mut rest, mut body) = (ChunkedDecoder::new(), input, Vec::new());
        loop {
            match decoder.next(&mut rest)? {
                Piece::Data(data) => body.extend_from_slice(data),
                Piece::More => return Ok(None),
                Piece::End => return Ok(Some((body, input.len() - rest.len()))),
            }
        }
    }

    #[test]
    fn bodies_are_put_together() {
        for (input, body) in [
            ("0\r\n\r\n", ""),
            ("5\r\nhello\r\n0\r\n\r\n", "hello"),
            ("1\r\na\r\n2\r\nbc\r\n00\r\n\r\n", "abc"),
            ("00000000000000aB\r\n", ""),
            ("3;a=b;c=\"d;\"\r\nabc\r\n0;e\r\n\r\n", "abc"),
            ("3 \t; a\r\n\r\na\r\n0\r\n\r\n", "\r\na"),
            ("0\r\nA: b\r\nDigest:\r\n\r\n", ""),
        ] {
            let result = decoded(format!("{input}GET").as_bytes());
            match input.ends_with("\r\n\r\n") {
                true => assert_eq!(result, Ok(Some((body.as_bytes().to_vec(), input.len()))), "{input:?}"),
                false => assert_eq!(result, Ok(None), "{input:?}"),
            }
        }
    }

    #[test]
    fn malformed_bodies_are_refused() {
        for input in [
            "\r\n",
            " 5\r\n",
            ";a\r\n",
            "-5\r\n",
            "+5\r\n",
            "0x5\r\n",
            "g\r\n",
            "5\n",
            "5\rx",
            "5 \r\n",
            "5 5\r\n",
            "5\r\nhelloo",
            "5\r\nhello\n",
            "5\r\nhello\rx",
            "5;a\nb",
            "5;a\rb",
            "5;\0\r\n",
            "00000000000000001",
            "10000000000000000\r\n",
            "0\r\n\n",
            "0\r\n\rx",
            "0\r\nGET / HTTP/1.1\r\n",
            "0\r\n: a\r\n",
            "0\r\n a: b\r\n",
            "0\r\na : b\r\n",
            "0\r\na: b\n",
            "0\r\na: \0\r\n",
            "0\r\na: b\rc",
            "5\u{b}\r\n",
            "\u{661}\r\n",
        ] {
            assert_eq!(decoded(input.as_bytes()), Err(InvalidChunk), "{input:?}");
        }
    }

    #[test]
    fn the_largest_size_is_one() {
        let mut decoder = ChunkedDecoder::new();
        assert_eq!(decoder.next(&mut &b"ffffffffffffffff\r\n"[..]), Ok(Piece::More));
        assert_eq!(decoder.announced(), u64::MAX);
        assert_eq!(decoder.next(&mut &b"abc"[..]), Ok(Piece::Data(b"abc")));
        assert_eq!(decoder.announced(), u64::MAX - 3);
    }

    #[test]
    fn what_is_no_data_is_bounded() {
        let line = |length: usize| format!("1;{}\r\na\r\n", "e".repeat(length));
        assert_eq!(decoded(line(1000).as_bytes()), Ok(None));
        assert_eq!(decoded(line(1100).as_bytes()), Err(InvalidChunk));
        // Each line by itself is within its bound.
        assert_eq!(decoded(line(1000).repeat(10).as_bytes()), Ok(None));
        assert_eq!(decoded(line(1000).repeat(20).as_bytes()), Err(InvalidChunk));
        // Small chunks without extensions are not.
        assert_eq!(decoded("1\r\na\r\n".repeat(100_000).as_bytes()), Ok(None));
        assert_eq!(decoded(format!("0\r\n{}", "a: b\r\n".repeat(1_000)).as_bytes()), Ok(None));
        assert_eq!(decoded(format!("0\r\n{}", "a: b\r\n".repeat(2_000)).as_bytes()), Err(InvalidChunk));
    }

    #[test]
    fn nothing_is_taken_after_the_end() {
        let mut decoder = ChunkedDecoder::new();
        let mut input = &b"0\r\n\r\n0\r\n\r\n"[..];
        assert_eq!(decoder.next(&mut input), Ok(Piece::End));
        assert_eq!(decoder.next(&mut input), Ok(Piece::End));
        assert_eq!(input, b"0\r\n\r\n");
    }
}
