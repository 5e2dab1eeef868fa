// A cell's entry points: GATEWISE_CELL(name, CellTemplate) at the end of its file defines them.
#pragma once
#include "backward.h"
#include "forward.h"
#include "math.h"
#include "trace.h"

namespace gatewise {
namespace GATEWISE_ISA {

struct CellKernels {
  int64_t (*saved_row)(Dtype, int64_t hidden, bool normalised);
  Status (*forward)(Dtype, const Layer&, const LayerOutput&, const Threads&);
  Status (*backward)(Dtype, const Layer&, const LayerGradient&, const Threads&);
  Status (*trace)(Dtype, const Layer&, const void* saved, const LayerTrace&, const Threads&);
};

// Calls f(T()) with the type that `dtype` names.
template <typename F>
auto with_type(Dtype dtype, F&& f) {
  return dtype == Dtype::float32 ? f(float()) : f(double());
}

template <template <typename> class CellOf>
int64_t saved_row(Dtype dtype, int64_t hidden, bool normalised) {
  return with_type(dtype, [&](auto t) {
    using T = decltype(t);
    return Panels<T, CellOf<T>>(hidden).saved_row(normalised);
  });
}

template <template <typename> class CellOf>
Status forward(Dtype dtype, const Layer& layer, const LayerOutput& out, const Threads& threads) try {
  if (!lengths_valid(layer)) return Status::bad_length;
  return with_type(dtype, [&](auto t) {
    return Forward<decltype(t), CellOf>(layer, out, threads.count).run(threads.run);
  });
} catch (const std::bad_alloc&) {
  return Status::no_memory;
}

template <template <typename> class CellOf>
Status backward(Dtype dtype, const Layer& layer, const LayerGradient& grad,
                const Threads& threads) try {
  if (!lengths_valid(layer)) return Status::bad_length;
  return with_type(dtype, [&](auto t) {
    return Backward<decltype(t), CellOf>(layer, grad, threads.count).run(threads.run);
  });
} catch (const std::bad_alloc&) {
  return Status::no_memory;
}

template <template <typename> class CellOf>
Status trace(Dtype dtype, const Layer& layer, const void* saved, const LayerTrace& out,
             const Threads& threads) try {
  if (!lengths_valid(layer)) return Status::bad_length;
  with_type(dtype, [&](auto t) { Trace<decltype(t), CellOf>(layer, saved, out).run(threads); });
  return Status::ok;
} catch (const std::bad_alloc&) {
  return Status::no_memory;
}

#define GATEWISE_CELL(name, CellOf)                                                  \
  extern const CellKernels name##_kernels;                                           \
  const CellKernels name##_kernels = {saved_row<CellOf>, forward<CellOf>, backward<CellOf>, \
                                      trace<CellOf>};

}  // namespace GATEWISE_ISA
}  // namespace gatewise
