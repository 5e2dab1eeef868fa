// Which row of the batch is at which time step when: lengths, resets and direction in one place.
//
// Rows are ordered by length, longest first, so that the rows still running at any step are a
// prefix. A row in the reverse direction starts at its own last valid step; running position s then
// stands for time length-1-s. Saved arrays hold one row per running (s, slot), in that order.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

#include "../gatewise.h"

namespace gatewise {
namespace GATEWISE_ISA {

inline bool lengths_valid(const Layer& layer) {
  for (int64_t b = 0; layer.lengths && b < layer.batch; ++b)
    if (layer.lengths[b] < 0 || layer.lengths[b] > layer.steps) return false;
  return true;
}

class Schedule {
 public:
  explicit Schedule(const Layer& layer)
      : layer_(layer), order_(layer.batch), length_(layer.batch), first_row_(layer.steps + 1) {
    for (int64_t b = 0; b < layer.batch; ++b) order_[b] = b;
    if (layer.lengths)
      std::stable_sort(order_.begin(), order_.end(),
                       [&](int64_t a, int64_t b) { return layer.lengths[a] > layer.lengths[b]; });
    for (int64_t g = 0; g < layer.batch; ++g)
      length_[g] = layer.lengths ? layer.lengths[order_[g]] : layer.steps;
    int64_t running = layer.batch;
    for (int64_t s = 0; s < layer.steps; ++s) {
      while (running > 0 && length_[running - 1] <= s) --running;
      first_row_[s + 1] = first_row_[s] + running;
    }
  }

  int64_t batch_row(int64_t slot) const { return order_[slot]; }
  int64_t length(int64_t slot) const { return length_[slot]; }

  // Rows running at position s: the slots 0 to running(s) - 1.
  int64_t running(int64_t s) const { return s < layer_.steps ? first_row_[s + 1] - first_row_[s] : 0; }

  // Row of (s, slot) in the saved arrays.
  int64_t saved_row(int64_t s, int64_t slot) const { return first_row_[s] + slot; }

  int64_t time(int64_t s, int64_t slot) const { return layer_.reverse ? length_[slot] - 1 - s : s; }

  // Whether the state is replaced by the initial one before position s. A cut at t lies between
  // t-1 and t: running forward it acts before t, running backward before t-1.
  bool restarts(int64_t s, int64_t slot) const {
    if (!layer_.reset || (layer_.reverse && s == 0) || s >= length_[slot]) return false;
    const int64_t cut = time(s, slot) + (layer_.reverse ? 1 : 0);
    return layer_.reset[cut * layer_.batch + order_[slot]] != 0;
  }

 private:
  const Layer& layer_;
  std::vector<int64_t> order_, length_, first_row_;
};

}  // namespace GATEWISE_ISA
}  // namespace gatewise
