// What a thread of forward works with; and what happens after the products of a step for a cell that
// works row by row: the norms of the products, the cell, zoneout, and h masked for the next product.
// Arrays are indexed by slot, so that any thread may take a row.
#pragma once
#include "norm.h"
#include "operand.h"

namespace gatewise {
namespace GATEWISE_ISA {

// Copies of rows as the products read them; without room where they read the rows themselves.
template <typename P>
class OperandRows {
 public:
  OperandRows(int64_t rows, int64_t width)
      : width_(width), apart_(apart(width)), rows_(copied<P> ? rows * parts<P> * apart_ : 0) {
    const int64_t filled = padded_factors<P>(width);
    for (int64_t i = 0; filled < apart_ && i < rows * parts<P>; ++i)
      std::fill(rows_.get() + i * apart_ + filled, rows_.get() + (i + 1) * apart_, Factor<P>(0));
  }

  Factor<P>* row(int64_t i) const { return rows_.get() + i * parts<P> * apart_; }
  // From one part of an operand to the next.
  int64_t apart() const { return apart_; }
  static constexpr int64_t apart(int64_t width) { return whole_depth<P>(padded_factors<P>(width)); }
  void set(int64_t i, const Number<P>* from) const { set(i, from, {0, width_}); }
  // A range of units, from a whole vector on.
  void set(int64_t i, const Number<P>* from, Range units) const {
    store_row<P>(row(i), from, width_, units, apart_);
  }

 private:
  int64_t width_, apart_;
  Buffer<Factor<P>> rows_;
};

// What one thread needs for its share: pointers to the rows of a block (x) and of a step; those to cell
// states are unused by a cell without.
template <typename P>
struct ForwardScratch {
  using T = Number<P>;

  T* z = nullptr;  // the input product of a block of steps; one for all if units are split
  std::vector<const T*> x, h_before, h_used, c_before;  // h_used: as the product takes h, but for its precision
  std::vector<T*> saved, c, h;  // saved: the columns of a row, null for inference
  std::vector<T> draws;
  OperandRows<P> copied_x;
  std::vector<const Factor<P>*> x_factors, h_factors;  // what products read if it is a copy

  ForwardScratch(int64_t rows, int64_t block_rows, int64_t input)
      : x(block_rows), h_before(rows), h_used(rows), c_before(rows), saved(rows), c(rows), h(rows),
        copied_x(block_rows, input), x_factors(block_rows), h_factors(rows) {}
};

// Where one row of a step finds its arrays; null where there is none.
template <typename T>
struct RowPlace {
  int64_t slot, batch_row, time, step;
  const T* x;  // the input product, without biases
  const T *h_before, *c_before;
  T *h, *c, *saved, *norms;
};

// Cells that work on tiles have none of it.
template <typename T, typename Cell, bool = rowwise<Cell>>
class ForwardRows {
 public:
  static constexpr bool normalises = false, recurs = false;
  explicit ForwardRows(const Layer&) {}
};

template <typename T, typename Cell>
class ForwardRows<T, Cell, true> {
  static constexpr int N = Simd<T>::lanes;
  static constexpr int64_t width = Cell::vectors * N;

 public:
  explicit ForwardRows(const Layer& layer)
      : normalises(layer.options.norm[0] != nullptr), layer_(layer), panels_(layer.hidden),
        masks_(layer.options), recurs(masks_.recurs()), norms_(layer), rows_(layer),
        padded_(ceil_div(layer.projected, N) * N), products_(layer.batch * panels_.count * width),
        used_(recurs ? 4 * layer.batch * padded_ : 0),
        gated_(twice<Cell> ? layer.batch * panels_.padded : 0) {}

  const bool normalises;  // whether the cell needs whole rows

  // Room for the draws of one thread, and for a new c before zoneout.
  std::vector<T> scratch() const { return std::vector<T>(4 * std::max(panels_.padded, padded_)); }

  // The pre-activations of a slot.
  T* product(int64_t slot) const { return products_.get() + slot * panels_.count * width; }

  // h of a slot as the product after step s reads it; the one after -1 is h0.
  T* used(int64_t s, int64_t slot) const {
    return used_.get() + (((s & 1) + 1) * layer_.batch + slot) * padded_;
  }

  // h of a slot as the second product of a step reads it.
  T* gated(int64_t slot) const { return gated_.get() + slot * panels_.padded; }

  // Between the two products of a step; h: as the first has read it.
  void gate(int64_t slot, const T* h, Range panels) const {
    rows_.gate(product(slot), h, gated(slot), panels);
  }

  // The same of the state after a cut.
  T* restarted(int64_t slot) const { return used_.get() + (3 * layer_.batch + slot) * padded_; }

  // Before the first step, for the rows whose h0 the first product reads; restart: h after a cut.
  void start(int64_t slot, int64_t batch_row, const T* restart) const {
    if (!recurs) return;
    const Range all{0, padded_};
    masks_.draw_recurrent(batch_row, padded_, mask(slot));
    mask_h(slot, as<T>(layer_.h0) + batch_row * layer_.projected, all, used(-1, slot));
    mask_h(slot, restart, all, restarted(slot));
  }

  // bias: of all panels. draws: scratch of the thread.
  void run(const RowPlace<T>& at, const T* bias, Range panels, std::vector<T>& draws) const {
    const bool projects = layer_.weight_hr != nullptr;
    const int64_t room = int64_t(draws.size()) / 4;
    T* update = masks_.updates() ? draws.data() : nullptr;
    T* zone_c = masks_.zones_c() && Cell::memory == Memory::cell ? draws.data() + room : nullptr;
    T* zone_h = masks_.zones_h() && !projects ? draws.data() + 2 * room : nullptr;
    const Range units{panels.first * N, panels.last * N};
    masks_.draw(at.batch_row, at.time, units, update, zone_c, zone_h);
    T* z = product(at.slot);
    if (normalises) norms_.forward(z, at.x, bias, at.norms);
    T* moments = at.norms ? at.norms + norms_.scales() + norms_.own : nullptr;
    // The new c may take the place of the old one, which zoneout wants once more.
    T* c = zone_c ? draws.data() + 3 * room : at.c;
    rows_.forward({z, at.h_before, at.c_before, update, at.h, c, at.saved, moments, projects},
                  panels);
    for (int64_t u = units.first; zone_c && u < units.last; u += N) {
      const Vec<T> old = load(zone_c + u);
      store(at.c + u, old * load(at.c_before + u) + (T(1) - old) * load(c + u));
    }
    if (!projects) settle(at, zone_h, units);
  }

  // The same for a projected h, whose width is not that of the cell.
  void settle_projected(const RowPlace<T>& at, Range units, std::vector<T>& draws) const {
    T* zone_h = masks_.zones_h() ? draws.data() : nullptr;
    masks_.draw(at.batch_row, at.time, units, nullptr, nullptr, zone_h);
    settle(at, zone_h, units);
  }

 private:
  void settle(const RowPlace<T>& at, const T* zone, Range units) const {
    for (int64_t u = units.first; zone && u < units.last; u += N) {
      const int64_t rest = layer_.projected - u;
      const Vec<T> old = load(zone + u);
      store_part(at.h + u, old * load_part(at.h_before + u, rest) +
                               (T(1) - old) * load_part(at.h + u, rest), rest);
    }
    if (recurs) mask_h(at.slot, at.h, units, used(at.step, at.slot));
  }

  void mask_h(int64_t slot, const T* h, Range units, T* masked) const {
    const T* by = mask(slot);
    for (int64_t u = units.first; u < std::min(units.last, padded_); u += N)
      store(masked + u, load_part(h + u, layer_.projected - u) * load(by + u));
  }

  T* mask(int64_t slot) const { return used_.get() + slot * padded_; }

  const Layer& layer_;
  const Panels<T, Cell> panels_;
  const Masks<T> masks_;

 public:
  const bool recurs;  // whether products read a masked h

 private:
  const GateNorms<T, Cell> norms_;
  const typename Cell::Rows rows_;
  const int64_t padded_;  // of a row of h
  const Buffer<T> products_, used_, gated_;
};

}  // namespace GATEWISE_ISA
}  // namespace gatewise
