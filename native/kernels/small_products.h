// Products of matrices that fit the caches and are written once: tiles straight from rows of whole vectors,
// nothing packed.
#pragma once
#include <algorithm>

#include "team.h"
#include "tile.h"

namespace gatewise {
namespace GATEWISE_ISA {

// Rows of whole vectors.
template <typename T>
struct Matrix {
  T* at;
  int64_t stride;

  T* row(int64_t i) const { return at + i * stride; }
};

// What of a product is not computed, since nobody reads it or it adds zeros: the left matrix is zero above
// its diagonal, or read across and zero above it, or the result is wanted up to its diagonal.
enum class Triangle { none, left, left_across, result };

// tile[r][v] += Σ over the depths k of left[row + r][k] · right[k][vector + v]; `across`: of
// left[k][row + r].
template <bool across, typename T, typename R, int NV>
GATEWISE_INLINE void multiply_rows_of(Tile<T, R, NV>& tile, Matrix<T> left, int64_t row, Matrix<T> right,
                                      int64_t vector, Range depths) {
  constexpr int N = Simd<T>::lanes;
  for (int64_t k = depths.first; k < depths.last; ++k) {
    Vec<T> b[NV];
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) b[v] = load(right.row(k) + (vector + v) * N);
#pragma GCC unroll 6
    for (int r = 0; r < tile.rows; ++r) {
      const Vec<T> a = broadcast<T>(across ? left.row(k)[row + r] : left.row(row + r)[k]);
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) tile.v[r][v] += a * b[v];
    }
  }
}

// out[r] = Σ over k < depth of left[r][k] · right[k], or on top of it if `adds`, for r < rows and so many
// vectors; `across`: of left[k][r].
template <bool across, typename T>
__attribute__((noinline)) void multiply_into(Matrix<T> out, int64_t rows, int64_t vectors, Matrix<T> left,
                                             Matrix<T> right, int64_t depth, Triangle zero, bool adds) {
  constexpr int N = Simd<T>::lanes;
  for_row_tiles<T>(rows, [&](auto R, int64_t row) {
    const Range depths{zero == Triangle::left_across ? row : 0,
                       zero == Triangle::left ? std::min<int64_t>(depth, row + R.rows) : depth};
    const int64_t width = zero == Triangle::result ? std::min(vectors, (row + R.rows - 1) / N + 1) : vectors;
    for (int64_t vector = 0; vector < width; vector += tile_vectors)
      with_constant<tile_vectors>(int(std::min<int64_t>(tile_vectors, width - vector)), [&](auto NV) {
        Tile<T, decltype(R), NV> tile(R);
        for (int r = 0; r < R.rows; ++r)
          for (int v = 0; v < NV; ++v)
            tile.v[r][v] = adds ? load(out.row(row + r) + (vector + v) * N) : Vec<T>{};
        multiply_rows_of<across>(tile, left, row, right, vector, depths);
        for (int r = 0; r < R.rows; ++r)
          for (int v = 0; v < NV; ++v) store(out.row(row + r) + (vector + v) * N, tile.v[r][v]);
      });
  });
}

// to[c][r] = from[r][c], whole squares of vectors.
template <typename T>
void transpose_into(Matrix<T> to, Matrix<T> from, int64_t row_vectors, int64_t column_vectors) {
  constexpr int N = Simd<T>::lanes;
  for (int64_t r = 0; r < row_vectors * N; r += N)
    for (int64_t c = 0; c < column_vectors * N; c += N) {
      Vec<T> v[N];
      for (int i = 0; i < N; ++i) v[i] = load(from.row(r + i) + c);
      transpose<T>(v);
      for (int i = 0; i < N; ++i) store(to.row(c + i) + r, v[i]);
    }
}

// Σ of one[i]·other[i] over whole vectors, lane by lane.
template <typename T>
GATEWISE_INLINE Vec<T> multiply_rows(const T* one, const T* other, int64_t vectors) {
  constexpr int N = Simd<T>::lanes;
  Vec<T> sum{};
  for (int64_t i = 0; i < vectors * N; i += N) sum += load(one + i) * load(other + i);
  return sum;
}

template <typename T>
GATEWISE_INLINE void scale_row(T* row, T factor, int64_t vectors) {
  constexpr int N = Simd<T>::lanes;
  for (int64_t i = 0; i < vectors * N; i += N) store(row + i, load(row + i) * factor);
}

template <typename T>
GATEWISE_INLINE void add_row(T* row, const T* other, T factor, int64_t vectors) {
  constexpr int N = Simd<T>::lanes;
  for (int64_t i = 0; i < vectors * N; i += N) store(row + i, load(row + i) + load(other + i) * factor);
}

}  // namespace GATEWISE_ISA
}  // namespace gatewise
