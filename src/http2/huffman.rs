//! The Huffman code of HPACK (RFC 7541, appendix B).
//!
//! The code is canonical: codes of one length are consecutive in the order of their symbols, and longer ones follow shorter
//! ones. So it is defined by the lengths alone.

/// Decodes `encoded`, and appends the result. Cost: about a nanosecond for each byte of usual text.
///
/// # Errors
/// It contains the end-of-string code, or its padding is not valid.
pub(crate) fn decode(encoded: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
    let (mut rest, mut bits, mut have) = (encoded.iter(), 0_u64, 0_u8);
    loop {
        while have <= 56 {
            let Some(byte) = rest.next() else { break };
            bits |= u64::from(*byte) << (56 - have);
            have += 8;
        }
        if have == 0 {
            return Ok(());
        }
        let [first, ..] = bits.to_be_bytes();
        let (mut symbol, mut length) = CODES.short.get(usize::from(first)).copied().unwrap_or((0, 0));
        if length == 0 {
            (symbol, length) = CODES.long(bits)?;
        }
        if length > have {
            // Valid padding is fewer than eight bits, all ones.
            let is_padding = have < 8 && bits.leading_ones() >= u32::from(have);
            return if is_padding { Ok(()) } else { Err("bad padding of a Huffman string") };
        }
        out.push(symbol);
        bits <<= length;
        have -= length;
    }
}

/// The code, arranged for decoding.
struct Codes {
    /// By the next eight bits: the symbol whose code they begin with, and its length; 0 if the code is longer.
    short: [(u8, u8); 256],
    /// By length: the first code, the number of codes, and the place of the first one's symbol in `symbols`.
    lengths: [(u32, u32, usize); LONGEST as usize + 1],
    /// Symbols in the order of their codes.
    symbols: [u16; LENGTHS.len()],
}

static CODES: Codes = Codes::new();

impl Codes {
    #[allow(clippy::indexing_slicing, clippy::cast_possible_truncation)] // The compiler evaluates it.
    const fn new() -> Self {
        let (mut short, mut lengths, mut symbols) =
            ([(0, 0); 256], [(0, 0, 0); LONGEST as usize + 1], [0; LENGTHS.len()]);
        let (mut length, mut code, mut placed) = (1_u8, 0_u32, 0);
        while length <= LONGEST {
            let (first, before) = (code, placed);
            let mut symbol = 0;
            while symbol < LENGTHS.len() {
                if LENGTHS[symbol] == length {
                    symbols[placed] = symbol as u16;
                    placed += 1;
                    if length <= 8 {
                        let mut at = (code << (8 - length)) as usize;
                        while at < ((code + 1) << (8 - length)) as usize {
                            short[at] = (symbol as u8, length);
                            at += 1;
                        }
                    }
                    code += 1;
                }
                symbol += 1;
            }
            lengths[length as usize] = (first, code - first, before);
            code <<= 1;
            length += 1;
        }
        Self { short, lengths, symbols }
    }

    /// The symbol whose code of more than eight bits is at the beginning of `bits`, and its length.
    fn long(&self, bits: u64) -> Result<(u8, u8), &'static str> {
        for (length, (first, count, place)) in (0_u8..).zip(&self.lengths).skip(9) {
            let code = u32::try_from(bits >> (64 - length)).unwrap_or(u32::MAX);
            let within = code.wrapping_sub(*first);
            if within < *count {
                let at = usize::try_from(within).unwrap_or(usize::MAX).saturating_add(*place);
                let symbol = self.symbols.get(at).and_then(|symbol| u8::try_from(*symbol).ok());
                return symbol.map(|symbol| (symbol, length)).ok_or("the end of a Huffman string is in its middle");
            }
        }
        Err("no code of a Huffman string")
    }
}

const LONGEST: u8 = 30;

/// The length of the code of each byte, and of the end-of-string code.
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
    fn decode(encoded: &[u8]) -> Result<String, &'static str> {
        let mut out = Vec::new();
        super::decode(encoded, &mut out)?;
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
