// Random numbers that are a function of where they are used: Philox4x32 with ten rounds (J. Salmon et
// al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011). Threads, instruction sets, blocks and
// recomputation do not change them. Four words come of each counter
//
//   (unit, batch row, step, stream)      key: the seed
//
// `step` is the time step for what is drawn anew every step: word 0 update dropout, word 1 zoneout of
// c, word 2 zoneout of h. It is per_sequence for the mask of recurrent dropout (word 0).
#pragma once
#include "simd.h"

namespace gatewise {
namespace GATEWISE_ISA {

// A step that no sequence has, for masks that hold for all of it.
constexpr uint32_t per_sequence = 0xffffffffu;

class Philox {
 public:
  static constexpr int lanes = GATEWISE_VECTOR_BYTES ? GATEWISE_VECTOR_BYTES / 8 : 1;
  typedef uint64_t Lanes __attribute__((vector_size(lanes * 8)));

  Philox(int64_t seed, int64_t stream) : seed_(uint64_t(seed)), stream_(uint32_t(stream)) {}

  // Words of the counters first_unit, first_unit + 1 …: their low 32 bits.
  GATEWISE_INLINE void draw(uint32_t first_unit, uint32_t row, uint32_t step,
                            Lanes (&word)[4]) const {
    constexpr uint64_t low = 0xffffffffu;
    Lanes units{};
    for (int i = 0; i < lanes; ++i) units[i] = first_unit + uint32_t(i);
    word[0] = units;
    word[1] = row + Lanes{};
    word[2] = step + Lanes{};
    word[3] = stream_ + Lanes{};
    uint32_t key[2] = {uint32_t(seed_), uint32_t(seed_ >> 32)};
#pragma GCC unroll 10
    for (int round = 0; round < 10; ++round) {
      const Lanes a = multiply(word[0], 0xD2511F53u), b = multiply(word[2], 0xCD9E8D57u);
      word[0] = (b >> 32) ^ word[1] ^ key[0];
      word[1] = b;
      word[2] = (a >> 32) ^ word[3] ^ key[1];
      word[3] = a;
      key[0] += 0x9E3779B9u;
      key[1] += 0xBB67AE85u;
    }
    for (Lanes& w : word) w &= low;
  }

 private:
  // 64 bits of the product of the low 32 of each lane; what stands above them is ignored.
  static GATEWISE_INLINE Lanes multiply(Lanes a, uint32_t b) {
#if GATEWISE_VECTOR_BYTES == 64
    return (Lanes)_mm512_mul_epu32((__m512i)a, _mm512_set1_epi64(b));
#elif GATEWISE_VECTOR_BYTES == 32
    return (Lanes)_mm256_mul_epu32((__m256i)a, _mm256_set1_epi64x(b));
#else
    return (a & 0xffffffffu) * uint64_t(b);
#endif
  }

  uint64_t seed_;
  uint32_t stream_;
};

// The limit below which the upper 24 bits of a word count as a hit of this probability.
inline uint64_t hit_limit(double probability) { return uint64_t(probability * (1 << 24) + 0.5); }

// The values of lanes units: the hit value with the probability of the limit, else the other.
template <typename T>
GATEWISE_INLINE void choose(const Philox::Lanes& word, uint64_t limit, T hit, T miss, T* out) {
  using Bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
  typedef Bits Values __attribute__((vector_size(Philox::lanes * int(sizeof(T)))));
  Bits if_hit, if_miss;
  std::memcpy(&if_hit, &hit, sizeof(T));
  std::memcpy(&if_miss, &miss, sizeof(T));
  const auto hits = (Philox::Lanes)((word >> 8) < limit);
  const Philox::Lanes wide = (hits & uint64_t(if_hit ^ if_miss)) ^ uint64_t(if_miss);
  const Values values = __builtin_convertvector(wide, Values);
  std::memcpy(out, &values, sizeof values);
}

}  // namespace GATEWISE_ISA
}  // namespace gatewise
