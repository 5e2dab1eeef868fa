// Layer normalisation as its paper writes it (J. Ba, J. Kiros, G. Hinton, 2016): n = (v - mean) / sqrt(
// variance + eps), and its gradient.
#pragma once
#include <cmath>
#include <vector>

namespace gatewise_tests {

using Numbers = std::vector<double>;

struct Normalised {
  Numbers n;
  double scale = 0;  // 1 / sqrt(variance + eps)
};

inline double mean_of(const Numbers& v) {
  double sum = 0;
  for (const double value : v) sum += value;
  return sum / double(v.size());
}

inline Normalised normalise(const Numbers& v) {
  const double mean = mean_of(v);
  double squares = 0;
  for (const double value : v) squares += (value - mean) * (value - mean);
  Normalised out{v, 1 / std::sqrt(squares / double(v.size()) + 1e-5)};
  for (double& value : out.n) value = (value - mean) * out.scale;
  return out;
}

// The gradient of v from that of n: v moves n directly, through the mean, and through the variance.
inline Numbers normalise_backward(const Normalised& at, const Numbers& dn) {
  Numbers product = dn;
  for (std::size_t i = 0; i < dn.size(); ++i) product[i] *= at.n[i];
  const double mean = mean_of(dn), mean_product = mean_of(product);
  Numbers dv = dn;
  for (std::size_t i = 0; i < dn.size(); ++i)
    dv[i] = (dn[i] - mean - at.n[i] * mean_product) * at.scale;
  return dv;
}

// out = n·weight + bias.
inline Numbers scaled(const Numbers& n, const Numbers& weight, const Numbers& bias) {
  Numbers out = bias;
  for (std::size_t i = 0; i < n.size(); ++i) out[i] += n[i] * weight[i];
  return out;
}

// Its gradient: adds those of weight and bias, returns that of n.
inline Numbers scaled_backward(const Numbers& n, const Numbers& weight, const Numbers& dout,
                               Numbers& grad_weight, Numbers& grad_bias) {
  Numbers dn = dout;
  for (std::size_t i = 0; i < n.size(); ++i) {
    grad_weight[i] += dout[i] * n[i];
    grad_bias[i] += dout[i];
    dn[i] *= weight[i];
  }
  return dn;
}

}  // namespace gatewise_tests
