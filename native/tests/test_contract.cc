// The tests of the tests, and the border cases of the contract: the reference's gradients are those
// of finite differences; each wrong layer is rejected at the tolerance that kernels are held to; bad
// lengths are refused before anything is written; unknown instruction sets are no kernels.
#include "run.h"

using namespace gatewise_tests;

namespace {

long checked = 0;

// What the arriving gradients make of the outputs: a number whose gradient backward is to return.
double pull(const Problem& p) {
  const Result r = reference(p);
  double sum = 0;
  for (std::size_t i = 0; i < r.y.size(); ++i) sum += r.y[i] * p.grad_y[i];
  for (std::size_t i = 0; i < r.h_n.size(); ++i) sum += r.h_n[i] * p.grad_h_n[i];
  for (std::size_t i = 0; i < r.c_n.size(); ++i) sum += r.c_n[i] * p.grad_c_n[i];
  return sum;
}

void test_reference_gradient(const Case& sizes) {
  Problem p(sizes);
  const Result r = reference(p);
  const auto test = [&](const char* name, Numbers& input, const Numbers& gradient) {
    const double step = 1e-5;
    for (std::size_t i = 0; i < input.size(); ++i) {
      const double kept = input[i];
      input[i] = kept + step;
      const double above = pull(p);
      input[i] = kept - step;
      const double slope = (above - pull(p)) / (2 * step);
      input[i] = kept;
      check(std::fabs(slope - gradient[i]) <= 1e-7 * (1 + std::fabs(slope)),
            "reference, %s: %s[%ld] is %.10g, by differences %.10g", describe(p).c_str(), name,
            long(i), gradient[i], slope);
      ++checked;
    }
  };
  test("grad_x", p.x, r.grad_x);
  test("grad_h0", p.h0, r.grad_h0);
  test("grad_c0", p.c0, r.grad_c0);
  test("grad_weight_ih", p.weight_ih, r.grad_weight_ih);
  test("grad_weight_hh", p.weight_hh, r.grad_weight_hh);
  test("grad_bias_ih", p.bias_ih, r.grad_bias_ih);
  test("grad_bias_hh", p.bias_hh, r.grad_bias_hh);
  test("grad_weight_hr", p.weight_hr, r.grad_weight_hr);
}

bool any(const Problem&) { return true; }
bool has_cells(const Problem& p) { return p.has_cells(); }
bool is_gru(const Problem& p) { return p.cell == Cell::gru; }

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

void zero(Numbers& values) { std::fill(values.begin(), values.end(), 0.0); }

const Sabotage sabotages[] = {
    {"gates 0 and 1 swapped", "y", swap_gates<0, 1>, has_gates<0, 1>},
    {"gates 0 and 2 swapped", "y", swap_gates<0, 2>, has_gates<0, 2>},
    {"gates 0 and 3 swapped", "y", swap_gates<0, 3>, has_gates<0, 3>},
    {"gates 1 and 2 swapped", "y", swap_gates<1, 2>, has_gates<1, 2>},
    {"gates 1 and 3 swapped", "y", swap_gates<1, 3>, has_gates<1, 3>},
    {"gates 2 and 3 swapped", "y", swap_gates<2, 3>, has_gates<2, 3>},
    {"biases of n swapped", "y", swap_biases_of_n, is_gru},
    {"bias_hh dropped", "y", [](Problem& p) { zero(p.bias_hh); }},
    {"weight_hh dropped", "y", [](Problem& p) { zero(p.weight_hh); }},
    {"one column of a weight off in the third digit", "y",
     [](Problem& p) {
       for (std::size_t k = 0; k < p.weight_ih.size(); k += p.I) p.weight_ih[k] *= 1.01;
     }},
    {"h0 dropped", "y", [](Problem& p) { zero(p.h0); }},
    {"c0 dropped", "c_n", [](Problem& p) { zero(p.c0); }, has_cells},
    {"direction ignored", "y", [](Problem& p) { p.reverse = !p.reverse; }},
    {"lengths ignored", "h_n", [](Problem& p) { p.length.clear(); }},
    {"lengths one short", "h_n",
     [](Problem& p) { for (int64_t& n : p.length) n = std::max<int64_t>(1, n - 1); }},
    {"reset ignored", "y", [](Problem& p) { p.cut.clear(); }},
    {"reset one step late", "y",
     [](Problem& p) { std::rotate(p.cut.begin(), p.cut.end() - p.B, p.cut.end()); }},
    {"one reset missed", "grad_x", miss_a_reset},
    {"first gate of another step", "gates",
     [](Problem& p) { std::rotate(p.x.begin(), p.x.begin() + p.B * p.I, p.x.end()); },
     has_gates<0, 1>},
    {"gradient of h_n dropped", "grad_h0", [](Problem& p) { zero(p.grad_h_n); }},
    {"gradient of c_n dropped", "grad_weight_hh", [](Problem& p) { zero(p.grad_c_n); }, has_cells},
    {"gradient of y one step late", "grad_x",
     [](Problem& p) {
       std::rotate(p.grad_y.begin(), p.grad_y.end() - p.B * p.P, p.grad_y.end());
     }},
    {"one row of the gradient of y dropped", "grad_bias_ih",
     [](Problem& p) { std::fill_n(p.grad_y.begin(), p.P, 0.0); }},
};

template <typename T>
void test_sabotage(const Kernels& kernels, Cell cell) {
  Case sizes;
  sizes.cell = cell;
  sizes.T = 7, sizes.B = 5, sizes.I = 6, sizes.H = 19;
  sizes.projection = cell == Cell::lstm, sizes.P = sizes.projection ? 11 : 19;
  sizes.lengths = sizes.reset = true;
  const Problem right(sizes);
  const Result got = run_kernel<T>(kernels, right, {});
  for (const Sabotage& sabotage : sabotages) {
    if (!sabotage.applies(right)) continue;
    Problem wrong = right;
    sabotage.tamper(wrong);
    for_each_array([&](const char* name, const Numbers& mine, const Numbers& other) {
      if (std::strcmp(name, sabotage.shown_by) != 0) return;
      check(relative_error(name, mine, other, sizes) > tolerance<T>(sizes),
            "%s, %s: %s passes in %s", kernels.isa, traits(cell).name, sabotage.what, name);
      ++checked;
    }, got, reference(wrong));
  }
}

void test_bad_lengths(const Kernels& kernels) {
  Case sizes;
  sizes.lengths = true;
  for (const int64_t bad : {int64_t(0), int64_t(-1), sizes.T + 1, INT64_MAX}) {
    Problem p(sizes);
    p.length.back() = bad;
    const Numbers numbers(size_t(4 * p.H * (p.I + p.P)), 0.0);
    Output<double> out(View::flat(p.T * p.B * p.P), 0);
    const double* in = numbers.data();
    const gatewise::Layer layer{p.cell, p.T, p.B, p.I, p.H, p.P, false, in, p.B * p.I, p.I, in, in, in, in,
                                in, in, nullptr, p.length.data(), nullptr};
    const gatewise::LayerOutput output{out.get(), p.B * p.P, p.P, out.get(), out.get(), nullptr};
    check(kernels.forward(Dtype::float64, layer, output, {run_threads, 2}) ==
              Status::bad_length,
          "%s: forward takes a length of %ld", kernels.isa, long(bad));
    const gatewise::LayerGradient gradient{
        in, p.B * p.P, p.P, in, in, p.B * p.P, p.P, in, in, out.get(), out.get(), out.get(),
        out.get(), out.get(), out.get(), out.get(), nullptr};
    check(kernels.backward(Dtype::float64, layer, gradient, {run_threads, 2}) ==
              Status::bad_length,
          "%s: backward takes a length of %ld", kernels.isa, long(bad));
    check(kernels.trace(Dtype::float64, layer, in, {}, {run_threads, 2}) == Status::bad_length,
          "%s: trace takes a length of %ld", kernels.isa, long(bad));
    const Numbers after(out.get(), out.get() + p.T * p.B * p.P);
    for (const double value : after) check(std::isnan(value), "a refused call has written");
    ++checked;
  }
}

void test_burn(const Kernels& kernels) {
  const int64_t once = kernels.burn(Dtype::float32, 1000, {run_threads, 1});
  check(once >= 2 * 1000 * 8 * kernels.lanes(Dtype::float32), "%s burns too little", kernels.isa);
  check(kernels.burn(Dtype::float32, 1000, {run_threads, 3}) == 3 * once,
        "%s: three threads do not burn three times as much", kernels.isa);
  check(kernels.burn(Dtype::float64, 1000, {run_threads, 1}) * kernels.lanes(Dtype::float32) ==
            once * kernels.lanes(Dtype::float64),
        "%s: float64 burns what its lanes do not hold", kernels.isa);
}

}  // namespace

int main() {
  for (const Cell cell : all_cells)
    for (int options = 0; options < 32; ++options) {
      Case c;
      c.cell = cell;
      c.T = 4, c.B = 2, c.I = 2, c.H = 3;
      c.reverse = options & 1, c.bias = options & 2, c.projection = options & 4;
      c.lengths = options & 8, c.reset = options & 16;
      c.P = c.projection ? 2 : 3;
      c.seed = unsigned(options);
      if (!c.projection || cell == Cell::lstm) test_reference_gradient(c);
    }
  for (const Kernels* kernels : all_kernels()) {
    for (const Cell cell : all_cells) {
      test_sabotage<float>(*kernels, cell);
      test_sabotage<double>(*kernels, cell);
    }
    test_bad_lengths(*kernels);
    test_burn(*kernels);
    check(gatewise::kernels_for(kernels->isa) == kernels, "%s does not find itself", kernels->isa);
  }
  for (const char* isa : {"", "nonsense", "AVX2"})
    check(gatewise::kernels_for(isa) == nullptr, "there are kernels for '%s'", isa);
  check(gatewise::kernels_for("scalar") != nullptr, "there are no scalar kernels");
  check(gatewise::best_kernels() == all_kernels().front(), "the best kernels are not the first");
  return report("test_contract", checked);
}
