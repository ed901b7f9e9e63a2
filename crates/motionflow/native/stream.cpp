// Copies to a CUDA device on a stream of their own, beside what is computed there.

#include <map>
#include <mutex>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include "guard.h"

namespace {

// The stream of the copies to a device.
c10::Stream copies_to(c10::Device device) {
  static std::mutex mutex;
  static std::map<c10::DeviceIndex, c10::Stream> streams;
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = streams.find(device.index());
  if (found != streams.end())
    return found->second;
  const c10::impl::VirtualGuardImpl cuda(device.type());
  return streams.emplace(device.index(), cuda.getStreamFromGlobalPool(device)).first->second;
}

// What `later` is told from now on waits for what `earlier` was told so far.
void let_wait(c10::Stream later, c10::Stream earlier) {
  c10::Event event(earlier.device_type());
  event.record(earlier);
  event.block(later);
}

} // namespace

extern "C" {

// A copy in memory that CUDA devices fetch from while they compute, which the caller deletes.
char *motionflow_pinned(const at::Tensor *tensor, at::Tensor **pinned) {
  return motionflow::guarded([&] { *pinned = new at::Tensor(tensor->pin_memory()); });
}

// Copies `from` to `to`, of the same shape and type, once what was requested of the device so far is done. Whoever reads `to`
// calls motionflow_await_copies before. On the CPU it is copied at once.
char *motionflow_copy_beside(const at::Tensor *to, const at::Tensor *from) {
  return motionflow::guarded([&] {
    const at::NoGradGuard no_gradients;
    at::Tensor target = *to;
    const c10::Device device = target.device();
    if (device.is_cpu()) {
      target.copy_(*from);
      return;
    }
    const auto copies = copies_to(device);
    let_wait(copies, c10::impl::VirtualGuardImpl(device.type()).getStream(device));
    const c10::StreamGuard guard(copies);
    target.copy_(*from, /*non_blocking=*/true);
  });
}

// What is requested of the device of `to` from now on waits for the copies that were requested so far.
char *motionflow_await_copies(const at::Tensor *to) {
  return motionflow::guarded([&] {
    const c10::Device device = to->device();
    if (!device.is_cpu())
      let_wait(c10::impl::VirtualGuardImpl(device.type()).getStream(device), copies_to(device));
  });
}
}
