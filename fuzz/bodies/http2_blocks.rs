//! Header blocks out of bytes: each of them one of the things that a block can say, so that tables fill, shrink and are referred to.

/// A block, in the parts that go into one frame each. A byte is what comes next, and the ones after it say how.
pub(crate) fn parts(mut input: &[u8]) -> Vec<Vec<u8>> {
    let (mut parts, mut block) = (Vec::new(), Vec::new());
    let mut next = || {
        let (first, rest) = input.split_first()?;
        input = rest;
        Some(*first)
    };
    while let Some(what) = next() {
        let mut byte = || next().unwrap_or(0);
        match what % 8 {
            // A request without a table.
            0 => block.extend_from_slice(b"\x83\x86\x04\x02/a"),
            // An entry of a table; there are 61 in the static one.
            1 => integer(&mut block, 0x80, 7, usize::from(byte())),
            2 => literal(&mut block, 0x40, 6, [byte(), byte(), byte()]),
            3 => literal(&mut block, 0x00, 4, [byte(), byte(), byte()]),
            4 => literal(&mut block, 0x10, 4, [byte(), byte(), byte()]),
            // Up to somewhat more than is allowed.
            5 => integer(&mut block, 0x20, 5, usize::from(byte()) * 17),
            6 => parts.push(std::mem::take(&mut block)),
            _ => block.push(byte()),
        }
    }
    parts.push(block);
    parts
}

/// A field whose name is that of an entry, or its own.
fn literal(block: &mut Vec<u8>, first: u8, prefix: u8, [name, value, letter]: [u8; 3]) {
    if name & 1 == 0 {
        integer(block, first, prefix, usize::from(name >> 1));
    } else {
        block.push(first);
        string(block, name >> 1 & 0x87, name);
    }
    string(block, value, letter);
}

/// A string: its length, times 64 with the bit 0x40, and whether it is encoded (0x80).
fn string(block: &mut Vec<u8>, what: u8, letter: u8) {
    let length = usize::from(what & 0x3f) * if what & 0x40 == 0 { 1 } else { 64 };
    let letters = (0..length).map(|at| (usize::from(letter) + at) % LETTERS.len());
    if what & 0x80 == 0 {
        integer(block, 0, 7, length);
        block.extend(letters.map(|letter| LETTERS[letter]));
        return;
    }
    let mut bits: Vec<bool> = letters.flat_map(|letter| (0..5).rev().map(move |bit| letter >> bit & 1 != 0)).collect();
    bits.resize(bits.len().next_multiple_of(8), true);
    integer(block, 0x80, 7, bits.len() / 8);
    block.extend(bits.chunks(8).map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit))));
}

/// The letters whose code has five bits, in the order of their codes (RFC 7541, appendix B).
const LETTERS: &[u8; 10] = b"012aceiost";

fn integer(block: &mut Vec<u8>, first: u8, prefix: u8, value: usize) {
    let largest = (1 << prefix) - 1;
    if value < largest {
        block.push(first | u8::try_from(value).unwrap());
        return;
    }
    block.push(first | u8::try_from(largest).unwrap());
    let mut rest = value - largest;
    while rest >= 0x80 {
        block.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
        rest >>= 7;
    }
    block.push(u8::try_from(rest).unwrap());
}
