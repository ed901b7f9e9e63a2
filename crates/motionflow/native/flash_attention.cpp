// One of libtorch's fused attentions, where its own choice is another.

#include <ATen/ops/_scaled_dot_product_flash_attention.h>

#include "guard.h"

extern "C" {

char *motionflow_flash_attention(at::Tensor *query, at::Tensor *key, at::Tensor *value, at::Tensor **attended) {
  return motionflow::guarded([&] {
    auto results = at::_scaled_dot_product_flash_attention(*query, *key, *value);
    *attended = new at::Tensor(std::move(std::get<0>(results)));
  });
}
}
