//! Inputs made of others without a fuzzer: the same ones in every run, so that a failure can be seen again.

use std::fs;
use std::path::Path;
use std::thread;

/// Runs a fuzz target over each file of `corpus`, and over `count` inputs made of them.
pub(crate) fn replay(corpus: &Path, count: u64, target: impl Fn(&[u8])) {
    let mut seeds: Vec<_> = fs::read_dir(corpus)
        .expect("the corpus is there")
        .map(|entry| fs::read(entry.expect("it can be listed").path()).expect("it can be read"))
        .collect();
    assert!(!seeds.is_empty(), "{} is empty", corpus.display());
    // Directories have no order of their own.
    seeds.sort();
    seeds.iter().for_each(|seed| run(seed, &target));
    for number in 0..count {
        run(&mutant(&seeds, &mut Random(number)), &target);
    }
}

/// Runs the target, and tells the input if it fails.
fn run(input: &[u8], target: &impl Fn(&[u8])) {
    let _told = ToldOnPanic(input);
    target(input);
}

struct ToldOnPanic<'a>(&'a [u8]);

impl Drop for ToldOnPanic<'_> {
    #[allow(clippy::print_stderr, reason = "it is told with the panic's message")]
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the input was b\"{}\"", self.0.escape_ascii());
        }
    }
}

/// A seed with a few changes.
fn mutant(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = random.pick(seeds).clone();
    for _ in 0..=random.below(4) {
        let place = random.below(bytes.len() + 1);
        let end = place + random.below((bytes.len() - place).min(16) + 1);
        match random.below(6) {
            0 => drop(bytes.drain(place..end)),
            1 => bytes.insert(place, random.below(256) as u8),
            2 => drop(bytes.splice(place..end, random.pick(TOKENS).iter().copied())),
            3 => bytes[place..end].iter_mut().for_each(|byte| *byte ^= 1 << random.below(8)),
            4 => {
                let again = bytes[place..end].to_vec();
                drop(bytes.splice(place..place, again));
            }
            _ => {
                let other = random.pick(seeds);
                bytes.truncate(place);
                bytes.extend_from_slice(&other[random.below(other.len() + 1)..]);
            }
        }
    }
    bytes
}

/// What parsers look for.
const TOKENS: &[&[u8]] = &[
    b":",
    b"/",
    b"//",
    b"[",
    b"]",
    b"%",
    b"@",
    b"\\",
    b"\\x",
    b"\\x00",
    b".",
    b",",
    b"=",
    b"-",
    b"+",
    b" ",
    b"0",
    b"00",
    b"4294967296",
    b"18446744073709551616",
    b"99999999999999999999",
    b"e",
    b"::",
    b"\n",
    b"\0",
    b"\x1b",
    b"#",
    b"#\xff",
    "\u{fc}".as_bytes(),
    "\u{2028}".as_bytes(),
    "\u{661}".as_bytes(),
];

/// The SplitMix64 generator.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}
