// The entry points of one cell at one precision, the same for every instruction set.
#pragma once
#include "../gatewise.h"

namespace gatewise {

struct CellKernels {
  int64_t (*saved_row)(int64_t hidden, bool normalised);
  Status (*forward)(const Layer&, const LayerOutput&, const Threads&);
  Status (*backward)(const Layer&, const LayerGradient&, const Threads&);
  int64_t (*packed_bytes)(const Layer&);
  Status (*pack)(const Layer&, void* packed, const Threads&);
  Status (*trace)(const Layer&, const void* saved, const LayerTrace&, const Threads&);
};

}  // namespace gatewise
