//! Memory that will be read soon is asked for, so that the wait for it overlaps with other work.

/// The bytes that a processor's cache moves at once.
const LINE_BYTES: usize = 64;

/// Asks for the memory of a value; on processors where we do not know how, nothing happens.
#[inline]
pub fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    for line in 0..size_of::<T>().div_ceil(LINE_BYTES) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let start = std::ptr::from_ref(value).cast::<i8>();
        // SAFETY: a prefetch reads nothing and never faults, wherever it points.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(start.wrapping_add(line * LINE_BYTES)) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}
