// Layer normalisation (J. Ba, J. Kiros, G. Hinton, 2016) of rows of units, and its gradient.
//
//   n = (v - mean) / sqrt(variance + eps)      out = n·weight + bias
//
// A row is [panel][column][N]; a norm takes some neighbouring columns of it as one vector.
#pragma once
#include <cmath>

#include "rows.h"

namespace gatewise {
namespace GATEWISE_ISA {

constexpr double norm_eps = 1e-5;

template <typename T>
struct Moments {
  T mean, scale;  // scale: 1 / sqrt(variance + eps)
};

// Ones for the units of a panel, zeros behind the last.
template <typename T>
class UnitMask {
  static constexpr int N = Simd<T>::lanes;

 public:
  explicit UnitMask(int64_t hidden) : last_(ceil_div(hidden, N) - 1) {
    for (int i = 0; i < N; ++i) tail_[i] = last_ * N + i < hidden ? T(1) : T(0);
  }
  GATEWISE_INLINE Vec<T> operator()(int64_t panel) const {
    return panel < last_ ? broadcast<T>(T(1)) : load(tail_);
  }

 private:
  int64_t last_;
  T tail_[N];
};

// Moments of columns first to first + columns - 1 of a row whose panels are `width` wide; what stands
// behind the last unit must be zero.
template <int first, int columns, typename T>
Moments<T> moments_of(const T* row, int64_t width, int64_t panels, int64_t hidden,
                      const UnitMask<T>& mask) {
  constexpr int N = Simd<T>::lanes;
  const T count = T(hidden * columns);
  Vec<T> sum{}, squares{};
  for (int64_t p = 0; p < panels; ++p)
    for (int i = 0; i < columns; ++i) sum += load(row + p * width + (first + i) * N);
  const T mean = sum_of<T>(sum) / count;
  for (int64_t p = 0; p < panels; ++p)
    for (int i = 0; i < columns; ++i) {
      const Vec<T> v = (load(row + p * width + (first + i) * N) - mean) * mask(p);
      squares += v * v;
    }
  return {mean, T(1) / std::sqrt(sum_of<T>(squares) / count + T(norm_eps))};
}

// The gradient of v from that of n·weight, once the sums over the row are known.
template <typename T>
struct NormGradient {
  Vec<T> sum{}, product{};  // of the gradients of n, and of them times n

  GATEWISE_INLINE void add(Vec<T> dn, Vec<T> n) {
    sum += dn;
    product += dn * n;
  }
};

template <typename T>
struct NormSlope {
  T mean, product, scale;

  NormSlope(const NormGradient<T>& g, T count, T scale)
      : mean(sum_of<T>(g.sum) / count), product(sum_of<T>(g.product) / count), scale(scale) {}

  GATEWISE_INLINE Vec<T> operator()(Vec<T> dn, Vec<T> n) const {
    return (dn - mean - n * product) * scale;
  }
};

// The norms of both products of a cell. A saved row is the normalised recurrent product, the normalised
// input product, their scales, and two numbers of the cell's own.
template <typename T, typename Cell>
class GateNorms {
  static constexpr int N = Simd<T>::lanes;
  static constexpr int64_t width = Cell::vectors * N;
  static constexpr Part input = Cell::input, state = Cell::state;

 public:
  explicit GateNorms(const Layer& layer)
      : hidden_(layer.hidden), panels_(ceil_div(layer.hidden, N)), mask_(layer.hidden) {
    if (!layer.options.norm[0]) return;
    x_weight_ = packed(input, layer.options.norm[0]);
    h_weight_ = packed(state, layer.options.norm[2]);
  }

  explicit operator bool() const { return !x_weight_.empty(); }

  // z: the recurrent product in, pre-activations out. x: the input product, its own columns only.
  // bias: [panel][column][N], all of them together. saved: see above, or null.
  void forward(T* z, const T* x, const T* bias, T* saved) const {
    const auto of_h = moments_of<state.first, state.count>(z, width, panels_, hidden_, mask_);
    const auto of_x = moments_of<0, input.count>(x, input.count * N, panels_, hidden_, mask_);
    T* saved_h = saved;
    T* saved_x = saved ? saved + panels_ * state.count * N : nullptr;
    for (int64_t p = 0; p < panels_; ++p) {
      const Vec<T> mask = mask_(p);
      for (int v = 0; v < Cell::vectors; ++v) {
        Vec<T> sum = load(bias + p * width + v * N);
        if (state.has(v)) {
          const int64_t at = (p * state.count + v - state.first) * N;
          const Vec<T> n = (load(z + p * width + v * N) - of_h.mean) * of_h.scale * mask;
          if (saved) store(saved_h + at, n);
          sum += n * load(h_weight_.data() + at);
        }
        if (input.has(v)) {
          const int64_t at = (p * input.count + v - input.first) * N;
          const Vec<T> n = (load(x + at) - of_x.mean) * of_x.scale * mask;
          if (saved) store(saved_x + at, n);
          sum += n * load(x_weight_.data() + at);
        }
        store(z + p * width + v * N, sum);
      }
    }
    if (!saved) return;
    T* scales = saved_x + panels_ * input.count * N;
    scales[0] = of_h.scale;
    scales[1] = of_x.scale;
  }

  // Where the cell's own two numbers stand.
  static constexpr int64_t own = 2;
  int64_t scales() const { return panels_ * (state.count + input.count) * N; }

  // dz: gradients of the pre-activations. Calls put_h(panel, column of the part, gradient) and put_x for
  // those of the products; adds those of the weights to sums: [panel][column] of h, then of x.
  template <typename PutH, typename PutX>
  void backward(const T* dz, const T* saved, T* sums, PutH&& put_h, PutX&& put_x) const {
    const T* saved_x = saved + panels_ * state.count * N;
    const T* scales = saved_x + panels_ * input.count * N;
    one_part<state>(dz, saved, h_weight_.data(), sums, scales[0], put_h);
    one_part<input>(dz, saved_x, x_weight_.data(), sums + panels_ * state.count * N, scales[1], put_x);
  }

  int64_t sums() const { return *this ? panels_ * (state.count + input.count) * N : 0; }

 private:
  // weight G·H as [panel][column of the part][N]
  std::vector<T> packed(const Part& part, const void* weight) const {
    std::vector<T> out(panels_ * part.count * N);
    for (int64_t unit = 0; unit < hidden_; ++unit)
      for (int i = 0; i < part.count; ++i)
        out[(unit / N * part.count + i) * N + unit % N] =
            as<T>(weight)[part.gate[i] * hidden_ + unit];
    return out;
  }

  template <const Part& part, typename Put>
  void one_part(const T* dz, const T* n, const T* weight, T* sums, T scale, Put&& put) const {
    NormGradient<T> gradient;
    for (int64_t p = 0; p < panels_; ++p)
      for (int i = 0; i < part.count; ++i) {
        const int64_t at = (p * part.count + i) * N;
        const Vec<T> d = load(dz + p * width + (part.first + i) * N), normal = load(n + at);
        add_to(sums + at, d * normal);
        gradient.add(d * load(weight + at), normal);
      }
    const NormSlope<T> slope(gradient, T(hidden_ * part.count), scale);
    for (int64_t p = 0; p < panels_; ++p) {
      const Vec<T> mask = mask_(p);
      for (int i = 0; i < part.count; ++i) {
        const int64_t at = (p * part.count + i) * N;
        const Vec<T> d = load(dz + p * width + (part.first + i) * N);
        put(p, i, slope(d * load(weight + at), load(n + at)) * mask);
      }
    }
  }

  int64_t hidden_, panels_;
  UnitMask<T> mask_;
  std::vector<T> x_weight_, h_weight_;
};

}  // namespace GATEWISE_ISA
}  // namespace gatewise
