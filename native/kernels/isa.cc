// The kernels of one instruction set: the cells, which are compiled beside it or, for lack of an own kind,
// those of another set, and what is no cell.
// CMake compiles these files once per set, with GATEWISE_ISA as the name of the set,
// GATEWISE_VECTOR_BYTES as its width, and GATEWISE_FULL and GATEWISE_BF16 for the precisions it has.
#include "layer.h"
#include "peak.h"
#include "rows.h"

#define GATEWISE_TEXT_OF(name) #name
#define GATEWISE_TEXT(name) GATEWISE_TEXT_OF(name)

namespace gatewise {
namespace GATEWISE_ISA {

// Tile registers are for the plain cells that compute most; the others take the set below.
#define GATEWISE_PLAIN(each) \
  each(lstm) each(gru) each(rnn_tanh) each(rnn_relu) each(min_gru) each(min_gru_positive) each(min_lstm) \
  each(min_lstm_positive)
#ifdef __AMX_BF16__
#define GATEWISE_OTHERS avx512_bf16
#else
#define GATEWISE_OTHERS GATEWISE_ISA
#endif
#define GATEWISE_DECLARE(name) extern const CellKernels name##_kernels[];
}  // namespace GATEWISE_ISA
namespace GATEWISE_OTHERS {
GATEWISE_CELLS(GATEWISE_DECLARE)
GATEWISE_DECLARE(lstm_options)
GATEWISE_DECLARE(gru_options)
}  // namespace GATEWISE_OTHERS
namespace GATEWISE_ISA {
GATEWISE_PLAIN(GATEWISE_DECLARE)

#define GATEWISE_ADDRESS(name) GATEWISE_OTHERS::name##_kernels,
const CellKernels* const cells[] = {GATEWISE_CELLS(GATEWISE_ADDRESS)};

Status cross_entropy(Dtype dtype, const CrossEntropy& call, const Threads& threads);
int64_t saved_memory(Dtype dtype, const MatrixMemory& call);
Status memory_forward(Dtype dtype, const MatrixMemory& call, const MatrixMemoryOutput& out,
                      const Threads& threads);
Status memory_backward(Dtype dtype, const MatrixMemory& call, const MatrixMemoryGradient& grad,
                       const Threads& threads);

// The kernels of a cell; those with options keep what plain ones have no room for.
const CellKernels& cell(Dtype dtype, Cell which, bool options) {
  const int at = int(dtype);
  if (options && which == Cell::lstm) return GATEWISE_OTHERS::lstm_options_kernels[at];
  if (options && which == Cell::gru) return GATEWISE_OTHERS::gru_options_kernels[at];
#define GATEWISE_CASE(name) \
  case Cell::name: return name##_kernels[at];
  switch (which) {
    GATEWISE_PLAIN(GATEWISE_CASE)
    default: return cells[int(which)][at];
  }
}
const CellKernels& cell(Dtype dtype, const Layer& layer) {
  return cell(dtype, layer.cell, layer.options.any);
}

// Calls f(T()) with the type of the arrays.
template <typename F>
auto with_type(Dtype dtype, F&& f) {
  return dtype == Dtype::float64 ? f(double()) : f(float());
}

int64_t lanes(Dtype dtype) {
  return with_type(dtype, [](auto t) { return int64_t(Simd<decltype(t)>::lanes); });
}

void evaluate(Dtype dtype, int function, const void* in, void* out, int64_t count) {
  with_type(dtype, [&](auto t) {
    using T = decltype(t);
    for (int64_t i = 0; i < count; i += Simd<T>::lanes) {
      const Vec<T> x = load_part(static_cast<const T*>(in) + i, count - i);
      const Vec<T> y = function == 0 ? sigmoid<T>(x) : function == 1 ? tanh<T>(x) : log_sigmoid<T>(x);
      store_part(static_cast<T*>(out) + i, y, count - i);
    }
  });
}

void mask(Dtype dtype, const int64_t* seed, int64_t stream, int64_t step, int word,
          double probability, int64_t rows, int64_t columns, void* out) {
  with_type(dtype, [&](auto t) {
    using T = decltype(t);
    constexpr int64_t N = Simd<T>::lanes;
    const int64_t padded = ceil_div(columns, N) * N;
    std::vector<T> row(padded);
    const Philox philox(*seed, stream);
    for (int64_t r = 0; r < rows; ++r) {
      Masks<T>::fill(philox, probability, uint32_t(r), uint32_t(step), word, padded, row.data());
      std::copy_n(row.data(), columns, static_cast<T*>(out) + r * columns);
    }
  });
}

int64_t burn(Dtype dtype, int64_t iterations, const Threads& threads) {
  if (dtype == Dtype::bfloat16) return Burn<Bf16>(iterations).run(threads);
  return with_type(dtype, [&](auto t) { return Burn<decltype(t)>(iterations).run(threads); });
}

extern const Kernels kernels;
const Kernels kernels = {
    GATEWISE_TEXT(GATEWISE_ISA),
    GATEWISE_FULL,
    GATEWISE_BF16,
    GATEWISE_BF16X6,
    lanes,
    [](Dtype dtype, Cell which, int64_t hidden, bool normalised) {
      return cell(dtype, which, normalised).saved_row(hidden, normalised);
    },
    [](Dtype dtype, const Layer& layer, const LayerOutput& out, const Threads& threads) {
      return cell(dtype, layer).forward(layer, out, threads);
    },
    [](Dtype dtype, const Layer& layer, const LayerGradient& grad, const Threads& threads) {
      return cell(dtype, layer).backward(layer, grad, threads);
    },
    [](Dtype dtype, const Layer& layer) { return cell(dtype, layer).packed_bytes(layer); },
    [](Dtype dtype, const Layer& layer, void* packed, const Threads& threads) {
      return cell(dtype, layer).pack(layer, packed, threads);
    },
    [](Dtype dtype, const Layer& layer, const void* saved, const LayerTrace& out,
       const Threads& threads) {
      return cell(dtype, layer).trace(layer, saved, out, threads);
    },
    cross_entropy,
    saved_memory,
    memory_forward,
    memory_backward,
    evaluate,
    mask,
    burn,
};

}  // namespace GATEWISE_ISA
}  // namespace gatewise
