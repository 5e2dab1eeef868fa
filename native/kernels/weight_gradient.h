// The gradient of one weight matrix while it is being summed: [panel][k][column][N], so that the product adds to
// whole vectors. P is the precision of the product.
#pragma once
#include <algorithm>

#include "pack.h"
#include "team.h"
#include "tile.h"

namespace gatewise {
namespace GATEWISE_ISA {

template <typename P, int columns>
class WeightGradient {
  using T = Number<P>;
  using F = Factor<P>;
  static constexpr int64_t width = columns * Simd<T>::lanes;
  // Tile registers write whole tiles.
  static constexpr int64_t whole = in_tiles<P> ? 16 : 1;

 public:
  WeightGradient() = default;
  WeightGradient(int64_t panels, int64_t depth)
      : depth_(ceil_div(depth, whole) * whole), sum_(panels * depth_ * width) {}

  T* panel(int64_t p) const { return sum_.get() + p * depth_ * width; }

  void clear(int64_t p) { std::fill_n(panel(p), depth_ * width, T(0)); }

  // panel p += rowsᵀ·dz for `count` rows of operands, or = if it is the first sum; those of dz are
  // `stride` apart.
  void add(int64_t p, const F* const* rows, int64_t count, const F* dz, int64_t stride,
           bool first) {
    constexpr int N = Simd<T>::lanes;
    for_row_tiles<F>(depth_, [&](auto R, int64_t k) {
      Tile<T, decltype(R), columns> tile(R);
      T* at = panel(p) + k * width;
      for (int r = 0; r < R.rows; ++r)
        for (int v = 0; v < columns; ++v)
          tile.v[r][v] = first ? Vec<T>{} : load(at + (r * columns + v) * N);
      multiply_outer(tile, rows, k, count, dz, stride);
      for (int r = 0; r < R.rows; ++r)
        for (int v = 0; v < columns; ++v) store(at + (r * columns + v) * N, tile.v[r][v]);
    });
  }

#ifdef __AMX_BF16__
  // The same in tile registers, with the columns of a panel from `first_column` on.
  void add(int64_t p, const LeftTiles<parts<P>>& rows, const PanelLayout<P>& layout, const F* dz,
           int64_t first_column, bool first) {
    const RightTiles right = right_panel(layout, dz, first_column);
    for (int64_t k = 0; k < depth_; k += whole) {
      T* at = panel(p) + k * width;
      multiply_amx<columns, parts<P>>(at, width, {first ? nullptr : at, width, 16}, whole, 1, layout.depth,
                                      right, rows.columns(k));
    }
  }
#endif

  // Adds panel p of another sum.
  void merge(const WeightGradient& other, int64_t p) {
    const T* from = other.panel(p);
    T* to = panel(p);
    for (int64_t i = 0; i < depth_ * width; ++i) to[i] += from[i];
  }

 private:
  int64_t depth_ = 0;
  Buffer<T> sum_;
};

}  // namespace GATEWISE_ISA
}  // namespace gatewise
