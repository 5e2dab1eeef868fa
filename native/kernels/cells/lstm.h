// The LSTM cell, pointwise: Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al. 2000.
//
//   i = σ(z_i)   f = σ(z_f)   g = tanh(z_g)   o = σ(z_o)
//   c' = f·c + i·g            h = o·tanh(c')
//
// A cell is this file alone: the products, the time loop, threads, lengths and resets are elsewhere.
#pragma once
#include "../math.h"

namespace gatewise {
namespace GATEWISE_ISA {

template <typename T>
struct LstmCell {
  using V = Vec<T>;
  static constexpr int gates = 4;

  // z: pre-activations in, activations out. c: previous cell state in, new one out. Returns h.
  static GATEWISE_INLINE V forward(V (&z)[gates], V& c) {
    z[0] = sigmoid<T>(z[0]);
    z[1] = sigmoid<T>(z[1]);
    z[2] = tanh<T>(z[2]);
    z[3] = sigmoid<T>(z[3]);
    c = z[1] * c + z[0] * z[2];
    return z[3] * tanh<T>(c);
  }

  // z: activations in, gradients of the pre-activations out. dc: gradient of the new cell state
  // from the step after in, gradient of the previous one out. dh: the whole gradient of h.
  // Returns h without the projection, which the gradient of the projection needs.
  static GATEWISE_INLINE V backward(V (&z)[gates], V c, V c_previous, V dh, V& dc) {
    const V i = z[0], f = z[1], g = z[2], o = z[3];
    const V tanh_c = tanh<T>(c);
    dc += dh * o * (T(1) - tanh_c * tanh_c);
    z[0] = dc * g * (i * (T(1) - i));
    z[1] = dc * c_previous * (f * (T(1) - f));
    z[2] = dc * i * (T(1) - g * g);
    z[3] = dh * tanh_c * (o * (T(1) - o));
    dc *= f;
    return o * tanh_c;
  }
};

}  // namespace GATEWISE_ISA
}  // namespace gatewise
