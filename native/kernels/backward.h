// Backward through time: block by block from the end, the recurrence with the cell's gradient on
// the tile in registers (or, with options, row by row), then the gradients of weights and inputs while
// the block is in the cache.
// Derivation: src/gatewise/ops/reference/bptt_numpy.py. The saved arrays are only read.
#pragma once
#include <atomic>
#include <vector>

#include "backward_step.h"
#include "direct.h"

namespace gatewise {
namespace GATEWISE_ISA {

template <typename P, template <typename> class CellOf>
class Backward : BackwardStep<P, CellOf> {
  using Step = BackwardStep<P, CellOf>;
  using typename Step::Arrays, typename Step::Cell, typename Step::Pointers, typename Step::Share;
  using typename Step::T;
  using Step::N, Step::input, Step::state, Step::has_cells;
  using Step::layer_, Step::grad_, Step::schedule_, Step::panels_, Step::threads_, Step::weights_;
  using Step::cell_, Step::zeros_, Step::first_cells_, Step::barrier_, Step::wait, Step::dx_row;
  static constexpr int cells = cell_states<Cell>;

 public:
  Backward(const Layer& layer, const LayerGradient& grad, int threads)
      : Step(layer, grad, threads), arrays_(threads_), behind_cuts_(layer.projected) {}

  Status run(ParallelRun parallel) {
    parallel([](void* self, int thread, int team) {
      static_cast<Backward*>(self)->work(thread, team);
    }, this, threads_);
    return failed_ ? Status::no_memory : Status::ok;
  }

 private:
  void work(int thread, int team) {
    const TileScope registers;
    const FlushScope flush;
    const Share share(layer_, this->split_of(team), thread, team, Cell::units, weights_.units, weights_.h,
                      weights_.x);
    const int64_t rows = share.rows.count;
    const int64_t blocks =
        std::clamp<int64_t>((layer_.steps * rows + block_rows / 2) / block_rows, 1, layer_.steps);
    const int64_t block = ceil_div(layer_.steps, blocks);
    std::unique_ptr<Pointers> at;
    try {
      at = std::make_unique<Pointers>(layer_, rows, block * rows, twice<Cell>);
      if (!share.by_units() || thread == 0)
        arrays_[thread] = Arrays(layer_, rows, block, cell_.normalises, cell_.recurs);
      if (group<P> > 1) {
        const PanelLayout<P> layout{factors<P>(block * rows), Arrays::width_of(cell_.normalises) / N};
        at->outer_dz = Buffer<Factor<P>>(layout.size());
      }
      if constexpr (rowwise<Cell>) {
        cell_.make_sums(thread);
        cell_.make_room(at->scratch);
        at->used = cell_.room_for_masked(block * rows);
      }
    } catch (const std::bad_alloc&) {
      failed_ = true;
    }
    weights_.pack(thread, team);
    barrier_.wait(thread, team);  // the weights are packed, and every thread knows of a failure
    if (failed_) return;

    Arrays& arrays = arrays_[share.by_units() ? 0 : thread];
    start(share, arrays);
    wait(share);
    bool first = true;
    for (int64_t last = layer_.steps; last > 0; last -= std::min(block, last))
      first &= !run_block(share, arrays, *at, std::max<int64_t>(0, last - block), last, first);
    finish_state(share, arrays, *at);
    if constexpr (rowwise<Cell>) cell_.finish(thread);
    barrier_.wait(thread, team);
    collect(thread, team, share.by_units() ? 1 : team);
    if constexpr (rowwise<Cell>)
      if (thread == 0) cell_.collect(grad_, team);
  }

  // The bias sums start at zero, what is carried at grad_c_n, and x has no gradient beyond lengths.
  void start(const Share& share, Arrays& arrays) {
    // Without a row that runs nothing is added, so the sums must be zero.
    const bool idle = share.rows.running(schedule_.running(0)) == 0;
    for (int64_t p = share.panels.first; p < share.panels.last; ++p) {
      if (idle) arrays.clear(p);
      std::fill_n(arrays.bias(p), Cell::vectors * N, T(0));
      std::fill_n(arrays.dz(p, arrays.zero_row()), arrays.row_size(), Factor<P>(0));
      // Of the last panel there may be vectors of units that no step computes, but tile registers read.
      if (in_tiles<P> && Cell::units > 1 && p == panels_.count - 1)
        std::fill_n(arrays.dz(p, 0), arrays.panel_size(), Factor<P>(0));
      for (int64_t row = 0; row < arrays.cut_rows; ++row)
        std::fill_n(arrays.cuts(row, p), arrays.width, T(0));
    }
    if (layer_.weight_hr && idle)
      for (int64_t g = share.groups.first; g < share.groups.last; ++g) arrays.hr.clear(g);
    const Range units{share.panels.first * N, share.panels.last * N};
    const Range h_units = weights_.h.vector_range(share.state_chunks);
    for (int64_t j = -1; j < share.rows.count; ++j) {
      const int64_t b = j < 0 ? 0 : schedule_.batch_row(share.rows.slot(j));
      const T* dc_n =
          j < 0 || !grad_.grad_c_n ? zeros_.get() : as<T>(grad_.grad_c_n) + b * cells * layer_.hidden;
      for (int m = 0; m < cells; ++m)
        for (int64_t u = units.first; u < units.last; u += N)
          store(arrays.carry_c(j) + m * panels_.padded + u,
                load_part(dc_n + m * layer_.hidden + u, layer_.hidden - u));
      if (Arrays::carries_h)
        std::fill(arrays.carry_h(j) + h_units.first * N, arrays.carry_h(j) + h_units.last * N, T(0));
      if (j < 0 || (share.by_units() && j % share.team != share.thread)) continue;
      const int64_t slot = share.rows.slot(j);
      if constexpr (rowwise<Cell>) cell_.start(slot, b);
      for (int m = 0; cells > 1 && m < cells; ++m)
        for (int64_t u = 0; u < panels_.padded; u += N)
          store(first_cells_.get() + b * panels_.cells() + m * panels_.padded + u,
                load_part(as<T>(layer_.c0) + (b * cells + m) * layer_.hidden + u, layer_.hidden - u));
      for (int64_t t = schedule_.length(slot); grad_.grad_x && t < layer_.steps; ++t)
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
      this->point_rows(share, arrays, at, s, running(s), row, behind);
      if constexpr (rowwise<Cell>)
        this->step_by_rows(share, arrays, at, s, running(s), row);
      else
        this->step(share, arrays, at, running(s), row);
      if (feeds_back<Cell>) wait(share);
      if (layer_.reset) cut(share, arrays, s, running(s), row);
      behind = row;
    }
    arrays.accumulate(share, at, count, first_sum);
    if (!feeds_back<Cell>) wait(share);  // the gradient of x takes those of all units
    if (grad_.grad_x) input_gradient(share, arrays, at, count);
    wait(share);  // all have read what the next block overwrites
    for (int64_t p = share.panels.first; p < share.panels.last; ++p)
      std::copy_n(arrays.dz(p, behind), running(first) * arrays.row_size(),
                  arrays.dz(p, arrays.carried_row()));
    wait(share);
    return true;
  }

  // A cut before position s keeps what is carried from the steps before it; the state after the cut gets
  // it, and in the end what goes through the product.
  void cut(const Share& share, Arrays& arrays, int64_t s, int64_t running, int64_t row) {
    const Range units{share.panels.first * N, share.panels.last * N};
    const Range vectors = weights_.h.vector_range(share.state_chunks);
    const Range h_units{vectors.first * N, vectors.last * N};
    const auto move = [](Range range, T* from, T* to) {
      for (int64_t u = range.first; u < range.last; ++u) to[u] += std::exchange(from[u], T(0));
    };
    for (int64_t j = 0; j < running; ++j) {
      if (!schedule_.restarts(s, share.rows.slot(j))) continue;
      for (int m = 0; m < cells; ++m)
        move(units, arrays.carry_c(j) + m * panels_.padded, arrays.carry_c(-1) + m * panels_.padded);
      if (Arrays::carries_h) move(h_units, arrays.carry_h(j), arrays.carry_h(-1));
      for (int64_t p = share.panels.first; grad_.grad_restart_h && p < share.panels.last; ++p)
        for (int64_t i = 0; i < arrays.own_width(); i += N)
          add_to(arrays.cuts(cell_.recurs ? j : 0, p) + i,
                 load_factors<P>(arrays.dz(p, row + j) + i / group<P>, arrays.apart()));
    }
  }

  // Where the weights leave room in the second-level cache, as many rows at a time go through all of them as have
  // their dz there meanwhile, and threads that share the units share the rows here: half of dz comes from another
  // core either way.
  void input_gradient(const Share& share, Arrays& arrays, Pointers& at, int64_t count) {
    const int64_t row_bytes = panels_.count * arrays.row_size() * int64_t(sizeof(Factor<P>));
    const bool cached = weights_.ih_bytes() <= cached_weights, shares_rows = cached && share.by_units();
    const Range mine = shares_rows ? even_range(count, share.thread, share.team) : Range{0, count};
    const Range chunks = shares_rows ? Range{0, weights_.x.count} : share.input_chunks;
    const int parts = cached ? int(ceil_div(mine.size() * row_bytes, cached_bytes)) : 1;
    for (int i = 0; i < parts; ++i) {
      const Range part = even_range(mine.size(), i, parts), rows{mine.first + part.first, mine.first + part.last};
      for (int64_t c = chunks.first; c < chunks.last; ++c)
        multiply_dz_to<P, Cell, input.count>(
            arrays, arrays.input_first, at.partial.get(), layer_.hidden, at.each.data() + rows.first, rows.size(),
            weights_.ih_panel(c), weights_.x.vectors_in(c), at.dx.data() + rows.first,
            weights_.x.first_vector(c), layer_.input);
    }
  }

  // The gradients of h0 and c0, from the carried rows of position 0: dh = dz[behind]·W_hh, masked,
  // + carry + dh_n.
  void finish_state(const Share& share, Arrays& arrays, Pointers& at) {
    if (!grad_.grad_h0) return;
    const int64_t rows = share.rows.count;
    for (int64_t j = 0; j < rows; ++j) {
      const int64_t slot = share.rows.slot(j), b = schedule_.batch_row(slot);
      const bool runs = schedule_.length(slot) > 0;
      at.behind[j] = runs && !schedule_.restarts(0, slot) ? arrays.carried_row() + j
                                                          : arrays.zero_row();
      at.dh_n[j] = runs || !grad_.grad_h_n ? zeros_.get()
                                           : as<T>(grad_.grad_h_n) + b * layer_.projected;
      at.out[j] = static_cast<T*>(grad_.grad_h0) + b * layer_.projected;
      for (int m = 0; m < cells; ++m) {
        T* dc0 = static_cast<T*>(grad_.grad_c0) + (b * cells + m) * layer_.hidden;
        const T* carry = arrays.carry_c(j) + m * panels_.padded;
        for (int64_t p = share.panels.first; p < share.panels.last; ++p)
          store_part(dc0 + p * N, load(carry + p * N), layer_.hidden - p * N);
      }
    }
    for (int64_t c = share.state_chunks.first; c < share.state_chunks.last; ++c)
      this->state_product(arrays, at, rows, c, layer_.projected);
    const Range vectors = weights_.h.vector_range(share.state_chunks);
    const int64_t last = std::min(vectors.last * N, layer_.projected);
    for (int64_t j = 0; j < rows; ++j) {
      const T* mask = nullptr;
      if constexpr (rowwise<Cell>)
        if (cell_.recurs) mask = cell_.mask(share.rows.slot(j));
      for (int64_t u = vectors.first * N; u < last; ++u) {
        T d = at.out[j][u] * (mask ? mask[u] : T(1));
        if (Arrays::carries_h) d += arrays.carry_h(j)[u];
        at.out[j][u] = d + at.dh_n[j][u];
      }
    }
  }

  // Adds up the members' sums in their order and writes them in the layout of the weights.
  void collect(int thread, int team, int members) {
    const Range panels = even_range(panels_.count, thread, team);
    const Range groups = even_range(arrays_[0].groups(), thread, team);
    for (int m = 1; m < members; ++m) arrays_[0].merge(arrays_[m], panels, groups);
    arrays_[0].write(layer_, grad_, panels, groups);
    if (grad_.grad_restart_h && thread == 0) collect_restart(members);
  }

  // The gradient of the state after cuts: what was carried past the product there, and the product of the
  // sum over all cuts, one row or, with masks, one for each row of the batch.
  void collect_restart(int members) {
    T* dh = static_cast<T*>(grad_.grad_restart_h);
    T* dc = static_cast<T*>(grad_.grad_restart_c);
    std::fill_n(dh, layer_.projected, T(0));
    if (has_cells) std::fill_n(dc, cells * layer_.hidden, T(0));
    for (int m = 0; m < members; ++m) {
      const Arrays& arrays = arrays_[m];
      for (int64_t u = 0; Arrays::carries_h && u < layer_.projected; ++u)
        dh[u] += arrays.carry_h(-1)[u];
      for (int64_t s = 0; s < cells; ++s)
        for (int64_t u = 0; u < layer_.hidden; ++u)
          dc[s * layer_.hidden + u] += arrays.carry_c(-1)[s * panels_.padded + u];
      const RowShare rows(layer_, members > 1 ? Split::rows : Split::units, m, members);
      for (int64_t row = 0; row < arrays.cut_rows; ++row) {
        T* through = behind_cuts_.get();
        std::fill_n(through, layer_.projected, T(0));
        for (int64_t p = 0; p < panels_.count; ++p)
          add_direct_transposed<P, Cell>(state, through, arrays.cuts(row, p) + arrays.state_first,
                                         as<T>(layer_.weight_hh), p, layer_.hidden,
                                         layer_.projected);
        const T* mask = nullptr;
        if constexpr (rowwise<Cell>)
          if (cell_.recurs) mask = cell_.mask(rows.slot(row));
        for (int64_t u = 0; u < layer_.projected; ++u)
          dh[u] += through[u] * (mask ? mask[u] : T(1));
      }
    }
  }

  // Rows of a block: the longer, the rarer are the weight gradients read and written; the shorter,
  // the better dz stays in the cache.
  static constexpr int64_t block_rows = 384;  // about: the blocks of a sequence are even
  static constexpr int64_t cached_bytes = 1 << 20, cached_weights = 2 << 20;

  std::vector<Arrays> arrays_;
  const Buffer<T> behind_cuts_;
  std::atomic<bool> failed_{false};
};

}  // namespace GATEWISE_ISA
}  // namespace gatewise
