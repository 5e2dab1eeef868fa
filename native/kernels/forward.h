// Forward through time: the input product of a block of steps, then step by step the recurrent
// product with the cell on the tile that is still in registers. Where both weights fit the cache the
// two products share a tile, and the input product is never stored.
//
// Rows are addressed by pointers, one per running row: the previous h of a row is its initial state,
// a row of y, or, after a cut, the zero row. That is all that lengths, resets and direction cost.
#pragma once
#include <atomic>
#include <vector>

#include "pack.h"
#include "team.h"
#include "tile.h"

namespace gatewise {
namespace GATEWISE_ISA {

template <typename T, template <typename> class CellOf>
class Forward {
  using Cell = CellOf<T>;
  using Pack = Packer<T>;
  static constexpr int N = Simd<T>::lanes;

 public:
  Forward(const Layer& layer, const LayerOutput& out, int threads)
      : layer_(layer), out_(out), schedule_(layer), panels_(ceil_div(layer.hidden, N)),
        padded_(panels_ * N),
        streams_(layer.steps * layer.batch * gates * padded_ * int64_t(sizeof(T)) >= streamed_bytes &&
                 std::uintptr_t(out.saved_gates) % sizeof(Vec<T>) == 0),
        projection_(layer.projected, N, tile_vectors),
        weight_ih_(panels_ * layer.input * gates * N),
        weight_hh_(panels_ * layer.projected * gates * N), bias_(panels_ * gates * N),
        weight_hr_(layer.weight_hr ? projection_.vectors * N * layer.hidden : 0),
        unprojected_(layer.weight_hr ? layer.batch * padded_ : 0),
        zeros_(std::max(layer.projected, padded_)),
        threads_(worthwhile_threads(layer, threads)), barrier_(threads_) {
    std::fill_n(zeros_.get(), std::max(layer.projected, padded_), T(0));
  }

  Status run(ParallelRun parallel) {
    parallel([](void* self, int thread, int team) {
      static_cast<Forward*>(self)->work(thread, team);
    }, this, threads_);
    return failed_ ? Status::no_memory : Status::ok;
  }

 private:
  // What one thread needs for its share: the input product of a block of steps, the running cell
  // states, and pointers to the rows of the block (x) and of a step.
  struct Scratch {
    Buffer<T> z, cells;
    std::vector<const T*> x, h_before, c_before;
    std::vector<T*> saved, c, h;  // saved: the gates of a row, null for inference

    Scratch(int64_t rows, int64_t block_rows, int64_t padded)
        : z(block_rows * padded * gates), cells(rows * padded), x(block_rows), h_before(rows),
          c_before(rows), saved(rows), c(rows), h(rows) {}
  };

  void work(int thread, int team) {
    const Split split = choose_split(layer_, team, panels_);
    const RowShare rows(layer_, split, thread, team);
    const bool by_units = split == Split::units;
    const int part = by_units ? thread : 0, parts = by_units ? team : 1;
    const Range panels = even_range(panels_, part, parts);
    const int64_t block = std::max<int64_t>(1, block_rows / std::max<int64_t>(1, rows.count));
    const int64_t steps_in_block = std::min(block, layer_.steps);

    pack(thread, team);
    std::unique_ptr<Scratch> scratch;
    try {
      scratch = std::make_unique<Scratch>(rows.count, steps_in_block * rows.count, padded_);
    } catch (const std::bad_alloc&) {
      failed_ = true;
    }
    barrier_.wait(thread, team);  // the weights are packed, and every thread knows of a failure
    if (failed_) return;

    start_cells(*scratch, rows, panels);
    const bool fused = shares_tile(rows.count);
    for (int64_t s = 0; s < layer_.steps; s += steps_in_block) {
      const int64_t last = std::min(s + steps_in_block, layer_.steps);
      const int64_t count = point_block(*scratch, rows, s, last);
      if (!fused) project_input(*scratch, panels, count);
      int64_t block_row = 0;
      for (int64_t step = s; step < last; ++step) {
        const int64_t running = rows.running(schedule_.running(step));
        if (running == 0) break;
        point_rows(*scratch, rows, step, running);
        advance(*scratch, panels, running, fused ? scratch->x.data() + block_row : nullptr,
                z_row(*scratch, block_row));
        if (by_units) barrier_.wait(thread, team);
        if (layer_.weight_hr) {
          project_state(*scratch, rows, step, running,
                        even_range(projection_.count, part, parts));
          if (by_units) barrier_.wait(thread, team);
        }
        const Range outputs = layer_.weight_hr ? even_range(layer_.projected, part, parts)
                                               : Range{panels.first * N, panels.last * N};
        finish_rows(*scratch, rows, step, running, panels, outputs);
        block_row += running;
      }
    }
    zero_tail(rows, part, parts);
    stream_fence();
  }

  void pack(int thread, int team) {
    const T* bias_ih = static_cast<const T*>(layer_.bias_ih);
    const T* bias_hh = static_cast<const T*>(layer_.bias_hh);
    const Range range = even_range(panels_, thread, team);
    for (int64_t p = range.first; p < range.last; ++p) {
      const int64_t width = gates * N;
      Pack::gate_panel(weight_ih_.get() + p * layer_.input * width, as<T>(layer_.weight_ih), p,
                       layer_.hidden, layer_.input);
      Pack::gate_panel(weight_hh_.get() + p * layer_.projected * width, as<T>(layer_.weight_hh), p,
                       layer_.hidden, layer_.projected);
      for (int gate = 0; gate < gates; ++gate)
        for (int64_t u = 0; u < N; ++u) {
          const int64_t unit = p * N + u, at = gate * layer_.hidden + unit;
          bias_.get()[(p * gates + gate) * N + u] =
              bias_ih && unit < layer_.hidden ? bias_ih[at] + bias_hh[at] : T(0);
        }
    }
    if (!layer_.weight_hr) return;
    const Range chunks = even_range(projection_.count, thread, team);
    for (int64_t c = chunks.first; c < chunks.last; ++c)
      Pack::transposed_chunk(weight_hr_.get() + projection_.first_vector(c) * N * layer_.hidden,
                             as<T>(layer_.weight_hr), projection_, c, layer_.hidden);
  }

  // The running cell states, padded to whole vectors, from c0.
  void start_cells(Scratch& scratch, const RowShare& rows, Range panels) {
    for (int64_t j = 0; j < rows.count; ++j) {
      const T* c0 = as<T>(layer_.c0) + schedule_.batch_row(rows.slot(j)) * layer_.hidden;
      for (int64_t p = panels.first; p < panels.last; ++p)
        store(scratch.cells.get() + j * padded_ + p * N,
              load_part(c0 + p * N, layer_.hidden - p * N));
    }
  }

  // Worth it while both packed weights stay in the second-level cache, and with rows enough to use
  // each vector of the weights several times.
  bool shares_tile(int64_t rows) const {
    const int64_t weights = (layer_.input + layer_.projected) * padded_ * gates * int64_t(sizeof(T));
    return rows >= 2 * tile_rows && weights <= cached_bytes;
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
        Tile<T, R, gates> tile;
        input_product(tile, &scratch.x[row], p);
        for (int r = 0; r < R; ++r)
          for (int v = 0; v < gates; ++v)
            store(z_row(scratch, row + r) + (p * gates + v) * N, tile.v[r][v]);
      });
    }
  }

  // Row of the input product of a block.
  T* z_row(const Scratch& scratch, int64_t row) const {
    return scratch.z.get() + row * gates * padded_;
  }

  // tile = bias + x·W_ihᵀ
  template <int R>
  GATEWISE_INLINE void input_product(Tile<T, R, gates>& tile, const T* const* rows,
                                     int64_t p) const {
    RowPointers<T, R> x;
    for (int r = 0; r < R; ++r) {
      x.row[r] = rows[r];
      for (int v = 0; v < gates; ++v) tile.v[r][v] = load(bias_.get() + (p * gates + v) * N);
    }
    multiply(tile, x, layer_.input, weight_ih_.get() + p * layer_.input * gates * N);
  }

  void point_rows(Scratch& scratch, const RowShare& rows, int64_t s, int64_t running) {
    T* saved = static_cast<T*>(out_.saved_cells);
    T* saved_gates = static_cast<T*>(out_.saved_gates);
    for (int64_t j = 0; j < running; ++j) {
      const int64_t slot = rows.slot(j);
      T* cell = scratch.cells.get() + j * padded_;
      T* y = y_row(s, slot);
      if (saved_gates)
        scratch.saved[j] = saved_gates + schedule_.saved_row(s, slot) * gates * padded_;
      scratch.c[j] = saved ? saved + schedule_.saved_row(s, slot) * padded_ : cell;
      scratch.h[j] = layer_.weight_hr ? unprojected_.get() + slot * padded_ : y;
      if (schedule_.restarts(s, slot)) {
        scratch.h_before[j] = scratch.c_before[j] = zeros_.get();
      } else if (s == 0) {
        scratch.h_before[j] = as<T>(layer_.h0) + schedule_.batch_row(slot) * layer_.projected;
        scratch.c_before[j] = cell;
      } else {
        scratch.h_before[j] = y_row(s - 1, slot);
        scratch.c_before[j] = saved ? saved + schedule_.saved_row(s - 1, slot) * padded_ : cell;
      }
    }
  }

  // One step: z += h_before·W_hhᵀ, then the cell, both on the tile. z starts from the rows of x if they are given, and
  // from the stored input product otherwise.
  void advance(Scratch& scratch, Range panels, int64_t running, const T* const* x,
               const T* stored) {
    for (int64_t p = panels.first; p < panels.last; ++p) {
      const T* panel = weight_hh_.get() + p * layer_.projected * gates * N;
      const int64_t units = layer_.weight_hr ? N : layer_.hidden - p * N;
      for_row_tiles(running, [&](auto R, int64_t row) {
        Tile<T, R, gates> tile;
        RowPointers<T, R> h;
        for (int r = 0; r < R; ++r) h.row[r] = scratch.h_before[row + r];
        if (x)
          input_product(tile, x + row, p);
        else
          for (int r = 0; r < R; ++r)
            for (int v = 0; v < gates; ++v)
              tile.v[r][v] = load(stored + (row + r) * gates * padded_ + (p * gates + v) * N);
        multiply(tile, h, layer_.projected, panel);
        for (int r = 0; r < R; ++r) {
          Vec<T> c = load(scratch.c_before[row + r] + p * N);
          const Vec<T> h_new = Cell::forward(tile.v[r], c);
          store(scratch.c[row + r] + p * N, c);
          store_part(scratch.h[row + r] + p * N, h_new, units);
          if (!out_.saved_gates) continue;
          T* saved = scratch.saved[row + r] + p * gates * N;
          for (int v = 0; v < gates; ++v)
            streams_ ? stream(saved + v * N, tile.v[r][v]) : store(saved + v * N, tile.v[r][v]);
        }
      });
    }
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
    const Range units{panels.first * N, std::min(panels.last * N, layer_.hidden)};
    outputs.last = std::min(outputs.last, layer_.projected);
    for (int64_t j = staying; j < running; ++j) {
      const int64_t slot = rows.slot(j), b = schedule_.batch_row(slot);
      const T* y = y_row(s, slot);
      T* h_n = static_cast<T*>(out_.h_n) + b * layer_.projected;
      T* c_n = static_cast<T*>(out_.c_n) + b * layer_.hidden;
      std::copy(y + outputs.first, y + outputs.last, h_n + outputs.first);
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

  T* y_row(int64_t s, int64_t slot) const {
    return static_cast<T*>(out_.y) + schedule_.time(s, slot) * out_.y_step +
           schedule_.batch_row(slot) * out_.y_row;
  }

  // Rows of a block: enough to reuse a weight panel, few enough to stay in the cache.
  static constexpr int64_t block_rows = 192;
  static constexpr int64_t cached_bytes = 640 << 10;
  // Saved gates that the caches cannot hold until backward go past them.
  static constexpr int64_t streamed_bytes = 4 << 20;

  const Layer& layer_;
  const LayerOutput& out_;
  const Schedule schedule_;
  const int64_t panels_, padded_;
  const bool streams_;
  const Chunks projection_;
  const Buffer<T> weight_ih_, weight_hh_, bias_, weight_hr_, unprojected_, zeros_;
  const int threads_;
  Barrier barrier_;
  std::atomic<bool> failed_{false};
};

}  // namespace GATEWISE_ISA
}  // namespace gatewise
