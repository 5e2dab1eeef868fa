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

// The shapes of the registers of this thread, as shape_tiles() was last told; 0 rows for not at all.
inline thread_local int shaped_rows = 0, shaped_rest = 0, shaped_lefts = 0;

// Registers 0 to 3 for results of so many rows, and the following for what is multiplied: `lefts` left operands,
// then a right one. With one left operand 6 and 7 are for the rest of the depth, in pairs.
inline void shape_tiles(int rows, int rest, int lefts = 1) {
  if (rows == shaped_rows && rest == shaped_rest && lefts == shaped_lefts) return;
  TileShapes shapes;
  const auto set = [&](int tile, int height, int pairs) {
    shapes.rows[tile] = uint8_t(height);
    shapes.bytes[tile] = uint16_t(4 * pairs);
  };
  for (int tile = 0; tile < 4; ++tile) set(tile, rows, 16);
  for (int tile = 4; tile < 4 + lefts; ++tile) set(tile, rows, amx_pairs);
  set(4 + lefts, amx_pairs, 16);
  if (rest) {
    set(6, rows, rest);
    set(7, rest, 16);
  }
  asm volatile("ldtilecfg %0" ::"m"(shapes));
  shaped_rows = rows;
  shaped_rest = rest;
  shaped_lefts = lefts;
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

// A right operand: where it begins, how far the next 16 pairs of the depth, the next 16 columns, the next part and
// the next piece are, and the bytes from one pair to the next.
struct RightTiles {
  const uint32_t* at;
  int64_t step, column, part, piece, row_bytes;
};

// A matrix of pairs of numbers in one part and one piece, its rows `stride` pairs apart.
inline RightTiles right_matrix(const uint32_t* at, int64_t stride) {
  return {at, amx_pairs * stride, 16, 0, 0, 4 * stride};
}

// to[r][v] = start[r][v] + sum over k of left(piece, k, part)[r] · right[k][v] for the 16 columns v < NV each,
// r < rows and k < depth of every piece; numbers in parts only in whole steps of 16 pairs. left(piece, k, part)
// gives 16 pairs of every row from k on, or as many as are left: where they begin, and how far apart the rows
// are in bytes.
template <int NV, int parts, typename Left>
GATEWISE_INLINE void multiply_amx(float* to, int64_t stride, const TileStart& start, int rows, int64_t pieces,
                                  int64_t depth, RightTiles right, Left&& left) {
  const int rest = int(depth % amx_pairs);
  shape_tiles(rows, rest, parts);
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
  for (int64_t piece = 0; piece < pieces; ++piece, right.at += right.piece) {
    const uint32_t* at = right.at;
    int64_t k = 0;
    for (; k + amx_pairs <= depth; k += amx_pairs, at += right.step) {
      const auto load_left = [&](auto part) {
        const auto [from, bytes] = left(piece, k, part);
        load_tile<4 + part>(from, bytes);
      };
      const auto load_right = [&](int v, int part) {
        load_tile<4 + parts>(at + v * right.column + part * right.part, right.row_bytes);
      };
      constexpr std::integral_constant<int, 0> first{};
      load_left(first);
      if constexpr (parts == 1) {
        each([&](auto v) { load_right(v, 0), multiply_tiles<v, 4, 5>(); });
      } else {
        load_left(std::integral_constant<int, 1>{}), load_left(std::integral_constant<int, 2>{});
        // Of the nine products of parts those that are more than rounding, the smallest first.
        each([&](auto v) {
          load_right(v, 2), multiply_tiles<v, 4, 7>();
          load_right(v, 1), multiply_tiles<v, 5, 7>(), multiply_tiles<v, 4, 7>();
          load_right(v, 0), multiply_tiles<v, 6, 7>(), multiply_tiles<v, 5, 7>(), multiply_tiles<v, 4, 7>();
        });
      }
    }
    if (parts == 1 && k < depth) {
      const auto [from, bytes] = left(piece, k, 0);
      load_tile<6>(from, bytes);
      each([&](auto v) {
        load_tile<7>(at + v * right.column, right.row_bytes);
        multiply_tiles<v, 6, 7>();
      });
    }
  }
  each([&](auto v) { store_tile_to<v>(to + v * 16, 4 * stride); });
}

// What multiply_amx reads of rows that lie anywhere, in whole steps: as they are if evenly spaced, else copied.
// Pieces of a row are `apart` from each other, and parts of it `parts_apart`.
class LeftRows {
 public:
  GATEWISE_INLINE LeftRows(const uint32_t* const* rows, int count, int64_t parts_apart, int64_t apart = 0)
      : rows_(rows), count_(count), parts_apart_(parts_apart), apart_(apart),
        bytes_(count > 1 ? 4 * (rows[1] - rows[0]) : 64) {
    for (int r = 2; r < count; ++r) even_ &= 4 * (rows[r] - rows[r - 1]) == bytes_;
  }

  std::pair<const void*, int64_t> operator()(int64_t piece, int64_t k, int part) {
    const int64_t at = piece * apart_ + part * parts_apart_ + k;
    if (even_) return {rows_[0] + at, bytes_};
    for (int r = 0; r < count_; ++r)
      store(copy_ + r * amx_pairs, load(rows_[r] + at));
    return {copy_, 64};
  }

 private:
  const uint32_t* const* rows_;
  const int count_;
  const int64_t parts_apart_, apart_, bytes_;
  bool even_ = true;
  alignas(64) uint32_t copy_[16 * amx_pairs];
};

// The transpose of a matrix as a left operand: [16 of its columns][16 pairs of its rows][part][column][pair].
template <int parts = 1>
class LeftTiles {
  static constexpr int64_t tile = 16 * amx_pairs;

 public:
  LeftTiles() = default;
  // tiles: room for size() operands.
  LeftTiles(uint32_t* tiles, int64_t rows) : tiles_(tiles), high_(ceil_div(rows, amx_pairs)) {}
  static int64_t size(int64_t columns, int64_t rows) {
    return ceil_div(columns, 16) * ceil_div(rows, amx_pairs) * parts * tile;
  }

  // Sets 16 rows of pairs, row(0) to row(15), from first_row on, and as many columns; both firsts are multiples
  // of 16.
  template <typename Row>
  GATEWISE_INLINE void set(int64_t first_row, int64_t first_column, int part, Row&& row) const {
    Vec<uint32_t> v[16];
    for (int i = 0; i < 16; ++i) v[i] = row(i);
    transpose<uint32_t>(v);
    uint32_t* to = at(first_column, first_row, part);
    for (int i = 0; i < 16; ++i) store(to + i * amx_pairs, v[i]);
  }

  // Those columns.
  auto columns(int64_t first) const {
    return [from = at(first, 0, 0)](int64_t, int64_t k, int part) {
      return std::pair<const void*, int64_t>(from + (k / amx_pairs * parts + part) * tile, 4 * amx_pairs);
    };
  }

 private:
  uint32_t* at(int64_t column, int64_t row, int part) const {
    return tiles_ + ((column / 16 * high_ + row / amx_pairs) * parts + part) * tile;
  }

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
