// Fused attention whose result is kept, so that its gradient needs no second forward.

#include <ATen/ATen.h>
#include <ATen/SDPBackend.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include "guard.h"

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// What an attention leaves: its result, the logarithms of the sums of its scores, and where the random numbers of a dropout
// would begin, which some kernels want back although there is none.
struct Attended {
  at::Tensor out, sums, seed, offset;
};

at::SDPBackend choice(const at::Tensor &q, const at::Tensor &k, const at::Tensor &v) {
  return static_cast<at::SDPBackend>(at::_fused_sdp_choice(q, k, v));
}

// With the backend that libtorch chooses itself; no result where that is none of the fused ones.
Attended attend(at::SDPBackend backend, const at::Tensor &q, const at::Tensor &k, const at::Tensor &v) {
  Attended made;
  if (backend == at::SDPBackend::flash_attention && q.is_cpu()) {
    std::tie(made.out, made.sums) = at::_scaled_dot_product_flash_attention_for_cpu(q, k, v);
  } else if (backend == at::SDPBackend::flash_attention && q.size(3) % 8 == 0) {
    auto all = at::_scaled_dot_product_flash_attention(q, k, v);
    made = {std::get<0>(all), std::get<1>(all), std::get<6>(all), std::get<7>(all)};
  } else if (backend == at::SDPBackend::efficient_attention) {
    std::tie(made.out, made.sums, made.seed, made.offset) =
        at::_scaled_dot_product_efficient_attention(q, k, v, {}, /*compute_log_sumexp=*/true);
  } else if (backend == at::SDPBackend::cudnn_attention) {
    auto all = at::_scaled_dot_product_cudnn_attention(q, k, v, {}, /*compute_log_sumexp=*/true);
    made = {std::get<0>(all), std::get<1>(all), std::get<6>(all), std::get<7>(all)};
  }
  return made;
}

struct Kept : torch::autograd::Function<Kept> {
  static at::Tensor forward(AutogradContext *context, const at::Tensor &q, const at::Tensor &k, const at::Tensor &v,
                            const Attended &kept, at::SDPBackend backend) {
    context->save_for_backward({q, k, v, kept.out, kept.sums, kept.seed, kept.offset});
    context->saved_data["backend"] = static_cast<int64_t>(backend);
    return kept.out.detach();
  }

  static variable_list backward(AutogradContext *context, variable_list gradients) {
    const at::NoGradGuard no_gradients;
    const auto saved = context->get_saved_variables();
    const auto &q = saved[0], &k = saved[1], &v = saved[2], &out = saved[3], &sums = saved[4], &seed = saved[5],
               &offset = saved[6], &along = gradients[0];
    const auto backend = static_cast<at::SDPBackend>(context->saved_data["backend"].toInt());
    const auto queries = q.size(2), keys = k.size(2);
    at::Tensor dq, dk, dv;
    if (backend == at::SDPBackend::flash_attention && q.is_cpu()) {
      std::tie(dq, dk, dv) =
          at::_scaled_dot_product_flash_attention_for_cpu_backward(along, q, k, v, out, sums, 0.0, false);
    } else if (backend == at::SDPBackend::flash_attention) {
      std::tie(dq, dk, dv) = at::_scaled_dot_product_flash_attention_backward(along, q, k, v, out, sums, {}, {}, queries,
                                                                              keys, 0.0, false, seed, offset);
    } else if (backend == at::SDPBackend::efficient_attention) {
      auto all = at::_scaled_dot_product_efficient_attention_backward(along, q, k, v, {}, out, sums, seed, offset, 0.0,
                                                                      {true, true, true, false});
      std::tie(dq, dk, dv) = std::tie(std::get<0>(all), std::get<1>(all), std::get<2>(all));
    } else {
      std::tie(dq, dk, dv) = at::_scaled_dot_product_cudnn_attention_backward(
          along, q, k, v, out, sums, seed, offset, {}, {}, {}, queries, keys, 0.0, false);
    }
    return {dq, dk, dv, at::Tensor(), at::Tensor()};
  }
};

} // namespace

extern "C" {

// softmax(Q·Kᵀ/√d)·V without a graph, all [batch, heads, tokens, d]; `made` are four tensors that the caller deletes, undefined
// where no fused attention can, and `backend` says which did.
char *motionflow_attend(const at::Tensor *q, const at::Tensor *k, const at::Tensor *v, at::Tensor **made,
                        int64_t *backend) {
  return motionflow::guarded([&] {
    const at::NoGradGuard no_gradients;
    const auto chosen = choice(*q, *k, *v);
    const auto all = attend(chosen, *q, *k, *v);
    *backend = static_cast<int64_t>(chosen);
    made[0] = new at::Tensor(all.out);
    made[1] = new at::Tensor(all.sums);
    made[2] = new at::Tensor(all.seed);
    made[3] = new at::Tensor(all.offset);
  });
}

// The same result, which was computed before, as depending on Q, K and V: a tensor that the caller deletes.
char *motionflow_attended(const at::Tensor *q, const at::Tensor *k, const at::Tensor *v, at::Tensor *const *kept,
                          int64_t backend, at::Tensor **result) {
  return motionflow::guarded([&] {
    const Attended all{*kept[0], *kept[1], *kept[2], *kept[3]};
    *result = new at::Tensor(Kept::apply(*q, *k, *v, all, static_cast<at::SDPBackend>(backend)));
  });
}
}
