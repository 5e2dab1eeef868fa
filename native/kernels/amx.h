// The tile registers of AMX: products of 16 rows by 16 columns at a time, of pairs of bfloat16.
//
// A register holds up to 16 rows of 64 bytes: of a result 16 float columns, of the left operand 16 pairs
// along the depth, of the right one 16 pairs below each other for each of 16 columns, which is how
// panels lie. Its shape is set before use and belongs to the thread; other libraries set shapes of their
// own. Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18.
#pragma once
#include <utility>

#include "operand.h"

namespace gatewise {
namespace GATEWISE_ISA {

#ifdef __AMX_BF16__
constexpr int amx_pairs = 16;  // of a register along the depth

struct alignas(64) TileShapes {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t bytes[16] = {};  // of a row of each register
  uint8_t rows[16] = {};
};

// The shapes of the registers of this thread, as shape_tiles() was last told; 0 for not at all.
inline thread_local int shaped_rows = 0, shaped_rest = 0;

// Registers 0 to 3 for results of so many rows, 4 and 5 for what is multiplied, 6 and 7 for the rest of
// the depth, in pairs.
inline void shape_tiles(int rows, int rest) {
  if (rows == shaped_rows && rest == shaped_rest) return;
  TileShapes shapes;
  const auto set = [&](int tile, int height, int pairs) {
    shapes.rows[tile] = uint8_t(height);
    shapes.bytes[tile] = uint16_t(4 * pairs);
  };
  for (int tile = 0; tile < 4; ++tile) set(tile, rows, 16);
  set(4, rows, amx_pairs);
  set(5, amx_pairs, 16);
  if (rest) {
    set(6, rows, rest);
    set(7, rest, 16);
  }
  asm volatile("ldtilecfg %0" ::"m"(shapes));
  shaped_rows = rows;
  shaped_rest = rest;
}

// Where a thread uses the registers; behind it they are as before.
class TileScope {
 public:
  TileScope() {
    asm volatile("sttilecfg %0" : "=m"(before_));
    shaped_rows = 0;
  }
  ~TileScope() {
    if (before_.palette)
      asm volatile("ldtilecfg %0" ::"m"(before_));
    else
      asm volatile("tilerelease");
  }
  TileScope(const TileScope&) = delete;
  TileScope& operator=(const TileScope&) = delete;

 private:
  TileShapes before_;
};

template <int tile>
GATEWISE_INLINE void load_tile(const void* from, int64_t row_bytes) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(row_bytes), "i"(tile) : "memory");
}
template <int tile>
GATEWISE_INLINE void store_tile_to(void* to, int64_t row_bytes) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(row_bytes), "i"(tile) : "memory");
}
template <int tile>
GATEWISE_INLINE void clear_tile() {
  asm volatile("tilezero %%tmm%c0" ::"i"(tile));
}
template <int sum, int left, int right>
GATEWISE_INLINE void multiply_tiles() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(sum), "i"(left), "i"(right));
}

// Where a product starts from: 16 columns `step` numbers behind each other, rows `stride` numbers apart; null
// for zero.
struct TileStart {
  const float* from;
  int64_t stride, step;
};

// to[r][v] = start[r][v] + sum over k of left(piece, k)[r] · right[k][v] for the 16 columns v < NV each, r < rows
// and k < depth of every piece; those of `right` follow each other. left(piece, k) gives 16 pairs of every row
// from k on, or as many as are left: where they begin, and how far apart the rows are in bytes.
template <int NV, typename Left>
GATEWISE_INLINE void multiply_amx(float* to, int64_t stride, const TileStart& start, int rows,
                                  int64_t pieces, int64_t depth, const uint32_t* right,
                                  int64_t right_stride, Left&& left) {
  shape_tiles(rows, int(depth % amx_pairs));
  const int64_t right_bytes = 4 * right_stride;
  const auto each = [](auto&& f) {
    f(std::integral_constant<int, 0>{});
    if constexpr (NV > 1) f(std::integral_constant<int, 1>{});
    if constexpr (NV > 2) f(std::integral_constant<int, 2>{});
    if constexpr (NV > 3) f(std::integral_constant<int, 3>{});
  };
  each([&](auto v) {
    if (start.from)
      load_tile<v>(start.from + v * start.step, 4 * start.stride);
    else
      clear_tile<v>();
  });
  for (int64_t piece = 0; piece < pieces; ++piece, right += depth * right_stride) {
    const uint32_t* at = right;
    int64_t k = 0;
    for (; k + amx_pairs <= depth; k += amx_pairs, at += amx_pairs * right_stride) {
      const auto [from, bytes] = left(piece, k);
      load_tile<4>(from, bytes);
      each([&](auto v) {
        load_tile<5>(at + v * 16, right_bytes);
        multiply_tiles<v, 4, 5>();
      });
    }
    if (k < depth) {
      const auto [from, bytes] = left(piece, k);
      load_tile<6>(from, bytes);
      each([&](auto v) {
        load_tile<7>(at + v * 16, right_bytes);
        multiply_tiles<v, 6, 7>();
      });
    }
  }
  each([&](auto v) { store_tile_to<v>(to + v * 16, 4 * stride); });
}

// What multiply_amx reads of rows that lie anywhere: as they are if evenly spaced, else copied. Pieces of a
// row are `apart` from each other.
class LeftRows {
 public:
  template <int R>
  GATEWISE_INLINE LeftRows(const uint32_t* const (&row)[R], int64_t depth, int64_t apart = 0)
      : rows_(row), count_(R), depth_(depth), apart_(apart),
        bytes_(R > 1 ? 4 * (row[1] - row[0]) : 64) {
    for (int r = 2; r < R; ++r) even_ &= 4 * (row[r] - row[r - 1]) == bytes_;
  }

  std::pair<const void*, int64_t> operator()(int64_t piece, int64_t k) {
    const int64_t at = piece * apart_ + k;
    if (even_) return {rows_[0] + at, bytes_};
    for (int r = 0; r < count_; ++r)
      store(copy_ + r * amx_pairs, load_part(rows_[r] + at, depth_ - k));
    return {copy_, 64};
  }

 private:
  const uint32_t* const* rows_;
  const int count_;
  const int64_t depth_, apart_, bytes_;
  bool even_ = true;
  alignas(64) uint32_t copy_[16 * amx_pairs];
};

// The transpose of a matrix as a left operand: [16 of its columns][16 pairs of its rows][column][pair].
class LeftTiles {
 public:
  LeftTiles() = default;
  // tiles: room for size() operands.
  LeftTiles(uint32_t* tiles, int64_t rows) : tiles_(tiles), high_((rows + amx_pairs - 1) / amx_pairs) {}
  static int64_t size(int64_t columns, int64_t rows) {
    return (columns + 15) / 16 * ((rows + amx_pairs - 1) / amx_pairs) * 16 * amx_pairs;
  }

  // Sets 16 rows of pairs, row(0) to row(15), from first_row on, and as many columns; both firsts are multiples
  // of 16.
  template <typename Row>
  GATEWISE_INLINE void set(int64_t first_row, int64_t first_column, Row&& row) const {
    Vec<uint32_t> v[16];
    for (int i = 0; i < 16; ++i) v[i] = row(i);
    transpose<uint32_t>(v);
    uint32_t* to = at(first_column) + first_row * 16;
    for (int i = 0; i < 16; ++i) store(to + i * amx_pairs, v[i]);
  }

  // Those columns.
  auto columns(int64_t first) const {
    return [from = at(first)](int64_t, int64_t k) {
      return std::pair<const void*, int64_t>(from + k * 16, 4 * amx_pairs);
    };
  }

 private:
  uint32_t* at(int64_t column) const { return tiles_ + column / 16 * high_ * 16 * amx_pairs; }

  uint32_t* tiles_ = nullptr;
  int64_t high_ = 0;
};
#else
struct TileScope {
  TileScope() {}  // not trivial, so that nobody is warned of an unused variable
};
#endif

}  // namespace GATEWISE_ISA
}  // namespace gatewise
