// The sLSTM for one row of a batch, in double: kernels/cells/slstm.cc has the source.
#pragma once
#include "cell_step.h"

namespace gatewise_tests {

inline bool is_slstm(const Problem& p) {
  return p.cell == Cell::slstm || p.cell == Cell::slstm_exponential;
}

// Before the step and after it: c, n and m of a unit, and what m is the larger of.
struct SlstmUnit {
  double c, n, m, next_m, log_i, log_f, i, f, z, o;

  SlstmUnit(const Problem& p, const CellStep& at, std::size_t u) {
    const std::size_t H = p.H;
    c = at.c_before[u], n = at.c_before[H + u], m = at.c_before[2 * H + u];
    log_i = at.z[u];
    log_f = p.cell == Cell::slstm ? log_sigmoid(at.z[H + u]) : at.z[H + u];
    next_m = std::fmax(log_f + m, log_i);
    i = std::exp(log_i - next_m), f = std::exp(log_f + m - next_m);
    z = std::tanh(at.z[2 * H + u]), o = value_of(Activation::sigmoid, at.z[3 * H + u]);
  }
};

inline void slstm_forward(const Problem& p, CellStep& at) {
  const std::size_t H = p.H;
  for (std::size_t k = 0; k < at.z.size(); ++k) at.z[k] = at.x_part[k] + at.h_part[k];
  for (std::size_t u = 0; u < H; ++u) {
    const SlstmUnit unit(p, at, u);
    at.gates[u] = unit.log_i, at.gates[H + u] = unit.log_f;
    at.gates[2 * H + u] = unit.z, at.gates[3 * H + u] = unit.o;
    at.c[u] = unit.f * unit.c + unit.i * unit.z;
    at.c[H + u] = unit.f * unit.n + unit.i;
    at.c[2 * H + u] = unit.next_m;
    at.h[u] = unit.o * at.c[u] / at.c[H + u];
  }
}

inline void slstm_backward(const Problem& p, const CellStep& at, CellGradient& d, Result&) {
  const std::size_t H = p.H;
  const Numbers arrived = d.dc;
  for (std::size_t u = 0; u < H; ++u) {
    const SlstmUnit unit(p, at, u);
    const double c = at.c[u], n = at.c[H + u], dh = d.dh[u];
    const double dc = arrived[u] + dh * unit.o / n;
    const double dn = arrived[H + u] - dh * unit.o * c / (n * n);
    const double di = dc * unit.z + dn, df = dc * unit.c + dn * unit.n;
    const double dm = arrived[2 * H + u] - di * unit.i - df * unit.f;
    const bool by_f = unit.log_f + unit.m > unit.log_i;
    const double dlog_i = di * unit.i + (by_f ? 0 : dm), dlog_f = df * unit.f + (by_f ? dm : 0);
    d.dc[u] = dc * unit.f, d.dc[H + u] = dn * unit.f, d.dc[2 * H + u] = dlog_f;
    d.dx_part[u] = dlog_i;
    d.dx_part[H + u] =
        p.cell == Cell::slstm ? dlog_f * value_of(Activation::sigmoid, -at.z[H + u]) : dlog_f;
    d.dx_part[2 * H + u] = dc * unit.i * (1 - unit.z * unit.z);
    d.dx_part[3 * H + u] = dh * c / n * unit.o * (1 - unit.o);
  }
  d.dh_part = d.dx_part;
}

}  // namespace gatewise_tests
