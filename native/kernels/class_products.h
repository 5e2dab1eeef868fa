// The products of a linear layer's block of classes, for one thread: the outputs, and from their gradients
// those of x and of the weights. Outputs and gradients lie as [class][row].
#pragma once
#include <vector>

#include "row_block.h"

namespace gatewise {
namespace GATEWISE_ISA {

// The classes of a call, `size` at a time.
template <typename T, int64_t size>
class ClassBlocks {
 public:
  static constexpr int64_t block = size;

 protected:
  explicit ClassBlocks(const CrossEntropy& call) : call_(call) {}

  int64_t classes_in(int64_t b) const { return std::min(block, call_.classes - b * block); }
  // A row of the weights: of class i of block b.
  const T* weight(int64_t b, int64_t i) const {
    return as<T>(call_.weight) + (b * block + i) * call_.input;
  }

  const CrossEntropy& call_;
};

// With vectors, whatever the operands are. The gradients of a block of so many classes for a tile of rows fill
// most of a first-level cache.
template <typename P>
class ClassProducts : public ClassBlocks<Number<P>, 96> {
  using T = Number<P>;
  using Base = ClassBlocks<T, 96>;
  using Base::call_, Base::classes_in, Base::weight;
  using F = Factor<P>;
  static constexpr int N = Simd<T>::lanes;

 public:
  using Rows = RowBlock<P>;
  using Base::block;

  // Whether outputs are made once more for their gradients rather than kept, but for some perhaps; and the classes
  // that come at once.
  static constexpr bool makes_again = false, keeps_some = false;
  static constexpr int64_t classes_at_once = 1;
  static_assert(block % (tile_rows<F> * group<P>) == 0);

  ClassProducts(const CrossEntropy& call, const RowBlock<P>& rows)
      : Base(call), rows_(rows), grad_x_(call.grad_x ? call.input * rows.stride : 0),
        weights_(Operand<P>::rounds ? block * padded_factors<P>(call.input) : 0),
        weight_pairs_(group<P> > 1 ? block * padded_factors<P>(call.input) : 0),
        dz_(Operand<P>::rounds ? block * padded_factors<P>(rows.stride) : 0),
        dz_pairs_(group<P> > 1 ? block * padded_factors<P>(rows.stride) : 0), weight_rows_(block),
        pair_rows_(block) {}

  // The weights of block b, for the outputs.
  void take_weights(int64_t b) {
    for (int64_t i = 0; i < classes_in(b); ++i)
      if constexpr (Operand<P>::rounds) {
        F* row = weights_.get() + i * padded_factors<P>(call_.input);
        store_row<P>(row, weight(b, i), call_.input, {0, call_.input});
        weight_rows_[i] = row;
      } else {
        weight_rows_[i] = weight(b, i);
      }
  }

  // z = bias + W·x of a tile of rows, whose outputs for the next class are `stride` numbers behind.
  void make_outputs(int64_t b, int64_t tile, T* z, int64_t stride) const {
    const Chunks tiles = rows_.tiles();
    for_tiles<F>(tiles.vectors_in(tile), classes_in(b), [&](auto R, auto NV, int64_t i) {
      Tile<T, decltype(R), NV> sums(R);
      RowPointers<P, decltype(R)> a(R);
      for (int r = 0; r < R.rows; ++r) {
        a.row[r] = weight_rows_[i + r];
        const T bias = call_.bias ? as<T>(call_.bias)[b * block + i + r] : T(0);
        for (int v = 0; v < NV; ++v) sums.v[r][v] = broadcast<T>(bias);
      }
      multiply(sums, a, rows_.depth, rows_.along_rows(tile));
      for (int r = 0; r < R.rows; ++r)
        for (int v = 0; v < NV; ++v) store(z + (i + r) * stride + v * N, sums.v[r][v]);
    });
  }

  // dz: the gradients of the outputs, for what follows.
  void take_gradients(int64_t b, const T* dz) {
    gradients_ = dz;
    const int64_t width = rows_.tiles().vectors * N;
    if constexpr (Operand<P>::rounds)
      for (int64_t i = 0; i < classes_in(b); ++i)
        store_row<P>(dz_.get() + i * padded_factors<P>(rows_.stride), dz + i * rows_.stride, width,
                     {0, width});
  }

  // grad_x[column][row] += sum over the classes of weight[class][column] · dz[class][row]
  void add_grad_x(int64_t b, bool first) {
    const Chunks tiles = rows_.tiles();
    const int64_t stride = rows_.stride;
    const F* const dz = take_pairs(b, tiles.vectors * N);
    for (int64_t tile = 0; tile < tiles.count; ++tile) {
      const int64_t row = tiles.first_vector(tile) * N;
      for_tiles<F>(tiles.vectors_in(tile), call_.input, [&](auto R, auto NV, int64_t column) {
        Tile<T, decltype(R), NV> sums(R);
        T* out = grad_x_.get() + column * stride + row;
        for (int r = 0; r < R.rows; ++r)
          for (int v = 0; v < NV; ++v) sums.v[r][v] = first ? Vec<T>{} : load(out + r * stride + v * N);
        multiply_outer(sums, pair_rows_.data(), column, factors<P>(classes_in(b)), dz + row, stride);
        for (int r = 0; r < R.rows; ++r)
          for (int v = 0; v < NV; ++v) store(out + r * stride + v * N, sums.v[r][v]);
      });
    }
  }
  const T* grad_x(int64_t column) const { return grad_x_.get() + column * rows_.stride; }

  // grad_weight[class][column] += sum over the rows of dz[class][row] · x[row][column]
  void add_grad_weight(int64_t b, bool first) const {
    T* const out = static_cast<T*>(call_.grad_weight) + b * block * call_.input;
    const Chunks& columns = rows_.columns;
    const int64_t depth = factors<P>(rows_.tiles().vectors * N);
    for_row_tiles<F>(classes_in(b), [&](auto R, int64_t i) {
      RowPointers<P, decltype(R)> a(R);
      for (int r = 0; r < R.rows; ++r) a.row[r] = dz(i + r);
      const auto row = [&](int r) { return out + (i + r) * call_.input; };
      for (int64_t c = 0; c < columns.count; ++c)
        with_constant<tile_vectors>(columns.vectors_in(c), [&](auto NV) {
          const int64_t k = columns.first_vector(c) * N;
          // What is there comes while the product is made.
          for (int r = 0; r < R.rows; ++r) prefetch<NV, true>(row(r) + k);
          Tile<T, decltype(R), NV> sums(R);
          sums.clear();
          multiply(sums, a, depth, rows_.along_columns(c));
          for (int r = 0; r < R.rows && !first; ++r)
            for (int v = 0; v < NV; ++v)
              sums.v[r][v] += load_part(row(r) + k + v * N, call_.input - k - v * N);
          store_tile(sums, columns.first_vector(c), call_.input, row);
        });
    });
  }

 private:
  // The gradients of one class of the block as products along the rows read them.
  const F* dz(int64_t i) const {
    if constexpr (Operand<P>::rounds)
      return dz_.get() + i * padded_factors<P>(rows_.stride);
    else
      return gradients_ + i * rows_.stride;
  }

  // The block of weights and of gradients as a product over the classes reads them; returns the latter.
  const F* take_pairs(int64_t b, int64_t width) {
    if constexpr (group<P> == 1) {
      take_weights(b);
      pair_rows_ = weight_rows_;
      return dz(0);
    } else {
      const int64_t classes = classes_in(b), stride = padded_factors<P>(call_.input) * group<P>;
      for (int64_t i = 0; i < classes; i += 2) {
        const bool both = i + 1 < classes;
        F* row = weight_pairs_.get() + i / 2 * stride;
        pair_rows_[i / 2] = row;
        for (int64_t k = 0; k < call_.input; k += N) {
          const int64_t rest = call_.input - k;
          store(row + k, join<P>(load_part(weight(b, i) + k, rest),
                                 both ? load_part(weight(b, i + 1) + k, rest) : Vec<T>{}));
        }
        F* pairs = dz_pairs_.get() + i / 2 * rows_.stride;
        const T* z = gradients_ + i * rows_.stride;
        for (int64_t r = 0; r < width; r += N)
          store(pairs + r, join<P>(load(z + r), both ? load(z + rows_.stride + r) : Vec<T>{}));
      }
      return dz_pairs_.get();
    }
  }

  const RowBlock<P>& rows_;
  const T* gradients_ = nullptr;
  const Buffer<T> grad_x_;  // [column][row]
  // One block as products read it, where that is not as it lies: along the columns, with classes side by
  // side, and gradients likewise.
  const Buffer<F> weights_, weight_pairs_, dz_, dz_pairs_;
  std::vector<const F*> weight_rows_, pair_rows_;
};

}  // namespace GATEWISE_ISA
}  // namespace gatewise
