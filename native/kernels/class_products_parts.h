// The products of class_products.h in float32 on the tile registers of AMX, which multiply bfloat16: operands
// are in parts (amx_parts.h). As there, outputs are made twice rather than kept.
#pragma once
#include "amx_parts.h"
#include "class_products.h"

namespace gatewise {
namespace GATEWISE_ISA {

#ifdef __AMX_BF16__
// Rows of x in parts.
class RowsInParts : public CountedRows<float> {
 public:
  RowsInParts(const CrossEntropy& call, bool by_columns, bool keeps)
      : CountedRows<float>(call, keeps, 2, slim_rows(call)), by_columns_(by_columns),
        along_rows(height, call.input), along_columns(by_columns ? call.input : 0, height) {}

  // Whole vectors of rows, and those that they lack to whole steps: zeros.
  void pack(Range vectors) const {
    for (int64_t vector = vectors.first; vector < vectors.last; ++vector) {
      pack_along_rows(vector);
      if (!by_columns_) continue;
      pack_along_columns(vector);
      if (vector + 1 == tiles().vectors && vector % 2 == 0) pack_along_columns(vector + 1);
    }
  }

 private:
  // As many as take a fifth of the memory of all outputs, some twenty bytes for each number of x.
  static int64_t slim_rows(const CrossEntropy& call) {
    const int64_t rows = call.rows * call.classes / (24 * call.input);
    return std::max<int64_t>(rows, 64);
  }

  void pack_along_rows(int64_t vector) const {
    for (int64_t k = 0; k < along_rows.steps() * 2 * amx_pairs; k += N) {
      Vec<float> v[N];
      square(v, vector, k);
      for (int i = 0; i < N; i += 2)
        along_rows.set_joined(vector, k / (2 * amx_pairs), (k + i) / 2 % amx_pairs, v[i], v[i + 1]);
    }
  }

  void pack_along_columns(int64_t vector) const {
    for (int64_t r = vector * N; r < (vector + 1) * N; r += 2)
      for (int64_t k = 0; k < call_.input; k += N) {
        const int64_t rest = call_.input - k;
        along_columns.set_joined(k / N, r / (2 * amx_pairs), r / 2 % amx_pairs, part(x(r), k, rest),
                                 part(x(r + 1), k, rest));
      }
  }

  const bool by_columns_;

 public:
  const PartTiles along_rows, along_columns;  // on the right: of x transposed, and of x
};

template <>
class ClassProducts<Bf16x6> : public ClassBlocks<float, 128> {
  static constexpr int N = 16;

 public:
  using Rows = RowsInParts;
  static constexpr bool makes_again = true, keeps_some = true;
  static constexpr int64_t classes_at_once = 2 * N;
  static_assert(block % (2 * amx_pairs) == 0);

  ClassProducts(const CrossEntropy& call, const Rows& rows)
      : ClassBlocks(call), rows_(rows), columns_(ceil_div(call.input, N)),
        grad_x_(call.grad_x ? ceil_div(columns_, 2) * 2 * N * rows.stride : 0), bias_(block * N),
        weights_(block, call.input), weight_pairs_(call.grad_x ? call.input : 0, block),
        dz_(call.scale ? block : 0, rows.height), dz_pairs_(call.grad_x ? rows.height : 0, block) {}

  void take_weights(int64_t b) {
    for (int64_t i = 0; i < padded(classes_in(b)); ++i) {
      const float* row = i < classes_in(b) ? weight(b, i) : nullptr;
      const auto part = [&](int64_t k) {
        return row ? load_part(row + k, call_.input - k) : Vec<float>{};
      };
      for (int64_t step = 0; step < weights_.steps(); ++step)
        weights_.set(i / N, step, i % N, part(step * 2 * N), part(step * 2 * N + N));
      const float bias = row && call_.bias ? as<float>(call_.bias)[b * block + i] : 0.f;
      store(bias_.get() + i * N, broadcast(bias));
    }
  }

  void make_outputs(int64_t b, int64_t tile, float* z, int64_t stride) const {
    const Chunks tiles = rows_.tiles();
    const int64_t first = tiles.first_vector(tile);
    for (int64_t v = first; v < first + tiles.vectors_in(tile); v += 2)
      for (int64_t i = 0; i < classes_in(b); i += 2 * N)
        multiply_parts(z + i * stride + (v - first) * N, stride, {bias_.get() + i * N, N, 0}, weights_.steps(),
                       weights_, i / N, rows_.along_rows, v, behind(rows_.along_rows, v, tiles.vectors, i));
  }

  // Behind the last class outputs are zero, and so are their gradients.
  void take_gradients(int64_t b, const float* dz) {
    const int64_t width = rows_.tiles().vectors * N;
    for (int64_t i = 0; i < padded(classes_in(b)); ++i)
      for (int64_t r = 0; r < width; r += 2 * N) {
        const float* at = dz + i * rows_.stride + r;
        dz_.set(i / N, r / (2 * N), i % N, load(at), r + N < width ? load(at + N) : Vec<float>{});
      }
  }

  void add_grad_x(int64_t b, bool first) {
    const int64_t stride = rows_.stride, vectors = rows_.tiles().vectors;
    const int64_t steps = padded(classes_in(b)) / (2 * N);
    for (int64_t step = 0; step < steps; ++step) {
      take_weight_pairs(step);
      take_dz_pairs(step, vectors);
    }
    for (int64_t v = 0; v < vectors; v += 2)
      for (int64_t c = 0; c < columns_; c += 2) {
        float* out = grad_x_.get() + c * N * stride + v * N;
        const TileStart start{first ? nullptr : out, stride, N};
        multiply_parts(out, stride, start, steps, weight_pairs_, c, dz_pairs_, v);
      }
  }
  const float* grad_x(int64_t column) const { return grad_x_.get() + column * rows_.stride; }

  void add_grad_weight(int64_t b, bool first) const {
    const int64_t H = call_.input, steps = ceil_div(rows_.tiles().vectors, 2);
    float* const out = static_cast<float*>(call_.grad_weight) + b * block * H;
    for (int64_t c = 0; c < columns_; c += 2)
      for (int64_t i = 0; i < classes_in(b); i += 2 * N) {
        const int64_t rows = std::min<int64_t>(2 * N, classes_in(b) - i);
        const int64_t width = std::min<int64_t>(2 * N, H - c * N);
        float* to = out + i * H + c * N;
        const Ahead ahead = behind(rows_.along_columns, c, columns_, i);
        if (rows == 2 * N && width == 2 * N) {
          multiply_parts(to, H, {first ? nullptr : to, H, N}, steps, dz_, i / N, rows_.along_columns, c, ahead);
          continue;
        }
        float sums[2 * N * 2 * N];
        multiply_parts(sums, 2 * N, {nullptr, 0, 0}, steps, dz_, i / N, rows_.along_columns, c, ahead);
        for (int64_t r = 0; r < rows; ++r)
          for (int64_t k = 0; k < width; ++k)
            to[r * H + k] = sums[r * 2 * N + k] + (first ? 0.f : to[r * H + k]);
      }
  }

 private:
  static int64_t padded(int64_t classes) { return ceil_div(classes, 2 * N) * 2 * N; }

  // Of the two registers' columns behind `at`, or of the first ones behind the last: what the product with the
  // classes from i on calls, so that those of a whole block call all. They come from the third-level cache, too late
  // for products that wait for them.
  static Ahead behind(const PartTiles& tiles, int64_t at, int64_t count, int64_t i) {
    constexpr int lines = 2 * float_parts * 16 / int(block / (2 * N));  // of a step
    const uint32_t* const next = tiles.line(at + 2 < count ? at + 2 : 0, 0, 0, 0);
    return {next + i / (2 * N) * tiles.steps() * lines * 16, lines / 4};
  }

  // 32 classes of weights_, whose pairs are neighbours along the columns, with pairs along the classes, a row
  // for each column.
  void take_weight_pairs(int64_t step) const {
    for (int64_t from = 0; from < weights_.steps(); ++from)
      for (int part = 0; part < float_parts; ++part) {
        Vec<uint32_t> even[N], odd[N];
        for (int i = 0; i < N; ++i) {
          const uint32_t* at = weights_.line(2 * step + i / 8, from, part, 2 * i % N);
          const Vec<uint32_t> first = load(at), second = load(at + N);
          even[i] = (first & 0xffffu) | (second << 16);
          odd[i] = (first >> 16) | (second & 0xffff0000u);
        }
        transpose<uint32_t>(even);
        transpose<uint32_t>(odd);
        for (int i = 0; i < N; ++i) {
          uint32_t* to = weight_pairs_.line(2 * from + i / 8, step, part, 2 * i % N);
          store(to, even[i]);
          store(to + N, odd[i]);
        }
      }
  }

  // 32 classes of dz_ likewise, a column for each row of x.
  void take_dz_pairs(int64_t step, int64_t vectors) const {
    for (int64_t v = 0; v < vectors; ++v)
      for (int part = 0; part < float_parts; ++part)
        for (int i = 0; i < N; ++i) {
          const uint32_t* at = dz_.line(2 * step + i / 8, v / 2, part, 2 * i % N) + v % 2 * (N / 2);
          store(dz_pairs_.line(v, step, part, i), join_factors<Bf16>(at, at + N));
        }
  }

  const Rows& rows_;
  const int64_t columns_;       // of x, in vectors
  const Buffer<float> grad_x_;  // [column][row]
  const Buffer<float> bias_;    // of one block, a vector for each class
  // Of one block, on the left the weights and their transpose, the gradients, and these on the right.
  const PartTiles weights_, weight_pairs_, dz_, dz_pairs_;
};
#endif

}  // namespace GATEWISE_ISA
}  // namespace gatewise
