// The candidate of the minimal cells (L. Feng et al., "Were RNNs all we needed?", 2024), whose gates and
// candidates read x alone, so that time runs through a weighted sum only.
#pragma once
#include "../math.h"

namespace gatewise {
namespace GATEWISE_ISA {

// As it is, or made positive as the paper's form in logarithms needs it: z + 1/2 from zero on, σ(z)
// below.
template <typename T>
class Candidate {
  using V = Vec<T>;

 public:
  explicit Candidate(bool positive) : positive_(positive) {}

  GATEWISE_INLINE V value(V z) const {
    if (!positive_) return z;
    return z >= T(0) ? z + T(0.5) : sigmoid<T>(z);
  }
  // From the value.
  GATEWISE_INLINE V slope(V y) const {
    const V one = broadcast<T>(T(1));
    if (!positive_) return one;
    return y >= T(0.5) ? one : y * (one - y);
  }

 private:
  const bool positive_;
};

}  // namespace GATEWISE_ISA
}  // namespace gatewise
