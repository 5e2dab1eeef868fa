// Forward through time: the input product of a block of steps, then step by step the recurrent
// product with the cell on the tile that is still in registers. Where both weights fit the cache the
// two products share a tile, and the input product is never stored.
//
// Rows are addressed by pointers, one per running row: the previous h of a row is its initial state,
// a row of y, or, after a cut, the zero row. That is all that lengths, resets and direction cost.
#pragma once
#include <atomic>
#include <vector>

#include "direct.h"
#include "pack.h"
#include "team.h"
#include "tile.h"

namespace gatewise {
namespace GATEWISE_ISA {

template <typename T, template <typename> class CellOf>
class Forward {
  using Cell = CellOf<T>;
  using Pack = Packer<T, Cell>;
  static constexpr int N = Simd<T>::lanes;
  static constexpr int vectors = Cell::vectors;
  static constexpr Part input = Cell::input, state = Cell::state;
  static constexpr bool has_cells = Cell::memory == Memory::cell;
  static_assert(Cell::units == 1 || (Cell::memory == Memory::none && !Cell::projects));

 public:
  Forward(const Layer& layer, const LayerOutput& out, int threads)
      : layer_(layer), out_(out), schedule_(layer), panels_(layer.hidden),
        saved_cells_(out.saved
                         ? static_cast<T*>(out.saved) +
                               layer.steps * layer.batch * panels_.saved_columns()
                         : nullptr),
        streams_(layer.steps * layer.batch * panels_.saved_columns() * int64_t(sizeof(T)) >=
                     streamed_bytes &&
                 std::uintptr_t(out.saved) % sizeof(Vec<T>) == 0),
        direct_(layer.steps * layer.batch <= direct_rows),
        projection_(layer.projected, N, tile_vectors),
        weight_ih_(direct_ ? 0 : panels_.count * layer.input * input.count * N),
        weight_hh_(direct_ ? 0 : panels_.count * layer.projected * state.count * N),
        bias_(panels_.count * vectors * N),
        weight_hr_(layer.weight_hr ? projection_.vectors * N * layer.hidden : 0),
        unprojected_(layer.weight_hr ? layer.batch * panels_.padded : 0),
        zeros_(std::max(layer.projected, panels_.padded)),
        threads_(worthwhile_threads(layer, threads, panels_.recurrent_columns())),
        barrier_(threads_) {
    std::fill_n(zeros_.get(), std::max(layer.projected, panels_.padded), T(0));
  }

  Status run(ParallelRun parallel) {
    parallel([](void* self, int thread, int team) {
      static_cast<Forward*>(self)->work(thread, team);
    }, this, threads_);
    return failed_ ? Status::no_memory : Status::ok;
  }

 private:
  // What one thread needs for its share: the input product of a block of steps, the running cell
  // states, and pointers to the rows of the block (x) and of a step; those to cell states are unused
  // by a cell without.
  struct Scratch {
    Buffer<T> z, cells;
    std::vector<const T*> x, h_before, c_before;
    std::vector<T*> saved, c, h;  // saved: the columns of a row, null for inference

    Scratch(int64_t rows, int64_t block_rows, const Panels<T, Cell>& panels)
        : z(block_rows * panels.count * input.count * N),
          cells(has_cells ? rows * panels.padded : 0), x(block_rows), h_before(rows),
          c_before(rows), saved(rows), c(rows), h(rows) {}
  };

  void work(int thread, int team) {
    const Split split =
        choose_split(layer_, team, panels_.count, panels_.recurrent_columns());
    const RowShare rows(layer_, split, thread, team);
    const bool by_units = split == Split::units;
    const int part = by_units ? thread : 0, parts = by_units ? team : 1;
    const Range panels = even_range(panels_.count, part, parts);
    const int64_t block = std::max<int64_t>(1, block_rows / std::max<int64_t>(1, rows.count));
    const int64_t steps_in_block = std::min(block, layer_.steps);

    pack(thread, team);
    std::unique_ptr<Scratch> scratch;
    try {
      scratch = std::make_unique<Scratch>(rows.count, steps_in_block * rows.count, panels_);
    } catch (const std::bad_alloc&) {
      failed_ = true;
    }
    barrier_.wait(thread, team);  // the weights are packed, and every thread knows of a failure
    if (failed_) return;

    if (has_cells) start_cells(*scratch, rows, panels);
    const bool fused = direct_ || shares_tile(rows.count);
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
          advance_directly(*scratch, panels, running, x);
        else
          advance(*scratch, panels, running, x, z_row(*scratch, block_row));
        if (by_units) barrier_.wait(thread, team);
        if (layer_.weight_hr) {
          project_state(*scratch, rows, step, running,
                        even_range(projection_.count, part, parts));
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

  void pack(int thread, int team) {
    const Range range = even_range(panels_.count, thread, team);
    for (int64_t p = range.first; p < range.last; ++p) {
      if (!direct_) {
        Pack::gate_panel(input, ih_panel(p), as<T>(layer_.weight_ih), p, layer_.hidden,
                         layer_.input);
        Pack::gate_panel(state, hh_panel(p), as<T>(layer_.weight_hh), p, layer_.hidden,
                         layer_.projected);
      }
      std::fill_n(bias_of(p), vectors * N, T(0));
      if (layer_.bias_ih) add_bias(input, p, as<T>(layer_.bias_ih));
      if (layer_.bias_hh) add_bias(state, p, as<T>(layer_.bias_hh));
    }
    if (!layer_.weight_hr) return;
    const Range chunks = even_range(projection_.count, thread, team);
    for (int64_t c = chunks.first; c < chunks.last; ++c)
      Pack::transposed_chunk(weight_hr_.get() + projection_.first_vector(c) * N * layer_.hidden,
                             as<T>(layer_.weight_hr), projection_, c, layer_.hidden);
  }

  void add_bias(const Part& part, int64_t p, const T* bias) {
    for (int i = 0; i < part.count; ++i) {
      const int64_t unit = first_unit<Cell, N>(p, i);
      T* sum = bias_of(p) + (part.first + i) * N;
      for (int64_t u = 0; u < std::min<int64_t>(N, layer_.hidden - unit); ++u)
        sum[u] += bias[part.gate[i] * layer_.hidden + unit + u];
    }
  }

  // The running cell states, padded to whole vectors, from c0.
  void start_cells(Scratch& scratch, const RowShare& rows, Range panels) {
    for (int64_t j = 0; j < rows.count; ++j) {
      const T* c0 = as<T>(layer_.c0) + schedule_.batch_row(rows.slot(j)) * layer_.hidden;
      for (int64_t p = panels.first; p < panels.last; ++p)
        store(scratch.cells.get() + j * panels_.padded + p * N,
              load_part(c0 + p * N, layer_.hidden - p * N));
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
    return scratch.z.get() + row * panels_.count * input.count * N;
  }

  // tile = bias + x·W_ihᵀ
  template <int R>
  GATEWISE_INLINE void input_product(Tile<T, R, vectors>& tile, const T* const* rows,
                                     int64_t p) const {
    RowPointers<T, R> x;
    for (int r = 0; r < R; ++r) {
      x.row[r] = rows[r];
      for (int v = 0; v < vectors; ++v) tile.v[r][v] = load(bias_of(p) + v * N);
    }
    multiply_columns<input.first, input.count>(tile, x, layer_.input, ih_panel(p));
  }

  void point_rows(Scratch& scratch, const RowShare& rows, int64_t s, int64_t running) {
    T* saved = static_cast<T*>(out_.saved);
    for (int64_t j = 0; j < running; ++j) {
      const int64_t slot = rows.slot(j), saved_row = schedule_.saved_row(s, slot);
      T* cell = has_cells ? scratch.cells.get() + j * panels_.padded : nullptr;
      T* y = y_row(s, slot);
      if (saved) scratch.saved[j] = saved + saved_row * panels_.saved_columns();
      scratch.c[j] = saved && has_cells ? saved_cells_ + saved_row * panels_.padded : cell;
      scratch.h[j] = layer_.weight_hr ? unprojected_.get() + slot * panels_.padded : y;
      if (schedule_.restarts(s, slot)) {
        scratch.h_before[j] = scratch.c_before[j] = zeros_.get();
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
    }
  }

  // One step: z += h_before·W_hhᵀ, then the cell, both on the tile. z starts from the rows of x if
  // they are given, and from the stored input product otherwise.
  void advance(Scratch& scratch, Range panels, int64_t running, const T* const* x,
               const T* stored) {
    for (int64_t p = panels.first; p < panels.last; ++p) {
      for_row_tiles(running, [&](auto R, int64_t row) {
        Tile<T, R, vectors> tile;
        RowPointers<T, R> h;
        for (int r = 0; r < R; ++r) h.row[r] = scratch.h_before[row + r];
        if (x)
          input_product(tile, x + row, p);
        else
          for (int r = 0; r < R; ++r) {
            const T* z = stored + ((row + r) * panels_.count + p) * input.count * N;
            for (int v = 0; v < vectors; ++v)
              tile.v[r][v] =
                  load(input.has(v) ? z + (v - input.first) * N : bias_of(p) + v * N);
          }
        multiply_columns<state.first, state.count>(tile, h, layer_.projected, hh_panel(p));
        for (int r = 0; r < R; ++r) finish_row(scratch, row + r, p, tile.v[r]);
      });
    }
  }

  // The same row by row, with the weights as they are.
  void advance_directly(Scratch& scratch, Range panels, int64_t running, const T* const* x) {
    for (int64_t p = panels.first; p < panels.last; ++p)
      for (int64_t j = 0; j < running; ++j) {
        Vec<T> z[vectors];
        for (int v = 0; v < vectors; ++v) z[v] = load(bias_of(p) + v * N);
        add_direct<T, Cell>(input, z, x[j], as<T>(layer_.weight_ih), p, layer_.hidden,
                            layer_.input);
        add_direct<T, Cell>(state, z, scratch.h_before[j], as<T>(layer_.weight_hh), p,
                            layer_.hidden, layer_.projected);
        finish_row(scratch, j, p, z);
      }
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
      const int64_t vector = projection_.first_vector(c);
      const T* panel = weight_hr_.get() + vector * N * layer_.hidden;
      with_constant<tile_vectors>(projection_.vectors_in(c), [&](auto NV) {
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
  T* ih_panel(int64_t p) const { return weight_ih_.get() + p * layer_.input * input.count * N; }
  T* hh_panel(int64_t p) const {
    return weight_hh_.get() + p * layer_.projected * state.count * N;
  }
  T* bias_of(int64_t p) const { return bias_.get() + p * vectors * N; }
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
  T* const saved_cells_;  // null for inference
  const bool streams_, direct_;
  const Chunks projection_;
  const Buffer<T> weight_ih_, weight_hh_, bias_, weight_hr_, unprojected_, zeros_;
  const int threads_;
  Barrier barrier_;
  std::atomic<bool> failed_{false};
};

}  // namespace GATEWISE_ISA
}  // namespace gatewise
