// One step of one row of a layer, as the cells' tests have it.
#pragma once
#include <algorithm>
#include <limits>

#include "problem.h"
#include "products.h"

namespace gatewise_tests {

// One step of one row: what the cell starts from, and what it makes of it.
struct CellStep {
  Numbers x_part, h_part;     // both products with their biases, normalised if asked for
  Numbers h_before, c_before;
  Numbers mask, h_used;       // what h is multiplied with on its way to the products, and that
  Numbers update;             // what the candidate is multiplied with
  Numbers z, gates;           // before and after their functions, in the order of the weights
  Numbers unclipped, c;       // the new cell state before and after the limit
  Normalised normal;          // c normalised, if asked for
  Numbers inner;              // what φ is taken of on the way out
  Numbers h;                  // before the projection
};

// Gradients: in, of the new h and c; out, of the products and of the c before, and what reaches the h
// before without a product.
struct CellGradient {
  Numbers dh, dc, dx_part, dh_part, dh_before;
};

inline double value_of(Activation function, double z) {
  switch (function) {
    case Activation::tanh: return std::tanh(z);
    case Activation::sigmoid: return 1 / (1 + std::exp(-z));
    case Activation::relu: return std::fmax(z, 0);
    case Activation::hardtanh: return std::fmin(std::fmax(z, -1), 1);
    case Activation::hardsigmoid: return std::fmin(std::fmax(z + 3, 0), 6) / 6;
  }
  return NAN;
}

inline double log_sigmoid(double z) {
  return z < 0 ? z - std::log1p(std::exp(z)) : -std::log1p(std::exp(-z));
}

}  // namespace gatewise_tests
