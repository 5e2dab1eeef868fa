// Philox4x32-10 as its paper writes it (J. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
// SC 2011), one counter at a time, and the masks that are made of it. What a counter is made of is said
// in kernels/philox.h; none of its code is used here.
#pragma once
#include <array>
#include <cmath>
#include <cstdint>

namespace gatewise_tests {

using Words = std::array<uint32_t, 4>;

constexpr int64_t whole_sequence = 0xffffffff;  // the step of masks that hold for all steps

inline Words philox(Words counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t(0xD2511F53) * counter[0], b = uint64_t(0xCD9E8D57) * counter[2];
    counter = {uint32_t(b >> 32) ^ counter[1] ^ key[0], uint32_t(b),
               uint32_t(a >> 32) ^ counter[3] ^ key[1], uint32_t(a)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

inline Words words_at(int64_t seed, int64_t stream, int64_t step, int64_t row, int64_t unit) {
  return philox({uint32_t(unit), uint32_t(row), uint32_t(step), uint32_t(stream)},
                {uint32_t(uint64_t(seed)), uint32_t(uint64_t(seed) >> 32)});
}

// Whether what has this probability happens: the upper 24 bits of a word decide.
inline bool happens(uint32_t word, double probability) {
  return int64_t(word >> 8) < std::llround(probability * 16777216);
}

// A number of inverted dropout.
inline double kept(uint32_t word, double probability) {
  return happens(word, probability) ? 0 : 1 / (1 - probability);
}

}  // namespace gatewise_tests
