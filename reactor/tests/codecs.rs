//! A codec gives the same frames however the bytes are split, gives back what was encoded, and believes no length.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Events, Logged, TestLoop};
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use reactor::codec::{Codec, Delimited, FixedLength, FrameError, LengthPrefixed, Lines, Parts};
use reactor::{Context, Handler, Input, Limits, Result as CallbackResult};

/// What a stream came to: its frames, and the end or the error.
type Outcome = (Vec<Vec<u8>>, Result<(), FrameError>);

/// Feeds the stream piece by piece, in the way a loop shows it to a handler.
fn feed<'a>(codec: &mut impl Codec, pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let (mut frames, mut waiting) = (Vec::new(), Vec::new());
    for piece in pieces {
        waiting.extend_from_slice(piece);
        let mut input = Input::new(&waiting);
        loop {
            match codec.decode(&mut input) {
                Ok(Some(frame)) => frames.push(frame.to_vec()),
                Ok(None) => break,
                Err(error) => return (frames, Err(error)),
            }
        }
        waiting = input.take().to_vec();
    }
    let mut input = Input::new(&waiting);
    loop {
        match codec.decode_end(&mut input) {
            Ok(Some(frame)) => frames.push(frame.to_vec()),
            Ok(None) => return (frames, Ok(())),
            Err(error) => return (frames, Err(error)),
        }
    }
}

/// Cuts the stream at these places, which come in any order and more than once.
fn split<'a>(stream: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).chain([0, stream.len()]).collect();
    places.sort_unstable();
    places.windows(2).map(|ends| &stream[ends[0]..ends[1]]).collect()
}

/// Bytes in which delimiters and small lengths are frequent.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b'-'), 0..6_u8, any::<u8>()], 0..120)
}

fn cuts() -> impl Strategy<Value = Vec<prop::sample::Index>> {
    prop::collection::vec(any::<prop::sample::Index>(), 0..20)
}

fn prefixed() -> impl Strategy<Value = LengthPrefixed> {
    let of_kind = (0..3, 1..=8_usize, 0..70_usize).prop_map(|(kind, width, limit)| match kind {
        0 => LengthPrefixed::big_endian(width, limit),
        1 => LengthPrefixed::little_endian(width, limit),
        _ => LengthPrefixed::varint(limit),
    });
    (of_kind, 0..5_u16, -10..10_i64).prop_map(|(codec, offset, by)| codec.offset(offset).adjustment(by))
}

/// All at once, in pieces, and byte by byte: it comes to the same.
fn comes_to_the_same<C: Codec>(make: impl Fn() -> C, stream: &[u8], cuts: &[prop::sample::Index]) -> TestCaseResult {
    let whole = feed(&mut make(), [stream]);
    prop_assert_eq!(&feed(&mut make(), split(stream, cuts)), &whole);
    prop_assert_eq!(&feed(&mut make(), stream.chunks(1)), &whole);
    Ok(())
}

/// What is encoded is decoded again, in pieces too; what cannot be encoded leaves no trace.
fn comes_back<C: Codec>(make: impl Fn() -> C, frames: Vec<Vec<u8>>, cuts: &[prop::sample::Index]) -> TestCaseResult {
    let (mut bytes, mut sent) = (Vec::new(), Vec::new());
    for frame in frames {
        let before = bytes.clone();
        match make().encode(&frame, &mut bytes) {
            Ok(()) => sent.push(frame),
            Err(_) => prop_assert_eq!(&bytes, &before),
        }
    }
    prop_assert_eq!(feed(&mut make(), split(&bytes, cuts)), (sent, Ok(())));
    Ok(())
}

fn frames(of: impl Strategy<Value = u8>, longest: usize) -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(prop::collection::vec(of, 0..=longest), 0..12)
}

proptest! {
    #[test]
    fn any_split_gives_the_same_lines(stream in stream(), cuts in cuts(), limit in 0..20_usize) {
        comes_to_the_same(|| Lines::new(limit), &stream, &cuts)?;
    }

    #[test]
    fn any_split_gives_the_same_delimited_frames(
        stream in stream(),
        cuts in cuts(),
        limit in 0..20_usize,
        delimiter in prop::collection::vec(prop_oneof![Just(b'-'), Just(b'\n')], 1..4),
    ) {
        comes_to_the_same(|| Delimited::new(&delimiter, limit), &stream, &cuts)?;
    }

    #[test]
    fn any_split_gives_the_same_frames_of_one_length(stream in stream(), cuts in cuts(), length in 1..20_usize) {
        comes_to_the_same(|| FixedLength::new(length), &stream, &cuts)?;
    }

    #[test]
    fn any_split_gives_the_same_prefixed_frames(stream in stream(), cuts in cuts(), codec in prefixed()) {
        comes_to_the_same(|| codec, &stream, &cuts)?;
    }

    #[test]
    fn lines_come_back(
        frames in frames(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b'a')], 8),
        cuts in cuts(),
        crlf in any::<bool>(),
    ) {
        let make = || if crlf { Lines::new(7).crlf() } else { Lines::new(7) };
        comes_back(make, frames, &cuts)?;
    }

    #[test]
    fn delimited_frames_come_back(
        frames in frames(b'a'..=b'b', 8),
        cuts in cuts(),
        delimiter in prop::collection::vec(b'a'..=b'b', 1..4),
    ) {
        comes_back(|| Delimited::new(&delimiter, 7), frames, &cuts)?;
    }

    #[test]
    fn frames_of_one_length_come_back(frames in frames(any::<u8>(), 4), cuts in cuts()) {
        comes_back(|| FixedLength::new(3), frames, &cuts)?;
    }

    #[test]
    fn prefixed_frames_come_back(frames in frames(any::<u8>(), 300), cuts in cuts(), codec in prefixed()) {
        comes_back(|| codec, frames, &cuts)?;
    }

    #[test]
    fn headers_come_back(header in any::<[u8; 3]>(), payload in prop::collection::vec(any::<u8>(), 0..300)) {
        let codec = LengthPrefixed::varint(300).offset(3);
        let mut bytes = Vec::new();
        codec.encode_parts(&header, &payload, &mut bytes).unwrap();
        let mut input = Input::new(&bytes);
        prop_assert_eq!(codec.decode_parts(&mut input), Ok(Some(Parts { header: &header, payload: &payload })));
        prop_assert!(input.is_empty());
    }

    #[test]
    fn a_frame_is_a_slice_of_the_input(stream in stream(), codec in prefixed()) {
        let (mut codec, mut input) = (codec, Input::new(&stream));
        while let Ok(Some(frame)) = codec.decode(&mut input) {
            prop_assert!(stream.as_ptr_range().contains(&frame.as_ptr()) || frame.is_empty());
        }
    }

    #[test]
    fn no_length_is_believed_beyond_the_limit(
        width in 1..=8_usize, bytes in any::<[u8; 8]>(), by in any::<i64>(), limit in 0..1000_usize,
    ) {
        for mut codec in [LengthPrefixed::big_endian(width, limit), LengthPrefixed::little_endian(width, limit)] {
            codec = codec.adjustment(by);
            // The prefix alone is enough for an error: what follows it is never waited for.
            match codec.decode(&mut Input::new(&bytes[..width])) {
                Ok(frame) => prop_assert!(frame.is_none_or(<[u8]>::is_empty)),
                Err(error) => {
                    let is_a_length = matches!(error, FrameError::TooLong { .. } | FrameError::BadLength);
                    prop_assert!(is_a_length, "{error}");
                    prop_assert_eq!(codec.decode(&mut Input::new(&bytes)), Err(error));
                }
            }
        }
    }
}

#[test]
fn a_line_ends_with_or_without_a_carriage_return() {
    let (frames, end) = feed(&mut Lines::new(9), [&b"a\r\nb\n\n\r\n\rc\r\r\nlast\r"[..]]);
    assert_eq!(frames, [&b"a"[..], b"b", b"", b"", b"\rc\r", b"last\r"]);
    assert_eq!(end, Ok(()));
}

#[test]
fn a_frame_may_be_as_long_as_the_limit_and_no_longer() {
    let too_long = Err(FrameError::TooLong { limit: 3 });
    for (stream, expected) in [(&b"abc\r\n"[..], Ok(())), (b"abc\n", Ok(())), (b"abc", Ok(())), (b"abcd\n", too_long)] {
        assert_eq!(feed(&mut Lines::new(3), [stream]).1, expected, "{}", stream.escape_ascii());
    }
    for (stream, expected) in [(&b"abc--"[..], Ok(())), (b"abcd--", too_long), (b"abcde", too_long)] {
        assert_eq!(feed(&mut Delimited::new("--", 3), [stream]).1, expected, "{}", stream.escape_ascii());
    }
    for (stream, expected) in [(&b"\x03abc"[..], Ok(())), (b"\x04", too_long), (b"\x80\x01", too_long)] {
        assert_eq!(feed(&mut LengthPrefixed::varint(3), [stream]).1, expected, "{}", stream.escape_ascii());
    }
}

#[test]
fn an_error_is_known_before_the_frame_is_there_and_stays() {
    let mut lines = Lines::new(100);
    let mut endless = Input::new(&[b'x'; 102]);
    for _ in 0..2 {
        assert_eq!(lines.decode(&mut endless), Err(FrameError::TooLong { limit: 100 }));
        assert_eq!(lines.decode_end(&mut endless), Err(FrameError::TooLong { limit: 100 }));
        assert_eq!(endless.len(), 102);
    }
}

#[test]
fn a_stream_that_ends_within_a_frame_is_truncated() {
    assert_eq!(feed(&mut FixedLength::new(4), [&b"abcde"[..]]), (vec![b"abcd".to_vec()], Err(FrameError::Truncated)));
    assert_eq!(feed(&mut Delimited::new("--", 9), [&b"a--b-"[..]]), (vec![b"a".to_vec()], Err(FrameError::Truncated)));
    for stream in [&b"\0"[..], b"\0\x02", b"\0\x02a"] {
        assert_eq!(feed(&mut LengthPrefixed::big_endian(2, 9), [stream]), (vec![], Err(FrameError::Truncated)));
    }
}

#[test]
fn what_was_searched_is_not_searched_again() {
    // Bytes that a loop has shown do not change. If they do, only a codec that looks at them again takes note.
    let mut lines = Lines::new(100);
    assert_eq!(lines.decode(&mut Input::new(b"abcd")), Ok(None));
    assert_eq!(lines.decode(&mut Input::new(b"ab\ndef")), Ok(None));
    assert_eq!(lines.decode(&mut Input::new(b"abcdef\n")), Ok(Some(&b"abcdef"[..])));
    // The next line begins at the front.
    assert_eq!(lines.decode(&mut Input::new(b"\n")), Ok(Some(&b""[..])));
    let mut delimited = Delimited::new("--", 100);
    assert_eq!(delimited.decode(&mut Input::new(b"abc-")), Ok(None));
    assert_eq!(delimited.decode(&mut Input::new(b"--c-d")), Ok(None));
    assert_eq!(delimited.decode(&mut Input::new(b"abc-d--")), Ok(Some(&b"abc-d"[..])));
}

#[test]
fn frames_that_would_not_come_back_are_not_encoded() {
    let mut into = Vec::new();
    for (codec, frame, error) in [
        (&Lines::new(9) as &dyn Codec, &b"a\nb"[..], FrameError::ContainsDelimiter),
        (&Lines::new(9), b"a\r", FrameError::ContainsDelimiter),
        (&Lines::new(2).crlf(), b"abc", FrameError::TooLong { limit: 2 }),
        (&Delimited::new("--", 9), b"a--b", FrameError::ContainsDelimiter),
        (&Delimited::new("--", 9), b"a-", FrameError::ContainsDelimiter),
        (&Delimited::new("--", 2), b"abc", FrameError::TooLong { limit: 2 }),
        (&FixedLength::new(3), b"ab", FrameError::WrongLength { expected: 3 }),
    ] {
        assert_eq!(codec.encode(frame, &mut into), Err(error), "{}", frame.escape_ascii());
        assert_eq!(into, b"");
    }
}

#[test]
#[should_panic(expected = "at least one byte")]
fn an_empty_delimiter_is_refused() {
    let _ = Delimited::new("", 1);
}

#[test]
#[should_panic(expected = "at least one byte")]
fn a_frame_of_no_length_is_refused() {
    let _ = FixedLength::new(0);
}

/// Answers each line with its length.
struct Lengths(Lines);

impl Handler for Lengths {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> CallbackResult {
        while let Some(line) = self.0.decode(input)? {
            cx.send(format!("{}\n", line.len()))?;
        }
        Ok(())
    }
}

#[test]
fn a_handler_decodes_what_its_loop_shows_it() {
    let (log, events) = Events::new();
    // Reads of a few bytes: most lines come in many pieces.
    let mut limits = Limits::default();
    (limits.scratch_min, limits.scratch_max, limits.max_input) = (3, 3, 64);
    let server =
        TestLoop::serve_with(limits, common::Transport::Tcp, move || Logged::new(&log, Lengths(Lines::new(50))));
    let mut client = server.client();
    client.send("one\r\n\nthree and thirty and more\nfo");
    client.expect("3\n0\n25\n");
    client.send("ur\n");
    client.expect("4\n");
    client.send([b'x'; 52]);
    let closed = events.wait_for_close("error");
    assert!(format!("{closed:?}").contains("longer than the limit of 50 bytes"), "{closed:?}");
}
