// What tch does not offer of libtorch's devices: how much memory is taken, and exact float32 products.

#include <cstdint>

#include <ATen/Context.h>
#include <c10/core/AllocatorConfig.h>
#include <c10/core/CachingDeviceAllocator.h>

#include "guard.h"

namespace {

c10::DeviceAllocator *cuda() { return c10::getDeviceAllocator(c10::DeviceType::CUDA); }

} // namespace

extern "C" {

// Products of float32 are computed in float32, not in TensorFloat-32.
char *motionflow_forbid_tf32() {
  return motionflow::guarded([] {
    at::globalContext().setAllowTF32CuBLAS(false);
    at::globalContext().setAllowTF32CuDNN(false);
  });
}

// Memory of a device is taken in segments that grow, so that little of it lies in holes. Before anything is allocated there.
char *motionflow_let_segments_grow() {
  return motionflow::guarded([] { c10::CachingAllocator::setAllocatorSettings("expandable_segments:True"); });
}

// Bytes: most that was allocated at once, most that was reserved, free, total.
char *motionflow_device_memory(int8_t device, uint64_t *figures) {
  return motionflow::guarded([&] {
    const auto stats = cuda()->getDeviceStats(device);
    const auto all = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
    const auto [free, total] = cuda()->getMemoryInfo(device);
    figures[0] = static_cast<uint64_t>(stats.allocated_bytes[all].peak);
    figures[1] = static_cast<uint64_t>(stats.reserved_bytes[all].peak);
    figures[2] = free;
    figures[3] = total;
  });
}

char *motionflow_reset_peak_memory(int8_t device) {
  return motionflow::guarded([&] { cuda()->resetPeakStats(device); });
}
}
