// A layer to test: its sizes and options, and the numbers that follow from its seed.
#pragma once
#include <cstdio>
#include <random>
#include <string>

#include "../gatewise.h"
#include "norm.h"

namespace gatewise_tests {

using gatewise::Activation;
using gatewise::Cell;

struct CellTraits {
  const char* name;
  int64_t gates, cells;  // cells: how many states beside h
  bool has_options;
  bool feeds_back = true;  // whether h takes part in the products
};

inline const CellTraits& traits(Cell cell) {
  static const CellTraits all[] = {
      {"lstm", 4, 1, true},          {"gru", 3, 0, true},
      {"rnn_tanh", 1, 0, false},     {"rnn_relu", 1, 0, false},
      {"lstm_coupled", 3, 1, true},  {"lstm_no_forget", 3, 1, true},
      {"gru_before", 3, 0, true},    {"min_gru", 2, 0, false, false},
      {"min_gru_positive", 2, 0, false, false},
      {"min_lstm", 3, 0, false, false}, {"min_lstm_positive", 3, 0, false, false},
      {"slstm", 4, 3, false},        {"slstm_exponential", 4, 3, false},
  };
  return all[int(cell)];
}

#define GATEWISE_CELL_NAME(name) Cell::name,
constexpr Cell all_cells[] = {GATEWISE_CELLS(GATEWISE_CELL_NAME)};
#undef GATEWISE_CELL_NAME

// What gatewise::Options says, with flags for its arrays.
struct CellOptions {
  bool any = false;  // whether the kernel is told of options at all
  Activation activation = Activation::tanh, gate_activation = Activation::sigmoid;
  double clip = 0;
  bool peephole = false, norm = false;
  double update = 0, recurrent = 0, zoneout_c = 0, zoneout_h = 0;
  bool draws = false;  // whether there is a seed
  int64_t seed = 0, stream = 0, first_step = 0;
};

// Sizes and options of one layer in one direction, as in gatewise.h.
struct Case {
  Cell cell = Cell::lstm;
  int64_t T = 3, B = 2, I = 3, H = 4, P = 4;
  bool reverse = false, bias = true, projection = false, lengths = false, reset = false;
  bool restart = false;  // whether a cut is followed by a state of its own
  bool bf16 = false;     // whether products round their operands to bfloat16
  bool in_parts = false;  // whether they take each as three parts in bfloat16
  int64_t idle = 0;      // so many rows, the first, have length 0
  unsigned seed = 1;
  CellOptions options = {};

  int64_t G() const { return traits(cell).gates; }
  int64_t cells() const { return traits(cell).cells; }
  bool has_cells() const { return cells() > 0; }
  bool projects() const { return has_cells() && traits(cell).has_options; }
  bool feeds_back() const { return traits(cell).feeds_back; }
  void multiply_as(gatewise::Dtype dtype) {
    bf16 = dtype == gatewise::Dtype::bfloat16;
    in_parts = dtype == gatewise::Dtype::float32_bf16x6;
  }
  int64_t traced_gates() const { return G() > 1 ? G() : 0; }
};

inline std::string describe(const Case& c) {
  const CellOptions& o = c.options;
  char text[320];
  int end = std::snprintf(text, sizeof text, "%s T%ld B%ld I%ld H%ld P%ld%s%s%s%s%s%s seed %u",
                          traits(c.cell).name, long(c.T), long(c.B), long(c.I), long(c.H), long(c.P),
                          c.reverse ? " reverse" : "", c.bias ? "" : " no bias",
                          c.projection ? " projected" : "", c.lengths ? " lengths" : "",
                          c.reset ? " reset" : "", c.restart ? " restart" : "", c.seed);
  if (c.bf16 || c.in_parts)
    end += std::snprintf(text + end, sizeof text - end, c.bf16 ? " bf16" : " in parts");
  if (o.any)
    std::snprintf(text + end, sizeof text - end,
                  " options: functions %d %d clip %g%s%s update %g recurrent %g zoneout %g %g%s",
                  int(o.activation), int(o.gate_activation), o.clip, o.peephole ? " peephole" : "",
                  o.norm ? " norm" : "", o.update, o.recurrent, o.zoneout_c, o.zoneout_h,
                  o.draws ? " drawn" : "");
  return text;
}

// A case with its numbers, all of which float holds exactly, and the gradients that arrive.
struct Problem : Case {
  Numbers x, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh, weight_hr;
  Numbers peephole, norm[6], restart_h, restart_c;
  Numbers grad_y, grad_h_n, grad_c_n;
  std::vector<int64_t> length;  // empty for T
  std::vector<uint8_t> cut;     // T×B, or empty

  explicit Problem(const Case& sizes) : Case(sizes) {
    std::mt19937 random(seed);
    const auto around = [&](double middle, int64_t count, double scale) {
      std::uniform_real_distribution<float> uniform(float(middle - scale), float(middle + scale));
      Numbers values(count);
      for (double& value : values) value = uniform(random);
      return values;
    };
    const auto numbers = [&](int64_t count, double scale) { return around(0, count, scale); };
    // Without gates a state that is fed back too strongly would magnify every rounding error.
    const double small = (G() > 1 ? 2 : 1) / std::sqrt(double(I + P));
    x = numbers(T * B * I, 1.5);
    h0 = numbers(B * P, 1);
    c0 = numbers(B * cells() * H, 1);
    make_normal(c0);
    weight_ih = numbers(G() * H * I, small);
    if (feeds_back()) weight_hh = numbers(G() * H * P, small);
    if (bias) bias_ih = numbers(G() * H, 0.5);
    if (bias && feeds_back()) bias_hh = numbers(G() * H, 0.5);
    if (projection) weight_hr = numbers(P * H, 2 / std::sqrt(double(H)));
    grad_y = numbers(T * B * P, 1);
    grad_h_n = numbers(B * P, 1);
    grad_c_n = numbers(B * cells() * H, 1);
    for (int64_t b = 0; b < B && lengths; ++b)
      length.push_back(b < idle ? 0 : int64_t(random() % (T + 1)));
    for (int64_t i = 0; i < T * B && reset; ++i) cut.push_back(random() % 3 == 0 ? 1 + i % 255 : 0);
    if (restart) restart_h = numbers(P, 1);
    if (restart) restart_c = numbers(cells() * H, 1);
    make_normal(restart_c);
    if (options.peephole) peephole = numbers((G() - 1) * H, 1);
    for (int i = 0; options.norm && i < (has_cells() ? 6 : 4); ++i)
      norm[i] = around(i % 2 ? 0 : 1, i < 4 ? G() * H : H, 0.5);
  }

  // The normaliser of an sLSTM, the second of its cell states, is a sum of what is positive.
  void make_normal(Numbers& states) const {
    for (std::size_t n = 0; cells() == 3 && n < states.size(); ++n)
      if (int64_t(n) / H % 3 == 1) states[n] += 2;
  }

  int64_t length_of(int64_t b) const { return length.empty() ? T : length[b]; }

  // Whether the state is replaced before row b comes to time t.
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
  Numbers grad_weight_hr, grad_peephole, grad_norm[6], grad_restart_h, grad_restart_c;
};

// Calls f(name, array of each result) for all arrays; the results come along in step.
template <typename F, typename... R>
void for_each_array(F&& f, const R&... r) {
  f("y", r.y...), f("h_n", r.h_n...), f("c_n", r.c_n...);
  f("gates", r.gates...), f("cells", r.cells...);
  f("grad_x", r.grad_x...), f("grad_h0", r.grad_h0...), f("grad_c0", r.grad_c0...);
  f("grad_weight_ih", r.grad_weight_ih...), f("grad_weight_hh", r.grad_weight_hh...);
  f("grad_bias_ih", r.grad_bias_ih...), f("grad_bias_hh", r.grad_bias_hh...);
  f("grad_weight_hr", r.grad_weight_hr...), f("grad_peephole", r.grad_peephole...);
  f("grad_norm_ih_weight", r.grad_norm[0]...), f("grad_norm_ih_bias", r.grad_norm[1]...);
  f("grad_norm_hh_weight", r.grad_norm[2]...), f("grad_norm_hh_bias", r.grad_norm[3]...);
  f("grad_norm_c_weight", r.grad_norm[4]...), f("grad_norm_c_bias", r.grad_norm[5]...);
  f("grad_restart_h", r.grad_restart_h...), f("grad_restart_c", r.grad_restart_c...);
}

}  // namespace gatewise_tests
