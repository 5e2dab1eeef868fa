// A cell's entry points: GATEWISE_CELL(name, CellTemplate) at the end of its file defines them, one for
// each precision that this instruction set has been given.
#pragma once
#include "backward.h"
#include "cell_kernels.h"
#include "forward.h"
#include "math.h"
#include "trace.h"

namespace gatewise {
namespace GATEWISE_ISA {

template <typename P, template <typename> class CellOf>
int64_t saved_row(int64_t hidden, bool normalised) {
  using T = Number<P>;
  return Panels<T, CellOf<T>>(hidden).saved_row(normalised);
}

template <typename P, template <typename> class CellOf>
Status forward(const Layer& layer, const LayerOutput& out, const Threads& threads) try {
  if (!lengths_valid(layer)) return Status::bad_length;
  return Forward<P, CellOf>(layer, out, threads.count).run(threads.run);
} catch (const std::bad_alloc&) {
  return Status::no_memory;
}

template <typename P, template <typename> class CellOf>
Status backward(const Layer& layer, const LayerGradient& grad, const Threads& threads) try {
  if (!lengths_valid(layer)) return Status::bad_length;
  return Backward<P, CellOf>(layer, grad, threads.count).run(threads.run);
} catch (const std::bad_alloc&) {
  return Status::no_memory;
}

template <typename P, template <typename> class CellOf>
int64_t packed_bytes(const Layer& layer) {
  using T = Number<P>;
  return ForwardWeights<P, CellOf<T>>::size(layer, false) * int64_t(sizeof(T));
}

template <typename P, template <typename> class CellOf>
Status pack(const Layer& layer, void* packed, const Threads& threads) {
  using T = Number<P>;
  using Weights = ForwardWeights<P, CellOf<T>>;
  Weights weights(layer, static_cast<T*>(packed), false);
  threads.run([](void* self, int thread, int team) {
    static_cast<Weights*>(self)->pack(thread, team);
  }, &weights, threads.count);
  return Status::ok;
}

template <typename P, template <typename> class CellOf>
Status trace(const Layer& layer, const void* saved, const LayerTrace& out,
             const Threads& threads) try {
  if (!lengths_valid(layer)) return Status::bad_length;
  Trace<Number<P>, CellOf>(layer, saved, out).run(threads);
  return Status::ok;
} catch (const std::bad_alloc&) {
  return Status::no_memory;
}

template <typename P, template <typename> class CellOf>
constexpr CellKernels kernels_of() {
  if constexpr (compiled<P>)
    return {saved_row<P, CellOf>,    forward<P, CellOf>, backward<P, CellOf>,
            packed_bytes<P, CellOf>, pack<P, CellOf>,    trace<P, CellOf>};
  else
    return {};
}

// By precision, in the order of Dtype.
#define GATEWISE_CELL(name, CellOf)                                               \
  extern const CellKernels name##_kernels[];                                      \
  const CellKernels name##_kernels[] = {kernels_of<float, CellOf>(),              \
                                        kernels_of<double, CellOf>(),             \
                                        kernels_of<Bf16, CellOf>(),               \
                                        kernels_of<Bf16x6, CellOf>()};

}  // namespace GATEWISE_ISA
}  // namespace gatewise
