//! The Huffman code of HPACK (RFC 7541, appendix B).
//!
//! The code is canonical: codes of one length are consecutive in the order of their symbols, and longer ones follow
//! shorter ones. So the lengths alone say all of it.

/// Decodes strings. Cost: a few nanoseconds for each bit.
#[derive(Clone, Debug)]
pub(crate) struct Huffman {
    /// Symbols in the order of their codes.
    symbols: Vec<u16>,
    /// For each length from 1: the first code, and how many there are.
    lengths: Vec<(u32, u32)>,
}

impl Huffman {
    pub(crate) fn new() -> Self {
        let (mut symbols, mut lengths, mut code) = (Vec::with_capacity(LENGTHS.len()), Vec::new(), 0_u32);
        for length in 1..=LONGEST {
            let before = symbols.len();
            symbols.extend((0..).zip(LENGTHS).filter(|(_, of_symbol)| *of_symbol == length).map(|(symbol, _)| symbol));
            let count = u32::try_from(symbols.len() - before).unwrap_or(0);
            lengths.push((code, count));
            code = (code + count) << 1;
        }
        Self { symbols, lengths }
    }

    /// Appends the decoded text.
    ///
    /// # Errors
    /// It holds the code for the end, or its padding is none.
    pub(crate) fn decode(&self, encoded: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
        let mut bits = encoded.iter().flat_map(|byte| (0..8).rev().map(move |at| u32::from(byte >> at & 1)));
        loop {
            let (mut code, mut index, mut ones) = (0_u32, 0_u32, true);
            let mut found = None;
            for (read, (first, count)) in self.lengths.iter().enumerate() {
                let Some(bit) = bits.next() else {
                    // What is left over is fewer than eight bits, all ones.
                    return if read < 8 && ones { Ok(()) } else { Err("bad padding of a Huffman string") };
                };
                ones &= bit == 1;
                code = code << 1 | bit;
                let within = code.wrapping_sub(*first);
                if code >= *first && within < *count {
                    found = self.symbols.get(index.saturating_add(within) as usize);
                    break;
                }
                index += count;
            }
            let symbol = found.and_then(|symbol| u8::try_from(*symbol).ok());
            out.push(symbol.ok_or("the end of a Huffman string is in its middle")?);
        }
    }
}

const LONGEST: u8 = 30;

/// The bits of the code of each byte, and of the end.
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7,
    7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21,
    23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24,
    21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(encoded: &[u8]) -> Result<String, &'static str> {
        let mut out = Vec::new();
        Huffman::new().decode(encoded, &mut out)?;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    /// The examples of RFC 7541, appendix C.4 and C.6.
    #[test]
    fn the_examples_of_the_specification() {
        let cases: [(&[u8], &str); 5] = [
            (&[0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff], "www.example.com"),
            (&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf], "no-cache"),
            (&[0x64, 0x02], "302"),
            (
                &[
                    0xd0, 0x7a, 0xbe, 0x94, 0x10, 0x54, 0xd4, 0x44, 0xa8, 0x20, 0x05, 0x95, 0x04, 0x0b, 0x81, 0x66,
                    0xe0, 0x82, 0xa6, 0x2d, 0x1b, 0xff,
                ],
                "Mon, 21 Oct 2013 20:13:21 GMT",
            ),
            (&[], ""),
        ];
        for (encoded, expected) in cases {
            assert_eq!(decode(encoded).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn padding_is_ones_and_short_and_the_end_is_no_symbol() {
        for encoded in [&[0x18_u8][..], &[0x64, 0x02, 0xff], &[0xff, 0xff, 0xff, 0xff]] {
            assert!(decode(encoded).is_err(), "{encoded:?}");
        }
    }
}
