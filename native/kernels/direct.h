// The products of so few rows that packing the weights would cost more than using them once: single
// steps, as streams have them, and the one row that is the sum over cuts.
#pragma once
#include "cell.h"
#include "operand.h"

namespace gatewise {
namespace GATEWISE_ISA {

// z[first + i] += row·(the N rows of weight G·H×K that column i of a panel stands for), for the
// columns of one part. The sums run along the rows as they lie in memory; a transposition brings
// them side by side.
template <typename P, typename Cell, typename T = Number<P>>
void add_direct(const Part& part, Vec<T>* z, const T* row, const T* weight, int64_t panel,
                int64_t hidden, int64_t depth) {
  constexpr int N = Simd<T>::lanes;
  for (int i = 0; i < part.count; ++i) {
    const int64_t unit = first_unit<Cell, N>(panel, i), units = std::min<int64_t>(N, hidden - unit);
    const T* rows = weight + (part.gate[i] * hidden + unit) * depth;
    Vec<T> sum[N] = {};
    int64_t k = 0;
    if (units == N)
      for (; k + N <= depth; k += N) {
        const Vec<T> x = rounded<P>(load(row + k));
#pragma GCC unroll 16
        for (int u = 0; u < N; ++u) sum[u] += rounded<P>(load(rows + u * depth + k)) * x;
      }
    for (; k < depth; k += N) {
      const Vec<T> x = rounded<P>(load_part(row + k, depth - k));
      for (int u = 0; u < units; ++u)
        sum[u] += rounded<P>(load_part(rows + u * depth + k, depth - k)) * x;
    }
    transpose<T>(sum);
    for (int u = 0; u < N; ++u) z[part.first + i] += sum[u];
  }
}

// out[0…depth) += the columns dz of one part of a panel, [column][N], times the same rows.
template <typename P, typename Cell, typename T = Number<P>>
void add_direct_transposed(const Part& part, T* out, const T* dz, const T* weight, int64_t panel,
                           int64_t hidden, int64_t depth) {
  constexpr int N = Simd<T>::lanes;
  for (int i = 0; i < part.count; ++i) {
    const int64_t unit = first_unit<Cell, N>(panel, i), units = std::min<int64_t>(N, hidden - unit);
    const T* row = weight + (part.gate[i] * hidden + unit) * depth;
    for (int64_t u = 0; u < units; ++u, row += depth)
      for (int64_t k = 0; k < depth; k += N)
        store_part(out + k, load_part(out + k, depth - k) +
                                dz[i * N + u] * rounded<P>(load_part(row + k, depth - k)),
                   depth - k);
  }
}

}  // namespace GATEWISE_ISA
}  // namespace gatewise
