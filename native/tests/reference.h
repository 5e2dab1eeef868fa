// The layers as a person would write them: one row of the batch at a time, in double, no SIMD, no
// blocks, no threads. A cell is its forward and, by the chain rule, its backward (cells.h); the rest
// is here. The gradients are checked by finite differences.
#pragma once
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "cells.h"

namespace gatewise_tests {

// Sizes and options of one layer in one direction, as in gatewise.h.
struct Case {
  Cell cell = Cell::lstm;
  int64_t T = 3, B = 2, I = 3, H = 4, P = 4;
  bool reverse = false, bias = true, projection = false, lengths = false, reset = false;
  unsigned seed = 1;

  int64_t G() const { return traits(cell).gates; }
  bool has_cells() const { return traits(cell).has_cells; }
  int64_t traced_gates() const { return traits(cell).gate ? G() : 0; }
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
    // Without gates a state that is fed back too strongly would magnify every rounding error.
    const double small = (G() > 1 ? 2 : 1) / std::sqrt(double(I + P));
    x = numbers(T * B * I, 1.5);
    h0 = numbers(B * P, 1);
    if (has_cells()) c0 = numbers(B * H, 1);
    weight_ih = numbers(G() * H * I, small);
    weight_hh = numbers(G() * H * P, small);
    if (bias) bias_ih = numbers(G() * H, 0.5), bias_hh = numbers(G() * H, 0.5);
    if (projection) weight_hr = numbers(P * H, 2 / std::sqrt(double(H)));
    grad_y = numbers(T * B * P, 1);
    grad_h_n = numbers(B * P, 1);
    if (has_cells()) grad_c_n = numbers(B * H, 1);
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
  Numbers y, h_n, c_n, gates, cells;  // gates: G×T×B×H; cells: T×B×H
  Numbers grad_x, grad_h0, grad_c0, grad_weight_ih, grad_weight_hh, grad_bias_ih, grad_bias_hh;
  Numbers grad_weight_hr;
};

// Calls f(name, array of each result) for all arrays; the results come along in step.
template <typename F, typename... R>
void for_each_array(F&& f, const R&... r) {
  f("y", r.y...), f("h_n", r.h_n...), f("c_n", r.c_n...);
  f("gates", r.gates...), f("cells", r.cells...);
  f("grad_x", r.grad_x...), f("grad_h0", r.grad_h0...), f("grad_c0", r.grad_c0...);
  f("grad_weight_ih", r.grad_weight_ih...), f("grad_weight_hh", r.grad_weight_hh...);
  f("grad_bias_ih", r.grad_bias_ih...), f("grad_bias_hh", r.grad_bias_hh...);
  f("grad_weight_hr", r.grad_weight_hr...);
}

// What forward remembers of one step for backward.
struct Step {
  int64_t t;
  bool restarted;
  Numbers h_before, c_before, x_part, h_part, c, u;  // u is h before the projection
};

inline void reference_row(const Problem& p, int64_t b, Result& r) {
  const int64_t B = p.B, I = p.I, H = p.H, P = p.P, GH = p.G() * H, length = p.length_of(b);
  const int64_t C = p.has_cells() ? H : 0;
  std::vector<Step> steps(length);
  const auto row = [&](const Numbers& all, int64_t width) {
    return Numbers(all.begin() + b * width, all.begin() + (b + 1) * width);
  };
  Numbers h = row(p.h0, P), c = row(p.c0, C);
  for (int64_t s = 0; s < length; ++s) {
    Step& at = steps[s];
    at.t = p.reverse ? length - 1 - s : s;
    at.restarted = p.restarts(at.t, b);
    if (at.restarted) h.assign(P, 0), c.assign(C, 0);
    at.h_before = h, at.c_before = c;
    at.x_part = at.h_part = Numbers(GH);
    for (int64_t k = 0; k < GH; ++k) {
      at.x_part[k] = p.bias ? p.bias_ih[k] : 0;
      at.h_part[k] = p.bias ? p.bias_hh[k] : 0;
      for (int64_t i = 0; i < I; ++i)
        at.x_part[k] += p.weight_ih[k * I + i] * p.x[(at.t * B + b) * I + i];
      for (int64_t j = 0; j < P; ++j) at.h_part[k] += p.weight_hh[k * P + j] * h[j];
    }
    at.u = Numbers(H);
    const Before before{at.x_part, at.h_part, at.h_before, at.c_before};
    traits(p.cell).forward(before, c, at.u);
    at.c = c;
    const int64_t place = (at.t * B + b) * H;
    for (int64_t gate = 0; gate < p.traced_gates(); ++gate)
      for (int64_t n = 0; n < H; ++n)
        r.gates[gate * p.T * B * H + place + n] = traits(p.cell).gate(before, int(gate), n, H);
    std::copy(c.begin(), c.end(), r.cells.begin() + (p.has_cells() ? place : 0));
    for (int64_t j = 0; j < P; ++j) {
      h[j] = p.projection ? 0 : at.u[j];
      for (int64_t n = 0; n < H && p.projection; ++n) h[j] += p.weight_hr[j * H + n] * at.u[n];
      r.y[(at.t * B + b) * P + j] = h[j];
    }
  }
  std::copy(h.begin(), h.end(), r.h_n.begin() + b * P);
  std::copy(c.begin(), c.end(), r.c_n.begin() + b * C);

  Numbers dh = row(p.grad_h_n, P), dc = row(p.grad_c_n, C);
  for (int64_t s = length - 1; s >= 0; --s) {
    const Step& at = steps[s];
    for (int64_t j = 0; j < P; ++j) dh[j] += p.grad_y[(at.t * B + b) * P + j];
    Numbers du(H), dx_part(GH), dh_part(GH);
    for (int64_t n = 0; n < H; ++n) {
      du[n] = p.projection ? 0 : dh[n];
      for (int64_t j = 0; j < P && p.projection; ++j) {
        du[n] += p.weight_hr[j * H + n] * dh[j];
        r.grad_weight_hr[j * H + n] += dh[j] * at.u[n];
      }
    }
    dh.assign(P, 0);
    traits(p.cell).backward({at.x_part, at.h_part, at.h_before, at.c_before}, at.c, du, dc, dh,
                            dx_part, dh_part);
    for (int64_t k = 0; k < GH; ++k) {
      for (int64_t i = 0; i < I; ++i) {
        r.grad_x[(at.t * B + b) * I + i] += p.weight_ih[k * I + i] * dx_part[k];
        r.grad_weight_ih[k * I + i] += dx_part[k] * p.x[(at.t * B + b) * I + i];
      }
      for (int64_t j = 0; j < P; ++j) {
        dh[j] += p.weight_hh[k * P + j] * dh_part[k];
        r.grad_weight_hh[k * P + j] += dh_part[k] * at.h_before[j];
      }
      if (p.bias) r.grad_bias_ih[k] += dx_part[k], r.grad_bias_hh[k] += dh_part[k];
    }
    if (at.restarted) dh.assign(P, 0), dc.assign(C, 0);
  }
  std::copy(dh.begin(), dh.end(), r.grad_h0.begin() + b * P);
  std::copy(dc.begin(), dc.end(), r.grad_c0.begin() + b * C);
}

inline Result reference(const Problem& p) {
  const auto zeros = [](int64_t count) { return Numbers(count, 0.0); };
  const int64_t cells = p.has_cells() ? p.B * p.H : 0, GH = p.G() * p.H;
  Result r{zeros(p.T * p.B * p.P), zeros(p.B * p.P), zeros(cells),
           zeros(p.traced_gates() * p.T * p.B * p.H), zeros(p.T * cells),
           zeros(p.T * p.B * p.I), zeros(p.B * p.P), zeros(cells),
           zeros(GH * p.I),        zeros(GH * p.P),  zeros(p.bias ? GH : 0),
           zeros(p.bias ? GH : 0), zeros(p.projection ? p.P * p.H : 0)};
  for (int64_t b = 0; b < p.B; ++b) reference_row(p, b, r);
  return r;
}

}  // namespace gatewise_tests
