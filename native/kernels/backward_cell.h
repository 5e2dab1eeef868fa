// What backward does with the gradient of h of a step for a cell that works row by row: masks and
// zoneout undone, the cell, the norms of the products, and the sums for what is no weight matrix.
#pragma once
#include "backward_arrays.h"
#include "norm.h"

namespace gatewise {
namespace GATEWISE_ISA {

// Where one row of a step finds its arrays.
template <typename T>
struct GradientPlace {
  int64_t j, batch_row, time;
  int64_t row;  // of the block
  const T *saved, *norms, *h_before, *c_before, *dy, *dh_n;
};

// Cells that work on tiles have none of it.
template <typename P, typename Cell, bool = rowwise<Cell>>
class BackwardCell {
 public:
  static constexpr bool normalises = false, recurs = false;
  BackwardCell(const Layer&, int) {}
  void make_sums(int) {}
};

template <typename P, typename Cell>
class BackwardCell<P, Cell, true> {
  using T = Number<P>;
  using Arrays = GradientArrays<P, Cell>;
  static constexpr int N = Simd<T>::lanes;
  static constexpr int64_t width = Cell::vectors * N;
  static constexpr Part input = Cell::input, state = Cell::state;
  static constexpr bool has_cells = Cell::memory == Memory::cell;

 public:
  BackwardCell(const Layer& layer, int threads)
      : normalises(layer.options.norm[0] != nullptr), layer_(layer), panels_(layer.hidden),
        masks_(layer.options), recurs(masks_.recurs()), norms_(layer), rows_(layer),
        padded_(ceil_div(layer.projected, N) * N), mask_(recurs ? layer.batch * padded_ : 0),
        sums_(threads) {}

  const bool normalises;

  void make_room(RowScratch<T>& scratch) const {
    const std::vector<T> row(room());
    scratch = {std::vector<T>(3 * room()), std::vector<T>(panels_.count * width), row, row, row};
  }
  Buffer<T> room_for_masked(int64_t rows) const { return Buffer<T>(recurs ? rows * padded_ : 0); }

  void make_sums(int thread) {
    sums_[thread] = RowSums<T>(panels_.count * width + norms_.sums() + rows_.sums);
  }
  void start(int64_t slot, int64_t batch_row) const {
    if (recurs) masks_.draw_recurrent(batch_row, padded_, mask(slot));
  }
  // What h of a slot was multiplied with on its way to the product, and that product, row `row` of room.
  T* mask(int64_t slot) const { return mask_.get() + slot * padded_; }
  const T* masked(const T* h, int64_t slot, T* room, int64_t row) const {
    T* out = room + row * padded_;
    for (int64_t u = 0; u < padded_; u += N)
      store(out + u, load_part(h + u, layer_.projected - u) * load(mask(slot) + u));
    return out;
  }

  // The whole gradient of h: `dh` holds what comes through the product and gets it; what zoneout lets
  // past goes to the carry.
  void arrive(const Arrays& arrays, const GradientPlace<T>& at, int64_t slot, Range units, T* dh,
              T* out, RowScratch<T>& scratch) const {
    const T* by = recurs ? mask(slot) : nullptr;
    T* zone = masks_.zones_h() ? scratch.draws.data() + 2 * room() : nullptr;
    if (layer_.weight_hr) masks_.draw(at.batch_row, at.time, units, nullptr, nullptr, zone);
    for (int64_t u = units.first; u < units.last; u += N) {
      const int64_t rest = layer_.projected - u;
      Vec<T> d = load(dh + u);
      if (by) d *= load(by + u);
      d += load_part(at.dy + u, rest) + load_part(at.dh_n + u, rest);
      d += load(arrays.carry_h(at.j) + u);
      const Vec<T> past = zone ? d * load(zone + u) : Vec<T>{};
      store(arrays.carry_h(at.j) + u, past);
      store_part(out + u, d - past, layer_.weight_hr ? rest : N);
    }
  }

  void draw(const GradientPlace<T>& at, Range units, RowScratch<T>& scratch) const {
    T* draws = scratch.draws.data();
    masks_.draw(at.batch_row, at.time, units, masks_.updates() ? draws : nullptr,
                masks_.zones_c() && has_cells ? draws + room() : nullptr,
                masks_.zones_h() && !layer_.weight_hr ? draws + 2 * room() : nullptr);
  }

  // From the gradient of the unprojected h to those of the products, in the rows of dz.
  void run(const Arrays& arrays, const GradientPlace<T>& at, const T* dh, Range panels, int thread,
           RowScratch<T>& scratch) {
    const T* zone = masks_.zones_c() && has_cells ? scratch.draws.data() + room() : nullptr;
    T* past_c = scratch.past_c.data();
    T* carry_c = has_cells ? arrays.carry_c(at.j) : nullptr;
    const Range units{panels.first * N, panels.last * N};
    for (int64_t u = units.first; zone && u < units.last; u += N) {
      const Vec<T> d = load(carry_c + u), past = d * load(zone + u);
      store(past_c + u, past);
      store(carry_c + u, d - past);
    }
    const T* moments = at.norms ? at.norms + norms_.scales() + norms_.own : nullptr;
    T* sum = sums_[thread].few();
    T* dz = scratch.dz.data();
    rows_.backward({at.saved, at.h_before, at.c_before,
                    masks_.updates() ? scratch.draws.data() : nullptr, moments, dh,
                    scratch.past_h.data(), carry_c, dz,
                    scratch.h.data()},
                   panels, sum + panels_.count * width + norms_.sums());
    for (int64_t u = units.first; u < units.last; u += N) {
      if (zone) add_to(carry_c + u, load(past_c + u));
      if (!has_cells) add_to(arrays.carry_h(at.j) + u, load(scratch.past_h.data() + u));
    }
    for (int64_t p = panels.first; p < panels.last; ++p) {
      if (layer_.weight_hr) store(arrays.h(p, at.row), load(scratch.h.data() + p * N));
      for (int v = 0; v < Cell::vectors; ++v) {
        const Vec<T> d = load(dz + p * width + v * N);
        // Biases stand outside the norms, but inside what is rounded for the products.
        add_to(sum + p * width + v * N, normalises ? d : rounded<P>(d));
        if (!normalises) store_factors<P>(arrays.dz(p, at.row) + v * N / group<P>, d, arrays.apart());
      }
    }
    if (normalises) {
      const auto store_from = [&](int64_t first) {
        return [&, first](int64_t p, int i, Vec<T> d) {
          store_factors<P>(arrays.dz(p, at.row) + (first + i * N) / group<P>, d, arrays.apart());
        };
      };
      norms_.backward(dz, at.norms, sum + panels_.count * width, store_from(arrays.state_first),
                      store_from(arrays.input_first));
    }
    sums_[thread].next();
  }

  // The rest of row j, row `row` of the block, once `dgated` is there, the gradient of the gated h. h: as
  // products have read it.
  void run_again(const Arrays& arrays, int64_t row, int64_t j, const T* saved, const T* h,
                 int64_t slot, const T* dgated, Range panels, int thread) {
    constexpr int r = Cell::state.first;  // the column of the gate
    T* sum = sums_[thread].few();
    for (int64_t p = panels.first; p < panels.last; ++p) {
      Vec<T> gated, carry;
      const Vec<T> d = rows_.gate_backward(saved, h, p, load(dgated + p * N), gated, carry);
      if (recurs) carry *= load(mask(slot) + p * N);
      store(arrays.gated(row) + p * N, gated);
      add_to(arrays.carry_h(j) + p * N, carry);
      add_to(sum + p * width + r * N, rounded<P>(d));
      store_factors<P>(arrays.dz(p, row) + r * N / group<P>, d, arrays.apart());
    }
    sums_[thread].next();
  }

  void finish(int thread) { sums_[thread].flush(); }

  // Adds up the sums of the team and writes the gradients that are no weight matrices; for one thread.
  void collect(const LayerGradient& grad, int team) {
    for (int m = 1; m < team; ++m) sums_[0].merge(sums_[m]);
    const T* at = sums_[0].total();
    const auto unpack = [&](const Part& part, const T* from, int64_t apart, void* to) {
      for (int i = 0; to && i < part.count; ++i)
        unpack_units(from + i * N, apart, layer_.hidden,
                     static_cast<T*>(to) + part.gate[i] * layer_.hidden);
    };
    for (void* to : {grad.grad_bias_ih, grad.grad_norm[1]})
      unpack(input, at + input.first * N, width, to);
    for (void* to : {grad.grad_bias_hh, grad.grad_norm[3]})
      unpack(state, at + state.first * N, width, to);
    unpack(again_of<Cell>, at + again_of<Cell>.first * N, width, grad.grad_bias_hh);
    at += panels_.count * width;
    if (normalises) {
      unpack(state, at, state.count * N, grad.grad_norm[2]);
      unpack(input, at + panels_.count * state.count * N, input.count * N, grad.grad_norm[0]);
    }
    rows_.unpack(at + norms_.sums(), grad);
  }

 private:
  int64_t room() const { return std::max(panels_.padded, padded_); }

  const Layer& layer_;
  const Panels<T, Cell> panels_;
  const Masks<T> masks_;

 public:
  const bool recurs;

 private:
  const GateNorms<T, Cell> norms_;
  const typename Cell::Rows rows_;
  const int64_t padded_;
  const Buffer<T> mask_;
  std::vector<RowSums<T>> sums_;
};

}  // namespace GATEWISE_ISA
}  // namespace gatewise
