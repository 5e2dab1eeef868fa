// The rows of x that a linear layer takes at once, and these as the products with its weights read them: with
// rows along the vectors, and with columns along them. Not of a recurrent layer, whose rows come step by step.
#pragma once
#include <algorithm>
#include <limits>
#include <vector>

#include "pack.h"

namespace gatewise {
namespace GATEWISE_ISA {

// Which rows they are.
template <typename T>
class CountedRows {
 public:
  static constexpr int N = Simd<T>::lanes;

  // keeps: whether the outputs of the rows at hand are kept. whole: the vectors that products take at once.
  // limit: of the rows at once, beside what speed asks for.
  CountedRows(const CrossEntropy& call, bool keeps, int whole = 1,
              int64_t limit = std::numeric_limits<int64_t>::max())
      : call_(call), chosen_(counted(call)),
        height(rows_at_once(int64_t(chosen_.size()), std::min(keeps ? kept_rows() : cached_rows(), limit))),
        stride(padded(ceil_div(height, whole * N) * whole * N)) {}

  int64_t total() const { return int64_t(chosen_.size()); }

  // Which row of x is row r of the block.
  int64_t row(int64_t r) const { return chosen_[first_ + r]; }
  int64_t target(int64_t r) const { return call_.target[row(r)]; }

  // The tiles of the block at hand.
  Chunks tiles() const { return Chunks(count_, N, tile_vectors); }
  int64_t first() const { return first_; }

  // For one thread, before all of them pack.
  void move_to(int64_t first) {
    first_ = first;
    count_ = std::min<int64_t>(height, total() - first);
  }

 protected:
  const T* x(int64_t r) const {
    return r < count_ ? as<T>(call_.x) + row(r) * call_.x_row : nullptr;
  }
  static Vec<T> part(const T* row, int64_t k, int64_t rest) {
    return row ? load_part(row + k, rest) : Vec<T>{};
  }
  // A square of x with rows along the vectors.
  GATEWISE_INLINE void square(Vec<T> (&v)[N], int64_t vector, int64_t k) const {
    for (int r = 0; r < N; ++r) v[r] = part(x(vector * N + r), k, call_.input - k);
    transpose<T>(v);
  }

  const CrossEntropy& call_;

 private:
  static std::vector<int64_t> counted(const CrossEntropy& call) {
    std::vector<int64_t> rows;
    for (int64_t n = 0; n < call.rows; ++n)
      if (call.target[n] >= 0) rows.push_back(n);
    return rows;
  }

  // About a third of all, so that memory stays small.
  int64_t kept_rows() const {
    return std::clamp<int64_t>(ceil_div(total(), 3) + N - 1, 64, 512);
  }
  // As many as have a gradient of x of this size: more of them save passes over the weights, until it is
  // read from memory in each (measured, with 2 MB of second-level cache).
  int64_t cached_rows() const {
    constexpr int64_t cached_bytes = 2560 << 10;
    return std::clamp<int64_t>(cached_bytes / int64_t(sizeof(T)) / call_.input, 64, 2048);
  }

  // Not more than `most`, and in tiles with little waste.
  static int64_t rows_at_once(int64_t rows, int64_t most) {
    constexpr double cost[] = {0, 1.6, 2.3, 3.09, 4};  // of a tile, by its vectors: Chunks::balanced
    const auto tiles = [&](int64_t vectors) {
      return double(vectors / tile_vectors) * cost[tile_vectors] + cost[vectors % tile_vectors];
    };
    // Reading and writing weights and their gradients costs a pass as much as some rows.
    constexpr double pass = 0.25;
    int64_t best = 1;
    double least = 0;
    for (int64_t vectors = 1; vectors <= most / N; ++vectors) {
      const int64_t height = vectors * N;
      const double load = double(rows / height) * tiles(vectors) +
                          tiles(ceil_div(rows % height, N)) + pass * double(ceil_div(rows, height));
      if (least == 0 || load < least) {
        least = load;
        best = vectors;
      }
    }
    return best * N;
  }

  // No whole kilobytes, which caches hold badly.
  static int64_t padded(int64_t rows) { return rows % 256 ? rows : rows + N; }

  const std::vector<int64_t> chosen_;  // the rows that count
  int64_t first_ = 0, count_ = 0;

 public:
  const int64_t height;  // rows at once, whole vectors
  const int64_t stride;  // of arrays with rows along them
};

template <typename P>
class RowBlock : public CountedRows<Number<P>> {
  using T = Number<P>;
  using F = Factor<P>;
  using Base = CountedRows<T>;
  using Base::N, Base::call_, Base::part, Base::x, Base::square;

 public:
  using Base::height, Base::tiles;

  // by_columns: whether x is wanted with columns along the vectors, too.
  RowBlock(const CrossEntropy& call, bool by_columns, bool keeps)
      : Base(call, keeps), depth(factors<P>(call.input)), columns(call.input, N, tile_vectors),
        by_columns_(by_columns), along_rows_(height * depth),
        along_columns_(by_columns ? columns.vectors * N * factors<P>(height) : 0) {}

  // Whole vectors of rows; those behind the last row are zero.
  void pack(Range vectors) const {
    for (int64_t vector = vectors.first; vector < vectors.last; ++vector) {
      pack_along_rows(vector);
      if (by_columns_) pack_along_columns(vector);
    }
  }

  // [k][v][N] of the rows of one tile.
  const F* along_rows(int64_t tile) const {
    return along_rows_.get() + tiles().first_vector(tile) * N * depth;
  }
  // [row][v][N] of one chunk of the columns.
  F* along_columns(int64_t chunk) const {
    return along_columns_.get() + columns.first_vector(chunk) * N * factors<P>(height);
  }

  const int64_t depth;  // of the product with x, in operands
  const Chunks columns;

 private:
  void pack_along_rows(int64_t vector) const {
    const int64_t tile = vector / tile_vectors, width = tiles().vectors_in(tile);
    F* out = along_rows_.get() + tile * tile_vectors * N * depth + vector % tile_vectors * N;
    for (int64_t k = 0; k < call_.input; k += N) {
      Vec<T> v[N];
      square(v, vector, k);
      for (int i = 0; i < std::min<int64_t>(N, call_.input - k); i += group<P>)
        store(out + (k + i) / group<P> * width * N, join<P>(v[i], v[i + group<P> - 1]));
    }
  }

  void pack_along_columns(int64_t vector) const {
    for (int64_t r = vector * N; r < (vector + 1) * N; r += group<P>)
      for (int64_t c = 0; c < columns.count; ++c)
        for (int v = 0; v < columns.vectors_in(c); ++v) {
          const int64_t k = (columns.first_vector(c) + v) * N, rest = call_.input - k;
          store(along_columns(c) + (r / group<P> * columns.vectors_in(c) + v) * N,
                join<P>(part(x(r), k, rest), part(x(r + group<P> - 1), k, rest)));
        }
  }

  const bool by_columns_;
  const Buffer<F> along_rows_, along_columns_;
};

}  // namespace GATEWISE_ISA
}  // namespace gatewise
