// The entry point of the linear layer with cross-entropy, for the precisions of this instruction set.
#include "cross_entropy.h"

namespace gatewise {
namespace GATEWISE_ISA {

template <typename P>
Status run(const CrossEntropy& call, const Threads& threads) {
  if constexpr (compiled<P>) LinearCrossEntropy<P>(call, threads.count).run(threads.run);
  return Status::ok;
}

Status cross_entropy(Dtype dtype, const CrossEntropy& call, const Threads& threads) try {
  for (int64_t n = 0; n < call.rows; ++n)
    if (call.target[n] >= call.classes) return Status::bad_target;
  if (dtype == Dtype::bfloat16) return run<Bf16>(call, threads);
  if (dtype == Dtype::float32_bf16x6) return run<Bf16x6>(call, threads);
  return dtype == Dtype::float64 ? run<double>(call, threads) : run<float>(call, threads);
} catch (const std::bad_alloc&) {
  return Status::no_memory;
}

}  // namespace GATEWISE_ISA
}  // namespace gatewise
