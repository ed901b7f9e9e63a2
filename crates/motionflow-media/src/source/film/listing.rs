//! Packets as ffmpeg lists them with the muxer [framecrc](https://ffmpeg.org/ffmpeg-formats.html#framecrc-1).

/// What a listing says: `#tb 0: 1/10`, then a line a packet: stream, decoding time, time, duration, size, hash, and
/// flags where it is no plain key frame.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Seconds that one tick lasts.
    pub(super) tick: Option<f64>,
    /// Times in ticks, of the packets that are shown.
    pub(super) times: Vec<i64>,
    /// How many packets that are shown have no time.
    pub(super) without_time: usize,
}

/// The flag of packets that are decoded, but not shown.
const DISCARD: u32 = 4;

impl Listing {
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let mut listing = Self::default();
        for line in String::from_utf8_lossy(bytes).lines() {
            if let Some(base) = line.strip_prefix("#tb 0: ") {
                listing.tick = pair(base, '/')
                    .map(|(numerator, denominator)| f64::from(numerator) / f64::from(denominator))
                    .filter(|tick| *tick > 0.0 && tick.is_finite());
            } else if !line.starts_with('#') && !is_discarded(line) {
                let time = line.split(',').nth(2).and_then(|time| time.trim().parse::<i64>().ok());
                // ffmpeg writes the smallest number where a packet has no time.
                match time.filter(|time| *time != i64::MIN) {
                    Some(time) => listing.times.push(time),
                    None => listing.without_time += 1,
                }
            }
        }
        listing
    }

    /// How many packets are shown.
    pub(super) fn packets(&self) -> usize {
        self.times.len() + self.without_time
    }
}

fn is_discarded(line: &str) -> bool {
    let flags = line.split(',').find_map(|field| field.trim().strip_prefix("F=0x"));
    flags.and_then(|flags| u32::from_str_radix(flags, 16).ok()).is_some_and(|flags| flags & DISCARD != 0)
}

/// Two numbers with a sign between them.
pub(super) fn pair(text: &str, between: char) -> Option<(u32, u32)> {
    let (first, second) = text.trim().split_once(between)?;
    Some((first.parse().ok()?, second.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listings_are_understood() {
        let listing = Listing::parse(
            b"#extradata 0:       45, 0x14760e8b\n#software: Lavf63.1.102\n#tb 0: 1/10240\n#media_type 0: video\n\
              #dimensions 0: 64x48\n#sar 0: 1/1\n0,      -2048,          0,     1024,     1358, 0xa46a3c1f\n\
              0,      -1024,       4096,     1024,      189, 0xdfd85d3b, F=0x0\n0, NOPTS, NOPTS, 0, 1, 0x0\n\
              0,   0, -9223372036854775808,     1024,      189, 0xdfd85d3b, F=0x0\n\
              0,      -1024,      -4096,     1024,      189, 0xdfd85d3b, F=0x5, S=1,        1\n",
        );
        assert_eq!(listing.times, [0, 4096]);
        assert_eq!((listing.without_time, listing.packets()), (2, 4));
        assert!((listing.tick.unwrap() - 1.0 / 10240.0).abs() < 1e-12);
        assert!(Listing::parse(b"#tb 0: 1/0\n").tick.is_none());
    }
}
