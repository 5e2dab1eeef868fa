// The simple recurrent network of Elman 1990: h' = tanh(z) or relu(z).
#include "../layer.h"

namespace gatewise {
namespace GATEWISE_ISA {

template <typename T, bool rectified>
struct RnnCell {
  using V = Vec<T>;
  static constexpr int vectors = 4, units = 4;
  static constexpr Part input{0, 4, {0, 0, 0, 0}}, state = input;
  static constexpr Memory memory = Memory::none;
  static constexpr bool saves = false, projects = false;

  static GATEWISE_INLINE void forward(V (&z)[4], V (&)[4], V (&h)[4]) {
    // max(z, 0) that lets NaN through
    for (int v = 0; v < 4; ++v) h[v] = rectified ? (z[v] < T(0) ? V{} : z[v]) : tanh<T>(z[v]);
  }

  // z: the gradient of the pre-activation out. h: what forward returned.
  static GATEWISE_INLINE V backward(V (&z)[1], V h, V, V dh, V&) {
    z[0] = rectified ? (h <= T(0) ? V{} : dh) : dh * (T(1) - h * h);
    return h;
  }
};

template <typename T>
using TanhCell = RnnCell<T, false>;
template <typename T>
using ReluCell = RnnCell<T, true>;

GATEWISE_CELL(rnn_tanh, TanhCell)
GATEWISE_CELL(rnn_relu, ReluCell)

}  // namespace GATEWISE_ISA
}  // namespace gatewise
