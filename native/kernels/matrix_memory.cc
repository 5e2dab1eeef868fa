// The entry points of the memory of an mLSTM, for the dtypes of this instruction set.
#include "matrix_memory_passes.h"

namespace gatewise {
namespace GATEWISE_ISA {

template <typename T, template <typename> class Pass, typename Result>
void run(const MatrixMemory& call, const Result& result, const Threads& threads) {
  if constexpr (compiled<T>) {
    using Work = Pass<T>;
    HeadTeam<T, Work>(call, threads.count, Work::of_steps, Work::of_pairs, Work::squares,
                      Work(call, result)).run(threads.run);
  }
}

template <template <typename> class Pass, typename Result>
Status run(Dtype dtype, const MatrixMemory& call, const Result& result, const Threads& threads) try {
  if (dtype == Dtype::float64)
    run<double, Pass>(call, result, threads);
  else
    run<float, Pass>(call, result, threads);
  return Status::ok;
} catch (const std::bad_alloc&) {
  return Status::no_memory;
}

int64_t saved_memory(Dtype dtype, const MatrixMemory& call) {
  const int64_t lanes = dtype == Dtype::float64 ? Simd<double>::lanes : Simd<float>::lanes;
  const int64_t features = ceil_div(call.width, lanes) * lanes;
  return call.batch * call.heads * ceil_div(call.steps, call.chunk) * (features + 1) * features;
}
Status memory_forward(Dtype dtype, const MatrixMemory& call, const MatrixMemoryOutput& out,
                      const Threads& threads) {
  return run<MemoryForward>(dtype, call, out, threads);
}
Status memory_backward(Dtype dtype, const MatrixMemory& call, const MatrixMemoryGradient& grad,
                       const Threads& threads) {
  return run<MemoryBackward>(dtype, call, grad, threads);
}

}  // namespace GATEWISE_ISA
}  // namespace gatewise
