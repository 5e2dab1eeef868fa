// The simple recurrent network of Elman 1990: h' = tanh(z) or relu(z).
#include "../layer.h"

namespace gatewise {
namespace GATEWISE_ISA {

template <typename T>
struct RnnCell {
  using V = Vec<T>;
  static constexpr int vectors = 4, units = 4;
  static constexpr Part input{0, 4, {0, 0, 0, 0}}, state = input;
  static constexpr Memory memory = Memory::none;
  static constexpr bool saves = false, projects = false;

  explicit RnnCell(const Layer& layer) : rectified_(layer.cell == gatewise::Cell::rnn_relu) {}

  GATEWISE_INLINE void forward(V (&z)[4], V (&)[4], V (&h)[4]) const {
    if (rectified_)
      for (int v = 0; v < 4; ++v) h[v] = z[v] < T(0) ? V{} : z[v];  // lets NaN through
    else
      for (int v = 0; v < 4; ++v) h[v] = tanh<T>(z[v]);
  }

  // z: the gradient of the pre-activation out. h: what forward returned.
  GATEWISE_INLINE V backward(V (&z)[1], const V (&now)[1], const V (&)[1], V dh, V (&)[1]) const {
    const V h = now[0];
    if (rectified_)
      z[0] = h <= T(0) ? V{} : dh;
    else
      z[0] = dh * (T(1) - h * h);
    return h;
  }

 private:
  const bool rectified_;
};

GATEWISE_CELL(rnn_tanh, RnnCell)
GATEWISE_CELL(rnn_relu, RnnCell)

}  // namespace GATEWISE_ISA
}  // namespace gatewise
