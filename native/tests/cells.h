// The cells as their papers write them, for one row of a batch, in double: forward, and backward by
// the chain rule. Sources: the headers of kernels/cells/.
#pragma once
#include <cmath>
#include <vector>

#include "../gatewise.h"

namespace gatewise_tests {

using gatewise::Cell;
using Numbers = std::vector<double>;

// What a step starts from: both products with their biases, and the state before.
struct Before {
  const Numbers &x_part, &h_part, &h, &c;
};

struct CellTraits {
  const char* name;
  int64_t gates;
  bool has_cells;
  // Activation of a gate for unit n of H; null for a cell without gates.
  double (*gate)(const Before& before, int gate, std::size_t n, std::size_t H);
  // The new h, and the new cell state in place of the old one.
  void (*forward)(const Before& before, Numbers& c, Numbers& h);
  // From the gradients of the new h and c those of the products; dc becomes the gradient of the old
  // cell state, and what reaches the old h without a product is added to dh_before.
  void (*backward)(const Before& before, const Numbers& c, const Numbers& dh, Numbers& dc,
                   Numbers& dh_before, Numbers& dx_part, Numbers& dh_part);
};

inline double logistic(double z) { return 1 / (1 + std::exp(-z)); }

inline double lstm_gate(const Before& at, int gate, std::size_t n, std::size_t H) {
  const double z = at.x_part[gate * H + n] + at.h_part[gate * H + n];
  return gate == 2 ? std::tanh(z) : logistic(z);
}

inline void lstm_forward(const Before& at, Numbers& c, Numbers& h) {
  for (std::size_t n = 0, H = h.size(); n < H; ++n) {
    const auto gate = [&](int which) { return lstm_gate(at, which, n, H); };
    c[n] = gate(1) * at.c[n] + gate(0) * gate(2);
    h[n] = gate(3) * std::tanh(c[n]);
  }
}

inline void lstm_backward(const Before& at, const Numbers& c, const Numbers& dh, Numbers& dc,
                          Numbers&, Numbers& dx_part, Numbers& dh_part) {
  for (std::size_t n = 0, H = dh.size(); n < H; ++n) {
    const double i = lstm_gate(at, 0, n, H), f = lstm_gate(at, 1, n, H);
    const double g = lstm_gate(at, 2, n, H), o = lstm_gate(at, 3, n, H), tanh_c = std::tanh(c[n]);
    dc[n] += dh[n] * o * (1 - tanh_c * tanh_c);
    dx_part[n] = dc[n] * g * i * (1 - i);
    dx_part[H + n] = dc[n] * at.c[n] * f * (1 - f);
    dx_part[2 * H + n] = dc[n] * i * (1 - g * g);
    dx_part[3 * H + n] = dh[n] * tanh_c * o * (1 - o);
    dc[n] *= f;
  }
  dh_part = dx_part;
}

struct GruGates {
  double r, z, n;
  GruGates(const Before& at, std::size_t unit, std::size_t H)
      : r(logistic(at.x_part[unit] + at.h_part[unit])),
        z(logistic(at.x_part[H + unit] + at.h_part[H + unit])),
        n(std::tanh(at.x_part[2 * H + unit] + r * at.h_part[2 * H + unit])) {}
};

inline double gru_gate(const Before& at, int gate, std::size_t n, std::size_t H) {
  const GruGates all(at, n, H);
  return gate == 0 ? all.r : gate == 1 ? all.z : all.n;
}

inline void gru_forward(const Before& at, Numbers&, Numbers& h) {
  for (std::size_t n = 0, H = h.size(); n < H; ++n) {
    const GruGates gate(at, n, H);
    h[n] = (1 - gate.z) * gate.n + gate.z * at.h[n];
  }
}

inline void gru_backward(const Before& at, const Numbers&, const Numbers& dh, Numbers&,
                         Numbers& dh_before, Numbers& dx_part, Numbers& dh_part) {
  for (std::size_t n = 0, H = dh.size(); n < H; ++n) {
    const GruGates gate(at, n, H);
    dh_before[n] += dh[n] * gate.z;
    const double dn = dh[n] * (1 - gate.z) * (1 - gate.n * gate.n);
    dx_part[n] = dn * at.h_part[2 * H + n] * gate.r * (1 - gate.r);
    dx_part[H + n] = dh[n] * (at.h[n] - gate.n) * gate.z * (1 - gate.z);
    dx_part[2 * H + n] = dn;
    dh_part[n] = dx_part[n];
    dh_part[H + n] = dx_part[H + n];
    dh_part[2 * H + n] = dn * gate.r;
  }
}

template <bool rectified>
void rnn_forward(const Before& at, Numbers&, Numbers& h) {
  for (std::size_t n = 0; n < h.size(); ++n) {
    const double z = at.x_part[n] + at.h_part[n];
    h[n] = rectified ? std::fmax(z, 0) : std::tanh(z);
  }
}

template <bool rectified>
void rnn_backward(const Before& at, const Numbers&, const Numbers& dh, Numbers&, Numbers&,
                  Numbers& dx_part, Numbers& dh_part) {
  for (std::size_t n = 0; n < dh.size(); ++n) {
    const double z = at.x_part[n] + at.h_part[n], tanh_z = std::tanh(z);
    dx_part[n] = dh[n] * (rectified ? double(z > 0) : 1 - tanh_z * tanh_z);
  }
  dh_part = dx_part;
}

inline const CellTraits& traits(Cell cell) {
  static const CellTraits all[] = {
      {"lstm", 4, true, lstm_gate, lstm_forward, lstm_backward},
      {"gru", 3, false, gru_gate, gru_forward, gru_backward},
      {"rnn_tanh", 1, false, nullptr, rnn_forward<false>, rnn_backward<false>},
      {"rnn_relu", 1, false, nullptr, rnn_forward<true>, rnn_backward<true>},
  };
  return all[int(cell)];
}

#define GATEWISE_CELL_NAME(name) Cell::name,
constexpr Cell all_cells[] = {GATEWISE_CELLS(GATEWISE_CELL_NAME)};

}  // namespace gatewise_tests
