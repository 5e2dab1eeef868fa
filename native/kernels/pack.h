// Packs weights into the panels that the micro-kernels read, and unpacks their gradients.
//
// What a panel is stands in cell.h; units beyond H are zero. Weights with gates along their rows
// (G·H×K) become [panel][k][column][N], for the columns of the part that they add to. The transposed
// products read [chunk][joined panels][k][v][N]: column chunks of up to four vectors, with the gate axis as k in the
// order (column, unit). With operands of two numbers, k counts pairs of them; how k and vectors lie is
// PanelLayout's to say.
#pragma once
#include "cell.h"
#include "team.h"
#include "tile.h"

namespace gatewise {
namespace GATEWISE_ISA {

// Columns of a matrix cut into chunks of `width` vectors (the last may be narrower).
struct Chunks {
  int64_t columns, vectors, width, count;

  Chunks(int64_t columns, int lanes, int64_t width)
      : columns(columns), vectors(ceil_div(columns, lanes)), width(width),
        count(ceil_div(vectors, width)) {}

  // The width that leaves the busiest of `team` threads the least to do; whole panels of `units`
  // vectors.
  static Chunks balanced(int64_t columns, int lanes, int team, int units = 1) {
    if (units > 1) return Chunks(columns, lanes, units);
    constexpr double cost[] = {0, 1.6, 1.15, 1.03, 1.0};  // per vector, by tile width
    Chunks best(columns, lanes, tile_vectors);
    double least = 0;
    for (int64_t width = tile_vectors; width >= 1; --width) {
      const Chunks chunks(columns, lanes, width);
      const double load = double(ceil_div(chunks.count, team) * width) * cost[width];
      if (least == 0 || load < least) {
        least = load;
        best = chunks;
      }
    }
    return best;
  }

  int64_t first_vector(int64_t chunk) const { return chunk * width; }
  int vectors_in(int64_t chunk) const { return int(std::min(width, vectors - chunk * width)); }
  // The unit vectors of a range of chunks.
  Range vector_range(Range chunks) const {
    return {std::min(vectors, chunks.first * width), std::min(vectors, chunks.last * width)};
  }
};

// How the columns of panels of gradients follow each other in a product with transposed weights. Tile registers
// take two columns in a step: of a cell with three, two panels are joined to three steps, in which an even panel has
// lent the place of its fourth column to the third of the next.
template <typename P, typename Cell, int count>
struct JoinedPanels {
  static constexpr bool lends = in_tiles<P> && !feeds_back<Cell> && Cell::vectors == 4 && count == 3;
  static constexpr int panels = lends ? 2 : 1;
  static constexpr int columns = lends ? 6 : in_tiles<P> && count > 0 ? Cell::vectors : count;

  struct Source {
    int panel, column;
  };
  // Of column i, where `first` is the first of the part.
  static constexpr Source source(int i, int first) {
    constexpr Source lent[] = {{0, 0}, {0, 1}, {0, 2}, {1, 2}, {1, 0}, {1, 1}};
    return lends ? lent[i] : Source{0, (in_tiles<P> ? 0 : first) + i};
  }
  static int64_t count_of(int64_t panels_in_all) { return ceil_div(panels_in_all, panels); }
};

template <typename P, typename Cell>
struct Packer {
  using T = Number<P>;
  using F = Factor<P>;
  static constexpr int N = Simd<T>::lanes;

  // [k][column][N] of one panel, from weight G·H×K, one column after the other: each of its N rows is
  // then read from end to end. past_caches: how it is stored.
  static void gate_panel(const Part& part, F* out, const T* weight, int64_t panel, int64_t hidden,
                         int64_t depth, bool past_caches) {
    for (int i = 0; i < part.count; ++i) {
      const int64_t unit = first_unit<Cell, N>(panel, i), units = hidden - unit;
      const T* rows = weight + (part.gate[i] * hidden + unit) * depth;
      const PanelLayout<P> layout{factors<P>(depth), part.count};
      const int64_t whole = std::max(depth, group<P> * whole_depth<P>(layout.depth));
      for (int64_t first = 0; first < whole; first += N) {
        Vec<T> v[N];
        for (int u = 0; u < N; ++u)
          v[u] = u < units ? load_part(rows + u * depth + first, depth - first) : Vec<T>{};
        transpose<T>(v);
        for (int k = 0; k < std::min<int64_t>(N, whole - first); k += group<P>)
          store_joined<P>(out + layout.at((first + k) / group<P>, i), v[k], v[k + group<P> - 1], layout.apart,
                          past_caches);
      }
    }
  }

  // The reverse for one panel of a gradient. Plain loops in blocks that keep both sides in the
  // first-level cache: the writes, not the transposition, are what it waits for.
  static void unpack_gate_panel(const Part& part, T* weight, const T* in, int64_t panel,
                                int64_t hidden, int64_t depth) {
    for (int64_t first = 0; first < depth; first += 16)
      for (int i = 0; i < part.count; ++i) {
        const int64_t unit = first_unit<Cell, N>(panel, i);
        T* rows = weight + (part.gate[i] * hidden + unit) * depth;
        for (int64_t u = 0; u < std::min<int64_t>(N, hidden - unit); ++u)
          for (int64_t k = first; k < std::min<int64_t>(first + 16, depth); ++k)
            rows[u * depth + k] = in[(k * part.count + i) * N + u];
      }
  }

  // [joined panels][k = (column, unit)][v][N] of one chunk of the columns of weight G·H×C. For tile registers rows of zeros
  // stand for the columns of the other part, so that steps are whole.
  template <int count>
  static void gate_rows_chunk(const Part& part, F* out, const T* weight, const Chunks& chunks,
                              int64_t chunk, int64_t hidden) {
    using Joined = JoinedPanels<P, Cell, count>;
    const PanelLayout<P> layout{Joined::columns * N / group<P>, chunks.vectors_in(chunk)};
    const int64_t count_of_joined = Joined::count_of(ceil_div(hidden, Cell::units * N));
    for (int64_t j = 0; j < count_of_joined; ++j, out += layout.size())
      for (int column = 0; column < Joined::columns; ++column) {
        const auto source = Joined::source(column, part.first);
        const int i = source.column - part.first;
        const int64_t unit = first_unit<Cell, N>(j * Joined::panels + source.panel, i);
        const auto row = [&](int64_t u) {
          const bool is_there = part.has(source.column) && u < hidden;
          return is_there ? weight + (part.gate[i] * hidden + u) * chunks.columns : nullptr;
        };
        for (int u = 0; u < N; u += group<P>)
          chunk_row(out, layout, (column * N + u) / group<P>, row(unit + u), row(unit + u + group<P> - 1),
                    chunks, chunk);
      }
  }

  // [k][v][N] of one chunk of the columns of a plain matrix depth×C.
  static void plain_chunk(T* out, const T* matrix, const Chunks& chunks, int64_t chunk,
                          int64_t depth) {
    const PanelLayout<T> layout{depth, chunks.vectors_in(chunk)};
    for (int64_t k = 0; k < depth; ++k)
      chunk_row(out, layout, k, matrix + k * chunks.columns, nullptr, chunks, chunk);
  }

  // [k][v][N] of one chunk of the columns of the transpose of matrix C×depth.
  static void transposed_chunk(T* out, const T* matrix, const Chunks& chunks, int64_t chunk,
                               int64_t depth) {
    const int64_t first = chunks.first_vector(chunk) * N;
    const int64_t width = chunks.vectors_in(chunk) * N;
    for (int64_t k = 0; k < depth; ++k, out += width)
      for (int64_t c = 0; c < width; ++c)
        out[c] = first + c < chunks.columns ? matrix[(first + c) * depth + k] : T(0);
  }

 private:
  // Operand k of a chunk. Rows that are null are zeros.
  template <typename Q>
  static void chunk_row(Factor<Q>* out, const PanelLayout<Q>& layout, int64_t k, const T* first, const T* second,
                        const Chunks& chunks, int64_t chunk) {
    for (int v = 0; v < chunks.vectors_in(chunk); ++v) {
      const int64_t column = (chunks.first_vector(chunk) + v) * N;
      const auto part = [&](const T* row) {
        return row ? load_part(row + column, chunks.columns - column) : Vec<T>{};
      };
      store_joined<Q>(out + layout.at(k, v), part(first), part(second), layout.apart);
    }
  }
};

}  // namespace GATEWISE_ISA
}  // namespace gatewise
