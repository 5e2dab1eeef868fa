// The minimal GRU, pointwise: Feng et al. 2024.
//
//   z = σ(z_z)   n = z_n, or positive      h' = (1 - z)·h + z·n
#include "../layer.h"
#include "minimal.h"

namespace gatewise {
namespace GATEWISE_ISA {

template <typename T>
struct MinGruCell {
  using V = Vec<T>;
  static constexpr int vectors = 2, units = 1;
  static constexpr Part input{0, 2, {0, 1}}, state{0, 0, {}};
  static constexpr Memory memory = Memory::hidden;
  static constexpr bool saves = true, projects = false;

  explicit MinGruCell(const Layer& layer)
      : candidate_(layer.cell == gatewise::Cell::min_gru_positive) {}

  // z: pre-activations in; z and n out. before: h of the step before.
  GATEWISE_INLINE void forward(V (&z)[2], V (&before)[1], V (&h)[1]) const {
    z[0] = sigmoid<T>(z[0]);
    z[1] = candidate_.value(z[1]);
    h[0] = before[0] + z[0] * (z[1] - before[0]);
  }

  // z: what forward left in, gradients of the pre-activations out. carry: what the step after hands to
  // this h in, what this one hands to the h before it out.
  GATEWISE_INLINE V backward(V (&z)[2], const V (&)[1], const V (&states)[1], V dh,
                             V (&past)[1]) const {
    const V before = states[0];
    V& carry = past[0];
    const V u = z[0], n = z[1];
    dh += carry;
    carry = dh * (T(1) - u);
    z[0] = dh * (n - before) * (u * (T(1) - u));
    z[1] = dh * u * candidate_.slope(n);
    return dh;
  }

 private:
  const Candidate<T> candidate_;
};

GATEWISE_CELL(min_gru, MinGruCell)
GATEWISE_CELL(min_gru_positive, MinGruCell)

}  // namespace GATEWISE_ISA
}  // namespace gatewise
