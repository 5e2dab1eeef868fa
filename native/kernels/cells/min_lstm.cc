// The minimal LSTM, pointwise: Feng et al. 2024, in the form whose gates add up to one.
//
//   f = σ(z_f) / (σ(z_f) + σ(z_i))   i = 1 - f   g = z_g, or positive      h' = f·h + i·g
#include "../layer.h"
#include "minimal.h"

namespace gatewise {
namespace GATEWISE_ISA {

template <typename T>
struct MinLstmCell {
  using V = Vec<T>;
  static constexpr int vectors = 4, units = 1;  // f, i, g, and what backward wants of both gates
  static constexpr Part input{0, 3, {0, 1, 2}}, state{0, 0, {}};
  static constexpr Memory memory = Memory::hidden;
  static constexpr bool saves = true, projects = false;

  explicit MinLstmCell(const Layer& layer)
      : candidate_(layer.cell == gatewise::Cell::min_lstm_positive) {}

  // z: pre-activations in; f, i, g and the larger of σ(z_f) and σ(z_i) out. before: h of the step before.
  //
  // f = (e^t + e^(t - z_i)) / (2·e^t + e^(t - z_f) + e^(t - z_i)) for every t. The larger of z_f and z_i,
  // if it is negative, makes a t with which both gates may vanish and their ratio stays.
  GATEWISE_INLINE void forward(V (&z)[4], V (&before)[1], V (&h)[1]) const {
    const V larger = z[0] < z[1] ? z[1] : z[0], t = larger < T(0) ? larger : V{};
    const V both = exp<T>(t), of_f = exp<T>(t - z[0]), of_i = exp<T>(t - z[1]);
    const V scale = T(1) / ((both + of_f) + (both + of_i));
    z[3] = both / (both + (z[0] < z[1] ? of_i : of_f));
    z[0] = (both + of_i) * scale;
    z[1] = (both + of_f) * scale;
    z[2] = candidate_.value(z[2]);
    h[0] = z[0] * before[0] + z[1] * z[2];
  }

  // z: what forward left in, gradients of the pre-activations out. carry: what the step after hands to
  // this h in, what this one hands to the h before it out.
  GATEWISE_INLINE V backward(V (&z)[4], const V (&)[1], const V (&states)[1], V dh,
                             V (&past)[1]) const {
    const V before = states[0];
    V& carry = past[0];
    const V f = z[0], i = z[1], g = z[2], larger = z[3];
    const V smaller = larger * (f < i ? f / i : i / f);
    dh += carry;
    carry = dh * f;
    const V slope = dh * (before - g) * (f * i);  // of log σ(z_f), and less that of log σ(z_i)
    z[0] = slope * (T(1) - (f < i ? smaller : larger));
    z[1] = -slope * (T(1) - (f < i ? larger : smaller));
    z[2] = dh * i * candidate_.slope(g);
    z[3] = V{};
    return dh;
  }

 private:
  const Candidate<T> candidate_;
};

GATEWISE_CELL(min_lstm, MinLstmCell)
GATEWISE_CELL(min_lstm_positive, MinLstmCell)

}  // namespace GATEWISE_ISA
}  // namespace gatewise
