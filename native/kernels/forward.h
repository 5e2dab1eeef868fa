// Forward through time: the input product of a block of steps, then step by step the recurrent
// product with the cell on the tile that is still in registers. Where both weights fit the cache the
// two products share a tile, and the input product is never stored. Cells with options take the tile
// from memory, row by row.
//
// Rows are addressed by pointers, one per running row: the previous h of a row is its initial state,
// a row of y, or, after a cut, the restart row. That is all that lengths, resets and direction cost.
#pragma once
#include <atomic>
#include <vector>

#include "direct.h"
#include "forward_rows.h"
#include "forward_weights.h"
#include "initial.h"

namespace gatewise {
namespace GATEWISE_ISA {

template <typename T, template <typename> class CellOf>
class Forward {
  using Cell = CellOf<T>;
  using Scratch = ForwardScratch<T>;
  static constexpr int N = Simd<T>::lanes;
  static constexpr int vectors = Cell::vectors;
  static constexpr Part input = Cell::input, state = Cell::state;
  static constexpr bool has_cells = Cell::memory == Memory::cell;
  static_assert(Cell::units == 1 || (Cell::memory == Memory::none && !Cell::projects));

 public:
  Forward(const Layer& layer, const LayerOutput& out, int threads)
      : layer_(layer), out_(out), schedule_(layer), panels_(layer.hidden), rows_(layer),
        rows_in_all_(layer.steps * layer.batch),
        saved_cells_(out.saved ? static_cast<T*>(out.saved) + rows_in_all_ * panels_.saved_columns()
                               : nullptr),
        saved_norms_(out.saved && rows_.normalises
                         ? saved_cells_ + rows_in_all_ * panels_.saved_cells()
                         : nullptr),
        streams_(rows_in_all_ * panels_.saved_columns() * int64_t(sizeof(T)) >= streamed_bytes &&
                 std::uintptr_t(out.saved) % sizeof(Vec<T>) == 0),
        direct_(rows_in_all_ <= direct_rows && !rows_.normalises), weights_(layer, panels_, direct_),
        cells_(has_cells ? layer.batch * panels_.padded : 0),
        unprojected_(layer.weight_hr ? layer.batch * panels_.padded : 0),
        restart_(layer, panels_.padded),
        threads_(worthwhile_threads(layer, threads, panels_.recurrent_columns())),
        z_(threads_), barrier_(threads_) {}

  Status run(ParallelRun parallel) {
    parallel([](void* self, int thread, int team) {
      static_cast<Forward*>(self)->work(thread, team);
    }, this, threads_);
    return failed_ ? Status::no_memory : Status::ok;
  }

 private:
  void work(int thread, int team) {
    const Split split =
        choose_split(layer_, team, panels_.count, panels_.recurrent_columns());
    const RowShare rows(layer_, split, thread, team);
    const bool by_units = split == Split::units;
    const int part = by_units ? thread : 0, parts = by_units ? team : 1;
    const Range panels = even_range(panels_.count, part, parts);
    const Range chunks = even_range(weights_.projection.count, part, parts);
    const int64_t block = std::max<int64_t>(1, block_rows / std::max<int64_t>(1, rows.count));
    const int64_t steps_in_block = std::min(block, layer_.steps);

    weights_.pack(thread, team);
    std::unique_ptr<Scratch> scratch;
    try {
      scratch = std::make_unique<Scratch>(rows.count, steps_in_block * rows.count);
      if constexpr (rowwise<Cell>) scratch->draws = rows_.scratch();
      if (part == 0)
        z_[thread] = Buffer<T>(steps_in_block * rows.count * panels_.count * input.count * N);
    } catch (const std::bad_alloc&) {
      failed_ = true;
    }
    start(rows, part, parts);
    barrier_.wait(thread, team);  // the weights are packed, and every thread knows of a failure
    if (failed_) return;

    scratch->z = z_[by_units ? 0 : thread].get();
    const bool fused = direct_ || (shares_tile(rows.count) && !rows_.normalises);
    for (int64_t s = 0; s < layer_.steps; s += steps_in_block) {
      const int64_t last = std::min(s + steps_in_block, layer_.steps);
      const int64_t count = point_block(*scratch, rows, s, last);
      if (!fused) project_input(*scratch, panels, count);
      int64_t block_row = 0;
      for (int64_t step = s; step < last; ++step) {
        const int64_t running = rows.running(schedule_.running(step));
        if (running == 0) break;
        point_rows(*scratch, rows, step, running);
        const T* const* x = fused ? scratch->x.data() + block_row : nullptr;
        if (direct_)
          advance_directly(*scratch, rows, panels, running, x);
        else
          advance(*scratch, rows, panels, running, x, z_row(*scratch, block_row));
        if constexpr (rowwise<Cell>) {
          // Norms need whole rows, which are then dealt out; else every thread has its units of all.
          const bool deals = rows_.normalises && by_units;
          if (deals) barrier_.wait(thread, team);
          const Range mine = deals ? even_range(running, thread, team) : Range{0, running};
          run_rows(*scratch, rows, step, mine, deals ? Range{0, panels_.count} : panels, block_row);
        }
        if (by_units) barrier_.wait(thread, team);
        if (layer_.weight_hr) {
          project_state(*scratch, rows, step, running, chunks);
          if (by_units) barrier_.wait(thread, team);
        }
        const Range outputs = layer_.weight_hr ? even_range(layer_.projected, part, parts)
                                               : units_of(panels);
        finish_rows(*scratch, rows, step, running, panels, outputs);
        block_row += running;
      }
    }
    zero_tail(rows, part, parts);
    stream_fence();
  }

  // The running cell states, padded to whole vectors, from c0; rows without a step hand theirs on.
  void start(const RowShare& rows, int part, int parts) {
    for (int64_t j = part; j < rows.count; j += parts) {
      const int64_t slot = rows.slot(j), b = schedule_.batch_row(slot);
      const T* h0 = as<T>(layer_.h0) + b * layer_.projected;
      const T* c0 = has_cells ? as<T>(layer_.c0) + b * layer_.hidden : nullptr;
      for (int64_t unit = 0; has_cells && unit < panels_.padded; unit += N)
        store(cells_.get() + slot * panels_.padded + unit,
              load_part(c0 + unit, layer_.hidden - unit));
      if constexpr (rowwise<Cell>) rows_.start(slot, b);
      if (schedule_.length(slot) > 0) continue;
      std::copy_n(h0, layer_.projected, static_cast<T*>(out_.h_n) + b * layer_.projected);
      if (has_cells)
        std::copy_n(c0, layer_.hidden, static_cast<T*>(out_.c_n) + b * layer_.hidden);
    }
  }

  // Worth it while both packed weights stay in the second-level cache, and with rows enough to use
  // each vector of the weights several times.
  bool shares_tile(int64_t rows) const {
    const int64_t weights = layer_.input * input.count + layer_.projected * state.count;
    return rows >= 2 * tile_rows &&
           weights * panels_.count * N * int64_t(sizeof(T)) <= cached_bytes;
  }

  // Points to the inputs of a block of steps; returns how many rows that are.
  int64_t point_block(Scratch& scratch, const RowShare& rows, int64_t first, int64_t last) {
    int64_t count = 0;
    for (int64_t s = first; s < last; ++s) {
      const int64_t running = rows.running(schedule_.running(s));
      for (int64_t j = 0; j < running; ++j, ++count) {
        const int64_t slot = rows.slot(j);
        scratch.x[count] = as<T>(layer_.x) + schedule_.time(s, slot) * layer_.x_step +
                           schedule_.batch_row(slot) * layer_.x_row;
      }
    }
    return count;
  }

  void project_input(Scratch& scratch, Range panels, int64_t count) {
    for (int64_t p = panels.first; p < panels.last; ++p) {
      for_row_tiles(count, [&](auto R, int64_t row) {
        Tile<T, R, vectors> tile;
        input_product(tile, &scratch.x[row], p);
        for (int r = 0; r < R; ++r)
          for (int v = 0; v < input.count; ++v)
            store(z_row(scratch, row + r) + (p * input.count + v) * N,
                  tile.v[r][input.first + v]);
      });
    }
  }

  // Row of the input product of a block.
  T* z_row(const Scratch& scratch, int64_t row) const {
    return scratch.z + row * panels_.count * input.count * N;
  }

  // tile = bias + x·W_ihᵀ; the norms add the bias later.
  template <int R>
  GATEWISE_INLINE void input_product(Tile<T, R, vectors>& tile, const T* const* rows,
                                     int64_t p) const {
    RowPointers<T, R> x;
    for (int r = 0; r < R; ++r) {
      x.row[r] = rows[r];
      for (int v = 0; v < vectors; ++v) tile.v[r][v] = start_of(p, v);
    }
    multiply_columns<input.first, input.count>(tile, x, layer_.input, weights_.ih_panel(p));
  }

  // What column v of a panel starts from.
  GATEWISE_INLINE Vec<T> start_of(int64_t p, int v) const {
    return rows_.normalises ? Vec<T>{} : load(weights_.bias(p) + v * N);
  }

  void point_rows(Scratch& scratch, const RowShare& rows, int64_t s, int64_t running) {
    T* saved = static_cast<T*>(out_.saved);
    for (int64_t j = 0; j < running; ++j) {
      const int64_t slot = rows.slot(j), saved_row = schedule_.saved_row(s, slot);
      T* cell = has_cells ? cells_.get() + slot * panels_.padded : nullptr;
      T* y = y_row(s, slot);
      if (saved) scratch.saved[j] = saved + saved_row * panels_.saved_columns();
      scratch.c[j] = saved && has_cells ? saved_cells_ + saved_row * panels_.padded : cell;
      scratch.h[j] = layer_.weight_hr ? unprojected_.get() + slot * panels_.padded : y;
      if (schedule_.restarts(s, slot)) {
        scratch.h_before[j] = restart_.h();
        scratch.c_before[j] = restart_.c();
      } else if (s == 0) {
        scratch.h_before[j] = as<T>(layer_.h0) + schedule_.batch_row(slot) * layer_.projected;
        scratch.c_before[j] = cell;
      } else {
        scratch.h_before[j] = y_row(s - 1, slot);
        scratch.c_before[j] =
            saved && has_cells
                ? saved_cells_ + schedule_.saved_row(s - 1, slot) * panels_.padded
                : cell;
      }
      scratch.h_used[j] = scratch.h_before[j];
      if constexpr (rowwise<Cell>)
        if (rows_.recurs && !schedule_.restarts(s, slot))
          scratch.h_used[j] = rows_.used(s - 1, slot);
    }
  }

  // One step: z += h_before·W_hhᵀ, then the cell, both on the tile. z starts from the rows of x if
  // they are given, and from the stored input product otherwise.
  void advance(Scratch& scratch, const RowShare& rows, Range panels, int64_t running,
               const T* const* x, const T* stored) {
    for (int64_t p = panels.first; p < panels.last; ++p) {
      for_row_tiles(running, [&](auto R, int64_t row) {
        Tile<T, R, vectors> tile;
        RowPointers<T, R> h;
        for (int r = 0; r < R; ++r) h.row[r] = scratch.h_used[row + r];
        if (x)
          input_product(tile, x + row, p);
        else
          for (int r = 0; r < R; ++r) {
            const T* z = stored + ((row + r) * panels_.count + p) * input.count * N;
            for (int v = 0; v < vectors; ++v)
              tile.v[r][v] = input.has(v) && !rows_.normalises ? load(z + (v - input.first) * N)
                                                               : start_of(p, v);
          }
        multiply_columns<state.first, state.count>(tile, h, layer_.projected, weights_.hh_panel(p));
        for (int r = 0; r < R; ++r) finish(scratch, rows, row + r, p, tile.v[r]);
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
        add_direct<T, Cell>(input, z, x[j], as<T>(layer_.weight_ih), p, layer_.hidden,
                            layer_.input);
        add_direct<T, Cell>(state, z, scratch.h_used[j], as<T>(layer_.weight_hh), p,
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
    Vec<T> before[units], h[units];
    if (Cell::memory != Memory::none)
      before[0] = has_cells ? load(scratch.c_before[j] + unit)
                            : load_part(scratch.h_before[j] + unit, rest);
    Cell::forward(z, before, h);
    if (has_cells) store(scratch.c[j] + unit, before[0]);
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
        for_row_tiles(running, [&](auto R, int64_t row) {
          Tile<T, R, NV> tile{};
          RowPointers<T, R> h;
          for (int r = 0; r < R; ++r) h.row[r] = scratch.h[row + r];
          multiply(tile, h, layer_.hidden, panel);
          for (int r = 0; r < R; ++r)
            for (int v = 0; v < NV; ++v) {
              const int64_t column = (vector + v) * N;
              store_part(y_row(s, rows.slot(row + r)) + column, tile.v[r][v],
                         layer_.projected - column);
            }
        });
      });
    }
    if constexpr (rowwise<Cell>) {
      const Range vectors = weights_.projection.vector_range(chunks);
      for (int64_t j = 0; j < running; ++j) {
        RowPlace<T> place = place_of(scratch, rows, s, j, nullptr);
        place.h = y_row(s, rows.slot(j));
        rows_.settle_projected(place, {vectors.first * N, vectors.last * N}, scratch.draws);
      }
    }
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
      T* c_n = static_cast<T*>(out_.c_n) + b * layer_.hidden;
      std::copy(scratch.c[j] + units.first, scratch.c[j] + units.last, c_n + units.first);
    }
  }

  void zero_tail(const RowShare& rows, int part, int parts) {
    for (int64_t j = part; j < rows.count; j += parts) {
      const int64_t slot = rows.slot(j);
      T* y = static_cast<T*>(out_.y) + schedule_.batch_row(slot) * out_.y_row;
      for (int64_t t = schedule_.length(slot); t < layer_.steps; ++t)
        std::fill_n(y + t * out_.y_step, layer_.projected, T(0));
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

  // Rows of a block: enough to reuse a weight panel, few enough to stay in the cache.
  static constexpr int64_t block_rows = 192;
  // Rows in all steps that do not pay for packing the weights.
  static constexpr int64_t direct_rows = 4;
  static constexpr int64_t cached_bytes = 640 << 10;
  // Saved gates that the caches cannot hold until backward go past them.
  static constexpr int64_t streamed_bytes = 4 << 20;

  const Layer& layer_;
  const LayerOutput& out_;
  const Schedule schedule_;
  const Panels<T, Cell> panels_;
  const ForwardRows<T, Cell> rows_;
  const int64_t rows_in_all_;
  T *const saved_cells_, *const saved_norms_;  // null for inference; norms also without any
  const bool streams_, direct_;
  const ForwardWeights<T, Cell> weights_;
  const Buffer<T> cells_, unprojected_;
  const RestartRows<T> restart_;
  const int threads_;
  std::vector<Buffer<T>> z_;
  Barrier barrier_;
  std::atomic<bool> failed_{false};
};

}  // namespace GATEWISE_ISA
}  // namespace gatewise
