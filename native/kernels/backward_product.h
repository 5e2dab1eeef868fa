// The product of gradients of pre-activations with transposed weights: what dh and dx are made of.
#pragma once
#include "backward_arrays.h"

namespace gatewise {
namespace GATEWISE_ISA {

// tile += one panel of dz times its weights; the last panel may hold fewer units than lanes, and
// what stands behind them is not read, or, by tile registers, is zero.
template <typename P, typename Cell, int columns, typename R, int NV>
GATEWISE_INLINE void multiply_panel(Tile<Number<P>, R, NV>& tile, RowPointers<P, R> dz,
                                    const Factor<P>* weights, int64_t units) {
  constexpr int N = Simd<Number<P>>::lanes, depth = N / group<P>;
  if (units >= Cell::units * N) return multiply(tile, dz, columns * depth, weights);
  for (int i = 0; i < columns; ++i, weights += depth * NV * N) {
    const int64_t rest = units - (Cell::units > 1 ? i * N : 0);
    if (rest <= 0) return;
    multiply(tile, dz, std::min<int64_t>(depth, factors<P>(rest)), weights);
    for (int r = 0; r < dz.rows; ++r) dz.row[r] += depth;
  }
}

// A start from nothing.
struct FromZero {
  template <typename T, typename R, int NV>
  GATEWISE_INLINE void operator()(Tile<T, R, NV>& tile, int64_t, int r, int v) const {
    tile.v[r][v] = Vec<T>{};
  }
};

// Calls sink(tile, first row) with start + dz[rows]·weights for all tiles of `count` rows, where
// start(tile, first row, r, v) sets one vector; of dz `columns` columns take part, which begin at
// element `first` of a row (in tile registers all: the others meet weights of zero, or are lent to a neighbour and meet
// its own); none take part in what lies behind a step of a minimal cell.
// The sum runs over so few panels at a time that their weights stay in the second-level cache while
// all the rows pass; `partials` holds the tiles in between.
template <typename P, typename Cell, int columns, typename Start, typename Sink>
void multiply_dz(const GradientArrays<P, Cell>& arrays, int64_t first, Number<P>* partials,
                 int64_t hidden, const int64_t* rows, int64_t count, const Factor<P>* weights,
                 int vectors, Start&& start, Sink&& sink) {
  using T = Number<P>;
  constexpr int N = Simd<T>::lanes;
  if constexpr (columns == 0) {
    for_tiles<Factor<P>>(vectors, count, [&](auto R, auto NV, int64_t row) {
      Tile<T, decltype(R), NV> tile(R);
      for (int r = 0; r < R.rows; ++r)
        for (int v = 0; v < NV; ++v) start(tile, row, r, v);
      sink(tile, row);
    });
  } else {
    constexpr int64_t cached_weights = 192 << 10;
    using Joined = JoinedPanels<P, Cell, columns>;
    const PanelLayout<P> layout{Joined::columns * N / group<P>, vectors};
    const int64_t piece_size = layout.size(), pieces_in_all = Joined::count_of(arrays.panels.count);
    const int64_t sums = ceil_div(pieces_in_all * piece_size * int64_t(sizeof(T)), cached_weights);
    for (int sum = 0; sum < sums; ++sum) {
      const Range pieces = even_range(pieces_in_all, sum, int(sums));
      for_tiles<Factor<P>>(vectors, count, [&](auto R, auto NV, int64_t row) {
        Tile<T, decltype(R), NV> tile(R);
        T* const partial = partials + row * tile_vectors * N;
        const bool last = sum + 1 == sums;
        RowPointers<P, decltype(R)> a(R, arrays.apart());
        for (int r = 0; r < R.rows; ++r)
          a.row[r] = arrays.dz(pieces.first * Joined::panels, rows[row + r]) + (in_tiles<P> ? 0 : first / group<P>);
        const Factor<P>* b = weights + pieces.first * piece_size;
        const auto begin = [&] {
          for (int r = 0; r < R.rows; ++r)
            for (int v = 0; v < NV; ++v) start(tile, row, r, v);
        };
#ifdef __AMX_BF16__
        if constexpr (in_tiles<P>) {  // all panels without leaving the registers
          constexpr bool from_zero = std::is_same_v<std::decay_t<Start>, FromZero>;
          T* const sums_here = in_memory(tile, 0);
          if (sum == 0 && !from_zero) begin();
          LeftRows panels(a.row, a.rows, a.apart, arrays.panel_size());
          const auto left = [&](int64_t piece, int64_t k, int part) {
            constexpr int64_t depth = Cell::vectors * N / group<P>;  // of a panel
            return panels(piece * Joined::panels + k / depth, k % depth, part);
          };
          const T* const before = sum > 0 ? partial : from_zero ? nullptr : sums_here;
          multiply_amx<NV, parts<P>>(last ? sums_here : partial, NV * N, {before, NV * N, N}, R.rows, pieces.size(),
                                     layout.depth, right_panel(layout, b), left);
          if (last) sink(tile, row);
          return;
        }
#endif
        if (sum == 0)
          begin();
        else
          for (int r = 0; r < R.rows; ++r)
            for (int v = 0; v < NV; ++v) tile.v[r][v] = load(partial + (r * NV + v) * N);
        for (int64_t p = pieces.first; p < pieces.last; ++p, b += piece_size) {
          // The next panel's rows: other threads have written them, or they lie far apart.
          for (int r = 0; r < R.rows && p + 1 < pieces.last; ++r)
            prefetch<factors<P>(columns), false>(a.row[r] + arrays.panel_size());
          multiply_panel<P, Cell, columns>(tile, a, b, hidden - p * Cell::units * N);
          for (int r = 0; r < R.rows; ++r) a.row[r] += arrays.panel_size();
        }
        if (last) return sink(tile, row);
        for (int r = 0; r < R.rows; ++r)
          for (int v = 0; v < NV; ++v) store(partial + (r * NV + v) * N, tile.v[r][v]);
      });
    }
  }
}

// The same from zero and to memory: vectors from `vector` on of the rows out[0], out[1] … of `width`
// elements. One function for every use, for the sake of those who compile it.
template <typename P, typename Cell, int columns>
__attribute__((noinline)) void multiply_dz_to(const GradientArrays<P, Cell>& arrays, int64_t first,
                                              Number<P>* partials, int64_t hidden,
                                              const int64_t* rows, int64_t count,
                                              const Factor<P>* weights, int vectors,
                                              Number<P>* const* out, int64_t vector,
                                              int64_t width) {
  multiply_dz<P, Cell, columns>(
      arrays, first, partials, hidden, rows, count, weights, vectors,
      FromZero{},
      [&](auto& tile, int64_t row) {
        store_tile(tile, vector, width, [&](int r) { return out[row + r]; });
      });
}

}  // namespace GATEWISE_ISA
}  // namespace gatewise
