// A function whose gradient is computed by a callback, as a node of libtorch's autograd graph.

#include <cstdlib>
#include <stdexcept>
#include <string>

#include <torch/csrc/autograd/custom_function.h>

#include "guard.h"

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Gives the gradients with respect to both inputs (null for none) as tensors that the caller deletes, or an error's
// message, which the caller frees.
using Callback = char *(*)(void *state, at::Tensor **saved, size_t saved_count, at::Tensor **gradients,
                           size_t gradient_count, at::Tensor **results);

struct State : torch::CustomClassHolder {
  void *state;
  Callback callback;
  void (*drop)(void *);

  State(void *state, Callback callback, void (*drop)(void *)) : state(state), callback(callback), drop(drop) {}
  ~State() override { drop(state); }
};

struct Forward {
  variable_list outputs;
  variable_list saved;
  c10::intrusive_ptr<State> state;
};

std::vector<at::Tensor *> pointers(variable_list &tensors) {
  std::vector<at::Tensor *> pointers;
  for (auto &tensor : tensors)
    pointers.push_back(&tensor);
  return pointers;
}

at::Tensor taken(at::Tensor *tensor) {
  if (tensor == nullptr)
    return at::Tensor();
  at::Tensor taken = std::move(*tensor);
  delete tensor;
  return taken;
}

struct Recorded : torch::autograd::Function<Recorded> {
  static variable_list forward(AutogradContext *context, const at::Tensor &, const std::optional<at::Tensor> &,
                               Forward *forward) {
    context->save_for_backward(forward->saved);
    context->saved_data["state"] = c10::IValue::make_capsule(forward->state);
    return forward->outputs;
  }

  static variable_list backward(AutogradContext *context, variable_list gradients) {
    at::NoGradGuard no_gradients;
    auto saved = context->get_saved_variables();
    auto *state = static_cast<State *>(context->saved_data["state"].toCapsule().get());
    auto saved_pointers = pointers(saved), gradient_pointers = pointers(gradients);
    at::Tensor *results[2] = {nullptr, nullptr};
    char *error = state->callback(state->state, saved_pointers.data(), saved_pointers.size(),
                                  gradient_pointers.data(), gradient_pointers.size(), results);
    variable_list taken_results = {taken(results[0]), taken(results[1]), at::Tensor()};
    if (error != nullptr) {
      std::string message = error;
      std::free(error);
      throw std::runtime_error(message);
    }
    return taken_results;
  }
};

variable_list copied(at::Tensor **tensors, size_t count) {
  variable_list copied;
  for (size_t i = 0; i < count; i++)
    copied.push_back(*tensors[i]);
  return copied;
}

} // namespace

extern "C" {

bool motionflow_grad_enabled() { return at::GradMode::is_enabled(); }

// Makes `outputs`, which were computed from `first` and `second` (or null) without a graph, depend on them. They are
// replaced by tensors that the caller deletes. `state` is dropped in any case.
char *motionflow_record(at::Tensor *first, at::Tensor *second, at::Tensor **outputs, size_t output_count,
                        at::Tensor **saved, size_t saved_count, void *state, Callback callback,
                        void (*drop)(void *)) {
  auto holder = c10::make_intrusive<State>(state, callback, drop);
  return motionflow::guarded([&] {
    Forward forward{copied(outputs, output_count), copied(saved, saved_count), holder};
    std::optional<at::Tensor> other;
    if (second != nullptr)
      other = *second;
    auto made = Recorded::apply(*first, other, &forward);
    for (size_t i = 0; i < output_count; i++)
      outputs[i] = new at::Tensor(made[i]);
  });
}
}
