// Cells with options work row by row: the products of a step go to memory, and then the cell runs over
// the units of one row, so that what needs a whole row (layer normalisation) or much code (masks,
// functions chosen at run time) has its place. Plain cells run on the tiles of the product instead.
//
// Such a cell is a class template on the element type with the constants of cell.h and a type Rows,
// made once per call from the layer, with
//
//   forward(ForwardRow, panels)            turns pre-activations into what backward needs, c and h
//   backward(BackwardRow, panels, sums)    turns gradients of h and c into those of pre-activations
//   sums                                   how many sums over all rows backward adds up, of its own
//   unpack(sums, LayerGradient)            writes them where the caller wants them
//   gate, gate_backward                    for a cell with a second product: what that reads
//
// Rows of units are padded to whole panels; what stands behind the last unit is zero or ignored.
#pragma once
#include <vector>

#include "cell.h"
#include "philox.h"

namespace gatewise {
namespace GATEWISE_ISA {

template <typename C, typename = void>
constexpr bool rowwise = false;
template <typename C>
constexpr bool rowwise<C, std::void_t<typename C::Rows>> = true;

// What runs on tiles: the cell, or nothing for one that works row by row.
template <typename C>
using Pointwise = std::conditional_t<rowwise<C>, AnyLayer, C>;

template <typename T>
struct ForwardRow {
  T* z;               // pre-activations, [panel][column][N]; the cell may leave anything there
  const T* h_before;  // not padded
  const T* c_before;
  const T* update;    // what a candidate is multiplied with, or null
  T* h;               // not padded unless it is projected next
  T* c;               // before zoneout
  T* saved;           // columns, or null
  T* moments;         // two numbers that backward gets back, or null
  bool pads_h;
};

template <typename T>
struct BackwardRow {
  const T* saved;     // columns
  const T *h_before, *c_before;  // not padded
  const T* update;
  const T* moments;
  const T* dh;
  T* carry_h;         // out: what goes straight to the h before
  T* carry_c;         // gradient of the new c before zoneout in, of the c before out
  T* dz;              // out: [panel][column][N]
  T* h;               // out: h before any projection; the LSTM's alone
};

// Room of one thread in backward: three rows of draws, gradients of pre-activations, what goes straight
// to the state before, and h before its projection.
template <typename T>
struct RowScratch {
  std::vector<T> draws, dz, past_h, past_c, h;
};

// Copies of the `count` rows of H that stand one after the other at `from`, as [panel][row][N].
template <typename T>
std::vector<T> pack_units(const void* from, int64_t count, int64_t hidden, int64_t panels) {
  constexpr int N = Simd<T>::lanes;
  std::vector<T> packed(from ? panels * count * N : 0);
  for (int64_t unit = 0; from && unit < hidden; ++unit)
    for (int64_t i = 0; i < count; ++i)
      packed[(unit / N * count + i) * N + unit % N] = as<T>(from)[i * hidden + unit];
  return packed;
}

// The reverse for one row; its vectors lie `apart`.
template <typename T>
void unpack_units(const T* packed, int64_t apart, int64_t hidden, T* to) {
  constexpr int N = Simd<T>::lanes;
  for (int64_t unit = 0; unit < hidden; ++unit) to[unit] = packed[unit / N * apart + unit % N];
}

// Sums over rows of one thread. A few rows are summed apart first: adding one after the other to a
// long sum would lose bits.
template <typename T>
class RowSums {
 public:
  RowSums() = default;
  explicit RowSums(int64_t count) : count_(count), few_(count), total_(count) {
    std::fill_n(few_.get(), count, T(0));
    std::fill_n(total_.get(), count, T(0));
  }

  T* few() const { return few_.get(); }
  const T* total() const { return total_.get(); }

  // After each row.
  void next() {
    if (++rows_ % 32 == 0) flush();
  }
  void flush() {
    for (int64_t i = 0; i < count_; ++i) {
      total_.get()[i] += few_.get()[i];
      few_.get()[i] = T(0);
    }
  }
  void merge(const RowSums& other) {
    for (int64_t i = 0; i < count_; ++i) total_.get()[i] += other.total()[i];
  }

 private:
  int64_t count_ = 0, rows_ = 0;
  Buffer<T> few_, total_;
};

// at[0…N) += v
template <typename T>
GATEWISE_INLINE void add_to(T* at, Vec<T> v) {
  store(at, load(at) + v);
}

// Dropout and zoneout: the masks of one layer.
template <typename T>
class Masks {
  static constexpr int N = Simd<T>::lanes;

 public:
  explicit Masks(const Options& o)
      : random_(o.seed != nullptr), philox_(o.seed ? *o.seed : 0, o.stream),
        first_step_(o.first_step), update_(random_ ? o.update : 0),
        recurrent_(random_ ? o.recurrent : 0), zone_c_(o.zoneout_c), zone_h_(o.zoneout_h) {}

  bool updates() const { return update_ > 0; }
  bool recurs() const { return recurrent_ > 0; }
  bool zones_c() const { return zone_c_ > 0; }
  bool zones_h() const { return zone_h_ > 0; }

  // For the units of a step of one row, `units` whole vectors: what the candidate is multiplied with,
  // and how much of the old c and h stays. Null for what is not wanted.
  void draw(int64_t row, int64_t time, Range units, T* update, T* zone_c, T* zone_h) const {
    if (!random_) {
      if (zone_c) std::fill(zone_c + units.first, zone_c + units.last, T(zone_c_));
      if (zone_h) std::fill(zone_h + units.first, zone_h + units.last, T(zone_h_));
      return;
    }
    if (!update && !zone_c && !zone_h) return;
    const uint64_t limit_u = hit_limit(update_), limit_c = hit_limit(zone_c_);
    const uint64_t limit_h = hit_limit(zone_h_);
    const T kept = scale(update_);
    for (int64_t unit = units.first; unit < units.last; unit += Philox::lanes) {
      Philox::Lanes word[4];
      philox_.draw(uint32_t(unit), uint32_t(row), uint32_t(time + first_step_), word);
      if (update) choose<T>(word[0], limit_u, T(0), kept, update + unit);
      if (zone_c) choose<T>(word[1], limit_c, T(1), T(0), zone_c + unit);
      if (zone_h) choose<T>(word[2], limit_h, T(1), T(0), zone_h + unit);
    }
  }

  // What h of a row is multiplied with on its way to the product, the same for every step; `units`
  // whole vectors.
  void draw_recurrent(int64_t row, int64_t units, T* mask) const {
    fill(philox_, recurrent_, uint32_t(row), per_sequence, 0, units, mask);
  }

  // A row of inverted dropout: zero with the probability, else 1 / (1 - probability).
  static void fill(const Philox& philox, double probability, uint32_t row, uint32_t step, int word,
                   int64_t units, T* mask) {
    for (int64_t unit = 0; unit < units; unit += Philox::lanes) {
      Philox::Lanes words[4];
      philox.draw(uint32_t(unit), row, step, words);
      choose<T>(words[word], hit_limit(probability), T(0), scale(probability), mask + unit);
    }
  }

 private:
  static T scale(double probability) { return T(probability < 1 ? 1 / (1 - probability) : 0); }

  bool random_;
  Philox philox_;
  int64_t first_step_;
  double update_, recurrent_, zone_c_, zone_h_;
};

}  // namespace GATEWISE_ISA
}  // namespace gatewise
