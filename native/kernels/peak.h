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
  static constexpr int chains = tile_rows<T> * tile_vectors;

  void work() {
    volatile T half = T(0.5);  // not known to the compiler
    const Vec<T> scale = broadcast<T>(half), step = broadcast<T>(half);
    const Vec<F> pairs = join<P>(scale, step);
    Vec<T> sum[chains];
    for (int c = 0; c < chains; ++c) sum[c] = broadcast<T>(T(c));
#ifdef __AMX_BF16__
    if constexpr (!std::is_same_v<T, F>) return burn_tiles();
#endif
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

#ifdef __AMX_BF16__
  void burn_tiles() {
    const TileScope tiles;
    shape_tiles(16, 0);
    clear_tile<4>();
    clear_tile<5>();
    for (int64_t i = 0; i < iterations_; ++i) {
      multiply_tiles<0, 4, 5>();
      multiply_tiles<1, 4, 5>();
      multiply_tiles<2, 4, 5>();
      multiply_tiles<3, 4, 5>();
    }
    flops_ += iterations_ * 4 * (2 * 16 * 16 * 2 * amx_pairs);
  }
#endif

  const int64_t iterations_;
  std::atomic<int64_t> flops_{0};
};

}  // namespace GATEWISE_ISA
}  // namespace gatewise
