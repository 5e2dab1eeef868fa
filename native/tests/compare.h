// How far a kernel's arrays may be from the reference's.
#pragma once
#include <cmath>
#include <cstring>
#include <limits>

#include "reference.h"

namespace gatewise_tests {

constexpr double one_part = 1e-6;

// ‖got − want‖ / ‖want‖ of the array of a layer, infinite where NaN stands. All numbers are sums of
// terms of about 0.2 and more, those of weights over all steps and rows; where these cancel their
// rounding errors do not, so each number counts as at least 0.2·√(number of terms) in the norm.
inline double relative_error(const char* name, const Numbers& got, const Numbers& want,
                             const Case& sizes) {
  if (got.size() != want.size()) return INFINITY;
  bool summed = std::strncmp(name, "grad_", 5) == 0;
  for (const char* single : {"grad_x", "grad_h0", "grad_c0"}) summed &= std::strcmp(name, single) != 0;
  const double terms = summed ? double(sizes.T * sizes.B) : 1;
  double distance = 0, scale = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    distance += (got[i] - want[i]) * (got[i] - want[i]);
    scale += want[i] * want[i];
  }
  const double least = 0.04 * terms * double(want.size()) + 1e-300;
  const double error = std::sqrt(distance / std::max(scale, least));
  return std::isnan(error) ? INFINITY : error;
}

// Rounding errors of sums of K terms grow as sqrt(K) at worst here (random signs), those of the
// recurrence linearly with the few steps in which a state forgets; measured errors are a quarter.
// With products in bfloat16 the reference rounds as the kernel does, but for numbers so near the middle
// between two that float and double fall to different sides; those are one in thousands, and their traces
// fade with the state: slowly in a GRU, not at all without gates.
constexpr double bf16_part = 3e-5;

template <typename T>
double tolerance(const Case& sizes) {
  if (sizes.bf16) return (sizes.has_cells() ? 32 : sizes.G() > 1 ? 48 : 192) * bf16_part;
  const double terms = double(sizes.I + sizes.P) + 0.1 * double(sizes.T * sizes.B);
  return std::numeric_limits<T>::epsilon() * (16 + std::sqrt(terms));
}

// The problem with all its numbers off by up to one part in a million, by another one for each.
inline Problem moved(Problem p, unsigned draw) {
  std::mt19937 random(p.seed + draw);
  std::uniform_real_distribution<double> part(-one_part, one_part);
  for (Numbers* values : {&p.x, &p.h0, &p.c0, &p.weight_ih, &p.weight_hh, &p.bias_ih, &p.bias_hh,
                          &p.weight_hr, &p.peephole, &p.restart_h, &p.restart_c, &p.norm[0],
                          &p.norm[1], &p.norm[2], &p.norm[3], &p.norm[4], &p.norm[5]})
    for (double& value : *values) value *= 1 + part(random);
  return p;
}

// A norm may magnify errors to any degree, and so may the steps after it: how many times more than the
// numbers of a problem the array moves that moves most (one draw may happen to move little), or the
// largest scale of a norm, whose gradient is a difference times that.
inline double magnification(Problem p, const Difficulty& difficulty) {
  p.bf16 = false;  // rounding would magnify whatever crosses the middle between two numbers
  const Result want = reference(p);
  double most = difficulty.scale;
  for (const unsigned draw : {1, 2})
    for_each_array([&](const char* name, const Numbers& right, const Numbers& off) {
      most = std::max(most, relative_error(name, off, right, p) / one_part);
    }, want, reference(moved(p, draw)));
  return most;
}

// What a layer with options may be off by. Measured errors are half of it at most.
template <typename T>
double tolerance(const Case& sizes, double magnified) {
  const double part = sizes.bf16 ? bf16_part : std::numeric_limits<T>::epsilon();
  return tolerance<T>(sizes) + 16 * part * magnified;
}

}  // namespace gatewise_tests
