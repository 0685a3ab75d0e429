//! The slots of a cluster.

/// The number of slots. Source: Redis cluster specification, "Key distribution model".
pub const SLOTS: u16 = 16_384;

/// The slot of a key: CRC-16 of the part in its first braces, or of the whole key. Source: the same, "Hash tags".
pub fn slot_of(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    crc16(tag.filter(|tag| !tag.is_empty()).unwrap_or(key).as_bytes()) % SLOTS
}

/// CRC-16/XMODEM: polynomial 0x1021, nothing reflected, from 0.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        let at = usize::from((crc >> 8) as u8 ^ byte);
        crc << 8 ^ TABLE.get(at).copied().unwrap_or(0)
    })
}

static TABLE: [u16; 256] = table();

#[allow(clippy::indexing_slicing, reason = "computed when the program is compiled")]
const fn table() -> [u16; 256] {
    let mut table = [0; 256];
    let mut byte: usize = 0;
    let mut value: u16 = 0;
    while byte < 256 {
        let mut crc = value << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
        value = value.wrapping_add(1);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        for (key, slot) in [("{b}", 3_300), ("{c}", 7_365), ("{a}", 15_495), ("a", 15_495), ("x{a}y{b}", 15_495)] {
            assert_eq!(slot_of(key), slot, "{key}");
        }
        assert_eq!(slot_of("foo{}{bar}"), crc16(b"foo{}{bar}") % SLOTS);
    }
}
