// One step of backward: the gradient of h from the products, and from it that of the pre-activations, on
// the tile in registers or, for cells with options, row by row.
#pragma once
#include "backward_cell.h"
#include "backward_product.h"
#include "backward_weights.h"
#include "initial.h"

namespace gatewise {
namespace GATEWISE_ISA {

template <typename P, template <typename> class CellOf>
class BackwardStep {
 protected:
  using T = Number<P>;
  using Cell = CellOf<T>;
  using Share = GradientShare;
  using Arrays = GradientArrays<P, Cell>;
  using Pointers = StepPointers<P>;
  static constexpr int N = Simd<T>::lanes;
  static constexpr Part input = Cell::input, state = Cell::state;
  static constexpr bool has_cells = Cell::memory == Memory::cell;
  static constexpr bool carries = Cell::memory != Memory::none;
  static_assert(Cell::units == 1 || (!carries && !Cell::projects));

  BackwardStep(const Layer& layer, const LayerGradient& grad, int threads)
      : layer_(layer), grad_(grad), pointwise_(layer), schedule_(layer), panels_(layer.hidden),
        saved_cells_(as<T>(grad.saved) + layer.steps * layer.batch * panels_.saved_columns()),
        saved_norms_(saved_cells_ + layer.steps * layer.batch * panels_.cells()),
        threads_(worthwhile_threads(layer, threads, panels_.columns(), feeds_back<Cell>)),
        weights_(layer, split_of(threads_) == Split::units ? threads_ : 1, grad.grad_x != nullptr),
        cell_(layer, threads_), restart_(layer, panels_.padded, cell_states<Cell>),
        zeros_(width_of_zeros()), first_cells_(cell_states<Cell> > 1 ? layer.batch * panels_.cells() : 0),
        barrier_(threads_) {
    std::fill_n(zeros_.get(), width_of_zeros(), T(0));
  }

  Split split_of(int team) const {
    return choose_split(layer_, team, panels_.count, panels_.columns());
  }

  void point_rows(const Share& share, Arrays& arrays, Pointers& at, int64_t s, int64_t running,
                  int64_t row, int64_t behind) {
    const int64_t staying = share.rows.running(schedule_.running(s + 1));
    for (int64_t j = 0; j < running; ++j) {
      const int64_t slot = share.rows.slot(j), b = schedule_.batch_row(slot);
      const int64_t t = schedule_.time(s, slot), saved = schedule_.saved_row(s, slot);
      const bool stays = j < staying;
      at.behind[j] =
          stays && !schedule_.restarts(s + 1, slot) ? behind + j : arrays.zero_row();
      at.z[j] = as<T>(grad_.saved) + saved * panels_.saved_columns();
      at.now[j] = has_cells ? saved_cells_ + saved * panels_.cells() : y_row(t, b);
      at.norms[j] = cell_.normalises ? saved_norms_ + saved * panels_.saved_norms(true) : nullptr;
      at.dy[j] = as<T>(grad_.grad_y) + t * grad_.grad_y_step + b * grad_.grad_y_row;
      at.dh_n[j] = stays || !grad_.grad_h_n ? zeros_.get()
                                            : as<T>(grad_.grad_h_n) + b * layer_.projected;
      at.x[row + j] = as<T>(layer_.x) + t * layer_.x_step + b * layer_.x_row;
      at.dx[row + j] = grad_.grad_x ? dx_row(t, b) : nullptr;
      at.gated[row + j] = twice<Cell> ? arrays.gated(row + j) : nullptr;
      at.dh[row + j] = layer_.weight_hr ? arrays.dh(row + j) : nullptr;
      const T* c_before = zeros_.get();
      if (schedule_.restarts(s, slot)) {
        at.h_before[row + j] = restart_.h();
        c_before = restart_.c();
      } else if (s == 0) {
        at.h_before[row + j] = as<T>(layer_.h0) + b * layer_.projected;
        if (has_cells) c_before = first_cells(b);
      } else {
        at.h_before[row + j] = y_row(schedule_.time(s - 1, slot), b);
        if (has_cells) c_before = saved_cells_ + schedule_.saved_row(s - 1, slot) * panels_.cells();
      }
      at.before[j] = has_cells ? c_before : at.h_before[row + j];
      if constexpr (rowwise<Cell>)
        if (cell_.recurs)
          at.h_before[row + j] = cell_.masked(at.h_before[row + j], slot, at.used.get(), row + j);
    }
  }

  // One step back: dh = dy + dz(behind)·W_hh, through the projection if there is one, then the cell.
  void step(const Share& share, Arrays& arrays, Pointers& at, int64_t running, int64_t row) {
    for (int64_t c = share.state_chunks.first; c < share.state_chunks.last; ++c) {
      const int64_t vector = weights_.h.first_vector(c);
      multiply_dz<P, Cell, state.count>(
          arrays, arrays.state_first, at.partial.get(), layer_.hidden, at.behind.data(), running,
          weights_.hh_panel(c), weights_.h.vectors_in(c),
          [&](auto& tile, int64_t j, int r, int v) {
            const int64_t column = (vector + v) * N, rest = layer_.projected - column;
            tile.v[r][v] = load_part(at.dy[j + r] + column, rest) +
                           load_part(at.dh_n[j + r] + column, rest);
          },
          [&](auto& tile, int64_t j) {
            if (layer_.weight_hr)
              store_tile(tile, vector, layer_.projected,
                         [&](int r) { return arrays.dh(row + j + r); });
            else
              cell_gradient(arrays, at, tile, vector, j, row);
          });
    }
    if (!layer_.weight_hr) return;
    wait(share);
    for (int64_t c = share.unit_chunks.first; c < share.unit_chunks.last; ++c)
      unproject(c, at, running, row, [&](auto& tile, int64_t j) {
        cell_gradient(arrays, at, tile, weights_.units.first_vector(c), j, row);
      });
  }

  // The gradient of the unprojected h, one chunk of units of it: sink(tile, first row).
  template <typename Sink>
  void unproject(int64_t chunk, Pointers& at, int64_t running, int64_t row, Sink&& sink) {
    for_tiles<T>(weights_.units.vectors_in(chunk), running, [&](auto R, auto NV, int64_t j) {
      Tile<T, decltype(R), NV> tile(R);
      tile.clear();
      RowPointers<T, decltype(R)> dh(R);
      for (int r = 0; r < R.rows; ++r) dh.row[r] = at.dh[row + j + r];
      multiply(tile, dh, layer_.projected, weights_.hr_panel(chunk));
      sink(tile, j);
    });
  }

  // The same for a cell that works row by row: products to memory, then the rows.
  void step_by_rows(const Share& share, Arrays& arrays, Pointers& at, int64_t s, int64_t running,
                    int64_t row) {
    for (int64_t j = 0; j < running; ++j) at.out[j] = arrays.product(j);
    for (int64_t c = share.state_chunks.first; c < share.state_chunks.last; ++c)
      state_product(arrays, at, running, c, arrays.product_width());
    const Range vectors = weights_.h.vector_range(share.state_chunks);
    const Range h_units{vectors.first * N, vectors.last * N};
    if (layer_.weight_hr) {
      for (int64_t j = 0; j < running; ++j)
        cell_.arrive(arrays, place_of(share, at, s, j, row), share.rows.slot(j), h_units,
                     arrays.product(j), arrays.dh(row + j), at.scratch);
      wait(share);
      for (int64_t c = share.unit_chunks.first; c < share.unit_chunks.last; ++c)
        unproject(c, at, running, row, [&](auto& tile, int64_t j) {
          store_tile(tile, weights_.units.first_vector(c), arrays.product_width(),
                     [&](int r) { return arrays.product(j + r); });
        });
    }
    // Norms need whole rows, which are then dealt out; else every thread has its units of all.
    const bool deals = cell_.normalises && share.by_units();
    if (deals) wait(share);
    const Range mine = deals ? even_range(running, share.thread, share.team) : Range{0, running};
    const Range panels = deals ? Range{0, panels_.count} : share.panels;
    const Range units{panels.first * N, panels.last * N};
    for (int64_t j = mine.first; j < mine.last; ++j) {
      const auto place = place_of(share, at, s, j, row);
      T* dh = arrays.product(j);
      cell_.draw(place, units, at.scratch);
      if (!layer_.weight_hr)
        cell_.arrive(arrays, place, share.rows.slot(j), units, dh, dh, at.scratch);
      cell_.run(arrays, place, dh, panels, share.thread, at.scratch);
    }
    if constexpr (twice<Cell>) step_again(share, arrays, at, running, row);
  }

  // Back through the second product of a step and the gate before it.
  void step_again(const Share& share, Arrays& arrays, Pointers& at, int64_t running, int64_t row) {
    wait(share);
    for (int64_t c = share.state_chunks.first; c < share.state_chunks.last; ++c)
      multiply_dz_to<P, Cell, Cell::again.count>(
          arrays, Cell::again.first * N, at.partial.get(), layer_.hidden, at.each.data() + row,
          running, weights_.again_panel(c), weights_.h.vectors_in(c), at.out.data(),
          weights_.h.first_vector(c), arrays.product_width());
    for (int64_t j = 0; j < running; ++j)
      cell_.run_again(arrays, row + j, j, at.z[j], at.h_before[row + j], share.rows.slot(j),
                      arrays.product(j), share.panels, share.thread);
  }

  GradientPlace<T> place_of(const Share& share, const Pointers& at, int64_t s, int64_t j,
                            int64_t row) const {
    const int64_t slot = share.rows.slot(j);
    return {j, schedule_.batch_row(slot), schedule_.time(s, slot), row + j, at.z[j], at.norms[j],
            has_cells ? nullptr : at.before[j], has_cells ? at.before[j] : nullptr, at.dy[j],
            at.dh_n[j]};
  }

  template <typename R, int NV>
  GATEWISE_INLINE void cell_gradient(Arrays& arrays, Pointers& at, const Tile<T, R, NV>& tile,
                                     int64_t vector, int64_t j, int64_t row) {
    constexpr int columns = Cell::vectors / Cell::units;  // of one vector of units
    for (int r = 0; r < tile.rows; ++r)
      for (int v = 0; v < NV; ++v) {
        const int64_t p = (vector + v) / Cell::units, first = (vector + v) % Cell::units * columns;
        const int64_t unit = (vector + v) * N, rest = layer_.hidden - unit;
        Vec<T> z[columns];
        for (int i = 0; Cell::saves && i < columns; ++i)
          z[i] = load(at.z[j + r] + (p * Cell::vectors + first + i) * N);
        // Rows of h, h0 and c0 are not padded, so their last vector may be partial.
        constexpr int states = std::max(1, cell_states<Cell>);
        T* at_carry = has_cells ? arrays.carry_c(j + r) : arrays.carry_h(j + r);
        Vec<T> now[states], before[states] = {}, carry[states] = {};
        for (int m = 0; m < states; ++m) {
          const int64_t at_unit = m * panels_.padded + unit;
          now[m] = has_cells ? load(at.now[j + r] + at_unit) : load_part(at.now[j + r] + at_unit, rest);
          if (!carries) continue;
          before[m] = load_part(at.before[j + r] + at_unit, rest);
          carry[m] = load(at_carry + at_unit);
        }
        const Vec<T> h = pointwise_.backward(z, now, before, tile.v[r][v], carry);
        for (int m = 0; carries && m < states; ++m) store(at_carry + m * panels_.padded + unit, carry[m]);
        if (in_tiles<P> && rest < N)
          for (int i = 0; i < columns; ++i) z[i] = keep_part<T>(z[i], rest);
        using Lending = JoinedPanels<P, Cell, input.count>;
        const bool lent = Lending::lends && p % 2 == 0 && p + 1 < panels_.count;
        for (int i = 0; i < (lent ? 3 : columns); ++i)
          store_factors<P>(arrays.column(p, row + j + r, int(first) + i), z[i], arrays.apart());
        if (Lending::lends && p % 2 == 1)
          store_factors<P>(arrays.column(p - 1, row + j + r, 3), z[2], arrays.apart());
        if (layer_.weight_hr) store(arrays.h(p, row + j + r), h);
      }
  }

  // dz[rows]·W_hhᵀ for a chunk of the columns of h, into the rows that at.out points to.
  void state_product(const Arrays& arrays, Pointers& at, int64_t count, int64_t chunk,
                     int64_t out_width) const {
    multiply_dz_to<P, Cell, state.count>(
        arrays, arrays.state_first, at.partial.get(), layer_.hidden, at.behind.data(), count,
        weights_.hh_panel(chunk), weights_.h.vectors_in(chunk), at.out.data(),
        weights_.h.first_vector(chunk), out_width);
  }

  void wait(const Share& share) {
    if (share.by_units()) barrier_.wait(share.thread, share.team);
  }

  // The initial cell states of a row: several of them in a padded copy.
  const T* first_cells(int64_t b) const {
    return cell_states<Cell> > 1 ? first_cells_.get() + b * panels_.cells()
                                 : as<T>(layer_.c0) + b * layer_.hidden;
  }
  int64_t width_of_zeros() const {
    return std::max(layer_.projected, std::max(1, cell_states<Cell>) * panels_.padded);
  }

  const T* y_row(int64_t t, int64_t b) const {
    return as<T>(grad_.y) + t * grad_.y_step + b * grad_.y_row;
  }
  T* dx_row(int64_t t, int64_t b) const {
    return static_cast<T*>(grad_.grad_x) + (t * layer_.batch + b) * layer_.input;
  }

  const Layer& layer_;
  const LayerGradient& grad_;
  const Pointwise<Cell> pointwise_;
  const Schedule schedule_;
  const Panels<T, Cell> panels_;
  const T *const saved_cells_, *const saved_norms_;
  const int threads_;
  const BackwardWeights<P, Cell> weights_;
  BackwardCell<P, Cell> cell_;
  const RestartRows<T> restart_;
  const Buffer<T> zeros_, first_cells_;
  Barrier barrier_;
};

}  // namespace GATEWISE_ISA
}  // namespace gatewise
