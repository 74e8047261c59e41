//! Frames behind a number that tells their length.

use crate::codec::Codec;
use crate::codec::frame_error::FrameError;
use crate::input::Input;

/// Frames behind a number that tells how long they are.
///
/// ```text
///  ┌────────┬────────┬─────────────────────┐
///  │ header │ length │       payload       │   payload = length + adjustment
///  └────────┴────────┴─────────────────────┘
///    offset   1 to 8 bytes, or a varint
/// ```
///
/// The frame that is answered is the payload; [`decode_parts`](Self::decode_parts) answers the header too.
///
/// | the protocol's length counts               | adjustment                                     |
/// |--------------------------------------------|------------------------------------------------|
/// | the payload                                | 0                                              |
/// | itself and the payload                     | minus its width                                |
/// | the whole frame                            | minus the offset and its width                 |
/// | the payload without a second header        | the length of that header, which is then part of the payload |
///
/// ```
/// use reactor::Input;
/// use reactor::codec::{Codec, LengthPrefixed, Parts};
///
/// // A byte of type, then two bytes of length, which count all of it.
/// let mut codec = LengthPrefixed::big_endian(2, 1024).offset(1).adjustment(-3);
/// let mut input = Input::new(b"T\0\x08hello");
/// assert_eq!(codec.decode_parts(&mut input), Ok(Some(Parts { header: b"T", payload: b"hello" })));
///
/// let mut bytes = Vec::new();
/// codec.encode_parts(b"T", b"hello", &mut bytes)?;
/// assert_eq!(bytes, b"T\0\x08hello");
///
/// // A length that is not to be believed is an error before anything is waited for or allocated.
/// let error = codec.decode(&mut Input::new(b"T\xff\xff")).unwrap_err();
/// assert_eq!(error.to_string(), "a frame is longer than the limit of 1024 bytes");
/// # Ok::<(), reactor::codec::FrameError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct LengthPrefixed {
    prefix: Prefix,
    offset: u16,
    adjustment: i64,
    limit: usize,
}

impl LengthPrefixed {
    /// A length of `width` bytes, the most significant first ("network byte order"), before a payload of at most `limit`
    /// bytes.
    ///
    /// # Panics
    /// When `width` is not 1 to 8.
    #[must_use]
    pub const fn big_endian(width: usize, limit: usize) -> Self {
        Self::new(Prefix::BigEndian(checked_width(width)), limit)
    }

    /// A length of `width` bytes, the least significant first, before a payload of at most `limit` bytes.
    ///
    /// # Panics
    /// When `width` is not 1 to 8.
    #[must_use]
    pub const fn little_endian(width: usize, limit: usize) -> Self {
        Self::new(Prefix::LittleEndian(checked_width(width)), limit)
    }

    /// A length in LEB128 before a payload of at most `limit` bytes: seven bits a byte, the least significant first, the
    /// eighth bit set in all bytes but the last; 1 to 10 bytes. It is what Protocol Buffers call a varint. One with
    /// needless zeros at its end is read as well.
    #[must_use]
    pub const fn varint(limit: usize) -> Self {
        Self::new(Prefix::Varint, limit)
    }

    const fn new(prefix: Prefix, limit: usize) -> Self {
        Self { prefix, offset: 0, adjustment: 0, limit }
    }

    /// How many bytes of header stand before the length. Default 0.
    #[must_use]
    pub const fn offset(mut self, bytes: u16) -> Self {
        self.offset = bytes;
        self
    }

    /// What is added to the length to get the payload's. Default 0.
    #[must_use]
    pub const fn adjustment(mut self, bytes: i64) -> Self {
        self.adjustment = bytes;
        self
    }

    /// [`decode`](Codec::decode) that answers the header before the length, too.
    ///
    /// # Errors
    /// [`FrameError::TooLong`] or [`FrameError::BadLength`], as soon as the length is there.
    pub fn decode_parts<'a>(&self, input: &mut Input<'a>) -> Result<Option<Parts<'a>>, FrameError> {
        let Some((header, rest)) = input.as_slice().split_at_checked(self.offset.into()) else { return Ok(None) };
        let Some((value, width)) = self.prefix.read(rest)? else { return Ok(None) };
        let length = self.payload_length(value)?;
        let Some(payload) = rest[width..].get(..length) else { return Ok(None) };
        input.consume(header.len() + width + length);
        Ok(Some(Parts { header, payload }))
    }

    /// [`encode`](Codec::encode) with a header before the length.
    ///
    /// # Errors
    /// [`FrameError::TooLong`]; [`FrameError::BadLength`]: the prefix is too narrow for the length, or the length with
    /// the adjustment is below zero. Nothing is appended.
    ///
    /// # Panics
    /// When the header is not as long as [`offset`](Self::offset) says.
    pub fn encode_parts(&self, header: &[u8], payload: &[u8], into: &mut Vec<u8>) -> Result<(), FrameError> {
        assert!(header.len() == usize::from(self.offset), "a header has {} bytes, not {}", self.offset, header.len());
        let value = self.value_of(payload)?;
        into.extend_from_slice(header);
        self.prefix.write(value, into);
        into.extend_from_slice(payload);
        Ok(())
    }

    /// The length of the payload before which this number stands. It has no more than 66 bits.
    fn payload_length(self, value: u64) -> Result<usize, FrameError> {
        let length = i128::from(value) + i128::from(self.adjustment);
        let length = u128::try_from(length).map_err(|_| FrameError::BadLength)?;
        let length = usize::try_from(length).ok().filter(|&length| length <= self.limit);
        length.ok_or(FrameError::TooLong { limit: self.limit })
    }

    /// The number that stands before this payload.
    fn value_of(self, payload: &[u8]) -> Result<u64, FrameError> {
        if payload.len() > self.limit {
            return Err(FrameError::TooLong { limit: self.limit });
        }
        let value = payload.len() as i128 - i128::from(self.adjustment);
        let value = u64::try_from(value).ok().filter(|&value| value <= self.prefix.max());
        value.ok_or(FrameError::BadLength)
    }
}

impl Codec for LengthPrefixed {
    fn decode<'a>(&mut self, input: &mut Input<'a>) -> Result<Option<&'a [u8]>, FrameError> {
        Ok(self.decode_parts(input)?.map(|parts| parts.payload))
    }

    /// A header, if there is one, is of zeros; see [`encode_parts`](LengthPrefixed::encode_parts) for others.
    fn encode(&self, frame: &[u8], into: &mut Vec<u8>) -> Result<(), FrameError> {
        let value = self.value_of(frame)?;
        into.resize(into.len() + usize::from(self.offset), 0);
        self.prefix.write(value, into);
        into.extend_from_slice(frame);
        Ok(())
    }
}

/// A frame with what stood before its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts<'a> {
    /// As many bytes as [`LengthPrefixed::offset`] says.
    pub header: &'a [u8],
    /// The frame itself.
    pub payload: &'a [u8],
}

/// The form in which the length travels.
#[derive(Clone, Copy, Debug)]
enum Prefix {
    /// So many bytes.
    BigEndian(usize),
    LittleEndian(usize),
    Varint,
}

impl Prefix {
    /// The number, and how many bytes it takes; `None` while it is not whole.
    fn read(self, bytes: &[u8]) -> Result<Option<(u64, usize)>, FrameError> {
        let push = |value: u64, &byte: &u8| value << 8 | u64::from(byte);
        match self {
            Self::BigEndian(width) => Ok(bytes.get(..width).map(|bytes| (bytes.iter().fold(0, push), width))),
            Self::LittleEndian(width) => Ok(bytes.get(..width).map(|bytes| (bytes.iter().rev().fold(0, push), width))),
            Self::Varint => read_varint(bytes),
        }
    }

    fn write(self, value: u64, into: &mut Vec<u8>) {
        match self {
            Self::BigEndian(width) => into.extend_from_slice(&value.to_be_bytes()[WIDEST - width..]),
            Self::LittleEndian(width) => into.extend_from_slice(&value.to_le_bytes()[..width]),
            Self::Varint => write_varint(value, into),
        }
    }

    /// The largest number that fits.
    fn max(self) -> u64 {
        match self {
            Self::BigEndian(width) | Self::LittleEndian(width) => u64::MAX >> (8 * (WIDEST - width)),
            Self::Varint => u64::MAX,
        }
    }
}

fn read_varint(bytes: &[u8]) -> Result<Option<(u64, usize)>, FrameError> {
    let mut value = 0;
    for (place, &byte) in bytes.iter().take(LONGEST_VARINT).enumerate() {
        // The tenth byte has the one bit that is left of 64, and ends it.
        if place == LONGEST_VARINT - 1 && byte > 1 {
            return Err(FrameError::BadLength);
        }
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Ok(Some((value, place + 1)));
        }
    }
    Ok(None)
}

fn write_varint(mut value: u64, into: &mut Vec<u8>) {
    while value >= 0x80 {
        into.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    into.push(value.to_le_bytes()[0]);
}

const fn checked_width(width: usize) -> usize {
    assert!(width >= 1 && width <= WIDEST, "a length has 1 to 8 bytes");
    width
}

/// Bytes of the widest fixed prefix.
const WIDEST: usize = size_of::<u64>();
/// Bytes of 64 bits at seven a byte.
const LONGEST_VARINT: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(codec: LengthPrefixed, bytes: &[u8]) -> Result<Option<usize>, FrameError> {
        Ok(codec.decode_parts(&mut Input::new(bytes))?.map(|parts| parts.payload.len()))
    }

    #[test]
    fn varints_are_those_of_protocol_buffers() {
        for (value, bytes) in [
            (0, &b"\0"[..]),
            (127, b"\x7f"),
            (128, b"\x80\x01"),
            (300, b"\xac\x02"),
            (u64::MAX, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
        ] {
            let mut written = Vec::new();
            write_varint(value, &mut written);
            assert_eq!(written, bytes);
            assert_eq!(read_varint(bytes), Ok(Some((value, bytes.len()))));
            assert_eq!(read_varint(&bytes[..bytes.len() - 1]), Ok(None));
        }
        assert_eq!(read_varint(b"\x81\x80\x00"), Ok(Some((1, 3))));
    }

    #[test]
    fn a_varint_of_more_than_64_bits_is_none() {
        for bytes in [[0xff; 10], [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2], [0x80; 10]] {
            assert_eq!(decode(LengthPrefixed::varint(usize::MAX), &bytes), Err(FrameError::BadLength));
        }
    }

    #[test]
    fn the_widest_lengths_do_not_overflow() {
        let longest = usize::MAX;
        for codec in [LengthPrefixed::big_endian(8, longest), LengthPrefixed::little_endian(8, longest)] {
            let [most, some] = [[0xff; 8], [0; 8]];
            assert_eq!(decode(codec, &most), Ok(None));
            let too_long = Err(FrameError::TooLong { limit: longest });
            assert_eq!(decode(codec.adjustment(1), &most), too_long);
            assert_eq!(decode(codec.adjustment(i64::MAX), &most), too_long);
            assert_eq!(decode(codec.adjustment(-1), &some), Err(FrameError::BadLength));
            assert_eq!(decode(codec.adjustment(i64::MIN), &some), Err(FrameError::BadLength));
            assert_eq!(decode(codec.adjustment(i64::MIN).offset(u16::MAX), &most), Ok(None));
        }
    }

    #[test]
    fn a_length_that_the_prefix_cannot_hold_is_not_encoded() {
        let mut into = b"before".to_vec();
        let narrow = LengthPrefixed::big_endian(1, 1000);
        assert_eq!(narrow.encode(&[0; 256], &mut into), Err(FrameError::BadLength));
        assert_eq!(narrow.encode(&[0; 1001], &mut into), Err(FrameError::TooLong { limit: 1000 }));
        assert_eq!(narrow.adjustment(3).encode(&[0; 2], &mut into), Err(FrameError::BadLength));
        assert_eq!(narrow.adjustment(i64::MIN).encode(&[0; 2], &mut into), Err(FrameError::BadLength));
        assert_eq!(into, b"before");
        narrow.encode(&[0; 255], &mut into).unwrap();
        assert_eq!(into.len(), 6 + 1 + 255);
    }

    #[test]
    #[should_panic(expected = "1 to 8 bytes")]
    fn a_length_of_nine_bytes_is_refused() {
        let _ = LengthPrefixed::big_endian(9, 1);
    }

    #[test]
    #[should_panic(expected = "a header has 2 bytes, not 1")]
    fn a_header_of_another_length_is_refused() {
        let _ = LengthPrefixed::big_endian(1, 1).offset(2).encode_parts(b"h", b"", &mut Vec::new());
    }
}
