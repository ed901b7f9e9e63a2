//! How libtorch says that memory ran out.

/// Words of its allocators, on the CPU and on CUDA, of the libraries behind it, and of C++.
const SIGNS: [&str; 5] =
    ["not enough memory", "can't allocate memory", "out of memory", "ALLOC_FAILED", "bad_alloc"];

/// Whether a message of libtorch says that memory ran out.
pub fn is_told_in(message: &str) -> bool {
    SIGNS.iter().any(|sign| message.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_of_saying_it_is_known() {
        for message in [
            "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to \
             allocate 34359738368 bytes. Error code 12 (Cannot allocate memory)",
            "[enforce fail at alloc_cpu.cpp:115] data. DefaultCPUAllocator: not enough memory: you tried to allocate 8",
            "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 139.80 GiB of which 3 MiB",
            "CUDA error: out of memory",
            "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
            "std::bad_alloc",
        ] {
            assert!(is_told_in(message), "{message}");
        }
        assert!(!is_told_in("The size of tensor a (3) must match the size of tensor b (4)"));
    }
}
