// The kernels of one instruction set. CMake compiles this file once per set, with GATEWISE_ISA as the
// name of the set and GATEWISE_VECTOR_BYTES as its width.
#include "backward.h"
#include "cells/lstm.h"
#include "forward.h"
#include "peak.h"

#define GATEWISE_TEXT_OF(name) #name
#define GATEWISE_TEXT(name) GATEWISE_TEXT_OF(name)

namespace gatewise {
namespace GATEWISE_ISA {

// Calls f(T()) with the type that `dtype` names.
template <typename F>
auto with_type(Dtype dtype, F&& f) {
  return dtype == Dtype::float32 ? f(float()) : f(double());
}

int64_t lanes(Dtype dtype) {
  return with_type(dtype, [](auto t) { return int64_t(Simd<decltype(t)>::lanes); });
}

Status lstm_forward(Dtype dtype, const Layer& layer, const LayerOutput& out,
                    const Threads& threads) try {
  if (!lengths_valid(layer)) return Status::bad_length;
  return with_type(dtype, [&](auto t) {
    return Forward<decltype(t), LstmCell>(layer, out, threads.count).run(threads.run);
  });
} catch (const std::bad_alloc&) {
  return Status::no_memory;
}

Status lstm_backward(Dtype dtype, const Layer& layer, const LayerGradient& grad,
                     const Threads& threads) try {
  if (!lengths_valid(layer)) return Status::bad_length;
  return with_type(dtype, [&](auto t) {
    return Backward<decltype(t), LstmCell>(layer, grad, threads.count).run(threads.run);
  });
} catch (const std::bad_alloc&) {
  return Status::no_memory;
}

void evaluate(Dtype dtype, int function, const void* in, void* out, int64_t count) {
  with_type(dtype, [&](auto t) {
    using T = decltype(t);
    for (int64_t i = 0; i < count; i += Simd<T>::lanes) {
      const Vec<T> x = load_part(static_cast<const T*>(in) + i, count - i);
      store_part(static_cast<T*>(out) + i, function ? tanh<T>(x) : sigmoid<T>(x), count - i);
    }
  });
}

int64_t burn(Dtype dtype, int64_t iterations, const Threads& threads) {
  return with_type(dtype, [&](auto t) { return Burn<decltype(t)>(iterations).run(threads); });
}

extern const Kernels kernels;
const Kernels kernels = {GATEWISE_TEXT(GATEWISE_ISA), lanes, lstm_forward, lstm_backward,
                         evaluate, burn};

}  // namespace GATEWISE_ISA
}  // namespace gatewise
