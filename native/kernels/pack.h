// Packs weights into the panels that the micro-kernels read, and unpacks their gradients.
//
// A unit panel p holds the hidden units p·N to p·N+N-1 (N lanes), zero beyond H. Weights with gates
// along their rows (4H×K) become [panel][k][gate][N]. The transposed products read [chunk][k][v][N]:
// column chunks of up to four vectors, with the gate axis as k in the order (panel, gate, unit).
#pragma once
#include "simd.h"
#include "team.h"
#include "tile.h"

namespace gatewise {
namespace GATEWISE_ISA {

constexpr int gates = 4;

// Columns of a matrix cut into chunks of `width` vectors (the last may be narrower).
struct Chunks {
  int64_t columns, vectors, width, count;

  Chunks(int64_t columns, int lanes, int64_t width)
      : columns(columns), vectors(ceil_div(columns, lanes)), width(width),
        count(ceil_div(vectors, width)) {}

  // The width that leaves the busiest of `team` threads the least to do.
  static Chunks balanced(int64_t columns, int lanes, int team) {
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

template <typename T>
struct Packer {
  static constexpr int N = Simd<T>::lanes;

  // [k][gate][N] of one panel, from weight gates·H×K, one gate after the other: each of its N rows is
  // then read from end to end.
  static void gate_panel(T* out, const T* weight, int64_t panel, int64_t hidden, int64_t depth) {
    const int64_t units = std::min<int64_t>(N, hidden - panel * N);
    for (int gate = 0; gate < gates; ++gate) {
      const T* rows = weight + (gate * hidden + panel * N) * depth;
      for (int64_t first = 0; first < depth; first += N) {
        Vec<T> v[N];
        for (int u = 0; u < N; ++u)
          v[u] = u < units ? load_part(rows + u * depth + first, depth - first) : Vec<T>{};
        transpose<T>(v);
        for (int k = 0; k < std::min<int64_t>(N, depth - first); ++k)
          store(out + ((first + k) * gates + gate) * N, v[k]);
      }
    }
  }

  // The reverse for one panel of a gradient. Plain loops in blocks that keep both sides in the
  // first-level cache: the writes, not the transposition, are what it waits for.
  static void unpack_gate_panel(T* weight, const T* in, int64_t panel, int64_t hidden,
                                int64_t depth) {
    const int64_t units = std::min<int64_t>(N, hidden - panel * N);
    for (int64_t first = 0; first < depth; first += 16)
      for (int gate = 0; gate < gates; ++gate)
        for (int64_t u = 0; u < units; ++u)
          for (int64_t k = first; k < std::min<int64_t>(first + 16, depth); ++k)
            weight[(gate * hidden + panel * N + u) * depth + k] = in[(k * gates + gate) * N + u];
  }

  // [k = (panel, gate, unit)][v][N] of one chunk of the columns of weight gates·H×C.
  static void gate_rows_chunk(T* out, const T* weight, const Chunks& chunks, int64_t chunk,
                              int64_t hidden) {
    const int64_t panels = ceil_div(hidden, N);
    for (int64_t panel = 0; panel < panels; ++panel)
      for (int gate = 0; gate < gates; ++gate)
        for (int64_t u = 0; u < N; ++u) {
          const bool inside = panel * N + u < hidden;
          const T* row = weight + (gate * hidden + panel * N + u) * chunks.columns;
          out = chunk_row(out, inside ? row : nullptr, chunks, chunk);
        }
  }

  // [k][v][N] of one chunk of the columns of a plain matrix depth×C.
  static void plain_chunk(T* out, const T* matrix, const Chunks& chunks, int64_t chunk,
                          int64_t depth) {
    for (int64_t k = 0; k < depth; ++k)
      out = chunk_row(out, matrix + k * chunks.columns, chunks, chunk);
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
  static T* chunk_row(T* out, const T* row, const Chunks& chunks, int64_t chunk) {
    for (int v = 0; v < chunks.vectors_in(chunk); ++v, out += N) {
      const int64_t column = (chunks.first_vector(chunk) + v) * N;
      store(out, row ? load_part(row + column, chunks.columns - column) : Vec<T>{});
    }
    return out;
  }
};

}  // namespace GATEWISE_ISA
}  // namespace gatewise
