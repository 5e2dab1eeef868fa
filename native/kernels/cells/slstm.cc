// The sLSTM, pointwise: M. Beck et al., "xLSTM: extended long short-term memory", 2024, section 2.2, with
// its stabiliser m. The forget gate is a sigmoid or, like the input gate, an exponential.
//
//   z = tanh(z_z)   o = σ(z_o)   log f = log σ(z_f) or z_f
//   m' = max(log f + m, z_i)     i = e^(z_i - m')    f = e^(log f + m - m')
//   c' = f·c + i·z               n' = f·n + i        h = o·c'/n'
//
// m begins at minus infinity, so that the first step forgets all that was before.
#include "../layer.h"

namespace gatewise {
namespace GATEWISE_ISA {

template <typename T>
struct SlstmCell {
  using V = Vec<T>;
  static constexpr int vectors = 4, units = 1, cells = 3;  // i, f, z, o; c, n, m
  static constexpr Part input{0, 4, {0, 1, 2, 3}}, state = input;
  static constexpr Memory memory = Memory::cell;
  static constexpr bool saves = true, projects = false;

  explicit SlstmCell(const Layer& layer)
      : exponential_(layer.cell == gatewise::Cell::slstm_exponential) {}

  // z: pre-activations in; log i, log f, z and o out. states: c, n and m before the step in, after it out.
  GATEWISE_INLINE void forward(V (&z)[4], V (&states)[3], V (&h)[1]) const {
    if (!exponential_) z[1] = log_sigmoid<T>(z[1]);
    const V faded = z[1] + states[2], m = faded < z[0] ? z[0] : faded;
    const V i = exp<T>(z[0] - m), f = exp<T>(faded - m);
    z[2] = tanh<T>(z[2]);
    z[3] = sigmoid<T>(z[3]);
    states[0] = f * states[0] + i * z[2];
    states[1] = f * states[1] + i;
    states[2] = m;
    h[0] = z[3] * states[0] / states[1];
  }

  // z: what forward left in, gradients of the pre-activations out. carry: gradients of the new c, n and m
  // from the step after in, of those before out. dh: the whole gradient of h.
  GATEWISE_INLINE V backward(V (&z)[4], const V (&now)[3], const V (&before)[3], V dh,
                             V (&carry)[3]) const {
    const V one = broadcast<T>(T(1));
    const V log_i = z[0], log_f = z[1], g = z[2], o = z[3], m = now[2];
    const V faded = log_f + before[2], ratio = now[0] / now[1];
    const V i = exp<T>(log_i - m), f = exp<T>(faded - m);
    const V through = dh * o / now[1];
    const V dc = carry[0] + through, dn = carry[1] - through * ratio;
    // Of log i and log f, first without the way through m, which is the larger of two.
    V di = (dc * g + dn) * i, df = (dc * before[0] + dn * before[1]) * f;
    const V dm = carry[2] - di - df;
    const V share = faded > log_i ? one : faded < log_i ? V{} : V{} + T(0.5);
    di += dm * (one - share);
    df += dm * share;
    carry[0] = dc * f;
    carry[1] = dn * f;
    carry[2] = df;
    z[0] = di;
    z[1] = exponential_ ? df : df * (one - exp<T>(log_f));
    z[2] = dc * i * (one - g * g);
    z[3] = dh * ratio * (o * (one - o));
    return dh;
  }

 private:
  const bool exponential_;
};

GATEWISE_CELL(slstm, SlstmCell)
GATEWISE_CELL(slstm_exponential, SlstmCell)

}  // namespace GATEWISE_ISA
}  // namespace gatewise
