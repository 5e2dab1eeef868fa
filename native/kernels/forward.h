// Forward through time: the input product of a block of steps, then step by step the recurrent
// product with the cell on the tile that is still in registers. Where both weights fit the cache the
// two products share a tile, and the input product is never stored.
#pragma once
#include <atomic>
#include <vector>

#include "forward_step.h"

namespace gatewise {
namespace GATEWISE_ISA {

template <typename P, template <typename> class CellOf>
class Forward : ForwardStep<P, CellOf> {
  using Step = ForwardStep<P, CellOf>;
  using typename Step::Cell, typename Step::Scratch, typename Step::T;
  using Step::N, Step::vectors, Step::input, Step::has_cells, Step::copies;
  using Step::layer_, Step::out_, Step::schedule_, Step::panels_, Step::rows_, Step::direct_;
  using Step::weights_, Step::cells_, Step::copied_h_, Step::units_of, Step::z_row;

 public:
  Forward(const Layer& layer, const LayerOutput& out, int threads)
      : Step(layer, out),
        threads_(worthwhile_threads(layer, threads, panels_.columns(), feeds_back<Cell>)),
        z_(threads_), barrier_(threads_) {}

  Status run(ParallelRun parallel) {
    parallel([](void* self, int thread, int team) {
      static_cast<Forward*>(self)->work(thread, team);
    }, this, threads_);
    return failed_ ? Status::no_memory : Status::ok;
  }

 private:
  void work(int thread, int team) {
    const TileScope registers;
    const FlushScope flush;
    const Split split = choose_split(layer_, team, panels_.count, panels_.columns());
    const RowShare rows(layer_, split, thread, team);
    const bool by_units = split == Split::units;
    const int part = by_units ? thread : 0, parts = by_units ? team : 1;
    // Panels that do not deal out evenly are for all threads, each with some of the rows.
    const bool shares = feeds_back<Cell> && !rowwise<Cell> && !direct_ && rows.count >= 4 * parts;
    const Range shared{panels_.count - (shares ? panels_.count % parts : 0), panels_.count};
    const Range panels = even_range(shared.first, part, parts);
    const Range finished{panels.first, part == parts - 1 ? shared.last : panels.last};
    const Range chunks = even_range(weights_.projection.count, part, parts);
    const int64_t block = std::max<int64_t>(1, block_rows / std::max<int64_t>(1, rows.count));
    const int64_t steps_in_block = std::min(block, layer_.steps);

    if (!layer_.packed) weights_.pack(thread, team);
    std::unique_ptr<Scratch> scratch;
    try {
      const int64_t in_block = steps_in_block * rows.count;
      scratch = std::make_unique<Scratch>(feeds_back<Cell> ? rows.count : in_block, in_block,
                                          direct_ ? 0 : layer_.input);
      if constexpr (rowwise<Cell>) scratch->draws = rows_.scratch();
      if (feeds_back<Cell> && part == 0)
        z_[thread] = Buffer<T>(in_block * panels_.count * input.count * N);
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
      if constexpr (!feeds_back<Cell>)
        if (!direct_) {
          run_block(*scratch, rows, panels, s, last, count);
          continue;
        }
      if (!fused) {
        project_input(*scratch, panels, {0, count});
        project_input(*scratch, shared, even_range(count, part, parts));
        if (shared.size()) barrier_.wait(thread, team);
      }
      int64_t block_row = 0;
      for (int64_t step = s; step < last; ++step) {
        const int64_t running = rows.running(schedule_.running(step));
        if (running == 0) break;
        this->point_rows(*scratch, rows, step, running);
        if (direct_)
          this->advance_directly(*scratch, rows, panels, running, scratch->x.data() + block_row);
        else
          for (const auto& [which, mine] : {std::pair(panels, Range{0, running}),
                                            std::pair(shared, even_range(running, part, parts))}) {
            this->advance(*scratch, rows, which, mine,
                          fused ? this->x_factors(*scratch) + block_row : nullptr,
                          z_row(*scratch, block_row));
            if (feeds_back<Cell> && !rowwise<Cell> && !layer_.weight_hr)
              this->copy_h(rows, step, mine, units_of(which));
          }
        if constexpr (twice<Cell>) {
          this->gate(*scratch, rows, panels, running);
          if (by_units) barrier_.wait(thread, team);
          this->advance_again(rows, panels, running);
        }
        if constexpr (rowwise<Cell>) {
          // Norms need whole rows, which are then dealt out; else every thread has its units of all.
          const bool deals = rows_.normalises && by_units;
          if (deals) barrier_.wait(thread, team);
          const Range mine = deals ? even_range(running, thread, team) : Range{0, running};
          const Range all = deals ? Range{0, panels_.count} : panels;
          this->run_rows(*scratch, rows, step, mine, all, block_row);
          if (!layer_.weight_hr) this->copy_h(rows, step, mine, units_of(all));
        }
        if (feeds_back<Cell> && by_units) barrier_.wait(thread, team);
        if (layer_.weight_hr) {
          this->project_state(*scratch, rows, step, running, chunks);
          if (by_units) barrier_.wait(thread, team);
        }
        const Range outputs = layer_.weight_hr ? even_range(layer_.projected, part, parts)
                                               : units_of(finished);
        this->finish_rows(*scratch, rows, step, running, finished, outputs);
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
      constexpr int cells = cell_states<Cell>;
      const T* c0 = has_cells ? as<T>(layer_.c0) + b * cells * layer_.hidden : nullptr;
      for (int m = 0; m < cells; ++m)
        for (int64_t unit = 0; unit < panels_.padded; unit += N)
          store(cells_.get() + slot * panels_.cells() + m * panels_.padded + unit,
                load_part(c0 + m * layer_.hidden + unit, layer_.hidden - unit));
      if constexpr (rowwise<Cell>) rows_.start(slot, b, this->restart_.h());
      if constexpr (copies) {
        copied_h_.set(this->copied_row(-1, slot), this->used_h(-1, slot));
        if (rows_.recurs) copied_h_.set(this->restarted_row(slot), this->restarted_h(slot));
      }
      if (schedule_.length(slot) > 0) continue;
      std::copy_n(h0, layer_.projected, static_cast<T*>(out_.h_n) + b * layer_.projected);
      if (has_cells)
        std::copy_n(c0, cells * layer_.hidden,
                    static_cast<T*>(out_.c_n) + b * cells * layer_.hidden);
    }
  }

  // Worth it while both packed weights stay in the second-level cache, and with rows enough to use
  // each vector of the weights several times.
  bool shares_tile(int64_t rows) const {
    const int64_t weights = weights_.ih_size() + weights_.hh_size();
    return rows >= 2 * tile_rows<Factor<P>> &&
           weights * panels_.count * int64_t(sizeof(T)) <= cached_bytes;
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
        if (!copies || direct_) continue;
        scratch.copied_x.set(count, scratch.x[count]);
        scratch.x_factors[count] = scratch.copied_x.row(count);
      }
    }
    return count;
  }

  // A block of a cell whose products do not wait for h: panel by panel through all its steps, with the
  // rows of several steps on one tile, one after the other in time.
  void run_block(Scratch& scratch, const RowShare& rows, Range panels, int64_t first, int64_t last,
                 int64_t count) {
    const auto each_step = [&](auto&& f) {
      int64_t row = 0;
      for (int64_t s = first; s < last; ++s) {
        const int64_t running = rows.running(schedule_.running(s));
        f(s, running, row);
        row += running;
      }
    };
    each_step([&](int64_t s, int64_t running, int64_t row) {
      this->point_rows(scratch, rows, s, running, row);
    });
    for (int64_t p = panels.first; p < panels.last; ++p)
      for_row_tiles<Factor<P>>(count, [&](auto R, int64_t row) {
        Tile<T, decltype(R), vectors> tile(R);
        this->input_product(tile, this->x_factors(scratch) + row, p);
        for (int r = 0; r < R.rows; ++r) this->finish_row(scratch, row + r, p, tile.v[r]);
      });
    each_step([&](int64_t s, int64_t running, int64_t) {
      this->finish_rows(scratch, rows, s, running, panels, units_of(panels));
    });
  }

  void project_input(Scratch& scratch, Range panels, Range mine) {
    for (int64_t p = panels.first; p < panels.last; ++p) {
      for_row_tiles<Factor<P>>(mine.size(), [&](auto R, int64_t first) {
        const int64_t row = mine.first + first;
#ifdef __AMX_BF16__
        if constexpr (in_tiles<P>)
          return this->multiply_input(z_row(scratch, row) + p * input.count * N, this->z_stride(),
                                      this->x_rows(R, this->x_factors(scratch) + row), p);
#endif
        Tile<T, decltype(R), vectors> tile(R);
        this->input_product(tile, this->x_factors(scratch) + row, p);
        for (int r = 0; r < R.rows; ++r)
          for (int v = 0; v < input.count; ++v)
            store(z_row(scratch, row + r) + (p * input.count + v) * N,
                  tile.v[r][input.first + v]);
      });
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

  // Rows of a block: enough to reuse a weight panel, few enough to stay in the cache.
  static constexpr int64_t block_rows = 192;
  static constexpr int64_t cached_bytes = 640 << 10;

  const int threads_;
  std::vector<Buffer<T>> z_;
  Barrier barrier_;
  std::atomic<bool> failed_{false};
};

}  // namespace GATEWISE_ISA
}  // namespace gatewise
