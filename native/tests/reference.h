// The LSTM as a person would write it: one row of the batch at a time, in double, no SIMD, no
// blocks, no threads. Forward is Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al.
// 2000; backward is its chain rule, step by step, and is checked by finite differences.
#pragma once
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

namespace gatewise_tests {

using Numbers = std::vector<double>;

// Sizes and options of one layer in one direction, as in gatewise.h.
struct Case {
  int64_t T = 3, B = 2, I = 3, H = 4, P = 4;
  bool reverse = false, bias = true, projection = false, lengths = false, reset = false;
  unsigned seed = 1;
};

// A case with its numbers, all of which float holds exactly, and the gradients that arrive.
struct Problem : Case {
  Numbers x, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh, weight_hr;
  Numbers grad_y, grad_h_n, grad_c_n;
  std::vector<int64_t> length;  // empty for T
  std::vector<uint8_t> cut;     // T×B, or empty

  explicit Problem(const Case& sizes) : Case(sizes) {
    std::mt19937 random(seed);
    const auto numbers = [&](int64_t count, double scale) {
      std::uniform_real_distribution<float> uniform(float(-scale), float(scale));
      Numbers values(count);
      for (double& value : values) value = uniform(random);
      return values;
    };
    const double small = 2 / std::sqrt(double(I + P));
    x = numbers(T * B * I, 1.5);
    h0 = numbers(B * P, 1);
    c0 = numbers(B * H, 1);
    weight_ih = numbers(4 * H * I, small);
    weight_hh = numbers(4 * H * P, small);
    if (bias) bias_ih = numbers(4 * H, 0.5), bias_hh = numbers(4 * H, 0.5);
    if (projection) weight_hr = numbers(P * H, 2 / std::sqrt(double(H)));
    grad_y = numbers(T * B * P, 1);
    grad_h_n = numbers(B * P, 1);
    grad_c_n = numbers(B * H, 1);
    for (int64_t b = 0; b < B && lengths; ++b) length.push_back(1 + random() % T);
    for (int64_t i = 0; i < T * B && reset; ++i) cut.push_back(random() % 3 == 0 ? 1 + i % 255 : 0);
  }

  int64_t length_of(int64_t b) const { return length.empty() ? T : length[b]; }

  // Whether the state is thrown away before row b comes to time t.
  bool restarts(int64_t t, int64_t b) const {
    if (cut.empty()) return false;
    if (!reverse) return cut[t * B + b] != 0;
    return t + 1 < length_of(b) && cut[(t + 1) * B + b] != 0;
  }
};

// Everything that a layer computes, dense and in the order of the contract.
struct Result {
  Numbers y, h_n, c_n;
  Numbers grad_x, grad_h0, grad_c0, grad_weight_ih, grad_weight_hh, grad_bias, grad_weight_hr;
};

// Calls f(name, array of each result) for all arrays; the results come along in step.
template <typename F, typename... R>
void for_each_array(F&& f, const R&... r) {
  f("y", r.y...), f("h_n", r.h_n...), f("c_n", r.c_n...);
  f("grad_x", r.grad_x...), f("grad_h0", r.grad_h0...), f("grad_c0", r.grad_c0...);
  f("grad_weight_ih", r.grad_weight_ih...), f("grad_weight_hh", r.grad_weight_hh...);
  f("grad_bias", r.grad_bias...), f("grad_weight_hr", r.grad_weight_hr...);
}

// What forward remembers of one step for backward.
struct Step {
  int64_t t;
  bool restarted;
  Numbers h_before, c_before, gate, c, u;  // u is h before the projection
};

inline void reference_row(const Problem& p, int64_t b, Result& r) {
  const int64_t B = p.B, I = p.I, H = p.H, P = p.P, length = p.length_of(b);
  std::vector<Step> steps(length);
  Numbers h(&p.h0[b * P], &p.h0[b * P] + P), c(&p.c0[b * H], &p.c0[b * H] + H);
  for (int64_t s = 0; s < length; ++s) {
    Step& at = steps[s];
    at.t = p.reverse ? length - 1 - s : s;
    at.restarted = p.restarts(at.t, b);
    if (at.restarted) h.assign(P, 0), c.assign(H, 0);
    at.h_before = h, at.c_before = c;
    at.gate.resize(4 * H), at.u.resize(H);
    for (int64_t k = 0; k < 4 * H; ++k) {
      double z = p.bias ? p.bias_ih[k] + p.bias_hh[k] : 0;
      for (int64_t i = 0; i < I; ++i) z += p.weight_ih[k * I + i] * p.x[(at.t * B + b) * I + i];
      for (int64_t j = 0; j < P; ++j) z += p.weight_hh[k * P + j] * h[j];
      at.gate[k] = k / H == 2 ? std::tanh(z) : 1 / (1 + std::exp(-z));
    }
    for (int64_t n = 0; n < H; ++n) {
      c[n] = at.gate[H + n] * c[n] + at.gate[n] * at.gate[2 * H + n];
      at.u[n] = at.gate[3 * H + n] * std::tanh(c[n]);
    }
    at.c = c;
    for (int64_t j = 0; j < P; ++j) {
      h[j] = p.projection ? 0 : at.u[j];
      for (int64_t n = 0; n < H && p.projection; ++n) h[j] += p.weight_hr[j * H + n] * at.u[n];
      r.y[(at.t * B + b) * P + j] = h[j];
    }
  }
  for (int64_t j = 0; j < P; ++j) r.h_n[b * P + j] = h[j];
  for (int64_t n = 0; n < H; ++n) r.c_n[b * H + n] = c[n];

  Numbers dh(&p.grad_h_n[b * P], &p.grad_h_n[b * P] + P);
  Numbers dc(&p.grad_c_n[b * H], &p.grad_c_n[b * H] + H);
  for (int64_t s = length - 1; s >= 0; --s) {
    const Step& at = steps[s];
    for (int64_t j = 0; j < P; ++j) dh[j] += p.grad_y[(at.t * B + b) * P + j];
    Numbers du(H), dz(4 * H);
    for (int64_t n = 0; n < H; ++n) {
      du[n] = p.projection ? 0 : dh[n];
      for (int64_t j = 0; j < P && p.projection; ++j) {
        du[n] += p.weight_hr[j * H + n] * dh[j];
        r.grad_weight_hr[j * H + n] += dh[j] * at.u[n];
      }
    }
    for (int64_t n = 0; n < H; ++n) {
      const double i = at.gate[n], f = at.gate[H + n], g = at.gate[2 * H + n];
      const double o = at.gate[3 * H + n], tanh_c = std::tanh(at.c[n]);
      dc[n] += du[n] * o * (1 - tanh_c * tanh_c);
      dz[n] = dc[n] * g * i * (1 - i);
      dz[H + n] = dc[n] * at.c_before[n] * f * (1 - f);
      dz[2 * H + n] = dc[n] * i * (1 - g * g);
      dz[3 * H + n] = du[n] * tanh_c * o * (1 - o);
      dc[n] *= f;
    }
    dh.assign(P, 0);
    for (int64_t k = 0; k < 4 * H; ++k) {
      for (int64_t i = 0; i < I; ++i) {
        r.grad_x[(at.t * B + b) * I + i] += p.weight_ih[k * I + i] * dz[k];
        r.grad_weight_ih[k * I + i] += dz[k] * p.x[(at.t * B + b) * I + i];
      }
      for (int64_t j = 0; j < P; ++j) {
        dh[j] += p.weight_hh[k * P + j] * dz[k];
        r.grad_weight_hh[k * P + j] += dz[k] * at.h_before[j];
      }
      if (p.bias) r.grad_bias[k] += dz[k];
    }
    if (at.restarted) dh.assign(P, 0), dc.assign(H, 0);
  }
  for (int64_t j = 0; j < P; ++j) r.grad_h0[b * P + j] = dh[j];
  for (int64_t n = 0; n < H; ++n) r.grad_c0[b * H + n] = dc[n];
}

inline Result reference(const Problem& p) {
  const auto zeros = [](int64_t count) { return Numbers(count, 0.0); };
  Result r{zeros(p.T * p.B * p.P), zeros(p.B * p.P),     zeros(p.B * p.H),
           zeros(p.T * p.B * p.I), zeros(p.B * p.P),     zeros(p.B * p.H),
           zeros(4 * p.H * p.I),   zeros(4 * p.H * p.P), zeros(p.bias ? 4 * p.H : 0),
           zeros(p.projection ? p.P * p.H : 0)};
  for (int64_t b = 0; b < p.B; ++b) reference_row(p, b, r);
  return r;
}

}  // namespace gatewise_tests
