// The layers as a person would write them: one row of the batch at a time, in double, no SIMD, no
// blocks, no threads. A cell is its forward and, by the chain rule, its backward (cells.h); the rest
// is here. The gradients are checked by finite differences.
#pragma once
#include "cells.h"
#include "check.h"
#include "masks.h"

namespace gatewise_tests {

// What forward remembers of one step for backward.
struct Step : CellStep {
  int64_t t;
  bool restarted;
  Normalised x_normal, h_normal;
  Numbers zone_c, zone_h;    // how much of the state before stays
};

// How hard a problem is for arithmetic with rounding errors.
struct Difficulty {
  double corner = INFINITY;  // the least distance of anything from where a slope jumps
  double scale = 1;          // the largest that a norm multiplies with, if not of constants
};

inline void draw_masks(const Problem& p, int64_t b, Step& at) {
  const CellOptions& with = p.options;
  const auto words = [&](int64_t unit) {
    return words_at(with.seed, with.stream, with.first_step + at.t, b, unit);
  };
  const auto stays = [&](uint32_t word, double probability) {
    return with.draws ? double(happens(word, probability)) : probability;
  };
  at.update.assign(p.H, 1);
  at.zone_c.assign(p.cells() * p.H, with.zoneout_c);
  at.zone_h.assign(p.P, with.zoneout_h);
  for (int64_t n = 0; with.draws && n < std::max(p.H, p.P); ++n) {
    const Words word = words(n);
    if (n < p.H) at.update[n] = kept(word[0], with.update);
    if (n < p.H && p.has_cells()) at.zone_c[n] = stays(word[1], with.zoneout_c);
    if (n < p.P) at.zone_h[n] = stays(word[2], with.zoneout_h);
  }
}

// What h is multiplied with on its way to the product, in all steps.
inline Numbers recurrent_mask(const Problem& p, int64_t b) {
  const CellOptions& with = p.options;
  Numbers mask(p.P, 1);
  for (int64_t j = 0; with.draws && j < p.P; ++j)
    mask[j] = kept(words_at(with.seed, with.stream, whole_sequence, b, j)[0], with.recurrent);
  return mask;
}

// old where it stays, new elsewhere, or as much of each.
inline Numbers blend(const Numbers& stays, const Numbers& old, const Numbers& fresh) {
  Numbers out = fresh;
  for (std::size_t n = 0; n < out.size(); ++n)
    out[n] = stays[n] * old[n] + (1 - stays[n]) * fresh[n];
  return out;
}

// Splits the gradient of a blend: what the old gets is returned, d becomes that of the new.
inline Numbers blend_backward(const Numbers& stays, Numbers& d) {
  Numbers old = d;
  for (std::size_t n = 0; n < d.size(); ++n) old[n] *= stays[n], d[n] *= 1 - stays[n];
  return old;
}

inline void add(Numbers& to, const Numbers& values) {
  for (std::size_t n = 0; n < values.size(); ++n) to[n] += values[n];
}

// Both products with their norms and biases, ready for the cell.
inline void products(const Problem& p, int64_t b, Step& at) {
  const int64_t GH = p.G() * p.H;
  at.x_part = product(p.weight_ih, &p.x[(at.t * p.B + b) * p.I], GH, p.I, p.bf16);
  at.h_part = p.feeds_back() ? product(p.weight_hh, at.h_used.data(), GH, p.P, p.bf16) : Numbers();
  if (p.options.norm) {
    at.x_normal = normalise(at.x_part), at.h_normal = normalise(at.h_part);
    at.x_part = scaled(at.x_normal.n, p.norm[0], p.norm[1]);
    at.h_part = scaled(at.h_normal.n, p.norm[2], p.norm[3]);
  }
  if (p.bias) add(at.x_part, p.bias_ih);
  if (p.bias && p.feeds_back()) add(at.h_part, p.bias_hh);
}

inline void note(const Problem& p, const Step& at, Difficulty& difficulty) {
  difficulty.corner = std::min(difficulty.corner, corner_distance(p, at));
  for (const Normalised* norm : {&at.x_normal, &at.h_normal, &at.normal})
    for (const double n : norm->n)
      if (std::fabs(n) > 1e-9) difficulty.scale = std::max(difficulty.scale, norm->scale);
}

inline void reference_row(const Problem& p, int64_t b, Result& r, Difficulty& difficulty) {
  const int64_t B = p.B, I = p.I, H = p.H, P = p.P, length = p.length_of(b);
  const int64_t C = p.cells() * H;
  std::vector<Step> steps(length);
  const auto row = [&](const Numbers& all, int64_t width) {
    return Numbers(all.begin() + b * width, all.begin() + (b + 1) * width);
  };
  const Numbers mask = recurrent_mask(p, b);
  Numbers h = row(p.h0, P), c = row(p.c0, C);
  for (int64_t s = 0; s < length; ++s) {
    Step& at = steps[s];
    at.t = p.reverse ? length - 1 - s : s;
    at.restarted = p.restarts(at.t, b);
    if (at.restarted) {
      h = p.restart ? p.restart_h : Numbers(P);
      c = p.restart ? p.restart_c : Numbers(C);
    }
    draw_masks(p, b, at);
    at.h_before = at.h_used = h, at.c_before = c, at.mask = mask;
    for (int64_t j = 0; j < P; ++j) at.h_used[j] *= mask[j];
    products(p, b, at);
    cell_forward(p, at);
    note(p, at, difficulty);
    h = blend(at.zone_h, h, p.projection ? product(p.weight_hr, at.h.data(), P, H) : at.h);
    c = blend(at.zone_c, c, at.c);
    const int64_t place = at.t * B + b;
    for (int64_t gate = 0; gate < p.traced_gates(); ++gate)
      std::copy_n(&at.gates[gate * H], H, &r.gates[(gate * p.T * B + place) * H]);
    for (int64_t m = 0; m < p.cells(); ++m)
      std::copy_n(c.begin() + m * H, H, r.cells.begin() + (m * p.T * B + place) * H);
    std::copy(h.begin(), h.end(), r.y.begin() + place * P);
  }
  std::copy(h.begin(), h.end(), r.h_n.begin() + b * P);
  std::copy(c.begin(), c.end(), r.c_n.begin() + b * C);

  Numbers dh = row(p.grad_h_n, P), dc = row(p.grad_c_n, C);
  for (int64_t s = length - 1; s >= 0; --s) {
    const Step& at = steps[s];
    const int64_t place = at.t * B + b;
    for (int64_t j = 0; j < P; ++j) dh[j] += p.grad_y[place * P + j];
    const Numbers old_h = blend_backward(at.zone_h, dh), old_c = blend_backward(at.zone_c, dc);
    CellGradient d{dh, dc, {}, {}, {}};
    if (p.projection) {
      d.dh.assign(H, 0);
      product_backward(p.weight_hr, at.h.data(), dh, H, r.grad_weight_hr, d.dh.data());
    }
    cell_backward(p, at, d, r);
    if (p.bias) {
      // Inside what is rounded for the products, but outside the norms.
      const bool rounds = p.bf16 && !p.options.norm;
      const auto factors = [&](const Numbers& v) { return as_factors(v.data(), int64_t(v.size()), rounds); };
      add(r.grad_bias_ih, factors(d.dx_part));
      if (p.feeds_back()) add(r.grad_bias_hh, factors(d.dh_part));
    }
    if (p.options.norm) {
      const auto back = [&](const Normalised& normal, int weight, const Numbers& dpart) {
        return normalise_backward(normal, scaled_backward(normal.n, p.norm[weight], dpart,
                                                          r.grad_norm[weight],
                                                          r.grad_norm[weight + 1]));
      };
      d.dx_part = back(at.x_normal, 0, d.dx_part);
      d.dh_part = back(at.h_normal, 2, d.dh_part);
    }
    product_backward(p.weight_ih, &p.x[place * I], d.dx_part, I, r.grad_weight_ih,
                     &r.grad_x[place * I], p.bf16);
    dh.assign(P, 0);
    if (p.feeds_back())
      product_backward(p.weight_hh, at.h_used.data(), d.dh_part, P, r.grad_weight_hh, dh.data(),
                       p.bf16);
    for (int64_t j = 0; j < P; ++j) dh[j] = dh[j] * mask[j] + d.dh_before[j] + old_h[j];
    dc = d.dc;
    add(dc, old_c);
    if (!at.restarted) continue;
    if (p.restart) add(r.grad_restart_h, dh), add(r.grad_restart_c, dc);
    dh.assign(P, 0), dc.assign(C, 0);
  }
  std::copy(dh.begin(), dh.end(), r.grad_h0.begin() + b * P);
  std::copy(dc.begin(), dc.end(), r.grad_c0.begin() + b * C);
}

inline Result reference(const Problem& p, Difficulty* difficulty = nullptr) {
  const auto like = [](const Numbers& values) { return Numbers(values.size()); };
  Result r;
  r.y = like(p.grad_y), r.h_n = like(p.h0), r.c_n = like(p.c0);
  r.gates = Numbers(p.traced_gates() * p.T * p.B * p.H);
  r.cells = Numbers(p.cells() * p.T * p.B * p.H);
  r.grad_x = like(p.x), r.grad_h0 = like(p.h0), r.grad_c0 = like(p.c0);
  r.grad_weight_ih = like(p.weight_ih), r.grad_weight_hh = like(p.weight_hh);
  r.grad_bias_ih = like(p.bias_ih), r.grad_bias_hh = like(p.bias_hh);
  r.grad_weight_hr = like(p.weight_hr), r.grad_peephole = like(p.peephole);
  for (int i = 0; i < 6; ++i) r.grad_norm[i] = like(p.norm[i]);
  r.grad_restart_h = like(p.restart_h), r.grad_restart_c = like(p.restart_c);
  Difficulty seen;
  for (int64_t b = 0; b < p.B; ++b) reference_row(p, b, r, seen);
  if (difficulty) *difficulty = seen;
  return r;
}

// A problem away from corners, where rounding would choose the slope, and from rows that are nearly
// constant, whose norms have a scale beyond any: others are drawn until there is one.
inline Problem draw_problem(Case sizes, double corner, double scale = INFINITY) {
  for (int draw = 0; draw < 1000; ++draw, ++sizes.seed) {
    Problem problem(sizes);
    Difficulty difficulty;
    reference(problem, &difficulty);
    if (difficulty.corner > corner && difficulty.scale < scale) return problem;
  }
  check(false, "%s: there is no such problem away from corners", describe(sizes).c_str());
  return Problem(sizes);
}

}  // namespace gatewise_tests
