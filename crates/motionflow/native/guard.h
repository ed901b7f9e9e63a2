#pragma once

#include <cstring>
#include <exception>

namespace motionflow {

// Runs `work`; an exception becomes its message, which the caller frees. Null where there was none.
template <typename Work> char *guarded(Work work) {
  try {
    work();
    return nullptr;
  } catch (const std::exception &error) {
    return strdup(error.what());
  } catch (...) {
    return strdup("an exception of an unknown kind");
  }
}

} // namespace motionflow
