// Products of float32 in tile registers, which multiply bfloat16 alone: each number is the sum of three
// parts of eight bits, and of the nine products of parts the six that float32 can tell from nothing are
// made and summed in float32. What is left out is below 2^-26 of a product, as little as its rounding.
//
// A part of infinity is infinity and the next one none: operands that are not finite, or that bfloat16 rounds to
// infinity, give NaN. Parts too small for a normal number are zero.
//
// Source: Henry, Tang & Heinecke 2019, "Leveraging the bfloat16 artificial intelligence datatype for
// higher-precision computations", arXiv:1904.06376 (BF16x3, and which products it needs).
#pragma once
#include "amx.h"
#include "team.h"

namespace gatewise {
namespace GATEWISE_ISA {

#ifdef __AMX_BF16__
constexpr int float_parts = parts<Bf16x6>;
constexpr int tile_numbers = 16 * amx_pairs;  // of pairs, in a register of operands

// Neighbours `low`, then `high`, as 16 pairs: their leading parts, which leave the numbers.
GATEWISE_INLINE Vec<uint32_t> take_neighbours(Vec<float>& low, Vec<float>& high) {
  const __m256i first = take_part(low), second = take_part(high);
  return (Vec<uint32_t>)_mm512_inserti64x4(_mm512_castsi256_si512(first), second, 1);
}

// An operand in parts as registers want it: for every 16 of its rows (or columns, if it stands on the right)
// the steps of 16 pairs along the depth, and of each step the parts, a whole register behind the other.
class PartTiles {
 public:
  PartTiles(int64_t across, int64_t depth)
      : steps_(steps_in(depth)), tiles_(ceil_div(across, 32) * 2 * steps_ * float_parts * tile_numbers) {}

  static int64_t steps_in(int64_t depth) { return ceil_div(depth, 2 * amx_pairs); }
  int64_t steps() const { return steps_; }

  // Line 0 to 15 of a register: of a left operand a row of 16 pairs, of a right one a pair of 16 columns.
  uint32_t* line(int64_t tile, int64_t step, int part, int64_t line) const {
    return tiles_.get() + ((tile * steps_ + step) * float_parts + part) * tile_numbers + line * 16;
  }

  // Sets one line in all parts, to neighbours that make pairs.
  GATEWISE_INLINE void set(int64_t tile, int64_t step, int64_t at, Vec<float> low, Vec<float> high) const {
    for (int part = 0; part < float_parts; ++part) store(line(tile, step, part, at), take_neighbours(low, high));
  }
  // The same to pairs of two vectors.
  GATEWISE_INLINE void set_joined(int64_t tile, int64_t step, int64_t at, Vec<float> first,
                                  Vec<float> second) const {
    for (int part = 0; part < float_parts; ++part)
      store(line(tile, step, part, at), take_joined_part(first, second));
  }
  void clear(int64_t tile, int64_t step, Range lines) const {
    for (int part = 0; part < float_parts; ++part)
      std::fill(line(tile, step, part, lines.first), line(tile, step, part, lines.last), 0u);
  }

 private:
  int64_t steps_;
  Buffer<uint32_t> tiles_;
};

// What a product calls into the second-level cache meanwhile, a quarter of its lines after each of four parts.
struct Ahead {
  const uint32_t* at = nullptr;
  int quarter = 0;  // lines for every step of the product
};

// to[r][c] = start[r][c] + sum over `steps` of left[first_row + r][k] · right[k][first_column + c] for
// r, c < 32; both firsts count registers and are even. start.step is from 16 columns to the next.
inline void multiply_parts(float* to, int64_t stride, const TileStart& start, int64_t steps,
                           const PartTiles& left, int64_t first_row, const PartTiles& right,
                           int64_t first_column, Ahead ahead = {}) {
  shape_tiles(16, amx_pairs);
  if (start.from) {
    const auto from = [&](int row, int column) {
      return start.from + row * 16 * start.stride + column * start.step;
    };
    load_tile<0>(from(0, 0), 4 * start.stride);
    load_tile<1>(from(0, 1), 4 * start.stride);
    load_tile<2>(from(1, 0), 4 * start.stride);
    load_tile<3>(from(1, 1), 4 * start.stride);
  } else {
    clear_tile<0>(), clear_tile<1>(), clear_tile<2>(), clear_tile<3>();
  }
  for (int64_t step = 0; step < steps; ++step) {
    const auto take_left = [&](int part) {
      load_tile<4>(left.line(first_row, step, part, 0), 64);
      load_tile<5>(left.line(first_row + 1, step, part, 0), 64);
    };
    const auto take_right = [&](int part) {
      load_tile<6>(right.line(first_column, step, part, 0), 64);
      load_tile<7>(right.line(first_column + 1, step, part, 0), 64);
    };
    const auto multiply = [] {
      multiply_tiles<0, 4, 6>(), multiply_tiles<1, 4, 7>();
      multiply_tiles<2, 5, 6>(), multiply_tiles<3, 5, 7>();
    };
    const auto fetch = [&] {
      for (int line = 0; line < ahead.quarter; ++line, ahead.at += 16) __builtin_prefetch(ahead.at, 0, 2);
    };
    // In an order that changes one operand at a time.
    take_left(0), take_right(2), multiply(), fetch();
    take_right(1), multiply(), fetch();
    take_left(1), multiply(), fetch();
    take_right(0), multiply(), fetch();
    take_left(2), multiply();
    take_left(0), multiply();
  }
  store_tile_to<0>(to, 4 * stride);
  store_tile_to<1>(to + 16, 4 * stride);
  store_tile_to<2>(to + 16 * stride, 4 * stride);
  store_tile_to<3>(to + 16 * stride + 16, 4 * stride);
}
#endif

}  // namespace GATEWISE_ISA
}  // namespace gatewise
