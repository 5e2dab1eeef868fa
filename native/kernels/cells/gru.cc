// The gated recurrent unit of Cho et al. 2014, pointwise, with the reset gate after the product as in
// cuDNN and torch. Its candidate needs both products apart, so a panel has two columns for it.
//
//   r = σ(z_r)   z = σ(z_z)   n = tanh(z_n + r·m),  m = W_hn·h + b_hn
//   h' = (1 - z)·n + z·h
#include "../layer.h"

namespace gatewise {
namespace GATEWISE_ISA {

template <typename T>
struct GruCell : AnyLayer {
  using AnyLayer::AnyLayer;
  using V = Vec<T>;
  static constexpr int vectors = 4, units = 1;  // n of x, r, z, n of h
  static constexpr Part input{0, 3, {2, 0, 1}}, state{1, 3, {0, 1, 2}};
  static constexpr Memory memory = Memory::hidden;
  static constexpr bool saves = true, projects = false;

  // z: pre-activations in; n, r, z and m out. before: h of the step before.
  static GATEWISE_INLINE void forward(V (&z)[4], V (&before)[1], V (&h)[1]) {
    z[1] = sigmoid<T>(z[1]);
    z[2] = sigmoid<T>(z[2]);
    z[0] = tanh<T>(z[0] + z[1] * z[3]);
    h[0] = z[0] + z[2] * (before[0] - z[0]);
  }

  // z: what forward left in, gradients of the pre-activations out. carry: what the step after hands
  // straight to this h in, what this one hands to the h before it out.
  static GATEWISE_INLINE V backward(V (&z)[4], const V (&)[1], const V (&states)[1], V dh,
                                    V (&past)[1]) {
    const V before = states[0];
    V& carry = past[0];
    const V n = z[0], r = z[1], u = z[2], m = z[3];
    dh += carry;
    carry = dh * u;
    z[0] = dh * (T(1) - u) * (T(1) - n * n);
    z[1] = z[0] * m * (r * (T(1) - r));
    z[2] = dh * (before - n) * (u * (T(1) - u));
    z[3] = z[0] * r;
    return dh;
  }
};

GATEWISE_CELL(gru, GruCell)

}  // namespace GATEWISE_ISA
}  // namespace gatewise
