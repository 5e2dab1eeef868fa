// One step of forward: the recurrent product with the cell on the tile that is still in registers, or, for
// cells with options, from memory row by row.
//
// Rows are addressed by pointers, one per running row: the previous h of a row is its initial state,
// a row of y, or, after a cut, the restart row. That is all that lengths, resets and direction cost.
#pragma once
#include <vector>

#include "direct.h"
#include "forward_rows.h"
#include "forward_weights.h"
#include "initial.h"

namespace gatewise {
namespace GATEWISE_ISA {

template <typename P, template <typename> class CellOf>
class ForwardStep {
 protected:
  using T = Number<P>;
  using Cell = CellOf<T>;
  using Scratch = ForwardScratch<P>;
  static constexpr int N = Simd<T>::lanes;
  static constexpr int vectors = Cell::vectors;
  static constexpr Part input = Cell::input, state = Cell::state, again = again_of<Cell>;
  static constexpr bool has_cells = Cell::memory == Memory::cell, copies = copied<P>;
  static_assert(Cell::units == 1 || (Cell::memory == Memory::none && !Cell::projects));
  static_assert(feeds_back<Cell> || !(rowwise<Cell> || Cell::projects));

  ForwardStep(const Layer& layer, const LayerOutput& out)
      : layer_(layer), out_(out), pointwise_(layer), schedule_(layer), panels_(layer.hidden),
        rows_(layer),
        rows_in_all_(layer.steps * layer.batch),
        saved_cells_(out.saved ? static_cast<T*>(out.saved) + rows_in_all_ * panels_.saved_columns()
                               : nullptr),
        saved_norms_(out.saved && rows_.normalises
                         ? saved_cells_ + rows_in_all_ * panels_.cells()
                         : nullptr),
        streams_(rows_in_all_ * panels_.saved_columns() * int64_t(sizeof(T)) >= streamed_bytes &&
                 std::uintptr_t(out.saved) % sizeof(Vec<T>) == 0),
        direct_(!layer.packed && rows_in_all_ <= direct_rows && !rows_.normalises),
        packing_(layer.packed ? 0 : ForwardWeights<P, Cell>::size(layer, direct_)),
        weights_(layer, layer.packed ? static_cast<T*>(const_cast<void*>(layer.packed)) : packing_.get(),
                 direct_),
        cells_(layer.batch * panels_.cells()),
        unprojected_(layer.weight_hr ? layer.batch * panels_.padded : 0),
        restart_(layer, panels_.padded, cell_states<Cell>),
        copied_h_((rows_.recurs ? 3 : 2) * layer.batch + 1, layer.projected),
        copied_gated_(twice<Cell> ? layer.batch : 0, layer.projected) {
    if constexpr (copies) copied_h_.set(2 * layer.batch, restart_.h());
  }

  // Row of the input product of a block, and how far the rows are from each other.
  T* z_row(const Scratch& scratch, int64_t row) const { return scratch.z + row * z_stride(); }
  int64_t z_stride() const { return panels_.count * input.count * N; }

  // tile = bias + x·W_ihᵀ; the norms add the bias later.
  template <typename R>
  GATEWISE_INLINE void input_product(Tile<T, R, vectors>& tile, const Factor<P>* const* rows,
                                     int64_t p) const {
    for (int r = 0; r < tile.rows; ++r)
      for (int v = 0; v < vectors; ++v)
        if (!(in_tiles<P> && input.has(v))) tile.v[r][v] = start_of(p, v);
#ifdef __AMX_BF16__
    if constexpr (in_tiles<P>)
      return multiply_input(in_memory(tile, input.first), vectors * N, x_rows(R(tile), rows), p);
#endif
    multiply_columns<input.first, input.count>(tile, x_rows(R(tile), rows), factors<P>(layer_.input),
                                               weights_.ih_panel(p));
  }

#ifdef __AMX_BF16__
  // z = bias + x·W_ihᵀ of some rows, in tile registers, which begin with the bias where it lies.
  template <typename R>
  GATEWISE_INLINE void multiply_input(T* z, int64_t stride, const RowPointers<P, R>& x, int64_t p) const {
    multiply_rows<P, input.count>(z, stride, {weights_.bias(p) + input.first * N, 0, N}, x,
                                  factors<P>(layer_.input), weights_.ih_panel(p));
  }
#endif

  template <typename R>
  GATEWISE_INLINE RowPointers<P, R> x_rows(R count, const Factor<P>* const* rows) const {
    RowPointers<P, R> x(count, OperandRows<P>::apart(layer_.input));
    for (int r = 0; r < count.rows; ++r) x.row[r] = rows[r];
    return x;
  }

  // What column v of a panel starts from.
  GATEWISE_INLINE Vec<T> start_of(int64_t p, int v) const {
    return rows_.normalises ? Vec<T>{} : load(weights_.bias(p) + v * N);
  }

  // Points to the arrays of the rows of a step, which are the scratch's from `first` on.
  void point_rows(Scratch& scratch, const RowShare& rows, int64_t s, int64_t running,
                  int64_t first = 0) {
    T* saved = static_cast<T*>(out_.saved);
    for (int64_t j = first; j < first + running; ++j) {
      const int64_t slot = rows.slot(j - first), saved_row = schedule_.saved_row(s, slot);
      T* cell = has_cells ? cells_.get() + slot * panels_.cells() : nullptr;
      T* y = y_row(s, slot);
      const bool restarts = schedule_.restarts(s, slot);
      if (saved) scratch.saved[j] = saved + saved_row * panels_.saved_columns();
      scratch.c[j] = saved && has_cells ? saved_cells_ + saved_row * panels_.cells() : cell;
      scratch.h[j] = layer_.weight_hr ? unprojected_.get() + slot * panels_.padded : y;
      if (restarts) {
        scratch.h_before[j] = restart_.h();
        scratch.c_before[j] = restart_.c();
      } else if (s == 0) {
        scratch.h_before[j] = as<T>(layer_.h0) + schedule_.batch_row(slot) * layer_.projected;
        scratch.c_before[j] = cell;
      } else {
        scratch.h_before[j] = y_row(s - 1, slot);
        scratch.c_before[j] =
            saved && has_cells
                ? saved_cells_ + schedule_.saved_row(s - 1, slot) * panels_.cells()
                : cell;
      }
      scratch.h_used[j] = restarts ? restarted_h(slot) : used_h(s - 1, slot);
      if constexpr (copies)
        scratch.h_factors[j] =
            copied_h_.row(restarts ? restarted_row(slot) : copied_row(s - 1, slot));
    }
  }

  // What the products read of the rows of x in a block, and of h in a step.
  const Factor<P>* const* x_factors(const Scratch& scratch) const {
    if constexpr (copies)
      return scratch.x_factors.data();
    else
      return scratch.x.data();
  }
  const Factor<P>* const* h_factors(const Scratch& scratch) const {
    if constexpr (copies)
      return scratch.h_factors.data();
    else
      return scratch.h_used.data();
  }

  // One step of the rows `mine`: z += h_before·W_hhᵀ, then the cell, both on the tile. z starts from
  // the rows of x if they are given, and from the stored input product otherwise.
  void advance(Scratch& scratch, const RowShare& rows, Range panels, Range mine,
               const Factor<P>* const* x, const T* stored) {
    for (int64_t p = panels.first; p < panels.last; ++p) {
      for_row_tiles<Factor<P>>(mine.size(), [&](auto R, int64_t first) {
        const int64_t row = mine.first + first;
        Tile<T, decltype(R), vectors> tile(R);
        RowPointers<P, decltype(R)> h(R, copied_h_.apart());
        for (int r = 0; r < R.rows; ++r) h.row[r] = h_factors(scratch)[row + r];
#ifdef __AMX_BF16__
        // Tile registers begin where the input product lies.
        if constexpr (in_tiles<P> && input.count == vectors && state.count == vectors)
          if (!x) {
            const TileStart z{stored + row * z_stride() + p * vectors * N, z_stride(), N};
            multiply_rows<P, vectors>(in_memory(tile, 0), vectors * N, z, h, factors<P>(layer_.projected),
                                      weights_.hh_panel(p));
            for (int r = 0; r < R.rows; ++r) finish(scratch, rows, row + r, p, tile.v[r]);
            return;
          }
#endif
        if (x)
          input_product(tile, x + row, p);
        else
          for (int r = 0; r < R.rows; ++r) {
            const T* z = stored + ((row + r) * panels_.count + p) * input.count * N;
            for (int v = 0; v < vectors; ++v)
              tile.v[r][v] = input.has(v) && !rows_.normalises ? load(z + (v - input.first) * N)
                                                               : start_of(p, v);
          }
        if constexpr (feeds_back<Cell>)
          multiply_columns<state.first, state.count>(tile, h, factors<P>(layer_.projected),
                                                     weights_.hh_panel(p));
        for (int r = 0; r < R.rows; ++r) finish(scratch, rows, row + r, p, tile.v[r]);
      });
    }
  }

  // The same row by row, with the weights as they are.
  void advance_directly(Scratch& scratch, const RowShare& rows, Range panels, int64_t running,
                        const T* const* x) {
    for (int64_t p = panels.first; p < panels.last; ++p)
      for (int64_t j = 0; j < running; ++j) {
        Vec<T> z[vectors];
        for (int v = 0; v < vectors; ++v) z[v] = start_of(p, v);
        add_direct<P, Cell>(input, z, x[j], as<T>(layer_.weight_ih), p, layer_.hidden,
                            layer_.input);
        add_direct<P, Cell>(state, z, scratch.h_used[j], as<T>(layer_.weight_hh), p,
                            layer_.hidden, layer_.projected);
        finish(scratch, rows, j, p, z);
      }
  }

  // The cell on the columns of one row, or their way to memory.
  GATEWISE_INLINE void finish(Scratch& scratch, const RowShare& rows, int64_t j, int64_t p,
                              Vec<T> (&z)[vectors]) {
    if constexpr (rowwise<Cell>) {
      T* product = rows_.product(rows.slot(j)) + p * vectors * N;
      for (int v = 0; v < vectors; ++v) store(product + v * N, z[v]);
    } else {
      finish_row(scratch, j, p, z);
    }
  }

  // The gate that acts on h before the second product of a step, for the units of some panels.
  void gate(Scratch& scratch, const RowShare& rows, Range panels, int64_t running) const {
    for (int64_t j = 0; j < running; ++j) {
      const int64_t slot = rows.slot(j);
      rows_.gate(slot, scratch.h_used[j], panels);
      if (copies && !direct_) copied_gated_.set(slot, rows_.gated(slot), units_of(panels));
    }
  }

  // That product, on top of the first.
  void advance_again(const RowShare& rows, Range panels, int64_t running) const {
    const auto column = [&](int64_t j, int64_t p) {
      return rows_.product(rows.slot(j)) + (p * vectors + again.first) * N;
    };
    for (int64_t p = panels.first; p < panels.last; ++p) {
      if (direct_) {
        for (int64_t j = 0; j < running; ++j) {
          Vec<T> z[vectors] = {};
          add_direct<P, Cell>(again, z, rows_.gated(rows.slot(j)), as<T>(layer_.weight_hh), p,
                              layer_.hidden, layer_.projected);
          for (int i = 0; i < again.count; ++i)
            add_to(column(j, p) + i * N, z[again.first + i]);
        }
        continue;
      }
      for_row_tiles<Factor<P>>(running, [&](auto R, int64_t row) {
        Tile<T, decltype(R), again.count> tile(R);
        RowPointers<P, decltype(R)> h(R, copied_gated_.apart());
        for (int r = 0; r < R.rows; ++r) {
          const int64_t slot = rows.slot(row + r);
          if constexpr (copies)
            h.row[r] = copied_gated_.row(slot);
          else
            h.row[r] = rows_.gated(slot);
          for (int i = 0; i < again.count; ++i) tile.v[r][i] = load(column(row + r, p) + i * N);
        }
        multiply(tile, h, factors<P>(layer_.projected), weights_.again_panel(p));
        for (int r = 0; r < R.rows; ++r)
          for (int i = 0; i < again.count; ++i) store(column(row + r, p) + i * N, tile.v[r][i]);
      });
    }
  }

  // The cell on whole rows of a step.
  void run_rows(Scratch& scratch, const RowShare& rows, int64_t s, Range mine, Range panels,
                int64_t block_row) {
    for (int64_t j = mine.first; j < mine.last; ++j)
      rows_.run(place_of(scratch, rows, s, j, z_row(scratch, block_row + j)), weights_.bias(0),
                panels, scratch.draws);
  }

  RowPlace<T> place_of(const Scratch& scratch, const RowShare& rows, int64_t s, int64_t j,
                       const T* x) const {
    const int64_t slot = rows.slot(j), b = schedule_.batch_row(slot);
    T* norms = saved_norms_
                   ? saved_norms_ + schedule_.saved_row(s, slot) * panels_.saved_norms(true)
                   : nullptr;
    return {slot, b, schedule_.time(s, slot), s, x, scratch.h_before[j], scratch.c_before[j],
            scratch.h[j], scratch.c[j], out_.saved ? scratch.saved[j] : nullptr, norms};
  }

  // The cell on the columns of one row, and what is kept of it.
  GATEWISE_INLINE void finish_row(Scratch& scratch, int64_t j, int64_t p, Vec<T> (&z)[vectors]) {
    constexpr int units = Cell::units;
    const int64_t unit = p * units * N, rest = layer_.hidden - unit;
    Vec<T> before[std::max(units, cell_states<Cell>)], h[units];
    if (Cell::memory == Memory::hidden) before[0] = load_part(scratch.h_before[j] + unit, rest);
    for (int m = 0; m < cell_states<Cell>; ++m)
      before[m] = load(scratch.c_before[j] + m * panels_.padded + unit);
    pointwise_.forward(z, before, h);
    for (int m = 0; m < cell_states<Cell>; ++m)
      store(scratch.c[j] + m * panels_.padded + unit, before[m]);
    for (int v = 0; v < units; ++v)
      store_part(scratch.h[j] + unit + v * N, h[v], layer_.weight_hr ? N : rest - v * N);
    if (!Cell::saves || !out_.saved) return;
    T* saved = scratch.saved[j] + p * vectors * N;
    for (int v = 0; v < vectors; ++v)
      streams_ ? stream(saved + v * N, z[v]) : store(saved + v * N, z[v]);
  }

  // y = h·W_hrᵀ for the rows of one step.
  void project_state(Scratch& scratch, const RowShare& rows, int64_t s, int64_t running,
                     Range chunks) {
    for (int64_t c = chunks.first; c < chunks.last; ++c) {
      const int64_t vector = weights_.projection.first_vector(c);
      const T* panel = weights_.hr_panel(vector);
      with_constant<tile_vectors>(weights_.projection.vectors_in(c), [&](auto NV) {
        for_row_tiles<T>(running, [&](auto R, int64_t row) {
          Tile<T, decltype(R), NV> tile(R);
          tile.clear();
          RowPointers<T, decltype(R)> h(R);
          for (int r = 0; r < R.rows; ++r) h.row[r] = scratch.h[row + r];
          multiply(tile, h, layer_.hidden, panel);
          for (int r = 0; r < R.rows; ++r)
            for (int v = 0; v < NV; ++v) {
              const int64_t column = (vector + v) * N;
              store_part(y_row(s, rows.slot(row + r)) + column, tile.v[r][v],
                         layer_.projected - column);
            }
        });
      });
    }
    const Range vectors = weights_.projection.vector_range(chunks);
    const Range units{vectors.first * N, vectors.last * N};
    if constexpr (rowwise<Cell>) {
      for (int64_t j = 0; j < running; ++j) {
        RowPlace<T> place = place_of(scratch, rows, s, j, nullptr);
        place.h = y_row(s, rows.slot(j));
        rows_.settle_projected(place, units, scratch.draws);
      }
    }
    copy_h(rows, s, {0, running}, units);
  }

  // h of the rows `mine` after position s, as the next product reads it.
  void copy_h(const RowShare& rows, int64_t s, Range mine, Range units) const {
    if constexpr (copies)
      for (int64_t j = mine.first; j < mine.last; ++j) {
        const int64_t slot = rows.slot(j);
        copied_h_.set(copied_row(s, slot), used_h(s, slot), units);
      }
  }

  // Two rows a slot, for even and odd positions: a thread may still read the one while another
  // writes the next.
  int64_t copied_row(int64_t s, int64_t slot) const { return (s & 1) * layer_.batch + slot; }

  // After those comes the state after a cut, for each slot if it is masked.
  int64_t restarted_row(int64_t slot) const {
    return 2 * layer_.batch + (rows_.recurs ? slot : 0);
  }
  const T* restarted_h(int64_t slot) const {
    if constexpr (rowwise<Cell>)
      if (rows_.recurs) return rows_.restarted(slot);
    return restart_.h();
  }

  // h after position s as the next product takes it, but for its precision.
  const T* used_h(int64_t s, int64_t slot) const {
    if constexpr (rowwise<Cell>)
      if (rows_.recurs) return rows_.used(s, slot);
    return s < 0 ? as<T>(layer_.h0) + schedule_.batch_row(slot) * layer_.projected : y_row(s, slot);
  }

  // Copies the final state of the rows that end at position s.
  void finish_rows(Scratch& scratch, const RowShare& rows, int64_t s, int64_t running,
                   Range panels, Range outputs) {
    const int64_t staying = rows.running(schedule_.running(s + 1));
    const Range units = units_of(panels);
    for (int64_t j = staying; j < running; ++j) {
      const int64_t slot = rows.slot(j), b = schedule_.batch_row(slot);
      const T* y = y_row(s, slot);
      T* h_n = static_cast<T*>(out_.h_n) + b * layer_.projected;
      std::copy(y + outputs.first, y + outputs.last, h_n + outputs.first);
      if (!has_cells) continue;
      for (int m = 0; m < cell_states<Cell>; ++m) {
        const T* c = scratch.c[j] + m * panels_.padded;
        T* c_n = static_cast<T*>(out_.c_n) + (b * cell_states<Cell> + m) * layer_.hidden;
        std::copy(c + units.first, c + units.last, c_n + units.first);
      }
    }
  }

  Range units_of(Range panels) const {
    constexpr int64_t units = Cell::units * N;
    return {panels.first * units, std::min(panels.last * units, layer_.hidden)};
  }
  T* y_row(int64_t s, int64_t slot) const {
    return static_cast<T*>(out_.y) + schedule_.time(s, slot) * out_.y_step +
           schedule_.batch_row(slot) * out_.y_row;
  }

  // Rows in all steps that do not pay for packing the weights.
  static constexpr int64_t direct_rows = 4;
  // Saved gates that the caches cannot hold until backward go past them.
  static constexpr int64_t streamed_bytes = 4 << 20;

  const Layer& layer_;
  const LayerOutput& out_;
  const Pointwise<Cell> pointwise_;
  const Schedule schedule_;
  const Panels<T, Cell> panels_;
  const ForwardRows<T, Cell> rows_;
  const int64_t rows_in_all_;
  T *const saved_cells_, *const saved_norms_;  // null for inference; norms also without any
  const bool streams_, direct_;
  const Buffer<T> packing_;  // memory for a pack of this call's own
  const ForwardWeights<P, Cell> weights_;
  const Buffer<T> cells_, unprojected_;
  const RestartRows<T> restart_;
  const OperandRows<P> copied_h_;
  const OperandRows<P> copied_gated_;
};

}  // namespace GATEWISE_ISA
}  // namespace gatewise
