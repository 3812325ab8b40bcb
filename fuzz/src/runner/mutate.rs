//! Another input out of those there are.

use super::{Rng, Shape};

/// Octets at the ends of ranges, of signs and of varints.
const EDGES: [u8; 12] = [
    0x00, 0x01, 0x03, 0x04, 0x0f, 0x10, 0x3f, 0x40, 0x7f, 0x80, 0xfe, 0xff,
];

/// The same for two octets: lengths that lie, wraps of sequence numbers.
const EDGES_16: [u16; 10] = [
    0x0000, 0x0001, 0x00ff, 0x0100, 0x7fff, 0x8000, 0x8001, 0xfffc, 0xfffe, 0xffff,
];

/// The same for four.
const EDGES_32: [u32; 8] = [
    0,
    1,
    0xffff,
    0x1_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_fffe,
    0xffff_ffff,
];

/// Numbers in text that parsers trip over.
const NUMBERS: [&str; 14] = [
    "0",
    "-1",
    "1",
    "9",
    "127",
    "128",
    "255",
    "256",
    "65535",
    "65536",
    "4294967295",
    "4294967296",
    "18446744073709551616",
    "99999999999999999999999999999999",
];

/// Makes inputs for one target.
#[derive(Debug)]
pub struct Mutator {
    rng: Rng,
    shape: Shape,
    length_max: usize,
    words: &'static [&'static [u8]],
}

impl Mutator {
    /// A mutator whose inputs follow from `seed` and from what it is given.
    #[must_use]
    pub fn new(
        seed: u64,
        shape: Shape,
        length_max: usize,
        words: &'static [&'static [u8]],
    ) -> Mutator {
        Mutator {
            rng: Rng::new(seed),
            shape,
            length_max,
            words,
        }
    }

    /// An input made of `corpus`. New entries stand at its end and are taken more often: what showed
    /// something new lately is where more of it may be.
    pub fn next(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut input = self.entry(corpus).to_vec();
        let steps = 1 + (self.rng.bits() % 64).trailing_zeros().min(5);
        for _ in 0..steps {
            match self.shape {
                Shape::Lines if !self.rng.one_in(4) => self.lines(&mut input, corpus),
                Shape::Lines | Shape::Octets => self.octets(&mut input, corpus),
            }
        }
        input.truncate(self.length_max);
        input
    }

    fn entry<'c>(&mut self, corpus: &'c [Vec<u8>]) -> &'c [u8] {
        if corpus.is_empty() {
            return &[];
        }
        let recent = corpus.len().min(32);
        let at = if self.rng.one_in(3) {
            corpus.len() - 1 - self.rng.below(recent)
        } else {
            self.rng.below(corpus.len())
        };
        &corpus[at]
    }

    fn octets(&mut self, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        let len = input.len();
        if len == 0 {
            let count = 1 + self.rng.below(24);
            input.extend((0..count).map(|_| self.rng.octet()));
            return;
        }
        let at = self.rng.below(len);
        match self.rng.below(16) {
            0 | 1 => input[at] ^= 1 << self.rng.below(8),
            2 => input[at] = self.rng.octet(),
            3 => input[at] = EDGES[self.rng.below(EDGES.len())],
            4 => {
                let step = 1 + self.rng.octet() % 16;
                input[at] = if self.rng.one_in(2) {
                    input[at].wrapping_add(step)
                } else {
                    input[at].wrapping_sub(step)
                };
            }
            5 => overwrite(
                input,
                at,
                &EDGES_16[self.rng.below(EDGES_16.len())].to_be_bytes(),
            ),
            6 => overwrite(
                input,
                at,
                &EDGES_32[self.rng.below(EDGES_32.len())].to_be_bytes(),
            ),
            7 => {
                // A length field that is off by a little.
                if let Some(pair) = input.get(at..at + 2) {
                    let value = u16::from_be_bytes([pair[0], pair[1]]);
                    let off = u16::from(self.rng.octet() % 9).wrapping_sub(4);
                    overwrite(input, at, &value.wrapping_add(off).to_be_bytes());
                }
            }
            8 => input.truncate(at),
            9 => {
                let end = (at + 1 + self.rng.below(16)).min(len);
                input.drain(at..end);
            }
            10 => {
                let count = 1 + self.rng.below(16);
                let fill: Vec<u8> = if self.rng.one_in(2) {
                    vec![self.rng.octet(); count]
                } else {
                    (0..count).map(|_| self.rng.octet()).collect()
                };
                input.splice(at..at, fill);
            }
            11 => {
                // What stands there once more.
                let end = (at + 1 + self.rng.below(32)).min(len);
                let piece = input[at..end].to_vec();
                input.splice(end..end, piece);
            }
            12 => {
                // The beginning of this one, the end of another.
                let other = self.entry(corpus);
                let from = if other.is_empty() {
                    0
                } else {
                    self.rng.below(other.len())
                };
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            13 => {
                let other = self.entry(corpus);
                if !other.is_empty() {
                    let from = self.rng.below(other.len());
                    let end = (from + 1 + self.rng.below(64)).min(other.len());
                    overwrite(input, at, &other[from..end]);
                }
            }
            _ => self.word(input, at),
        }
    }

    /// Inserts or overwrites with something that has a meaning.
    fn word(&mut self, input: &mut Vec<u8>, at: usize) {
        if self.words.is_empty() {
            input[at] = !input[at];
            return;
        }
        let word = self.words[self.rng.below(self.words.len())];
        if self.rng.one_in(2) {
            overwrite(input, at, word);
        } else {
            input.splice(at..at, word.iter().copied());
        }
    }

    fn lines(&mut self, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        let mut lines: Vec<Vec<u8>> = input
            .split(|&octet| octet == b'\n')
            .map(<[u8]>::to_vec)
            .collect();
        let at = self.rng.below(lines.len());
        match self.rng.below(10) {
            0 => {
                lines.remove(at);
            }
            1 => {
                let to = self.rng.below(lines.len());
                lines.swap(at, to);
            }
            2 => {
                let times = 1 + self.rng.below(4);
                let line = lines[at].clone();
                lines.splice(at..at, std::iter::repeat_n(line, times));
            }
            3 | 4 => {
                let other = self.entry(corpus);
                let theirs: Vec<&[u8]> = other.split(|&octet| octet == b'\n').collect();
                let line = theirs[self.rng.below(theirs.len())].to_vec();
                if self.rng.one_in(2) {
                    lines[at] = line;
                } else {
                    lines.insert(at, line);
                }
            }
            5 | 6 => self.number(&mut lines[at]),
            7 => {
                // A word within the line, a second time or away.
                let mut words: Vec<Vec<u8>> = lines[at]
                    .split(|octet| b" :;=/,".contains(octet))
                    .map(<[u8]>::to_vec)
                    .collect();
                let which = self.rng.below(words.len());
                if self.rng.one_in(2) {
                    let word = words[which].clone();
                    words.insert(which, word);
                } else {
                    words.remove(which);
                }
                let separator = *b" :;=/,".get(self.rng.below(6)).unwrap_or(&b' ');
                lines[at] = words.join(&separator);
            }
            8 if !self.words.is_empty() => {
                let word = self.words[self.rng.below(self.words.len())];
                let to = self.rng.below(lines[at].len() + 1);
                lines[at].splice(to..to, word.iter().copied());
            }
            _ => {
                let mut line = std::mem::take(&mut lines[at]);
                self.octets(&mut line, corpus);
                lines[at] = line;
            }
        }
        *input = lines.join(&b'\n');
    }

    /// A number of the line becomes another.
    fn number(&mut self, line: &mut Vec<u8>) {
        let mut runs = Vec::new();
        let mut begin = None;
        for at in 0..=line.len() {
            let digit = line.get(at).is_some_and(u8::is_ascii_digit);
            match (digit, begin) {
                (true, None) => begin = Some(at),
                (false, Some(from)) => {
                    runs.push(from..at);
                    begin = None;
                }
                (true, Some(_)) | (false, None) => {}
            }
        }
        if !runs.is_empty() {
            let run = runs.swap_remove(self.rng.below(runs.len()));
            let number = NUMBERS[self.rng.below(NUMBERS.len())];
            line.splice(run, number.bytes());
        }
    }
}

/// Writes `octets` over what stands at `at`, never past the end.
fn overwrite(input: &mut [u8], at: usize, octets: &[u8]) {
    for (place, &octet) in input.iter_mut().skip(at).zip(octets) {
        *place = octet;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_makes_the_same_inputs() {
        let corpus = [b"v=0\r\na=mid:0\r\n".to_vec(), vec![0x80; 40]];
        for shape in [Shape::Octets, Shape::Lines] {
            let inputs = |seed| {
                let mut mutator = Mutator::new(seed, shape, 200, &[b"sha-256"]);
                (0..500).map(|_| mutator.next(&corpus)).collect::<Vec<_>>()
            };
            assert_eq!(inputs(7), inputs(7));
            assert_ne!(inputs(7), inputs(8));
            assert!(inputs(7).iter().all(|input| input.len() <= 200));
        }
    }

    #[test]
    fn nothing_at_all_is_a_corpus_too() {
        let mut mutator = Mutator::new(1, Shape::Octets, 64, &[]);
        assert!((0..100).any(|_| !mutator.next(&[]).is_empty()));
        let mut mutator = Mutator::new(1, Shape::Lines, 64, &[]);
        assert!((0..100).any(|_| !mutator.next(&[Vec::new()]).is_empty()));
    }
}
