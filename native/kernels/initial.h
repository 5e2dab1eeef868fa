// The state after a cut.
#pragma once
#include "team.h"

namespace gatewise {
namespace GATEWISE_ISA {

// Rows of h and c that begin a piece, zeros behind their ends.
template <typename T>
class RestartRows {
 public:
  // padded: at least H, the width of each of the cell states; that of h is at least P.
  RestartRows(const Layer& layer, int64_t padded, int cells)
      : width_(std::max(layer.projected, padded)), rows_(width_ + std::max(cells, 1) * padded) {
    std::fill_n(rows_.get(), width_ + std::max(cells, 1) * padded, T(0));
    if (layer.restart_h) std::copy_n(as<T>(layer.restart_h), layer.projected, rows_.get());
    for (int m = 0; layer.restart_c && m < cells; ++m)
      std::copy_n(as<T>(layer.restart_c) + m * layer.hidden, layer.hidden,
                  rows_.get() + width_ + m * padded);
  }

  const T* h() const { return rows_.get(); }
  const T* c() const { return rows_.get() + width_; }

 private:
  int64_t width_;
  Buffer<T> rows_;
};

}  // namespace GATEWISE_ISA
}  // namespace gatewise
