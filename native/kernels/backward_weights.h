// The weights of a layer as backward reads them: transposed, packed by the whole team.
#pragma once
#include "pack.h"

namespace gatewise {
namespace GATEWISE_ISA {

template <typename P, typename Cell>
class BackwardWeights {
  using T = Number<P>;
  using F = Factor<P>;
  using Pack = Packer<P, Cell>;
  static constexpr int N = Simd<T>::lanes;
  static constexpr Part input = Cell::input, state = Cell::state, again = again_of<Cell>;

 public:
  // team: how many threads share the columns. wants_x: whether the gradient of x is computed.
  BackwardWeights(const Layer& layer, int team, bool wants_x)
      : layer_(layer), wants_x_(wants_x), panels_(ceil_div(layer.hidden, Cell::units * N)),
        units(Chunks::balanced(layer.hidden, N, team, Cell::units)),
        h(Chunks::balanced(layer.projected, N, team, Cell::units)),
        x(Chunks::balanced(layer.input, N, team)), hh_(h.vectors * N * depth<state.count>()),
        again_(h.vectors * N * depth<again.count>()),
        ih_(wants_x ? x.vectors * N * depth<input.count>() : 0),
        hr_(layer.weight_hr ? units.vectors * N * layer.projected : 0) {}

  void pack(int thread, int team) const {
    const auto chunks = [&](const Chunks& all, auto&& pack_one) {
      const Range mine = even_range(all.count, thread, team);
      for (int64_t c = mine.first; c < mine.last; ++c) pack_one(c);
    };
    chunks(h, [&](int64_t c) {
      Pack::template gate_rows_chunk<state.count>(state, hh_panel(c), as<T>(layer_.weight_hh), h, c, layer_.hidden);
      Pack::template gate_rows_chunk<again.count>(again, again_panel(c), as<T>(layer_.weight_hh), h, c, layer_.hidden);
    });
    if (wants_x_)
      chunks(x, [&](int64_t c) {
        Pack::template gate_rows_chunk<input.count>(input, ih_panel(c), as<T>(layer_.weight_ih), x, c, layer_.hidden);
      });
    if (layer_.weight_hr)
      chunks(units, [&](int64_t c) {
        Pack::plain_chunk(hr_panel(c), as<T>(layer_.weight_hr), units, c, layer_.projected);
      });
  }

  F* hh_panel(int64_t c) const { return hh_.get() + h.first_vector(c) * N * depth<state.count>(); }
  F* again_panel(int64_t c) const { return again_.get() + h.first_vector(c) * N * depth<again.count>(); }
  F* ih_panel(int64_t c) const { return ih_.get() + x.first_vector(c) * N * depth<input.count>(); }
  int64_t ih_bytes() const { return x.vectors * N * depth<input.count>() * int64_t(sizeof(F)); }
  T* hr_panel(int64_t c) const {
    return hr_.get() + units.first_vector(c) * N * layer_.projected;
  }

 private:
  // Operands along the sums of the product with a part of so many columns, as they lie in memory.
  template <int count>
  int64_t depth() const {
    using Joined = JoinedPanels<P, Cell, count>;
    return Joined::count_of(panels_) * PanelLayout<P>{Joined::columns * N / group<P>, 1}.size() / N;
  }

  const Layer& layer_;
  const bool wants_x_;
  const int64_t panels_;

 public:
  const Chunks units, h, x;  // the columns of the gradients: of c and the unprojected h, of h, of x

 private:
  const Buffer<F> hh_, again_, ih_;
  const Buffer<T> hr_;
};

}  // namespace GATEWISE_ISA
}  // namespace gatewise
