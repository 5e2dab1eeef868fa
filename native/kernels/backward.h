// Backward through time: block by block from the end, the recurrence with the cell's gradient on
// the tile in registers, then the gradients of weights and inputs while the block is in the cache.
// Derivation: src/gatewise/ops/reference/bptt_numpy.py. The saved arrays are only read.
#pragma once
#include <atomic>
#include <vector>

#include "backward_product.h"

namespace gatewise {
namespace GATEWISE_ISA {

template <typename T, template <typename> class CellOf>
class Backward {
  using Cell = CellOf<T>;
  using Pack = Packer<T, Cell>;
  using Share = GradientShare;
  using Arrays = GradientArrays<T, Cell>;
  using Pointers = StepPointers<T>;
  static constexpr int N = Simd<T>::lanes;
  static constexpr int64_t width = Cell::vectors * N;
  static constexpr Part input = Cell::input, state = Cell::state;
  static constexpr bool has_cells = Cell::memory == Memory::cell;
  static constexpr bool carries = Cell::memory != Memory::none;
  static_assert(Cell::units == 1 || (!carries && !Cell::projects));

 public:
  Backward(const Layer& layer, const LayerGradient& grad, int threads)
      : layer_(layer), grad_(grad), schedule_(layer), panels_(layer.hidden),
        saved_cells_(as<T>(grad.saved) + layer.steps * layer.batch * panels_.saved_columns()),
        threads_(worthwhile_threads(layer, threads, panels_.recurrent_columns())),
        units_(Chunks::balanced(layer.hidden, N, unit_team(), Cell::units)),
        state_(Chunks::balanced(layer.projected, N, unit_team(), Cell::units)),
        inputs_(Chunks::balanced(layer.input, N, unit_team())),
        weight_hh_(state_.vectors * N * panels_.count * state.count * N),
        weight_ih_(grad.grad_x ? inputs_.vectors * N * panels_.count * input.count * N : 0),
        weight_hr_(layer.weight_hr ? units_.vectors * N * layer.projected : 0),
        zeros_(std::max(layer.projected, panels_.padded)), arrays_(threads_),
        barrier_(threads_) {
    std::fill_n(zeros_.get(), std::max(layer.projected, panels_.padded), T(0));
  }

  Status run(ParallelRun parallel) {
    parallel([](void* self, int thread, int team) {
      static_cast<Backward*>(self)->work(thread, team);
    }, this, threads_);
    return failed_ ? Status::no_memory : Status::ok;
  }

 private:
  Split split_of(int team) const {
    return choose_split(layer_, team, panels_.count, panels_.recurrent_columns());
  }
  int unit_team() const { return split_of(threads_) == Split::units ? threads_ : 1; }

  void work(int thread, int team) {
    const Share share(layer_, split_of(team), thread, team, Cell::units, units_, state_, inputs_);
    const int64_t rows = share.rows.count;
    const int64_t blocks =
        std::clamp<int64_t>((layer_.steps * rows + block_rows / 2) / block_rows, 1, layer_.steps);
    const int64_t block = ceil_div(layer_.steps, blocks);
    std::unique_ptr<Pointers> at;
    try {
      at = std::make_unique<Pointers>(layer_, rows, block * rows);
      if (!share.by_units() || thread == 0) arrays_[thread] = Arrays(layer_, rows, block);
    } catch (const std::bad_alloc&) {
      failed_ = true;
    }
    pack(thread, team);
    barrier_.wait(thread, team);  // the weights are packed, and every thread knows of a failure
    if (failed_) return;

    Arrays& arrays = arrays_[share.by_units() ? 0 : thread];
    start(share, arrays);
    wait(share);
    bool first = true;
    for (int64_t last = layer_.steps; last > 0; last -= std::min(block, last))
      first &= !run_block(share, arrays, *at, std::max<int64_t>(0, last - block), last, first);
    if (grad_.grad_h0) finish_state(share, arrays, *at);
    barrier_.wait(thread, team);
    collect(thread, team, share.by_units() ? 1 : team);
  }

  void pack(int thread, int team) {
    const auto chunks = [&](const Chunks& all, auto&& pack_one) {
      const Range mine = even_range(all.count, thread, team);
      for (int64_t c = mine.first; c < mine.last; ++c) pack_one(c);
    };
    chunks(state_, [&](int64_t c) {
      Pack::gate_rows_chunk(state, hh_panel(c), as<T>(layer_.weight_hh), state_, c, layer_.hidden);
    });
    if (grad_.grad_x)
      chunks(inputs_, [&](int64_t c) {
        Pack::gate_rows_chunk(input, ih_panel(c), as<T>(layer_.weight_ih), inputs_, c,
                              layer_.hidden);
      });
    if (layer_.weight_hr)
      chunks(units_, [&](int64_t c) {
        Pack::plain_chunk(hr_panel(c), as<T>(layer_.weight_hr), units_, c, layer_.projected);
      });
  }

  // The bias sums start at zero, what is carried at grad_c_n, and x has no gradient beyond lengths.
  void start(const Share& share, Arrays& arrays) {
    const bool idle = share.rows.count == 0;  // adds nothing, so its sums must be zero
    for (int64_t p = share.panels.first; p < share.panels.last; ++p) {
      if (idle) arrays.ih.clear(p);
      if (idle) arrays.hh.clear(p);
      std::fill_n(arrays.bias(p), width, T(0));
      std::fill_n(arrays.dz(p, arrays.zero_row()), width, T(0));
    }
    if (layer_.weight_hr && idle)
      for (int64_t g = share.groups.first; g < share.groups.last; ++g) arrays.hr.clear(g);
    for (int64_t j = 0; j < share.rows.count; ++j) {
      const int64_t slot = share.rows.slot(j), b = schedule_.batch_row(slot);
      const T* dc_n = grad_.grad_c_n ? as<T>(grad_.grad_c_n) + b * layer_.hidden : zeros_.get();
      for (int64_t p = share.panels.first; carries && p < share.panels.last; ++p)
        store(arrays.carry(j) + p * N, load_part(dc_n + p * N, layer_.hidden - p * N));
      if (grad_.grad_x && (!share.by_units() || j % share.team == share.thread))
        for (int64_t t = schedule_.length(slot); t < layer_.steps; ++t)
          std::fill_n(dx_row(t, b), layer_.input, T(0));
    }
  }

  // Runs positions first to last-1 and returns whether any row runs there.
  bool run_block(const Share& share, Arrays& arrays, Pointers& at, int64_t first, int64_t last,
                 bool first_sum) {
    const auto running = [&](int64_t s) { return share.rows.running(schedule_.running(s)); };
    int64_t count = 0;
    for (int64_t s = first; s < last; ++s) count += running(s);
    if (count == 0) return false;
    int64_t row = count, behind = arrays.carried_row();
    for (int64_t s = last - 1; s >= first; --s) {
      row -= running(s);
      if (running(s) == 0) continue;
      point_rows(share, arrays, at, s, running(s), row, behind);
      step(share, arrays, at, running(s), row);
      if (carries) cut(share, arrays, s, running(s));
      wait(share);
      behind = row;
    }
    accumulate_weights(share, arrays, at, count, first_sum);
    if (grad_.grad_x) input_gradient(share, arrays, at, count);
    wait(share);  // all have read what the next block overwrites
    for (int64_t p = share.panels.first; p < share.panels.last; ++p)
      std::copy_n(arrays.dz(p, behind), running(first) * width,
                  arrays.dz(p, arrays.carried_row()));
    wait(share);
    return true;
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
      at.now[j] = has_cells ? saved_cells_ + saved * panels_.padded : y_row(t, b);
      at.dy[j] = as<T>(grad_.grad_y) + t * grad_.grad_y_step + b * grad_.grad_y_row;
      at.dh_n[j] = stays || !grad_.grad_h_n ? zeros_.get()
                                            : as<T>(grad_.grad_h_n) + b * layer_.projected;
      at.x[row + j] = as<T>(layer_.x) + t * layer_.x_step + b * layer_.x_row;
      at.dx[row + j] = grad_.grad_x ? dx_row(t, b) : nullptr;
      at.dh[row + j] = layer_.weight_hr ? arrays.dh(row + j) : nullptr;
      const T* c_before = zeros_.get();
      if (schedule_.restarts(s, slot)) {
        at.h_before[row + j] = zeros_.get();
      } else if (s == 0) {
        at.h_before[row + j] = as<T>(layer_.h0) + b * layer_.projected;
        if (has_cells) c_before = as<T>(layer_.c0) + b * layer_.hidden;
      } else {
        at.h_before[row + j] = y_row(schedule_.time(s - 1, slot), b);
        if (has_cells) c_before = saved_cells_ + schedule_.saved_row(s - 1, slot) * panels_.padded;
      }
      at.before[j] = has_cells ? c_before : at.h_before[row + j];
    }
  }

  // One step back: dh = dy + dz(behind)·W_hh, through the projection if there is one, then the cell.
  void step(const Share& share, Arrays& arrays, Pointers& at, int64_t running, int64_t row) {
    for (int64_t c = share.state_chunks.first; c < share.state_chunks.last; ++c) {
      const int64_t vector = state_.first_vector(c);
      dz_product<state>(
          arrays, at, at.behind.data(), running, hh_panel(c), state_.vectors_in(c),
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
      for_tiles(units_.vectors_in(c), running, [&](auto R, auto NV, int64_t j) {
        Tile<T, R, NV> tile{};
        RowPointers<T, R> dh;
        for (int r = 0; r < R; ++r) dh.row[r] = at.dh[row + j + r];
        multiply(tile, dh, layer_.projected, hr_panel(c));
        cell_gradient(arrays, at, tile, units_.first_vector(c), j, row);
      });
  }

  template <int R, int NV>
  GATEWISE_INLINE void cell_gradient(Arrays& arrays, Pointers& at, const Tile<T, R, NV>& tile,
                                     int64_t vector, int64_t j, int64_t row) {
    constexpr int columns = Cell::vectors / Cell::units;  // of one vector of units
    for (int r = 0; r < R; ++r)
      for (int v = 0; v < NV; ++v) {
        const int64_t p = (vector + v) / Cell::units, first = (vector + v) % Cell::units * columns;
        const int64_t unit = (vector + v) * N, rest = layer_.hidden - unit;
        Vec<T> z[columns];
        for (int i = 0; Cell::saves && i < columns; ++i)
          z[i] = load(at.z[j + r] + p * width + (first + i) * N);
        // Rows of h, h0 and c0 are not padded, so their last vector may be partial.
        const T* at_now = at.now[j + r] + unit;
        const Vec<T> now = has_cells ? load(at_now) : load_part(at_now, rest);
        const Vec<T> before = carries ? load_part(at.before[j + r] + unit, rest) : Vec<T>{};
        Vec<T> carry = carries ? load(arrays.carry(j + r) + unit) : Vec<T>{};
        const Vec<T> h = Cell::backward(z, now, before, tile.v[r][v], carry);
        if (carries) store(arrays.carry(j + r) + unit, carry);
        T* out = arrays.dz(p, row + j + r) + first * N;
        for (int i = 0; i < columns; ++i) store(out + i * N, z[i]);
        if (layer_.weight_hr) store(arrays.h(p, row + j + r), h);
      }
  }

  // A cut before position s keeps what is carried from the steps before it.
  void cut(const Share& share, Arrays& arrays, int64_t s, int64_t running) {
    for (int64_t j = 0; j < running; ++j)
      if (schedule_.restarts(s, share.rows.slot(j)))
        std::fill(arrays.carry(j) + share.panels.first * N,
                  arrays.carry(j) + share.panels.last * N, T(0));
  }

  void accumulate_weights(const Share& share, Arrays& arrays, Pointers& at, int64_t count,
                          bool first) {
    at.spread_x.spread(at.x, count);
    at.spread_h.spread(at.h_before, count);
    for (int64_t p = share.panels.first; p < share.panels.last; ++p) {
      const T* dz = arrays.dz(p, 0);
      arrays.ih.add(p, at.x.data(), count, dz + input.first * N, width, first);
      arrays.hh.add(p, at.h_before.data(), count, dz + state.first * N, width, first);
      add_bias(arrays.bias(p), dz, count);
    }
    if (layer_.weight_hr)
      for (int64_t g = share.groups.first; g < share.groups.last; ++g)
        arrays.hr.add(g, at.dh.data(), count, arrays.h(g * tile_vectors, 0), tile_vectors * N, first);
  }

  // Sums of a few rows first: adding one row after the other to a long sum would lose bits.
  static void add_bias(T* bias, const T* dz, int64_t count) {
    constexpr int64_t few = 32;
    for (int64_t first = 0; first < count; first += few) {
      Vec<T> sum[Cell::vectors] = {};
      for (int64_t m = first; m < std::min(first + few, count); ++m, dz += width)
        for (int v = 0; v < Cell::vectors; ++v) sum[v] += load(dz + v * N);
      for (int v = 0; v < Cell::vectors; ++v) store(bias + v * N, load(bias + v * N) + sum[v]);
    }
  }

  void input_gradient(const Share& share, Arrays& arrays, Pointers& at, int64_t count) {
    for (int64_t c = share.input_chunks.first; c < share.input_chunks.last; ++c)
      dz_product<input>(arrays, at, at.each.data(), count, ih_panel(c), inputs_.vectors_in(c),
                        zero_tile, [&](auto& tile, int64_t row) {
                          store_tile(tile, inputs_.first_vector(c), layer_.input,
                                     [&](int r) { return at.dx[row + r]; });
                        });
  }

  // The gradients of h0 and c0, from the carried rows of position 0.
  void finish_state(const Share& share, Arrays& arrays, Pointers& at) {
    T* dh0 = static_cast<T*>(grad_.grad_h0);
    T* dc0 = static_cast<T*>(grad_.grad_c0);
    for (int64_t j = 0; j < share.rows.count; ++j) {
      const int64_t slot = share.rows.slot(j), b = schedule_.batch_row(slot);
      at.behind[j] =
          schedule_.restarts(0, slot) ? arrays.zero_row() : arrays.carried_row() + j;
      for (int64_t p = share.panels.first; has_cells && p < share.panels.last; ++p)
        store_part(dc0 + b * layer_.hidden + p * N, load(arrays.carry(j) + p * N),
                   layer_.hidden - p * N);
    }
    for (int64_t c = share.state_chunks.first; c < share.state_chunks.last; ++c)
      dz_product<state>(
          arrays, at, at.behind.data(), share.rows.count, hh_panel(c), state_.vectors_in(c),
          [&](auto& tile, int64_t j, int r, int v) {
            const int64_t unit = (state_.first_vector(c) + v) * N;
            tile.v[r][v] = carries && !has_cells ? load(arrays.carry(j + r) + unit) : Vec<T>{};
          },
          [&](auto& tile, int64_t j) {
            store_tile(tile, state_.first_vector(c), layer_.projected, [&](int r) {
              return dh0 + schedule_.batch_row(share.rows.slot(j + r)) * layer_.projected;
            });
          });
  }

  // Adds up the members' sums in their order and writes them in the layout of the weights.
  void collect(int thread, int team, int members) {
    Arrays& sum = arrays_[0];
    const auto unpack = [&](const Part& part, void* out, const T* in, int64_t p, int64_t depth) {
      if (out)
        Pack::unpack_gate_panel(part, static_cast<T*>(out), in, p, layer_.hidden, depth);
    };
    const Range panels = even_range(panels_.count, thread, team);
    for (int64_t p = panels.first; p < panels.last; ++p) {
      for (int m = 1; m < members; ++m) {
        sum.ih.merge(arrays_[m].ih, p);
        sum.hh.merge(arrays_[m].hh, p);
        for (int64_t i = 0; i < width; ++i) sum.bias(p)[i] += arrays_[m].bias(p)[i];
      }
      unpack(input, grad_.grad_weight_ih, sum.ih.panel(p), p, layer_.input);
      unpack(state, grad_.grad_weight_hh, sum.hh.panel(p), p, layer_.projected);
      unpack(input, grad_.grad_bias_ih, sum.bias(p) + input.first * N, p, 1);
      unpack(state, grad_.grad_bias_hh, sum.bias(p) + state.first * N, p, 1);
    }
    if (!layer_.weight_hr) return;
    T* out = static_cast<T*>(grad_.grad_weight_hr);
    const Range groups = even_range(sum.groups(), thread, team);
    for (int64_t g = groups.first; g < groups.last; ++g) {
      for (int m = 1; m < members; ++m) sum.hr.merge(arrays_[m].hr, g);
      constexpr int64_t group = tile_vectors * N;
      const int64_t first = g * group, count = std::min(group, layer_.hidden - first);
      for (int64_t k = 0; k < layer_.projected; ++k)
        std::copy_n(sum.hr.panel(g) + k * group, count, out + k * layer_.hidden + first);
    }
  }

  // start + dz[rows]·weights for the weights of x or of h: see multiply_dz in backward_product.h.
  template <const Part& part, typename Start, typename Sink>
  void dz_product(const Arrays& arrays, Pointers& at, const int64_t* rows, int64_t count,
                const T* weights, int vectors, Start&& start, Sink&& sink) const {
    multiply_dz<T, Cell, part.first, part.count>(arrays, at.partial.get(), layer_.hidden, rows,
                                                 count, weights, vectors, start, sink);
  }

  static constexpr auto zero_tile = [](auto& tile, int64_t, int r, int v) {
    tile.v[r][v] = Vec<T>{};
  };

  void wait(const Share& share) {
    if (share.by_units()) barrier_.wait(share.thread, share.team);
  }

  T* hh_panel(int64_t c) const {
    return weight_hh_.get() + state_.first_vector(c) * N * panels_.count * state.count * N;
  }
  T* ih_panel(int64_t c) const {
    return weight_ih_.get() + inputs_.first_vector(c) * N * panels_.count * input.count * N;
  }
  T* hr_panel(int64_t c) const {
    return weight_hr_.get() + units_.first_vector(c) * N * layer_.projected;
  }
  const T* y_row(int64_t t, int64_t b) const {
    return as<T>(grad_.y) + t * grad_.y_step + b * grad_.y_row;
  }
  T* dx_row(int64_t t, int64_t b) const {
    return static_cast<T*>(grad_.grad_x) + (t * layer_.batch + b) * layer_.input;
  }

  // Rows of a block: the longer, the rarer are the weight gradients read and written; the shorter,
  // the better dz stays in the cache.
  static constexpr int64_t block_rows = 384;  // about: the blocks of a sequence are even

  const Layer& layer_;
  const LayerGradient& grad_;
  const Schedule schedule_;
  const Panels<T, Cell> panels_;
  const T* const saved_cells_;
  const int threads_;
  const Chunks units_, state_, inputs_;
  const Buffer<T> weight_hh_, weight_ih_, weight_hr_, zeros_;
  std::vector<Arrays> arrays_;
  Barrier barrier_;
  std::atomic<bool> failed_{false};
};

}  // namespace GATEWISE_ISA
}  // namespace gatewise
