// The LSTM cell, pointwise: Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al. 2000.
//
//   i = σ(z_i)   f = σ(z_f)   g = tanh(z_g)   o = σ(z_o)
//   c' = f·c + i·g            h = o·tanh(c')
#include "../layer.h"

namespace gatewise {
namespace GATEWISE_ISA {

template <typename T>
struct LstmCell : AnyLayer {
  using AnyLayer::AnyLayer;
  using V = Vec<T>;
  static constexpr int vectors = 4, units = 1;
  static constexpr Part input{0, 4, {0, 1, 2, 3}}, state = input;
  static constexpr Memory memory = Memory::cell;
  static constexpr bool saves = true, projects = true;

  // z: pre-activations in, activations out. c: previous cell state in, new one out.
  static GATEWISE_INLINE void forward(V (&z)[4], V (&c)[1], V (&h)[1]) {
    z[0] = sigmoid<T>(z[0]);
    z[1] = sigmoid<T>(z[1]);
    z[2] = tanh<T>(z[2]);
    z[3] = sigmoid<T>(z[3]);
    c[0] = z[1] * c[0] + z[0] * z[2];
    h[0] = z[3] * tanh<T>(c[0]);
  }

  // z: activations in, gradients of the pre-activations out. dc: gradient of the new cell state
  // from the step after in, gradient of the previous one out. dh: the whole gradient of h.
  // Returns h without the projection, which the gradient of the projection needs.
  static GATEWISE_INLINE V backward(V (&z)[4], const V (&now)[1], const V (&before)[1], V dh,
                                    V (&carry)[1]) {
    const V c = now[0], c_before = before[0];
    V& dc = carry[0];
    const V i = z[0], f = z[1], g = z[2], o = z[3];
    const V tanh_c = tanh<T>(c);
    dc += dh * o * (T(1) - tanh_c * tanh_c);
    z[0] = dc * g * (i * (T(1) - i));
    z[1] = dc * c_before * (f * (T(1) - f));
    z[2] = dc * i * (T(1) - g * g);
    z[3] = dh * tanh_c * (o * (T(1) - o));
    dc *= f;
    return o * tanh_c;
  }
};

GATEWISE_CELL(lstm, LstmCell)

}  // namespace GATEWISE_ISA
}  // namespace gatewise
