// Ways to ask a cell for its options: each alone, and all that may meet.
#pragma once
#include "problem.h"

namespace gatewise_tests {

enum class Variant {
  none,         // the kernels with options, asked for nothing
  peephole, clip, norm,
  smooth,       // other functions, without corners
  hard,         // functions with corners
  rectified,    // one without a bound but the limit
  update, recurrent, zoneout_c, zoneout_h,
  expectation,  // all probabilities without a seed
  restart,
  all,
  all_expected,
};
constexpr Variant last_variant = Variant::all_expected;

// Whether a cell has it: peepholes, functions, the clip and a cell state are the LSTM's.
inline bool has_variant(Cell cell, Variant variant) {
  if (!traits(cell).has_options) return variant == Variant::restart;
  if (traits(cell).cells > 0) return true;
  if (cell == Cell::gru_before && variant == Variant::norm) return false;
  switch (variant) {
    case Variant::peephole: case Variant::clip: case Variant::smooth: case Variant::hard:
    case Variant::rectified: case Variant::zoneout_c: return false;
    default: return true;
  }
}

inline void set_probabilities(CellOptions& o, bool lstm) {
  o.update = 0.3, o.zoneout_c = lstm ? 0.2 : 0, o.zoneout_h = 0.4;
}

// What all variants of more than one option have. The functions go by the seed.
inline void set_all(Case& c) {
  CellOptions& o = c.options;
  o.norm = c.cell != Cell::gru_before;
  set_probabilities(o, c.has_cells());
  if (!c.has_cells()) return;
  o.peephole = true, o.clip = 0.75;
  if (c.seed % 2) o.activation = Activation::hardtanh, o.gate_activation = Activation::hardsigmoid;
}

// `c` with the options of a variant. Seed, stream and first step of the masks follow from its seed.
inline Case with_variant(Case c, Variant variant) {
  CellOptions& o = c.options;
  o.any = traits(c.cell).has_options;
  o.seed = int64_t(c.seed * 0xFEDCBA9876543211u);
  o.stream = int64_t(c.seed % 7) - 3;
  o.first_step = c.seed % 3 * 1000;
  const auto probability = [&](double& which, double value) { which = value, o.draws = true; };
  switch (variant) {
    case Variant::none: break;
    case Variant::peephole: o.peephole = true; break;
    case Variant::clip: o.clip = 0.5; break;
    case Variant::norm: o.norm = true; break;
    case Variant::smooth:
      o.activation = Activation::sigmoid, o.gate_activation = Activation::tanh;
      break;
    case Variant::hard:
      o.activation = Activation::hardtanh, o.gate_activation = Activation::hardsigmoid;
      break;
    case Variant::rectified:
      o.activation = Activation::relu, o.clip = 2;
      break;
    case Variant::update: probability(o.update, 0.4); break;
    case Variant::recurrent: probability(o.recurrent, 0.4); break;
    case Variant::zoneout_c: probability(o.zoneout_c, 0.3); break;
    case Variant::zoneout_h: probability(o.zoneout_h, 0.3); break;
    case Variant::expectation:
      set_probabilities(o, c.has_cells());
      o.recurrent = 0.4;
      break;
    case Variant::restart: c.reset = c.restart = true; break;
    case Variant::all:
      set_all(c);
      o.draws = true, o.recurrent = 0.25, c.reset = c.restart = true;
      break;
    case Variant::all_expected:
      set_all(c);
      c.restart = c.reset;
      break;
  }
  return c;
}

}  // namespace gatewise_tests
