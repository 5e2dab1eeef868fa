// Fused multiply-adds and nothing else: how long a known number of them takes is the peak of the
// machine, which benchmarks need from the same run as what they compare with it.
#pragma once
#include <atomic>

#include "tile.h"

namespace gatewise {
namespace GATEWISE_ISA {

template <typename P>
class Burn {
  using T = Number<P>;
  using F = Factor<P>;

 public:
  explicit Burn(int64_t iterations) : iterations_(iterations) {}

  // Returns the floating-point operations done by all threads together.
  int64_t run(const Threads& threads) {
    threads.run([](void* self, int, int) { static_cast<Burn*>(self)->work(); }, this,
                threads.count);
    return flops_;
  }

 private:
  // As many independent chains as the micro-kernels have accumulators: more than latency times
  // units, fewer than registers.
  static constexpr int chains = tile_rows * tile_vectors;

  void work() {
    volatile T half = T(0.5);  // not known to the compiler
    const Vec<T> scale = broadcast<T>(half), step = broadcast<T>(half);
    const Vec<F> pairs = join<P>(scale, step);
    Vec<T> sum[chains];
    for (int c = 0; c < chains; ++c) sum[c] = broadcast<T>(T(c));
    for (int64_t i = 0; i < iterations_; ++i) {
#pragma GCC unroll 24
      for (int c = 0; c < chains; ++c)
        if constexpr (group<P> == 1)
          sum[c] = sum[c] * scale + step;  // tends to 1
        else
          sum[c] = multiply_add<T, F>(sum[c], pairs, pairs);
    }
    Vec<T> total{};
    for (int c = 0; c < chains; ++c) total += sum[c];
    volatile T sink = total[0];
    static_cast<void>(sink);
    flops_ += 2 * group<P> * iterations_ * chains * Simd<T>::lanes;
  }

  const int64_t iterations_;
  std::atomic<int64_t> flops_{0};
};

}  // namespace GATEWISE_ISA
}  // namespace gatewise
