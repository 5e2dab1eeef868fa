// The kernels of one instruction set: the cells, which are compiled beside it, and what is no cell.
// CMake compiles these files once per set, with GATEWISE_ISA as the name of the set and
// GATEWISE_VECTOR_BYTES as its width.
#include "layer.h"
#include "peak.h"

#define GATEWISE_TEXT_OF(name) #name
#define GATEWISE_TEXT(name) GATEWISE_TEXT_OF(name)

namespace gatewise {
namespace GATEWISE_ISA {

#define GATEWISE_DECLARE(name) extern const CellKernels name##_kernels;
GATEWISE_CELLS(GATEWISE_DECLARE)
#define GATEWISE_ADDRESS(name) &name##_kernels,
const CellKernels* const cells[] = {GATEWISE_CELLS(GATEWISE_ADDRESS)};

const CellKernels& cell(Cell cell) { return *cells[int(cell)]; }

int64_t lanes(Dtype dtype) {
  return with_type(dtype, [](auto t) { return int64_t(Simd<decltype(t)>::lanes); });
}

void evaluate(Dtype dtype, int function, const void* in, void* out, int64_t count) {
  with_type(dtype, [&](auto t) {
    using T = decltype(t);
    for (int64_t i = 0; i < count; i += Simd<T>::lanes) {
      const Vec<T> x = load_part(static_cast<const T*>(in) + i, count - i);
      store_part(static_cast<T*>(out) + i, function ? tanh<T>(x) : sigmoid<T>(x), count - i);
    }
  });
}

int64_t burn(Dtype dtype, int64_t iterations, const Threads& threads) {
  return with_type(dtype, [&](auto t) { return Burn<decltype(t)>(iterations).run(threads); });
}

extern const Kernels kernels;
const Kernels kernels = {
    GATEWISE_TEXT(GATEWISE_ISA),
    lanes,
    [](Dtype dtype, Cell which, int64_t hidden) { return cell(which).saved_row(dtype, hidden); },
    [](Dtype dtype, const Layer& layer, const LayerOutput& out, const Threads& threads) {
      return cell(layer.cell).forward(dtype, layer, out, threads);
    },
    [](Dtype dtype, const Layer& layer, const LayerGradient& grad, const Threads& threads) {
      return cell(layer.cell).backward(dtype, layer, grad, threads);
    },
    [](Dtype dtype, const Layer& layer, const void* saved, const LayerTrace& out,
       const Threads& threads) {
      return cell(layer.cell).trace(dtype, layer, saved, out, threads);
    },
    evaluate,
    burn,
};

}  // namespace GATEWISE_ISA
}  // namespace gatewise
