// What forward has saved, as arrays that a person can read: each gate and the cell state of every step,
// in time order.
#pragma once
#include "cell.h"

namespace gatewise {
namespace GATEWISE_ISA {

template <typename T, template <typename> class CellOf>
class Trace {
  using Cell = CellOf<T>;
  static constexpr int N = Simd<T>::lanes;

 public:
  Trace(const Layer& layer, const void* saved, const LayerTrace& out)
      : layer_(layer), out_(out), saved_(as<T>(saved)), schedule_(layer), panels_(layer.hidden) {}

  void run(const Threads& threads) {
    const bool large = layer_.steps * layer_.batch * layer_.hidden >= 32768;
    threads.run([](void* self, int thread, int team) {
      static_cast<Trace*>(self)->work(thread, team);
    }, this, large ? threads.count : 1);
  }

 private:
  void work(int thread, int team) {
    const Range rows = even_range(layer_.steps * layer_.batch, thread, team);
    for (int64_t row = rows.first; row < rows.last; ++row) {
      const int64_t slot = row % layer_.batch, s = row / layer_.batch;
      if (s < schedule_.length(slot)) {
        copy_row(schedule_.saved_row(s, slot), at(schedule_.time(s, slot), slot));
      } else {
        for (void* const* arrays : {out_.gates, out_.cells})
          for (int i = 0; i < (arrays == out_.gates ? 4 : 3); ++i)
            if (arrays[i]) std::fill_n(static_cast<T*>(arrays[i]) + at(s, slot), layer_.hidden, T(0));
      }
    }
  }

  // Where the units of a row begin in every array.
  int64_t at(int64_t t, int64_t slot) const {
    return (t * layer_.batch + schedule_.batch_row(slot)) * layer_.hidden;
  }

  void copy_row(int64_t saved_row, int64_t to) const {
    constexpr Part part = Cell::input;
    const T* columns = saved_ + saved_row * panels_.saved_columns();
    for (int i = 0; Cell::saves && i < part.count; ++i)
      if (void* array = out_.gates[part.gate[i]])
        copy_units(columns + (part.first + i) * N, Cell::vectors * N, static_cast<T*>(array) + to);
    const T* cells = saved_ + layer_.steps * layer_.batch * panels_.saved_columns();
    for (int m = 0; m < cell_states<Cell>; ++m)
      if (void* array = out_.cells[m])
        copy_units(cells + saved_row * panels_.cells() + m * panels_.padded, N,
                   static_cast<T*>(array) + to);
  }

  // The units of a row, whose vectors lie `apart`.
  void copy_units(const T* from, int64_t apart, T* to) const {
    for (int64_t unit = 0; unit < layer_.hidden; unit += N, from += apart)
      store_part(to + unit, load(from), layer_.hidden - unit);
  }

  const Layer& layer_;
  const LayerTrace& out_;
  const T* const saved_;
  const Schedule schedule_;
  const Panels<T, Cell> panels_;
};

}  // namespace GATEWISE_ISA
}  // namespace gatewise
