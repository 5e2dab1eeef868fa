// What a thread works with on its way back: its share of rows and units, the arrays of its team
// member, and the pointers to the rows of a step.
//
// The gradients of the pre-activations of a block (dz) live in scratch of one block, in the layout
// [panel][row][column][N], or in parts [panel][row][part][column][N]: a row of it is the broadcast operand of dh and dx, a panel of it is the
// packed operand of the weight gradients. Its rows are those of the block, then those of the step
// behind it in time (carried over from the block before), then one of zeros for sequences that end or
// restart.
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

// Rows as the weight gradients read them, which sum over rows: a row of operands stands for `group` rows.
//
// Without rounding they are the rows themselves, unless a power of two lies between them: such rows
// fall on a few sets of the cache and push each other out while the products walk down their columns
// (H = 512, 1024: 3 % of backward), so they are copied to stand one line further apart.
template <typename P, bool = in_tiles<P>>
class OuterRows {
  using T = Number<P>;
  using F = Factor<P>;
  static constexpr int N = Simd<T>::lanes;

 public:
  OuterRows(int64_t rows, int64_t depth)
      : depth_(depth), stride_(depth + 64 / int64_t(sizeof(F))),
        copies_(factors<P>(rows) * stride_), rows_(factors<P>(rows)) {}

  // The rows of operands that stand for the first `count` of `rows`.
  const F* const* gather(const std::vector<const T*>& rows, int64_t count) {
    if constexpr (!copied<P>) {
      const std::ptrdiff_t apart = count > 1 ? as<char>(rows[1]) - as<char>(rows[0]) : 1;
      if (apart % 2048 != 0) return rows.data();
      for (int64_t m = 0; m < count; ++m) std::copy_n(rows[m], depth_, copy(m));
    } else {
      for (int64_t m = 0; m < count; m += group<P>) {
        const T* second = m + group<P> - 1 < count ? rows[m + group<P> - 1] : nullptr;
        for (int64_t k = 0; k < depth_; k += N)
          store(copy(m / group<P>) + k,
                join<P>(load_part(rows[m] + k, depth_ - k),
                        second ? load_part(second + k, depth_ - k) : Vec<T>{}));
      }
    }
    for (int64_t m = 0; m < factors<P>(count); ++m) rows_[m] = copy(m);
    return rows_.data();
  }

 private:
  F* copy(int64_t m) const { return copies_.get() + m * stride_; }

  int64_t depth_, stride_;
  Buffer<F> copies_;
  std::vector<const F*> rows_;
};

#ifdef __AMX_BF16__
// With tile registers: their transpose.
template <typename P>
class OuterRows<P, true> {
  static constexpr int N = 16;
  using Tiles = LeftTiles<parts<P>>;

 public:
  OuterRows(int64_t rows, int64_t depth)
      : depth_(depth), memory_(Tiles::size(depth, factors<P>(rows))), tiles_(memory_.get(), factors<P>(rows)) {}

  const Tiles& gather(const std::vector<const float*>& rows, int64_t count) const {
    for (int64_t m = 0; m < count; m += 2 * N)
      for (int64_t k = 0; k < depth_; k += N) {
        Vec<float> v[2 * N];
        for (int i = 0; i < 2 * N; ++i)
          v[i] = m + i < count ? load_part(rows[m + i] + k, depth_ - k) : Vec<float>{};
        for (int part = 0; part < parts<P>; ++part)
          tiles_.set(m / 2, k, part, [&](int i) { return take_joined_part(v[2 * i], v[2 * i + 1]); });
      }
    return tiles_;
  }

 private:
  int64_t depth_;
  Buffer<uint32_t> memory_;
  Tiles tiles_;
};
#endif

// Pointers to the rows of one step, and of the whole block for the products over it.
template <typename P>
struct StepPointers {
  using T = Number<P>;

  std::vector<int64_t> behind;  // row of dz that holds the step behind, or the row of zeros
  std::vector<int64_t> each;    // 0, 1, 2 …: the rows of the block themselves
  std::vector<const T*> z, norms, now, before, dy, dh_n;  // now, before: the cell's state
  std::vector<const T*> x, h_before, gated, dh;           // of the block
  std::vector<T*> dx, out;  // out: of the rows of a step
  Buffer<T> partial;  // tiles between the parts of a long sum
  Buffer<T> used;     // h before the steps of a block, masked, if it is
  RowScratch<T> scratch;
  OuterRows<P> outer_x, outer_h, outer_gated;
  Buffer<Factor<P>> outer_dz;  // one panel as the weight gradients read it, if that is another layout

  // gates: whether a step has a second product.
  StepPointers(const Layer& layer, int64_t rows, int64_t block_rows, bool gates)
      : behind(rows), each(block_rows), z(rows), norms(rows), now(rows), before(rows), dy(rows),
        dh_n(rows), x(block_rows), h_before(block_rows), gated(block_rows), dh(block_rows),
        dx(block_rows), out(rows), partial(block_rows * tile_vectors * Simd<T>::lanes),
        outer_x(block_rows, layer.input), outer_h(block_rows, layer.projected),
        outer_gated(gates ? block_rows : 0, layer.projected) {
    std::iota(each.begin(), each.end(), 0);
  }
};

// With rows split every thread has its own arrays; with units split those of thread 0 serve all,
// each thread writing its panels.
template <typename P, typename Cell>
class GradientArrays {
  using T = Number<P>;
  using F = Factor<P>;
  static constexpr int N = Simd<T>::lanes;
  static constexpr int64_t tile_width = tile_vectors * N;
  using InputSum = WeightGradient<P, Cell::input.count>;
  using StateSum = WeightGradient<P, std::max(1, Cell::state.count)>;
  using AgainSum = WeightGradient<P, std::max(1, again_of<Cell>.count)>;
  using Lending = JoinedPanels<P, Cell, Cell::input.count>;
  using ProjectionSum = WeightGradient<T, tile_vectors>;

 public:
  // Whether something of the gradient of h goes straight to the h before.
  static constexpr bool carries_h = Cell::memory == Memory::hidden || rowwise<Cell>;

  GradientArrays() = default;
  // Norms give the products gradients of their own, which then stand side by side in a row of dz. With
  // masks on h the rows differ in what lies behind a cut.
  GradientArrays(const Layer& layer, int64_t rows, int64_t block, bool norms, bool masks)
      : panels(layer.hidden), capacity(block * rows), dz_rows(capacity + rows + 1),
        width(width_of(norms)), cut_rows(!layer.reset ? 0 : masks ? rows : 1),
        state_first((norms ? 0 : Cell::state.first) * N),
        input_first((norms ? Cell::state.count : Cell::input.first) * N),
        projects_(layer.weight_hr != nullptr), h_width_(ceil_div(layer.projected, N) * N),
        projected_(layer.projected), dz_(Lending::count_of(panels.count) * Lending::panels * panel_size()),
        cuts_(cut_rows * panels.count * width),
        carry_c_((rows + 1) * panels.cells()),
        carry_h_(carries_h ? (rows + 1) * std::max(h_width_, panels.padded) : 0),
        product_(rowwise<Cell> ? rows * std::max(h_width_, panels.padded) : 0),
        bias_(panels.count * width), dh_(layer.weight_hr ? capacity * layer.projected : 0),
        h_(layer.weight_hr ? groups() * capacity * tile_width : 0),
        gated_(twice<Cell> ? capacity * panels.padded : 0), ih(panels.count, layer.input),
        hh(feeds_back<Cell> ? panels.count : 0, layer.projected),
        again(twice<Cell> ? panels.count : 0, layer.projected) {
    if (layer.weight_hr) hr = ProjectionSum(groups(), layer.projected);
    // What a panel without a partner is multiplied with is zero.
    if (Lending::lends && panels.count % 2) std::fill_n(dz(panels.count, 0), panel_size(), F(0));
  }

  // How the products over so many rows read a panel of dz.
  PanelLayout<P> outer_layout(int64_t rows) const { return {whole_depth<P>(factors<P>(rows)), width / N}; }

  static int64_t width_of(bool norms) {
    return (norms ? Cell::state.count + Cell::input.count : Cell::vectors) * N;
  }
  int64_t groups() const { return ceil_div(panels.count, tile_vectors); }  // of vectors of h
  int64_t carried_row() const { return capacity; }
  int64_t zero_row() const { return dz_rows - 1; }

  // The operands of a row in a panel, and of a panel.
  int64_t apart() const { return width / group<P>; }  // parts of an operand
  int64_t row_size() const { return parts<P> * apart(); }
  int64_t panel_size() const { return dz_rows * row_size(); }
  F* dz(int64_t panel, int64_t row) const {
    return dz_.get() + panel * panel_size() + row * row_size();
  }
  // What a row of a panel holds of its own: another thread may be writing what it has lent.
  int64_t own_width() const { return Lending::lends ? Cell::input.count * N : width; }
  // Column i of a row.
  F* column(int64_t panel, int64_t row, int i) const { return dz(panel, row) + i * N / group<P>; }
  // The sum of the rows behind all cuts, or behind those of row `row`.
  T* cuts(int64_t row, int64_t panel) const {
    return cuts_.get() + (row * panels.count + panel) * width;
  }
  // What the step behind hands to the state of row j without a product: all of the gradient of a cell
  // state, some of the gradient of h. Row -1 sums it up over the cuts.
  T* carry_c(int64_t j) const { return carry_c_.get() + (j + 1) * panels.cells(); }
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
    return h_.get() + (vector / tile_vectors * capacity + row) * tile_width +
           vector % tile_vectors * N;
  }

  // h before a row of the block, as the second product has read it.
  T* gated(int64_t row) const { return gated_.get() + row * panels.padded; }

  // Zero sums for a panel.
  void clear(int64_t p) {
    ih.clear(p);
    if constexpr (feeds_back<Cell>) hh.clear(p);
    if constexpr (twice<Cell>) again.clear(p);
  }

  // Adds the products over the `count` rows of a block to the sums of weights, or sets them.
  void accumulate(const GradientShare& share, StepPointers<P>& at, int64_t count, bool first) {
    using Rows = decltype(at.outer_x.gather(at.x, count));
    Rows x = at.outer_x.gather(at.x, count);
    Rows h_before = feeds_back<Cell> ? at.outer_h.gather(at.h_before, count) : x;
    Rows gated = twice<Cell> ? at.outer_gated.gather(at.gated, count) : x;
    for (int64_t p = share.panels.first; p < share.panels.last; ++p) {
      const F* outer = outer_dz(p, at, count);
      const auto add = [&](auto& sum, const auto& rows, int64_t first_column) {
        if constexpr (in_tiles<P>)
          sum.add(p, rows, outer_layout(count), outer, first_column / N, first);
        else
          sum.add(p, rows, factors<P>(count), outer + first_column, width, first);
      };
      add(ih, x, input_first);
      if constexpr (feeds_back<Cell>) add(hh, h_before, state_first);
      if constexpr (twice<Cell>) add(again, gated, again_of<Cell>.first * N);
      if constexpr (!rowwise<Cell>) add_bias(p, count);
    }
    for (int64_t g = share.groups.first; projects_ && g < share.groups.last; ++g)
      hr.add(g, at.dh.data(), count, h(g * tile_vectors, 0), tile_width, first);
  }

  // Adds another member's sums.
  void merge(const GradientArrays& other, Range of_panels, Range of_groups) {
    for (int64_t p = of_panels.first; p < of_panels.last; ++p) {
      ih.merge(other.ih, p);
      if constexpr (feeds_back<Cell>) hh.merge(other.hh, p);
      if constexpr (twice<Cell>) again.merge(other.again, p);
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
      if constexpr (feeds_back<Cell>)
        unpack(Cell::state, grad.grad_weight_hh, hh.panel(p), p, layer.projected);
      if constexpr (twice<Cell>)
        unpack(Cell::again, grad.grad_weight_hh, again.panel(p), p, layer.projected);
      if constexpr (rowwise<Cell>) continue;  // its bias is among the sums of the rows
      unpack(Cell::input, grad.grad_bias_ih, bias(p) + Cell::input.first * N, p, 1);
      unpack(Cell::state, grad.grad_bias_hh, bias(p) + Cell::state.first * N, p, 1);
    }
    for (int64_t g = of_groups.first; layer.weight_hr && g < of_groups.last; ++g) {
      const int64_t first = g * tile_width, count = std::min(tile_width, layer.hidden - first);
      for (int64_t k = 0; k < layer.projected; ++k)
        std::copy_n(hr.panel(g) + k * tile_width, count,
                    static_cast<T*>(grad.grad_weight_hr) + k * layer.hidden + first);
    }
  }

  Panels<T, Cell> panels{0};
  int64_t capacity = 0, dz_rows = 0;
  int64_t width = 0;  // of a row of dz in a panel
  int64_t cut_rows = 0;  // how many sums over cuts there are
  int64_t state_first = 0, input_first = 0;  // where the products' gradients begin in it

 private:
  // The first `count` rows of dz in a panel as the products over rows read them.
  const F* outer_dz(int64_t p, StepPointers<P>& at, int64_t count) const {
    if constexpr (group<P> == 1) {
      return dz(p, 0);
    } else {
      const PanelLayout<P> layout = outer_layout(count);
      F* const out = at.outer_dz.get();
      for (int64_t m = 0; m < 2 * layout.depth; m += 2) {
        const auto row = [&](int64_t i) { return dz(p, i < count ? i : zero_row()); };
        const F *one = row(m), *other = row(m + 1);
        for (int64_t i = 0; i < own_width(); i += N)
          for (int part = 0; part < parts<P>; ++part) {
            const int64_t from = part * apart() + i / 2;
            store(out + layout.at(m / 2, i / N) + part * layout.apart, join_factors<P>(one + from, other + from));
          }
      }
      return out;
    }
  }

  // Sums of a few rows first: adding one row after the other to a long sum would lose bits.
  void add_bias(int64_t p, int64_t count) const {
    constexpr int64_t few = 32;
    constexpr int columns = Lending::lends ? Cell::input.count : Cell::vectors;
    for (int64_t first = 0; first < count; first += few) {
      Vec<T> sum[Cell::vectors] = {};
      for (int64_t m = first; m < std::min(first + few, count); ++m)
        for (int v = 0; v < columns; ++v) sum[v] += load_factors<P>(column(p, m, v), apart());
      for (int v = 0; v < columns; ++v) add_to(bias(p) + v * N, sum[v]);
    }
  }

  bool projects_ = false;
  int64_t h_width_ = 0, projected_ = 0;
  Buffer<F> dz_;
  Buffer<T> cuts_, carry_c_, carry_h_, product_, bias_, dh_, h_, gated_;

 public:
  InputSum ih;
  StateSum hh;
  AgainSum again;  // of the second product
  ProjectionSum hr;
};

}  // namespace GATEWISE_ISA
}  // namespace gatewise
