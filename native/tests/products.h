// Products of a matrix and a vector, and their gradients, as a person would write them.
#pragma once
#include <cmath>
#include <random>

#include "norm.h"

namespace gatewise_tests {

// The nearest number that a bfloat16 holds: eight bits before the rest.
inline double nearest_bf16(double v) {
  int exponent = 0;
  const double part = std::frexp(v, &exponent);
  return std::ldexp(std::nearbyint(std::ldexp(part, 8)), exponent - 8);
}

inline Numbers as_factors(const double* values, int64_t count, bool bf16) {
  Numbers out(values, values + count);
  for (double& v : out) v = bf16 ? nearest_bf16(v) : v;
  return out;
}

// Normal numbers that a float holds.
class Draws {
 public:
  explicit Draws(unsigned seed) : random(seed) {}

  Numbers operator()(int64_t count, double size) {
    Numbers values(count);
    for (double& value : values) value = double(float(size * normal_(random)));
    return values;
  }

  std::mt19937 random;

 private:
  std::normal_distribution<double> normal_;
};

// matrix·v, the matrix rows×columns, and the two gradients.
inline Numbers product(const Numbers& matrix, const double* v, int64_t rows, int64_t columns,
                       bool bf16 = false) {
  const Numbers factors = as_factors(v, columns, bf16);
  Numbers out(rows);
  for (int64_t k = 0; k < rows; ++k)
    for (int64_t i = 0; i < columns; ++i) {
      const double weight = matrix[k * columns + i];
      out[k] += (bf16 ? nearest_bf16(weight) : weight) * factors[i];
    }
  return out;
}

inline void product_backward(const Numbers& matrix, const double* v, const Numbers& dout,
                             int64_t columns, Numbers& grad_matrix, double* dv,
                             bool bf16 = false) {
  const Numbers factors = as_factors(v, columns, bf16);
  const Numbers d = as_factors(dout.data(), int64_t(dout.size()), bf16);
  for (std::size_t k = 0; k < dout.size(); ++k)
    for (int64_t i = 0; i < columns; ++i) {
      const double weight = matrix[k * columns + i];
      dv[i] += (bf16 ? nearest_bf16(weight) : weight) * d[k];
      grad_matrix[k * columns + i] += d[k] * factors[i];
    }
}

}  // namespace gatewise_tests
