// The products of class_products.h in the tile registers of AMX. They cost little beside the memory that is
// read and written: results go where they belong without a detour, and outputs are made twice, so that
// none are kept and all rows can pass a block of weights at once.
#pragma once
#include "class_products.h"

namespace gatewise {
namespace GATEWISE_ISA {

#ifdef __AMX_BF16__
template <>
class ClassProducts<Bf16> : public ClassBlocks<float, 128> {
  static constexpr int N = 16;

 public:
  using Rows = RowBlock<Bf16>;
  static constexpr bool makes_again = true, keeps_some = false;
  static constexpr int64_t classes_at_once = 1;
  static_assert(block % (2 * amx_pairs) == 0);

  ClassProducts(const CrossEntropy& call, const RowBlock<Bf16>& rows)
      : ClassBlocks(call), rows_(rows), columns_(ceil_div(call.input, N)), depth_(columns_ * N / 2),
        half_(rows.stride / 2), grad_x_(call.grad_x ? columns_ * N * rows.stride : 0),
        weights_(block * depth_), transposed_(LeftTiles<>::size(call.input, block / 2)),
        dz_(block * half_), dz_pairs_(block / 2 * rows.stride), bias_(block * N),
        weight_tiles_(transposed_.get(), block / 2) {}

  void take_weights(int64_t b) {
    for (int64_t i = 0; i < classes_in(b); ++i) {
      store_row<Bf16>(weights_.get() + i * depth_, weight(b, i), call_.input, {0, call_.input});
      const float bias = call_.bias ? as<float>(call_.bias)[b * block + i] : 0.f;
      store(bias_.get() + i * N, broadcast(bias));
    }
  }

  void make_outputs(int64_t b, int64_t tile, float* z, int64_t stride) const {
    const Chunks tiles = rows_.tiles();
    const uint32_t* panel = rows_.along_rows(tile);
    with_constant<tile_vectors>(tiles.vectors_in(tile), [&](auto NV) {
      for_tiles_of(classes_in(b), [&](int64_t i, int count) {
        multiply_amx<NV, 1>(z + i * stride, stride, {bias_.get() + i * N, N, 0}, count, 1,
                            rows_.depth, right_matrix(panel, NV * N),
                            rows_from(weights_.get() + i * depth_, depth_));
      });
    });
  }

  void take_gradients(int64_t b, const float* dz) {
    const int64_t width = rows_.tiles().vectors * N, classes = classes_in(b);
    for (int64_t i = 0; i < classes; ++i)
      store_row<Bf16>(dz_.get() + i * half_, dz + i * rows_.stride, width, {0, width});
  }

  void add_grad_x(int64_t b, bool first) {
    const Chunks tiles = rows_.tiles();
    const int64_t stride = rows_.stride, pairs = ceil_div(classes_in(b), 2);
    take_pairs(b, tiles.vectors * N);
    for (int64_t tile = 0; tile < tiles.count; ++tile)
      with_constant<tile_vectors>(tiles.vectors_in(tile), [&](auto NV) {
        const int64_t row = tiles.first_vector(tile) * N;
        for (int64_t c = 0; c < columns_; ++c) {
          float* out = grad_x_.get() + c * N * stride + row;
          multiply_amx<NV, 1>(out, stride, {first ? nullptr : out, stride, N}, N, 1, pairs,
                              right_matrix(dz_pairs_.get() + row, stride), weight_tiles_.columns(c * N));
        }
      });
  }
  const float* grad_x(int64_t column) const { return grad_x_.get() + column * rows_.stride; }

  void add_grad_weight(int64_t b, bool first) const {
    float* const out = static_cast<float*>(call_.grad_weight) + b * block * call_.input;
    const Chunks& columns = rows_.columns;
    const int64_t pairs = rows_.tiles().vectors * N / 2;
    for_tiles_of(classes_in(b), [&](int64_t i, int count) {
      for (int64_t c = 0; c < columns.count; ++c)
        with_constant<tile_vectors>(columns.vectors_in(c), [&](auto NV) {
          const int64_t first_column = columns.first_vector(c) * N;
          const int64_t width = std::min<int64_t>(NV * N, call_.input - first_column);
          float* to = out + i * call_.input + first_column;
          const auto left = rows_from(dz_.get() + i * half_, half_);
          const RightTiles right = right_matrix(rows_.along_columns(c), NV * N);
          if (width == NV * N)
            return multiply_amx<NV, 1>(to, call_.input, {first ? nullptr : to, call_.input, N}, count, 1,
                                       pairs, right, left);
          float sums[16 * NV * N];
          multiply_amx<NV, 1>(sums, NV * N, {nullptr, 0, 0}, count, 1, pairs, right, left);
          for (int r = 0; r < count; ++r)
            for (int64_t k = 0; k < width; ++k)
              to[r * call_.input + k] = sums[r * NV * N + k] + (first ? 0.f : to[r * call_.input + k]);
        });
    });
  }

 private:
  template <typename Function>
  static void for_tiles_of(int64_t count, Function&& f) {
    for (int64_t i = 0; i < count; i += N) f(i, int(std::min<int64_t>(N, count - i)));
  }
  static auto rows_from(const uint32_t* first, int64_t stride) {
    return [=](int64_t, int64_t k, int) {
      return std::pair<const void*, int64_t>(first + k, 4 * stride);
    };
  }

  void take_pairs(int64_t b, int64_t width) {
    const int64_t classes = classes_in(b);
    const auto row = [&](int64_t i, int64_t c) {
      return i < classes ? load_part(weight(b, i) + c * N, call_.input - c * N) : Vec<float>{};
    };
    for (int64_t first = 0; first < classes; first += 2 * amx_pairs)
      for (int64_t c = 0; c < columns_; ++c)
        weight_tiles_.set(first / 2, c * N, 0, [&](int i) {
          return join<Bf16>(row(first + 2 * i, c), row(first + 2 * i + 1, c));
        });
    if (classes % 2) std::fill_n(dz_.get() + classes * half_, width / 2, 0u);
    for (int64_t i = 0; i < classes; i += 2)
      for (int64_t r = 0; r < width; r += N) {
        const uint32_t* at = dz_.get() + i * half_ + r / 2;
        store(dz_pairs_.get() + i / 2 * rows_.stride + r, join_factors<Bf16>(at, at + half_));
      }
  }

  const RowBlock<Bf16>& rows_;
  const int64_t columns_, depth_, half_;  // vectors of columns; pairs of columns and of rows
  const Buffer<float> grad_x_;            // [column][row]
  const Buffer<uint32_t> weights_, transposed_, dz_, dz_pairs_;
  const Buffer<float> bias_;  // of one block, a vector for each class
  const LeftTiles<> weight_tiles_;
};
#endif

}  // namespace GATEWISE_ISA
}  // namespace gatewise
