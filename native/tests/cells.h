// The cells as their papers write them, for one row of a batch, in double: forward, and backward by
// the chain rule. Sources: the headers of kernels/cells/.
#pragma once
#include "slstm_cell.h"

namespace gatewise_tests {

inline double slope_of(Activation function, double z) {
  const double y = value_of(function, z);
  switch (function) {
    case Activation::tanh: return 1 - y * y;
    case Activation::sigmoid: return y * (1 - y);
    case Activation::relu: return z > 0;
    case Activation::hardtanh: return std::fabs(z) < 1;
    case Activation::hardsigmoid: return std::fabs(z) < 3 ? 1.0 / 6 : 0;
  }
  return NAN;
}

// How far z is from where the slope jumps; a corner that is met exactly is met in every precision.
inline double corner_distance(Activation function, double z) {
  const double apart = function == Activation::relu          ? std::fabs(z)
                       : function == Activation::hardtanh    ? std::fabs(std::fabs(z) - 1)
                       : function == Activation::hardsigmoid ? std::fabs(std::fabs(z) - 3)
                                                             : INFINITY;
  return apart > 0 ? apart : INFINITY;
}

// Where the gates of an LSTM stand in its weights; -1 for one that it lacks.
struct LstmGates {
  int i, f, g, o;

  explicit LstmGates(Cell cell)
      : i(cell == Cell::lstm_coupled ? -1 : 0),
        f(cell == Cell::lstm_coupled ? 0 : cell == Cell::lstm_no_forget ? -1 : 1),
        g(cell == Cell::lstm ? 2 : 1), o(g + 1) {}

  // The gates that see the cell state before the step.
  std::vector<int> early() const {
    return i < 0 ? std::vector<int>{f} : f < 0 ? std::vector<int>{i} : std::vector<int>{i, f};
  }
  // The row of peepholes of a gate: the candidate has none.
  std::size_t peephole(int gate, std::size_t n, std::size_t H) const {
    return std::size_t(gate < g ? gate : gate - 1) * H + n;
  }
};

// The gates of one unit, those that the cell lacks included.
struct LstmUnit {
  double i, f, g, o;

  LstmUnit(const LstmGates& at, const Numbers& gates, std::size_t n, std::size_t H)
      : g(gates[at.g * H + n]), o(gates[at.o * H + n]) {
    f = at.f < 0 ? 1 : gates[at.f * H + n];
    i = at.i < 0 ? 1 - f : gates[at.i * H + n];
  }
};

inline void lstm_forward(const Problem& p, CellStep& at) {
  const CellOptions& with = p.options;
  const LstmGates gate(p.cell);
  const std::size_t H = p.H;
  for (std::size_t k = 0; k < at.z.size(); ++k) at.z[k] = at.x_part[k] + at.h_part[k];
  for (std::size_t n = 0; n < H; ++n) {
    for (const int which : gate.early()) {
      double& z = at.z[which * H + n];
      if (with.peephole) z += p.peephole[gate.peephole(which, n, H)] * at.c_before[n];
      at.gates[which * H + n] = value_of(with.gate_activation, z);
    }
    at.gates[gate.g * H + n] = value_of(with.activation, at.z[gate.g * H + n]);
    const LstmUnit unit(gate, at.gates, n, H);
    at.c[n] = at.unclipped[n] = unit.f * at.c_before[n] + unit.i * at.update[n] * unit.g;
    if (with.clip > 0) at.c[n] = std::fmin(std::fmax(at.c[n], -with.clip), with.clip);
    double& z = at.z[gate.o * H + n];
    if (with.peephole) z += p.peephole[gate.peephole(gate.o, n, H)] * at.c[n];
    at.gates[gate.o * H + n] = value_of(with.gate_activation, z);
  }
  at.inner = at.c;
  if (with.norm) {
    at.normal = normalise(at.c);
    at.inner = scaled(at.normal.n, p.norm[4], p.norm[5]);
  }
  for (std::size_t n = 0; n < H; ++n)
    at.h[n] = at.gates[gate.o * H + n] * value_of(with.activation, at.inner[n]);
}

inline void lstm_backward(const Problem& p, const CellStep& at, CellGradient& d, Result& sums) {
  const CellOptions& with = p.options;
  const LstmGates gate(p.cell);
  const std::size_t H = p.H;
  Numbers through(H);  // what reaches c through φ
  for (std::size_t n = 0; n < H; ++n)
    through[n] = d.dh[n] * at.gates[gate.o * H + n] * slope_of(with.activation, at.inner[n]);
  if (with.norm)
    through = normalise_backward(at.normal, scaled_backward(at.normal.n, p.norm[4], through,
                                                            sums.grad_norm[4], sums.grad_norm[5]));
  for (std::size_t n = 0; n < H; ++n) {
    const LstmUnit unit(gate, at.gates, n, H);
    // The gradient of a gate before its function, on to its peephole; returns what the cell state that
    // it has seen gets.
    const auto arrive = [&](int which, double dgate, double c) {
      const double dz = dgate * slope_of(with.gate_activation, at.z[which * H + n]);
      d.dx_part[which * H + n] = dz;
      if (!with.peephole) return 0.0;
      const std::size_t k = gate.peephole(which, n, H);
      sums.grad_peephole[k] += dz * c;
      return dz * p.peephole[k];
    };
    double dc = d.dc[n] + through[n];
    dc += arrive(gate.o, d.dh[n] * value_of(with.activation, at.inner[n]), at.c[n]);
    if (with.clip > 0 && std::fabs(at.unclipped[n]) > with.clip) dc = 0;
    const double di = dc * at.update[n] * unit.g, df = dc * at.c_before[n];
    const double dz_g = dc * unit.i * at.update[n] * slope_of(with.activation, at.z[gate.g * H + n]);
    d.dx_part[gate.g * H + n] = dz_g;
    d.dc[n] = dc * unit.f;
    if (gate.i >= 0) d.dc[n] += arrive(gate.i, di, at.c_before[n]);
    if (gate.f >= 0) d.dc[n] += arrive(gate.f, gate.i < 0 ? df - di : df, at.c_before[n]);
  }
  d.dh_part = d.dx_part;
}

inline void gru_forward(const Problem& p, CellStep& at) {
  const std::size_t H = p.H;
  for (std::size_t n = 0; n < H; ++n) {
    const auto gate = [&](int which) {
      return value_of(Activation::sigmoid, at.x_part[which * H + n] + at.h_part[which * H + n]);
    };
    const double r = at.gates[n] = gate(0), z = at.gates[H + n] = gate(1);
    const double candidate = std::tanh(at.x_part[2 * H + n] + r * at.h_part[2 * H + n]);
    at.gates[2 * H + n] = candidate;
    at.h[n] = (1 - z) * at.update[n] * candidate + z * at.h_before[n];
  }
}

inline void gru_backward(const Problem& p, const CellStep& at, CellGradient& d, Result&) {
  const std::size_t H = p.H;
  for (std::size_t n = 0; n < H; ++n) {
    const double r = at.gates[n], z = at.gates[H + n], candidate = at.gates[2 * H + n];
    d.dh_before[n] = d.dh[n] * z;
    const double dn = d.dh[n] * (1 - z) * at.update[n] * (1 - candidate * candidate);
    d.dx_part[n] = dn * at.h_part[2 * H + n] * r * (1 - r);
    d.dx_part[H + n] = d.dh[n] * (at.h_before[n] - at.update[n] * candidate) * z * (1 - z);
    d.dx_part[2 * H + n] = dn;
    d.dh_part[n] = d.dx_part[n];
    d.dh_part[H + n] = d.dx_part[H + n];
    d.dh_part[2 * H + n] = dn * r;
  }
}

// The rows of weight_hh that belong to the candidate, and h as they see it.
inline Numbers candidate_weight(const Problem& p) {
  return Numbers(p.weight_hh.begin() + 2 * p.H * p.P, p.weight_hh.end());
}
inline Numbers gated_h(const CellStep& at) {
  Numbers gated = at.h_used;
  for (std::size_t n = 0; n < gated.size(); ++n) gated[n] *= at.gates[n];
  return gated;
}

inline void gru_before_forward(const Problem& p, CellStep& at) {
  const std::size_t H = p.H;
  for (std::size_t k = 0; k < 2 * H; ++k)
    at.gates[k] = value_of(Activation::sigmoid, at.x_part[k] + at.h_part[k]);
  const Numbers product_n = product(candidate_weight(p), gated_h(at).data(), H, H, p.bf16);
  for (std::size_t n = 0; n < H; ++n) {
    const double bias = p.bias ? p.bias_hh[2 * H + n] : 0, z = at.gates[H + n];
    const double candidate = std::tanh(at.x_part[2 * H + n] + product_n[n] + bias);
    at.gates[2 * H + n] = candidate;
    at.h[n] = (1 - z) * at.update[n] * candidate + z * at.h_before[n];
  }
}

inline void gru_before_backward(const Problem& p, const CellStep& at, CellGradient& d,
                                Result& sums) {
  const std::size_t H = p.H;
  Numbers dn(H), dgated(H), grad_weight(H * H);
  for (std::size_t n = 0; n < H; ++n) {
    const double z = at.gates[H + n], candidate = at.gates[2 * H + n];
    dn[n] = d.dh[n] * (1 - z) * at.update[n] * (1 - candidate * candidate);
    d.dx_part[H + n] = d.dh[n] * (at.h_before[n] - at.update[n] * candidate) * z * (1 - z);
    d.dx_part[2 * H + n] = dn[n];
    d.dh_before[n] = d.dh[n] * z;
  }
  product_backward(candidate_weight(p), gated_h(at).data(), dn, H, grad_weight, dgated.data(),
                   p.bf16);
  for (std::size_t k = 0; k < H * H; ++k) sums.grad_weight_hh[2 * H * H + k] += grad_weight[k];
  for (std::size_t n = 0; n < H; ++n) {
    const double r = at.gates[n];
    d.dx_part[n] = dgated[n] * at.h_used[n] * r * (1 - r);
    d.dh_before[n] += dgated[n] * r * at.mask[n];
    if (p.bias) sums.grad_bias_hh[2 * H + n] += p.bf16 ? nearest_bf16(dn[n]) : dn[n];
  }
  d.dh_part = d.dx_part;
  std::fill(d.dh_part.begin() + 2 * H, d.dh_part.end(), 0);  // the caller's product has no part in it
}

inline Activation rnn_function(const Problem& p) {
  return p.cell == Cell::rnn_relu ? Activation::relu : Activation::tanh;
}

inline void rnn_forward(const Problem& p, CellStep& at) {
  for (std::size_t n = 0; n < at.h.size(); ++n)
    at.h[n] = value_of(rnn_function(p), at.x_part[n] + at.h_part[n]);
}

inline void rnn_backward(const Problem& p, const CellStep& at, CellGradient& d, Result&) {
  for (std::size_t n = 0; n < d.dh.size(); ++n)
    d.dx_part[n] = d.dh[n] * slope_of(rnn_function(p), at.x_part[n] + at.h_part[n]);
  d.dh_part = d.dx_part;
}

inline bool is_min_lstm(const Problem& p) {
  return p.cell == Cell::min_lstm || p.cell == Cell::min_lstm_positive;
}

inline bool has_positive_candidate(const Problem& p) {
  return p.cell == Cell::min_gru_positive || p.cell == Cell::min_lstm_positive;
}

inline void minimal_forward(const Problem& p, CellStep& at) {
  const std::size_t H = p.H, last = (p.G() - 1) * H;
  at.z = at.x_part;
  for (std::size_t n = 0; n < H; ++n) {
    const double z = at.z[last + n];
    const double candidate = at.gates[last + n] =
        !has_positive_candidate(p) ? z : z >= 0 ? z + 0.5 : value_of(Activation::sigmoid, z);
    // How much the candidate counts, and so how much of h stays.
    const double apart = is_min_lstm(p) ? log_sigmoid(at.z[H + n]) - log_sigmoid(at.z[n]) : at.z[n];
    const double fresh = value_of(Activation::sigmoid, apart);
    const double stays = value_of(Activation::sigmoid, -apart);
    at.gates[n] = is_min_lstm(p) ? stays : fresh;
    if (is_min_lstm(p)) at.gates[H + n] = fresh;
    at.h[n] = stays * at.h_before[n] + fresh * candidate;
  }
}

inline void minimal_backward(const Problem& p, const CellStep& at, CellGradient& d, Result&) {
  const std::size_t H = p.H, last = (p.G() - 1) * H;
  for (std::size_t n = 0; n < H; ++n) {
    const double gate = at.gates[n], candidate = at.gates[last + n];
    const double stays = is_min_lstm(p) ? gate : 1 - gate, fresh = is_min_lstm(p) ? at.gates[H + n] : gate;
    const double dapart = d.dh[n] * (candidate - at.h_before[n]) * stays * fresh;
    d.dx_part[n] = dapart;
    if (is_min_lstm(p)) {
      d.dx_part[n] = -dapart * value_of(Activation::sigmoid, -at.z[n]);
      d.dx_part[H + n] = dapart * value_of(Activation::sigmoid, -at.z[H + n]);
    }
    const double slope = !has_positive_candidate(p) || at.z[last + n] >= 0 ? 1 : candidate * (1 - candidate);
    d.dx_part[last + n] = d.dh[n] * fresh * slope;
    d.dh_before[n] = d.dh[n] * stays;
  }
}

// Makes the arrays of a step that has its products and the state before, and runs the cell.
inline void cell_forward(const Problem& p, CellStep& at) {
  at.z.resize(at.x_part.size());
  at.gates.resize(at.x_part.size());
  at.unclipped.resize(at.c_before.size());
  at.c.resize(at.c_before.size());
  at.h.resize(p.H);
  !p.feeds_back()              ? minimal_forward(p, at)
  : is_slstm(p)                ? slstm_forward(p, at)
  : p.has_cells()              ? lstm_forward(p, at)
  : p.cell == Cell::gru        ? gru_forward(p, at)
  : p.cell == Cell::gru_before ? gru_before_forward(p, at)
                               : rnn_forward(p, at);
}

// `sums` gets what the cell adds to the gradients of peepholes, of the norm of c, and of what a product of
// its own reads.
inline void cell_backward(const Problem& p, const CellStep& at, CellGradient& d, Result& sums) {
  d.dx_part.resize(at.x_part.size());
  d.dh_part.resize(at.h_part.size());
  d.dh_before.resize(p.P);
  !p.feeds_back()              ? minimal_backward(p, at, d, sums)
  : is_slstm(p)                ? slstm_backward(p, at, d, sums)
  : p.has_cells()              ? lstm_backward(p, at, d, sums)
  : p.cell == Cell::gru        ? gru_backward(p, at, d, sums)
  : p.cell == Cell::gru_before ? gru_before_backward(p, at, d, sums)
                               : rnn_backward(p, at, d, sums);
}

// The least distance of a step from a corner of its functions.
inline double corner_distance(const Problem& p, const CellStep& at) {
  const CellOptions& with = p.options;
  double least = INFINITY;
  for (std::size_t n = 0; has_positive_candidate(p) && n < std::size_t(p.H); ++n)
    least = std::min(least, std::fabs(at.z[(p.G() - 1) * p.H + n]));
  for (std::size_t u = 0; is_slstm(p) && u < std::size_t(p.H); ++u) {
    const SlstmUnit unit(p, at, u);
    least = std::min(least, std::fabs(unit.log_f + unit.m - unit.log_i));
  }
  if (!p.projects()) return least;
  const LstmGates gate(p.cell);
  const std::size_t H = p.H;
  for (std::size_t k = 0; k < at.z.size(); ++k)
    least = std::min(least, corner_distance(int(k / H) == gate.g ? with.activation
                                                                 : with.gate_activation, at.z[k]));
  for (std::size_t n = 0; n < H; ++n) {
    // A cell state that has only faded is as sure of its sign as before.
    const LstmUnit unit(gate, at.gates, n, H);
    const double terms = std::fabs(unit.f * at.c_before[n]) + std::fabs(unit.i * unit.g * at.update[n]);
    const bool fades = with.activation == Activation::relu && !with.norm && terms > 0;
    least = std::min(least, corner_distance(with.activation, at.inner[n] / (fades ? terms : 1)));
    const double past = std::fabs(std::fabs(at.unclipped[n]) - with.clip);
    if (with.clip > 0 && past > 0) least = std::min(least, past);
  }
  return least;
}

}  // namespace gatewise_tests
