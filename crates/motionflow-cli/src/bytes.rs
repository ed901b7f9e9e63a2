//! Sizes to read.

use bytesize::ByteSize;

/// A size in its largest unit, such as `10.0 GiB`.
pub(crate) fn readable(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}
