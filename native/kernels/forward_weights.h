// The weights of a layer as forward reads them, packed by the whole team.
#pragma once
#include "pack.h"
#include "team.h"
#include "tile.h"

namespace gatewise {
namespace GATEWISE_ISA {

template <typename P, typename Cell>
class ForwardWeights {
  using T = Number<P>;
  using F = Factor<P>;
  using Pack = Packer<P, Cell>;
  static constexpr int N = Simd<T>::lanes;
  static constexpr int vectors = Cell::vectors;
  static constexpr Part input = Cell::input, state = Cell::state, again = again_of<Cell>;

 public:
  // memory: of size() numbers, for the team to fill, or as it has been filled. direct: the products
  // read both weights as they are.
  ForwardWeights(const Layer& layer, T* memory, bool direct)
      : layer_(layer), panels_(Panels<T, Cell>(layer.hidden).count), direct_(direct),
        past_caches_(sizeof(Vec<T>) == 64 && panels_ * (ih_size() + hh_size() + again_size()) *
                                                     int64_t(sizeof(F)) >= cached_bytes),
        projection(layer.projected, N, tile_vectors), memory_(memory),
        hh_at_(direct ? 0 : panels_ * ih_size()),
        again_at_(hh_at_ + (direct ? 0 : panels_ * hh_size())),
        bias_at_(again_at_ + (direct ? 0 : panels_ * again_size())),
        hr_at_(bias_at_ + panels_ * vectors * N),
        size_(hr_at_ + (layer.weight_hr ? projection.vectors * N * layer.hidden : 0)) {}

  static int64_t size(const Layer& layer, bool direct) {
    return ForwardWeights(layer, nullptr, direct).size_;
  }

  void pack(int thread, int team) const {
    const Range range = even_range(panels_, thread, team);
    const Layer& l = layer_;
    const auto gate_panel = [&](const Part& part, F* out, const void* weight, int64_t p,
                                int64_t depth) {
      Pack::gate_panel(part, out, as<T>(weight), p, l.hidden, depth, past_caches_);
    };
    for (int64_t p = range.first; p < range.last; ++p) {
      if (!direct_) {
        gate_panel(input, ih_panel(p), l.weight_ih, p, l.input);
        gate_panel(state, hh_panel(p), l.weight_hh, p, l.projected);
        gate_panel(again, again_panel(p), l.weight_hh, p, l.projected);
      }
      std::fill_n(bias(p), vectors * N, T(0));
      // The biases of layer norms stand outside the norms, like the others.
      for (const void* part : {l.bias_ih, l.options.norm[1]}) add_bias(input, p, as<T>(part));
      for (const void* part : {l.bias_hh, l.options.norm[3]}) add_bias(state, p, as<T>(part));
      add_bias(again, p, as<T>(l.bias_hh));
    }
    const Range chunks = even_range(l.weight_hr ? projection.count : 0, thread, team);
    for (int64_t c = chunks.first; c < chunks.last; ++c)
      Pack::transposed_chunk(hr_panel(projection.first_vector(c)), as<T>(l.weight_hr), projection, c,
                             l.hidden);
    stream_fence();
  }

  F* ih_panel(int64_t p) const { return operands(0) + p * ih_size(); }
  F* hh_panel(int64_t p) const { return operands(hh_at_) + p * hh_size(); }
  F* again_panel(int64_t p) const { return operands(again_at_) + p * again_size(); }
  T* bias(int64_t p) const { return memory_ + bias_at_ + p * vectors * N; }
  T* hr_panel(int64_t vector) const { return memory_ + hr_at_ + vector * N * layer_.hidden; }

  // Operands of a panel.
  int64_t ih_size() const { return panel_size(layer_.input, input.count); }
  int64_t hh_size() const { return panel_size(layer_.projected, state.count); }
  int64_t again_size() const { return panel_size(layer_.projected, again.count); }

 private:
  static_assert(sizeof(F) == sizeof(T));
  static int64_t panel_size(int64_t depth, int64_t columns) {
    return PanelLayout<P>{factors<P>(depth), columns}.size();
  }
  F* operands(int64_t at) const { return reinterpret_cast<F*>(memory_ + at); }

  void add_bias(const Part& part, int64_t p, const T* bias_of) const {
    for (int i = 0; bias_of && i < part.count; ++i) {
      const int64_t unit = first_unit<Cell, N>(p, i);
      T* sum = bias(p) + (part.first + i) * N;
      for (int64_t u = 0; u < std::min<int64_t>(N, layer_.hidden - unit); ++u)
        sum[u] += bias_of[part.gate[i] * layer_.hidden + unit + u];
    }
  }

  // Larger weights than the second-level cache holds go past it, which would first fetch what they
  // overwrite; but only in whole lines.
  static constexpr int64_t cached_bytes = (in_tiles<P> ? 2 : 1) << 20;

  const Layer& layer_;
  const int64_t panels_;
  const bool direct_, past_caches_;

 public:
  const Chunks projection;  // the columns of y, when h is projected

 private:
  T* const memory_;
  const int64_t hh_at_, again_at_, bias_at_, hr_at_, size_;
};

}  // namespace GATEWISE_ISA
}  // namespace gatewise
