// The LSTM with options, row by row: peepholes (F. Gers, J. Schmidhuber, 2000), any activation, a
// limit of the cell state, a layer norm of it (J. Ba et al. 2016), and a mask on the candidate (S.
// Semeniuta et al. 2016). With three columns either the gates are coupled, i = 1 - f (K. Greff et al.
// 2017), or there is no forget gate, f = 1 (S. Hochreiter, J. Schmidhuber 1997).
//
//   i = σ(z_i + p_i·c)   f = σ(z_f + p_f·c)   g = φ(z_g)
//   c' = clip(f·c + i·(mask·g))               o = σ(z_o + p_o·c')        h = o·φ(norm(c'))
#pragma once
#include "../activation.h"
#include "../norm.h"

namespace gatewise {
namespace GATEWISE_ISA {

template <typename T, int columns>
class LstmRows {
  using V = Vec<T>;
  static constexpr int N = Simd<T>::lanes;
  static constexpr int64_t width = columns * N;
  static constexpr int64_t peepholes = columns - 1;  // of all gates but g
  static constexpr int first = 0, forget = columns == 4 ? 1 : 0, cell = columns - 2;
  static constexpr int output = columns - 1;

 public:
  explicit LstmRows(const Layer& layer)
      : hidden_(layer.hidden), panels_(ceil_div(hidden_, N)), options_(layer.options),
        coupled_(layer.cell == Cell::lstm_coupled),
        standard_(options_.activation == Activation::tanh &&
                  options_.gate_activation == Activation::sigmoid),
        mask_(hidden_), peephole_(pack_units<T>(options_.peephole, peepholes, hidden_, panels_)),
        norm_weight_(pack_units<T>(options_.norm[4], 1, hidden_, panels_)),
        norm_bias_(pack_units<T>(options_.norm[5], 1, hidden_, panels_)),
        sums(int64_t(peephole_.size() + 2 * norm_weight_.size())) {}

  void forward(const ForwardRow<T>& at, Range panels) const {
    standard_ ? run_forward<true>(at, panels) : run_forward<false>(at, panels);
  }
  void backward(const BackwardRow<T>& at, Range panels, T* sum) const {
    standard_ ? run_backward<true>(at, panels, sum) : run_backward<false>(at, panels, sum);
  }

  void unpack(const T* sum, const LayerGradient& grad) const {
    for (int64_t i = 0; grad.grad_peephole && i < peepholes; ++i)
      unpack_units(sum + i * N, peepholes * N, hidden_,
                   static_cast<T*>(grad.grad_peephole) + i * hidden_);
    if (norm_weight_.empty()) return;
    sum += peephole_.size();
    unpack_units(sum, N, hidden_, static_cast<T*>(grad.grad_norm[4]));
    unpack_units(sum + norm_weight_.size(), N, hidden_, static_cast<T*>(grad.grad_norm[5]));
  }

 private:
  // The functions of the gates and of the cell, and their derivatives from their values.
  template <bool standard>
  GATEWISE_INLINE V gate(V z) const {
    return standard ? sigmoid<T>(z) : activate<T>(options_.gate_activation, z);
  }
  template <bool standard>
  GATEWISE_INLINE V squash(V z) const {
    return standard ? tanh<T>(z) : activate<T>(options_.activation, z);
  }
  template <bool standard>
  GATEWISE_INLINE V gate_slope(V y) const {
    return standard ? y * (T(1) - y) : slope<T>(options_.gate_activation, y);
  }
  template <bool standard>
  GATEWISE_INLINE V squash_slope(V y) const {
    return standard ? T(1) - y * y : slope<T>(options_.activation, y);
  }

  V peep(int64_t p, int which) const { return load(&peephole_[(p * peepholes + which) * N]); }
  static constexpr int peep_of_output = int(peepholes) - 1;

  // Gates as saved: the input and forget gates of a panel.
  GATEWISE_INLINE void first_gates(const T* saved, V& i, V& f) const {
    const V one = broadcast<T>(T(1));
    const V gate = load(saved + first * N);
    if (columns == 4) {
      i = gate;
      f = load(saved + forget * N);
    } else {
      i = coupled_ ? one - gate : gate;
      f = coupled_ ? gate : one;
    }
  }

  template <bool standard>
  void run_forward(const ForwardRow<T>& at, Range panels) const {
    for (int64_t p = panels.first; p < panels.last; ++p) {
      T* z = at.z + p * width;
      const V before = load(at.c_before + p * N);
      for (int v = 0; v < cell; ++v) {
        V sum = load(z + v * N);
        if (!peephole_.empty()) sum += peep(p, v) * before;
        store(z + v * N, gate<standard>(sum));
      }
      V i, f;
      first_gates(z, i, f);
      const V g = squash<standard>(load(z + cell * N));
      store(z + cell * N, g);
      V c = f * before + i * (at.update ? g * load(at.update + p * N) : g);
      if (options_.clip > 0) c = clamp<T>(c, T(options_.clip));
      V sum = load(z + output * N);
      if (!peephole_.empty()) sum += peep(p, peep_of_output) * c;
      const V o = gate<standard>(sum);
      store(z + output * N, o);
      store(at.c + p * N, c);
      if (at.saved)
        for (int v = 0; v < columns; ++v) store(at.saved + p * width + v * N, load(z + v * N));
      if (norm_weight_.empty()) put_h(at, p, o * squash<standard>(c));
    }
    if (norm_weight_.empty()) return;
    if (hidden_ % N)  // the moments want zeros behind the last unit
      store(at.c + (panels_ - 1) * N, load(at.c + (panels_ - 1) * N) * mask_(panels_ - 1));
    const auto moments = moments_of<0, 1>(at.c, N, panels_, hidden_, mask_);
    for (int64_t p = panels.first; p < panels.last; ++p) {
      const V n = (load(at.c + p * N) - moments.mean) * moments.scale;
      const V v = n * load(&norm_weight_[p * N]) + load(&norm_bias_[p * N]);
      put_h(at, p, load(at.z + p * width + output * N) * squash<standard>(v));
    }
    if (!at.moments) return;
    at.moments[0] = moments.mean;
    at.moments[1] = moments.scale;
  }

  GATEWISE_INLINE void put_h(const ForwardRow<T>& at, int64_t p, V h) const {
    store_part(at.h + p * N, h, at.pads_h ? N : hidden_ - p * N);
  }

  template <bool standard>
  void run_backward(const BackwardRow<T>& at, Range panels, T* sum) const {
    const T limit = T(options_.clip);
    T* norm_sum = sum + peephole_.size();
    NormGradient<T> gradient;
    // What the output gate and the way through φ give, then, if c is normalised, a second pass over the
    // row: the gradient of c that the norm hands on needs all of the first.
    for (int64_t p = panels.first; p < panels.last; ++p) {
      const T* saved = at.saved + p * width;
      T* dz = at.dz + p * width;
      V i, f, c, inside;
      first_gates(saved, i, f);
      cell_of(at, p, i, f, load(saved + cell * N), c, inside);
      const V o = load(saved + output * N), dh = load(at.dh + p * N);
      V n{}, v = c;
      if (!norm_weight_.empty()) {
        n = (c - at.moments[0]) * at.moments[1] * mask_(p);
        v = n * load(&norm_weight_[p * N]) + load(&norm_bias_[p * N]);
      }
      const V squashed = squash<standard>(v);
      const V dz_o = dh * squashed * gate_slope<standard>(o);
      const V dv = dh * o * squash_slope<standard>(squashed);
      store(dz + output * N, dz_o);
      store(at.h + p * N, o * squashed);
      if (!peephole_.empty()) add_to(sum + (p * peepholes + peep_of_output) * N, dz_o * c);
      if (norm_weight_.empty()) {
        finish<standard>(at, p, sum, i, f, inside, dv, limit);
      } else {
        add_to(norm_sum + p * N, dv * n);
        add_to(norm_sum + norm_weight_.size() + p * N, dv);
        gradient.add(dv * load(&norm_weight_[p * N]), n);
        store(dz, dv);  // until the second pass
      }
    }
    if (norm_weight_.empty()) return;
    const NormSlope<T> through(gradient, T(hidden_), at.moments[1]);
    for (int64_t p = panels.first; p < panels.last; ++p) {
      const T* saved = at.saved + p * width;
      V i, f, c, inside;
      first_gates(saved, i, f);
      cell_of(at, p, i, f, load(saved + cell * N), c, inside);
      const V n = (c - at.moments[0]) * at.moments[1] * mask_(p);
      const V dn = load(at.dz + p * width) * load(&norm_weight_[p * N]);
      finish<standard>(at, p, sum, i, f, inside, through(dn, n) * mask_(p), limit);
    }
  }

  // The new cell state again; inside: ones where it is within the limit.
  GATEWISE_INLINE void cell_of(const BackwardRow<T>& at, int64_t p, V i, V f, V g, V& c,
                               V& inside) const {
    if (at.update) g *= load(at.update + p * N);
    c = f * load_part(at.c_before + p * N, hidden_ - p * N) + i * g;
    inside = broadcast<T>(T(1));
    if (options_.clip <= 0) return;
    const T limit = T(options_.clip);
    inside = c > limit ? V{} : c < -limit ? V{} : inside;
    c = clamp<T>(c, limit);
  }

  // The gradients of i, f and g from that of φ's way into c.
  template <bool standard>
  GATEWISE_INLINE void finish(const BackwardRow<T>& at, int64_t p, T* sum, V i, V f, V inside, V dv,
                              T limit) const {
    const T* saved = at.saved + p * width;
    T* dz = at.dz + p * width;
    const V before = load_part(at.c_before + p * N, hidden_ - p * N);
    const V g = load(saved + cell * N);
    const V update = at.update ? load(at.update + p * N) : broadcast<T>(T(1));
    V dc = load(at.carry_c + p * N) + dv;
    if (!peephole_.empty()) dc += peep(p, peep_of_output) * load(dz + output * N);
    if (limit > T(0)) dc *= inside;
    V carry = dc * f;
    const V di = dc * g * update, df = dc * before;
    V gates[2];
    if (columns == 4) {
      gates[0] = di * gate_slope<standard>(i);
      gates[1] = df * gate_slope<standard>(f);
    } else {
      gates[0] = coupled_ ? (df - di) * gate_slope<standard>(f) : di * gate_slope<standard>(i);
    }
    for (int v = 0; v < cell; ++v) {
      store(dz + v * N, gates[v]);
      if (peephole_.empty()) continue;
      carry += peep(p, v) * gates[v];
      add_to(sum + (p * peepholes + v) * N, gates[v] * before);
    }
    store(dz + cell * N, dc * i * update * squash_slope<standard>(g));
    store(at.carry_c + p * N, carry);
  }

  int64_t hidden_, panels_;
  const Options& options_;
  bool coupled_, standard_;
  UnitMask<T> mask_;
  std::vector<T> peephole_, norm_weight_, norm_bias_;

 public:
  const int64_t sums;
};

template <typename T, int columns>
struct LstmRowCell {
  static constexpr int vectors = columns, units = 1;
  static constexpr Part input{0, columns, {0, 1, 2, 3}}, state = input;
  static constexpr Memory memory = Memory::cell;
  static constexpr bool saves = true, projects = true;
  using Rows = LstmRows<T, columns>;
};

}  // namespace GATEWISE_ISA
}  // namespace gatewise
