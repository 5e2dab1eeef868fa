// The tests of the tests: each wrong layer is rejected at the tolerance that kernels are held to.
#include "run.h"
#include "variants.h"

using namespace gatewise_tests;

namespace {

long checked = 0;

bool any(const Problem&) { return true; }
bool has_cells(const Problem& p) { return p.has_cells(); }
bool feeds_back(const Problem& p) { return p.feeds_back(); }
bool has_bias_of_n(const Problem& p) { return p.cell == Cell::gru; }
bool has_restart(const Problem& p) { return p.restart; }
bool has_restart_c(const Problem& p) { return !p.restart_c.empty(); }
bool peeps(const Problem& p) { return p.options.peephole; }
bool clips(const Problem& p) { return p.options.clip > 0; }
bool normalises(const Problem& p) { return p.options.norm; }
bool normalises_c(const Problem& p) { return !p.norm[4].empty(); }
bool draws(const Problem& p) { return p.options.draws; }
bool expects(const Problem& p) { return p.options.zoneout_h > 0 && !p.options.draws; }
bool updates(const Problem& p) { return p.options.update > 0 && p.options.draws; }
// In bfloat16 a single gate hides its third digit, and so does what a positive candidate begins with.
bool shows_digits(const Problem& p) {
  return !p.bf16 || (p.G() > 1 && !has_positive_candidate(p));
}
bool rounds(const Problem& p) { return p.bf16 && shows_digits(p); }
bool recurs(const Problem& p) { return p.options.recurrent > 0 && p.options.draws; }
bool zones_h(const Problem& p) { return p.options.zoneout_h > 0; }
bool zones_c(const Problem& p) { return p.options.zoneout_c > 0; }

// A wrong layer is the right one on numbers that were tampered with; `shown_by` is the array in which
// it must be seen.
struct Sabotage {
  const char* what;
  const char* shown_by;
  void (*tamper)(Problem&);
  bool (*applies)(const Problem&) = any;
};

template <int a, int b>
bool has_gates(const Problem& p) {
  return a < p.G() && b < p.G();
}

template <int a, int b>
void swap_gates(Problem& p) {
  for (Numbers* weight : {&p.weight_ih, &p.weight_hh, &p.bias_ih, &p.bias_hh}) {
    const int64_t rows = int64_t(weight->size()) / p.G();
    std::swap_ranges(weight->begin() + a * rows, weight->begin() + (a + 1) * rows,
                     weight->begin() + b * rows);
  }
}

void swap_biases_of_n(Problem& p) {
  std::swap_ranges(p.bias_ih.begin() + 2 * p.H, p.bias_ih.end(), p.bias_hh.begin() + 2 * p.H);
}

// The first that acts: after the first step, and inside the length.
void miss_a_reset(Problem& p) {
  for (int64_t t = 1; t < p.T; ++t)
    for (int64_t b = 0; b < p.B; ++b)
      if (p.cut[t * p.B + b] && t < p.length_of(b)) {
        p.cut[t * p.B + b] = 0;
        return;
      }
}

// Of the batch.
int64_t longest_row(const Problem& p) {
  return std::max_element(p.length.begin(), p.length.end()) - p.length.begin();
}

void zero(Numbers& values) { std::fill(values.begin(), values.end(), 0.0); }

const Sabotage sabotages[] = {
    {"gates 0 and 1 swapped", "y", swap_gates<0, 1>, has_gates<0, 1>},
    {"gates 0 and 2 swapped", "y", swap_gates<0, 2>, has_gates<0, 2>},
    {"gates 0 and 3 swapped", "y", swap_gates<0, 3>, has_gates<0, 3>},
    {"gates 1 and 2 swapped", "y", swap_gates<1, 2>, has_gates<1, 2>},
    {"gates 1 and 3 swapped", "y", swap_gates<1, 3>, has_gates<1, 3>},
    {"gates 2 and 3 swapped", "y", swap_gates<2, 3>, has_gates<2, 3>},
    {"biases of n swapped", "y", swap_biases_of_n, has_bias_of_n},
    {"bias_hh dropped", "y", [](Problem& p) { zero(p.bias_hh); }, feeds_back},
    {"weight_hh dropped", "y", [](Problem& p) { zero(p.weight_hh); }, feeds_back},
    {"one column of a weight off in the third digit", "y",
     [](Problem& p) {
       for (std::size_t k = 0; k < p.weight_ih.size(); k += p.I) p.weight_ih[k] *= 1.01;
     }, shows_digits},
    {"products not rounded", "y", [](Problem& p) { p.bf16 = false; }, rounds},
    {"h0 dropped", "y", [](Problem& p) { zero(p.h0); }},
    {"c0 dropped", "cells", [](Problem& p) { zero(p.c0); }, has_cells},
    {"direction ignored", "y", [](Problem& p) { p.reverse = !p.reverse; }},
    {"lengths ignored", "h_n", [](Problem& p) { p.length.clear(); }},
    {"lengths one short", "h_n",
     [](Problem& p) { for (int64_t& n : p.length) n = std::max<int64_t>(0, n - 1); }},
    {"reset ignored", "y", [](Problem& p) { p.cut.clear(); }},
    {"reset one step late", "y",
     [](Problem& p) { std::rotate(p.cut.begin(), p.cut.end() - p.B, p.cut.end()); }},
    {"one reset missed", "grad_x", miss_a_reset},
    {"first gate of another step", "gates",
     [](Problem& p) { std::rotate(p.x.begin(), p.x.begin() + p.B * p.I, p.x.end()); },
     has_gates<0, 1>},
    {"gradient of h_n dropped", "grad_x", [](Problem& p) { zero(p.grad_h_n); }},
    {"gradient of c_n dropped", "grad_weight_ih", [](Problem& p) { zero(p.grad_c_n); }, has_cells},
    {"gradient of y one step late", "grad_x",
     [](Problem& p) {
       std::rotate(p.grad_y.begin(), p.grad_y.end() - p.B * p.P, p.grad_y.end());
     }},
    {"one row of the gradient of y dropped", "grad_bias_ih",
     [](Problem& p) { std::fill_n(p.grad_y.begin() + longest_row(p) * p.P, p.P, 0.0); }},
    {"state after cuts zero", "y", [](Problem& p) { zero(p.restart_h); }, has_restart},
    {"cell state after cuts zero", "cells", [](Problem& p) { zero(p.restart_c); }, has_restart_c},
    {"peepholes ignored", "y", [](Problem& p) { zero(p.peephole); }, peeps},
    {"peepholes of another gate", "y",
     [](Problem& p) {
       std::rotate(p.peephole.begin(), p.peephole.begin() + p.H, p.peephole.end());
     }, peeps},
    {"limit ignored", "cells", [](Problem& p) { p.options.clip = 0; }, clips},
    {"limit off in the third digit", "cells", [](Problem& p) { p.options.clip *= 1.01; }, clips},
    {"another function", "y", [](Problem& p) { p.options.activation = Activation::sigmoid; }, clips},
    {"another function of gates", "y",
     [](Problem& p) { p.options.gate_activation = Activation::tanh; }, clips},
    {"norms of the products swapped", "y",
     [](Problem& p) { std::swap(p.norm[0], p.norm[2]); }, normalises},
    {"bias of a norm dropped", "y", [](Problem& p) { zero(p.norm[3]); }, normalises},
    {"weight of the norm of c ignored", "y",
     [](Problem& p) { std::fill(p.norm[4].begin(), p.norm[4].end(), 1.0); }, normalises_c},
    {"bias of the norm of c dropped", "y", [](Problem& p) { zero(p.norm[5]); }, normalises_c},
    {"another seed", "y", [](Problem& p) { p.options.seed += int64_t(1) << 32; }, draws},
    {"another stream", "y", [](Problem& p) { ++p.options.stream; }, draws},
    {"masks one step late", "y", [](Problem& p) { ++p.options.first_step; }, draws},
    {"expectation instead of masks", "y", [](Problem& p) { p.options.draws = false; }, draws},
    {"masks instead of the expectation", "y", [](Problem& p) { p.options.draws = true; }, expects},
    {"update dropout ignored", "y", [](Problem& p) { p.options.update = 0; }, updates},
    {"recurrent dropout ignored", "y", [](Problem& p) { p.options.recurrent = 0; }, recurs},
    {"zoneout of h ignored", "y", [](Problem& p) { p.options.zoneout_h = 0; }, zones_h},
    {"zoneout of c ignored", "cells", [](Problem& p) { p.options.zoneout_c = 0; }, zones_c},
    {"zoneouts swapped", "cells",
     [](Problem& p) { std::swap(p.options.zoneout_c, p.options.zoneout_h); }, zones_c},
};

template <typename T>
void test_sabotage(const Kernels& kernels, const Problem& right) {
  const Result got = run_kernel<T>(kernels, right, {});
  Difficulty difficulty;
  const Result want = reference(right, &difficulty);
  const double allowed = right.options.any
                             ? tolerance<T>(right, magnification(right, difficulty))
                             : tolerance<T>(right);
  for (const Sabotage& sabotage : sabotages) {
    if (!sabotage.applies(right)) continue;
    Problem wrong = right;
    sabotage.tamper(wrong);
    for_each_array([&](const char* name, const Numbers& mine, const Numbers& other) {
      if (std::strcmp(name, sabotage.shown_by) != 0) return;
      check(relative_error(name, mine, other, right) > allowed, "%s, %s: %s passes in %s",
            kernels.isa, describe(right).c_str(), sabotage.what, name);
      ++checked;
    }, got, reference(wrong));
  }
}

void test_cell(const Kernels& kernels, Cell cell, Dtype dtype) {
  Case sizes;
  sizes.cell = cell;
  sizes.multiply_as(dtype);
  sizes.T = 7, sizes.B = 5, sizes.I = 6, sizes.H = 19;
  sizes.projection = sizes.projects(), sizes.P = sizes.projection ? 11 : 19;
  sizes.lengths = sizes.reset = true;
  const auto test = [&](const Case& c) {
    const Problem right = draw_problem(c, 1e-5);
    test_sabotage<float>(kernels, right);
    if (dtype == Dtype::float32) test_sabotage<double>(kernels, right);
  };
  test(sizes);
  // Norms would magnify the rounding of bfloat16 beyond the smallest of the mistakes.
  if (dtype != Dtype::float32) return;
  for (const Variant variant : {Variant::all, Variant::all_expected})
    for (sizes.seed = 2; has_variant(cell, variant) && sizes.seed < 4; ++sizes.seed)
      test(with_variant(sizes, variant));
}

}  // namespace

int main() {
  for (const Dtype dtype : {Dtype::float32, Dtype::bfloat16, Dtype::float32_bf16x6})
    for (const Kernels* kernels : all_kernels(dtype))
      for (const Cell cell : cells_of(dtype)) test_cell(*kernels, cell, dtype);
  return report("test_sabotage", checked);
}
