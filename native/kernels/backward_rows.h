// What a thread works with on its way back: its share of rows and units, the arrays of its team
// member, and the pointers to the rows of a step.
//
// The gradients of the pre-activations of a block (dz) live in scratch of one block, in the layout
// [panel][row][column][N]: a row of it is the broadcast operand of dh and dx, a panel of it is the
// packed operand of the weight gradients. Its rows are those of the block, then those of the step
// behind it in time (carried over from the block before), then one row of zeros for sequences that
// end or restart.
#pragma once
#include <numeric>
#include <vector>

#include "weight_gradient.h"

namespace gatewise {
namespace GATEWISE_ISA {

// With rows split every thread has its own arrays; with units split those of thread 0 serve all,
// each thread writing its panels.
template <typename T, typename Cell>
class GradientArrays {
  static constexpr int N = Simd<T>::lanes;
  static constexpr int64_t group = tile_vectors * N;
  using InputSum = WeightGradient<T, Cell::input.count>;
  using StateSum = WeightGradient<T, Cell::state.count>;
  using ProjectionSum = WeightGradient<T, tile_vectors>;

 public:
  static constexpr int64_t width = Cell::vectors * N;  // of a row in a panel

  GradientArrays() = default;
  GradientArrays(const Layer& layer, int64_t rows, int64_t block)
      : panels(layer.hidden), capacity(block * rows), dz_rows(capacity + rows + 1),
        dz_(panels.count * dz_rows * width),
        carry_(Cell::memory == Memory::none ? 0 : rows * panels.padded),
        bias_(panels.count * width), dh_(layer.weight_hr ? capacity * layer.projected : 0),
        h_(layer.weight_hr ? groups() * capacity * group : 0), ih(panels.count, layer.input),
        hh(panels.count, layer.projected), projected_(layer.projected) {
    if (layer.weight_hr) hr = ProjectionSum(groups(), layer.projected);
  }

  int64_t groups() const { return ceil_div(panels.count, tile_vectors); }  // of vectors of h
  int64_t carried_row() const { return capacity; }
  int64_t zero_row() const { return dz_rows - 1; }

  T* dz(int64_t panel, int64_t row) const { return dz_.get() + (panel * dz_rows + row) * width; }
  // What the step behind hands to the state of row j without a product: all of the gradient of a
  // cell state, some of the gradient of h.
  T* carry(int64_t j) const { return carry_.get() + j * panels.padded; }
  T* bias(int64_t panel) const { return bias_.get() + panel * width; }
  // With a projection: the gradient of y, and h before the projection.
  T* dh(int64_t row) const { return dh_.get() + row * projected_; }
  T* h(int64_t vector, int64_t row) const {
    return h_.get() + (vector / tile_vectors * capacity + row) * group + vector % tile_vectors * N;
  }

  Panels<T, Cell> panels{0};
  int64_t capacity = 0, dz_rows = 0;

 private:
  Buffer<T> dz_, carry_, bias_, dh_, h_;

 public:
  InputSum ih;
  StateSum hh;
  ProjectionSum hr;

 private:
  int64_t projected_ = 0;
};

struct GradientShare {
  int thread, team;
  Split split;
  RowShare rows;
  Range panels, unit_chunks, state_chunks, input_chunks, groups;

  // `panel_units`: vectors of units in a panel; chunks of units are whole panels.
  GradientShare(const Layer& layer, Split split, int thread, int team, int64_t panel_units,
                const Chunks& units, const Chunks& state, const Chunks& input)
      : thread(thread), team(team), split(split), rows(layer, split, thread, team),
        unit_chunks(part(units.count)), state_chunks(part(state.count)),
        input_chunks(part(input.count)), groups(part(ceil_div(units.vectors, tile_vectors))) {
    const Range vectors = units.vector_range(unit_chunks);
    panels = {ceil_div(vectors.first, panel_units), ceil_div(vectors.last, panel_units)};
  }

  bool by_units() const { return split == Split::units; }

 private:
  Range part(int64_t count) const {
    return by_units() ? even_range(count, thread, team) : Range{0, count};
  }
};

// Rows that a power of two lies between fall on a few sets of the cache and push each other out while
// the weight gradients walk down their columns (H = 512, 1024: 3 % of backward). Their copies stand
// one line further apart.
template <typename T>
class SpreadRows {
 public:
  SpreadRows(int64_t rows, int64_t depth)
      : depth_(depth), stride_(depth + 64 / int64_t(sizeof(T))), copies_(rows * stride_) {}

  // Points `rows` to copies if they need it.
  void spread(std::vector<const T*>& rows, int64_t count) {
    const std::ptrdiff_t apart = count > 1 ? as<char>(rows[1]) - as<char>(rows[0]) : 1;
    if (apart % 2048 != 0) return;
    for (int64_t m = 0; m < count; ++m) {
      T* copy = copies_.get() + m * stride_;
      std::copy_n(rows[m], depth_, copy);
      rows[m] = copy;
    }
  }

 private:
  int64_t depth_, stride_;
  Buffer<T> copies_;
};

// Pointers to the rows of one step, and of the whole block for the products over it.
template <typename T>
struct StepPointers {
  std::vector<int64_t> behind;  // row of dz that holds the step behind, or the row of zeros
  std::vector<int64_t> each;    // 0, 1, 2 …: the rows of the block themselves
  std::vector<const T*> z, now, before, dy, dh_n;  // now, before: what the cell reads of the state
  std::vector<const T*> x, h_before, dh;           // of the block
  std::vector<T*> dx;
  Buffer<T> partial;  // tiles between the parts of a long sum
  SpreadRows<T> spread_x, spread_h;

  StepPointers(const Layer& layer, int64_t rows, int64_t block_rows)
      : behind(rows), each(block_rows), z(rows), now(rows), before(rows), dy(rows), dh_n(rows),
        x(block_rows), h_before(block_rows), dh(block_rows), dx(block_rows),
        partial(block_rows * tile_vectors * Simd<T>::lanes), spread_x(block_rows, layer.input),
        spread_h(block_rows, layer.projected) {
    std::iota(each.begin(), each.end(), 0);
  }
};

}  // namespace GATEWISE_ISA
}  // namespace gatewise
