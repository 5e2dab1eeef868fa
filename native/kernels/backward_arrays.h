// What a thread works with on its way back: its share of rows and units, the arrays of its team
// member, and the pointers to the rows of a step.
//
// The gradients of the pre-activations of a block (dz) live in scratch of one block, in the layout
// [panel][row][column][N]: a row of it is the broadcast operand of dh and dx, a panel of it is the
// packed operand of the weight gradients. Its rows are those of the block, then those of the step
// behind it in time (carried over from the block before), then a row for the sum over all cuts, then
// one of zeros for sequences that end or restart.
#pragma once
#include <numeric>
#include <vector>

#include "rows.h"
#include "weight_gradient.h"

namespace gatewise {
namespace GATEWISE_ISA {

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
  std::vector<const T*> z, norms, now, before, dy, dh_n;  // now, before: the cell's state
  std::vector<const T*> x, h_before, dh;                  // of the block
  std::vector<T*> dx, out;  // out: of the rows of a step
  Buffer<T> partial;  // tiles between the parts of a long sum
  Buffer<T> used;     // h before the steps of a block, masked, if it is
  RowScratch<T> scratch;
  SpreadRows<T> spread_x, spread_h;

  StepPointers(const Layer& layer, int64_t rows, int64_t block_rows)
      : behind(rows + 1), each(block_rows), z(rows), norms(rows), now(rows), before(rows), dy(rows),
        dh_n(rows + 1), x(block_rows), h_before(block_rows), dh(block_rows), dx(block_rows), out(rows + 1),
        partial((block_rows + 1) * tile_vectors * Simd<T>::lanes), spread_x(block_rows, layer.input),
        spread_h(block_rows, layer.projected) {
    std::iota(each.begin(), each.end(), 0);
  }
};

// With rows split every thread has its own arrays; with units split those of thread 0 serve all,
// each thread writing its panels.
template <typename T, typename Cell>
class GradientArrays {
  static constexpr int N = Simd<T>::lanes;
  static constexpr int64_t group = tile_vectors * N;
  using InputSum = WeightGradient<T, Cell::input.count>;
  using StateSum = WeightGradient<T, Cell::state.count>;
  using ProjectionSum = WeightGradient<T, tile_vectors>;

  static constexpr bool has_cells = Cell::memory == Memory::cell;

 public:
  // Whether something of the gradient of h goes straight to the h before.
  static constexpr bool carries_h = Cell::memory == Memory::hidden || rowwise<Cell>;

  GradientArrays() = default;
  // Norms give the products gradients of their own, which then stand side by side in a row of dz.
  GradientArrays(const Layer& layer, int64_t rows, int64_t block, bool norms)
      : panels(layer.hidden), capacity(block * rows), dz_rows(capacity + rows + 2),
        width((norms ? Cell::state.count + Cell::input.count : Cell::vectors) * N),
        state_first((norms ? 0 : Cell::state.first) * N),
        input_first((norms ? Cell::state.count : Cell::input.first) * N),
        projects_(layer.weight_hr != nullptr), h_width_(ceil_div(layer.projected, N) * N), projected_(layer.projected),
        dz_(panels.count * dz_rows * width), carry_c_(has_cells ? (rows + 1) * panels.padded : 0),
        carry_h_(carries_h ? (rows + 1) * std::max(h_width_, panels.padded) : 0),
        product_(rowwise<Cell> ? rows * std::max(h_width_, panels.padded) : 0),
        bias_(panels.count * width), dh_(layer.weight_hr ? capacity * layer.projected : 0),
        h_(layer.weight_hr ? groups() * capacity * group : 0), restart_h_(layer.projected),
        ih(panels.count, layer.input), hh(panels.count, layer.projected) {
    if (layer.weight_hr) hr = ProjectionSum(groups(), layer.projected);
  }

  int64_t groups() const { return ceil_div(panels.count, tile_vectors); }  // of vectors of h
  int64_t carried_row() const { return capacity; }
  int64_t cut_row() const { return dz_rows - 2; }
  int64_t zero_row() const { return dz_rows - 1; }

  T* dz(int64_t panel, int64_t row) const { return dz_.get() + (panel * dz_rows + row) * width; }
  // What the step behind hands to the state of row j without a product: all of the gradient of a cell
  // state, some of the gradient of h. Row -1 sums it up over the cuts.
  T* carry_c(int64_t j) const { return carry_c_.get() + (j + 1) * panels.padded; }
  T* carry_h(int64_t j) const {
    return carry_h_.get() + (j + 1) * product_width();
  }
  // For cells that work row by row: the gradient of h, projected or not, of row j.
  int64_t product_width() const { return std::max(h_width_, panels.padded); }
  T* product(int64_t j) const { return product_.get() + j * product_width(); }
  T* bias(int64_t panel) const { return bias_.get() + panel * width; }
  // With a projection: the gradient of y, and h before the projection.
  T* dh(int64_t row) const { return dh_.get() + row * projected_; }
  T* h(int64_t vector, int64_t row) const {
    return h_.get() + (vector / tile_vectors * capacity + row) * group + vector % tile_vectors * N;
  }
  // The gradient of the state after a cut.
  T* restart_h() const { return restart_h_.get(); }

  // Adds the products over the `count` rows of a block to the sums of weights, or sets them.
  void accumulate(const GradientShare& share, const StepPointers<T>& at, int64_t count, bool first) {
    for (int64_t p = share.panels.first; p < share.panels.last; ++p) {
      ih.add(p, at.x.data(), count, dz(p, 0) + input_first, width, first);
      hh.add(p, at.h_before.data(), count, dz(p, 0) + state_first, width, first);
      if constexpr (!rowwise<Cell>) add_bias(bias(p), dz(p, 0), count);
    }
    for (int64_t g = share.groups.first; projects_ && g < share.groups.last; ++g)
      hr.add(g, at.dh.data(), count, h(g * tile_vectors, 0), group, first);
  }

  // Adds another member's sums.
  void merge(const GradientArrays& other, Range of_panels, Range of_groups) {
    for (int64_t p = of_panels.first; p < of_panels.last; ++p) {
      ih.merge(other.ih, p);
      hh.merge(other.hh, p);
      for (int64_t i = 0; i < Cell::vectors * N; ++i) bias(p)[i] += other.bias(p)[i];
    }
    for (int64_t g = of_groups.first; projects_ && g < of_groups.last; ++g) hr.merge(other.hr, g);
  }

  // Writes the sums in the layout of the weights.
  void write(const Layer& layer, const LayerGradient& grad, Range of_panels, Range of_groups) const {
    const auto unpack = [&](const Part& part, void* out, const T* in, int64_t p, int64_t depth) {
      if (out)
        Packer<T, Cell>::unpack_gate_panel(part, static_cast<T*>(out), in, p, layer.hidden, depth);
    };
    for (int64_t p = of_panels.first; p < of_panels.last; ++p) {
      unpack(Cell::input, grad.grad_weight_ih, ih.panel(p), p, layer.input);
      unpack(Cell::state, grad.grad_weight_hh, hh.panel(p), p, layer.projected);
      if constexpr (rowwise<Cell>) continue;  // its bias is among the sums of the rows
      unpack(Cell::input, grad.grad_bias_ih, bias(p) + Cell::input.first * N, p, 1);
      unpack(Cell::state, grad.grad_bias_hh, bias(p) + Cell::state.first * N, p, 1);
    }
    for (int64_t g = of_groups.first; layer.weight_hr && g < of_groups.last; ++g) {
      const int64_t first = g * group, count = std::min(group, layer.hidden - first);
      for (int64_t k = 0; k < layer.projected; ++k)
        std::copy_n(hr.panel(g) + k * group, count,
                    static_cast<T*>(grad.grad_weight_hr) + k * layer.hidden + first);
    }
  }

  Panels<T, Cell> panels{0};
  int64_t capacity = 0, dz_rows = 0;
  int64_t width = 0;  // of a row of dz in a panel
  int64_t state_first = 0, input_first = 0;  // where the products' gradients begin in it

 private:
  // Sums of a few rows first: adding one row after the other to a long sum would lose bits.
  static void add_bias(T* bias, const T* dz, int64_t count) {
    constexpr int64_t few = 32;
    for (int64_t first = 0; first < count; first += few) {
      Vec<T> sum[Cell::vectors] = {};
      for (int64_t m = first; m < std::min(first + few, count); ++m, dz += Cell::vectors * N)
        for (int v = 0; v < Cell::vectors; ++v) sum[v] += load(dz + v * N);
      for (int v = 0; v < Cell::vectors; ++v) add_to(bias + v * N, sum[v]);
    }
  }

  bool projects_ = false;
  int64_t h_width_ = 0, projected_ = 0;
  Buffer<T> dz_, carry_c_, carry_h_, product_, bias_, dh_, h_, restart_h_;

 public:
  InputSum ih;
  StateSum hh;
  ProjectionSum hr;
};

}  // namespace GATEWISE_ISA
}  // namespace gatewise
