// The micro-kernels of the matrix products: tiles of up to tile_rows × 4 vectors in registers, and the panels that
// they read.
//
// Operands that are broadcast come as one pointer per row, so that rows of any time step, sequence
// or initial state can stand side by side in one product; operands that are loaded as vectors are
// packed panels. Depths and counts are in operands (operand.h). Sources: Goto & van de Geijn 2008 for
// the register tile; the widths are measured (6 × 4 of 32 registers, 3 × 4 of 16).
#pragma once
#include "amx.h"

namespace gatewise {
namespace GATEWISE_ISA {

template <typename F>
#if GATEWISE_VECTOR_BYTES == 64 || defined(__aarch64__)
constexpr int tile_rows = 6;  // 24 accumulators, 4 panel vectors, 1 broadcast of 32 registers
#else
constexpr int tile_rows = 3;  // 12 accumulators, 3 broadcasts, 1 panel vector of 16 registers
#endif
#ifdef __AMX_BF16__
template <>
constexpr int tile_rows<uint32_t> = 16;  // those of a tile register
#endif
constexpr int tile_vectors = 4;
// Whether the registers of a product are not those of vectors.
template <typename F>
constexpr bool tiles_in_memory = tile_rows<F> > 6;

// How many rows a tile has: known to the compiler, so that they stand in vector registers, or, of a tile that
// stays in memory, up to `most`.
template <int n>
struct Rows {
  static constexpr int most = n, rows = n;
};
template <int n>
struct RowsUpTo {
  static constexpr int most = n;
  int rows;
};

template <typename T, typename R, int NV>
struct Tile : R {
  explicit GATEWISE_INLINE Tile(R count) : R(count) {}
  GATEWISE_INLINE void clear() {
    for (int r = 0; r < this->rows; ++r)
      for (int n = 0; n < NV; ++n) v[r][n] = Vec<T>{};
  }

  Vec<T> v[R::most][NV];
};

// Vector v of the first row, from which the products of amx.h take a tile that is not in registers.
template <typename T, typename R, int NV>
GATEWISE_INLINE T* in_memory(Tile<T, R, NV>& tile, int v) {
  return reinterpret_cast<T*>(&tile.v[0][v]);
}

// How a panel of packed operands lies, `depth` of them below each other in `columns` vectors: [k][column][N], and
// for tile registers, which take them whole, [16 of k][column][part][k][N], the last part first, as it is read.
template <typename P>
struct PanelLayout {
  static constexpr int N = Simd<Number<P>>::lanes;
  static constexpr int whole = in_tiles<P> ? 16 : 1;
  static constexpr int64_t apart = -whole * N;  // from one part of an operand to the next

  int64_t depth, columns;

  int64_t size() const { return ceil_div(depth, whole) * step(); }
  // Of the first part of operand k.
  int64_t at(int64_t k, int64_t column) const {
    return k / whole * step() + column * parts<P> * whole * N + (parts<P> - 1) * whole * N + k % whole * N;
  }
  int64_t step() const { return columns * parts<P> * whole * N; }
};

template <typename P, typename R>
struct RowPointers : R {
  explicit GATEWISE_INLINE RowPointers(R count, int64_t apart = 0) : R(count), apart(apart) {}

  const Factor<P>* row[R::most];
  const int64_t apart;  // parts of an operand
};

#ifdef __AMX_BF16__
// A panel from column `first` on, pieces of which follow each other.
template <typename P>
RightTiles right_panel(const PanelLayout<P>& layout, const uint32_t* panel, int64_t first = 0) {
  return {panel + layout.at(0, first), layout.step(), layout.at(0, 1) - layout.at(0, 0), layout.apart,
          layout.size(), 64};
}

// to[r][v] = start[r][v] + a.row[r]·(column v of the panel), v < count.
template <typename P, int count, typename R>
GATEWISE_INLINE void multiply_rows(float* to, int64_t stride, const TileStart& start, const RowPointers<P, R>& a,
                                   int64_t depth, const Factor<P>* panel) {
  const PanelLayout<P> layout{whole_depth<P>(depth), count};
  multiply_amx<count, parts<P>>(to, stride, start, a.rows, 1, layout.depth, right_panel(layout, panel),
                                LeftRows(a.row, a.rows, a.apart));
}
#endif

// tile[r][first + v] += sum over k of a.row[r][k] · panel[k][v], k < depth, v < count.
template <int first, int count, typename P, typename R, int NV>
GATEWISE_INLINE void multiply_columns(Tile<Number<P>, R, NV>& tile, const RowPointers<P, R>& a,
                                      int64_t depth, const Factor<P>* panel) {
  using T = Number<P>;
  using F = Factor<P>;
  constexpr int N = Simd<T>::lanes;
#ifdef __AMX_BF16__
  if constexpr (in_tiles<P>) {
    T* const sums = in_memory(tile, first);
    return multiply_rows<P, count>(sums, NV * N, {sums, NV * N, N}, a, depth, panel);
  }
#endif
  for (int64_t k = 0; k < depth; ++k, panel += count * N) {
    Vec<F> b[count];
#pragma GCC unroll 4
    for (int v = 0; v < count; ++v) b[v] = load(panel + v * N);
#pragma GCC unroll 6
    for (int r = 0; r < tile.rows; ++r) {
      const Vec<F> s = broadcast<F>(a.row[r][k]);
#pragma GCC unroll 4
      for (int v = 0; v < count; ++v)
        tile.v[r][first + v] = multiply_add<T, F>(tile.v[r][first + v], s, b[v]);
    }
  }
}

// All columns: tile[r][v] += sum over k of a.row[r][k] · panel[k][v].
template <typename P, typename R, int NV>
GATEWISE_INLINE void multiply(Tile<Number<P>, R, NV>& tile, const RowPointers<P, R>& a, int64_t depth,
                              const Factor<P>* panel) {
  multiply_columns<0, NV>(tile, a, depth, panel);
}

// tile[r][v] += sum over m of rows[m][first + r] · panel[m·stride + v·N]: a product with the
// transpose of the matrix whose rows are `rows`.
template <typename T, typename F, typename R, int NV>
GATEWISE_INLINE void multiply_outer(Tile<T, R, NV>& tile, const F* const* rows, int64_t first,
                                    int64_t count, const F* panel, int64_t stride) {
  constexpr int N = Simd<T>::lanes;
  for (int64_t m = 0; m < count; ++m, panel += stride) {
    const F* a = rows[m] + first;
    prefetch<1, false>(a + N);  // of the next tiles: lines that far apart nobody else fetches in time
    Vec<F> b[NV];
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) b[v] = load(panel + v * N);
#pragma GCC unroll 6
    for (int r = 0; r < tile.rows; ++r) {
      const Vec<F> s = broadcast<F>(a[r]);
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) tile.v[r][v] = multiply_add<T, F>(tile.v[r][v], s, b[v]);
    }
  }
}

// Calls f(std::integral_constant<int, n>) for the n in 1..Most that equals `count`.
template <int Most, typename F>
GATEWISE_INLINE void with_constant(int count, F&& f) {
  if constexpr (Most == 1) {
    f(std::integral_constant<int, 1>{});
  } else {
    if (count == Most) return f(std::integral_constant<int, Most>{});
    with_constant<Most - 1>(count, static_cast<F&&>(f));
  }
}

// Splits `count` rows evenly into tiles, so that no ragged tile is left: f(rows, first row), where rows are a
// constant unless the tile stays in memory. F: the operands of its product.
template <typename F, typename Function>
GATEWISE_INLINE void for_row_tiles(int64_t count, Function&& f) {
  int64_t tiles = (count + tile_rows<F> - 1) / tile_rows<F>;
  for (int64_t first = 0; tiles > 0; --tiles) {
    const int rows = int((count - first + tiles - 1) / tiles);
    if constexpr (tiles_in_memory<F>)
      f(RowsUpTo<tile_rows<F>>{rows}, first);
    else
      with_constant<tile_rows<F>>(rows, [&](auto R) { f(Rows<R>{}, first); });
    first += rows;
  }
}

// Calls f(R, NV, first row) for every tile of `rows` rows and `vectors` columns.
template <typename F, typename Function>
GATEWISE_INLINE void for_tiles(int vectors, int64_t rows, Function&& f) {
  with_constant<tile_vectors>(vectors, [&](auto NV) {
    for_row_tiles<F>(rows, [&](auto R, int64_t row) { f(R, NV, row); });
  });
}

// Stores a tile at vector `vector` of the rows row_of(0), row_of(1) …, which have `columns` elements.
template <typename T, typename R, int NV, typename RowOf>
GATEWISE_INLINE void store_tile(const Tile<T, R, NV>& tile, int64_t vector, int64_t columns,
                                RowOf&& row_of) {
  constexpr int N = Simd<T>::lanes;
  for (int r = 0; r < tile.rows; ++r)
    for (int v = 0; v < NV; ++v)
      store_part(row_of(r) + (vector + v) * N, tile.v[r][v], columns - (vector + v) * N);
}

}  // namespace GATEWISE_ISA
}  // namespace gatewise
