// Every cell with options, instruction set and dtype: each option alone and all together, against the
// reference, at sizes around the width of a vector, in both directions, with lengths, cuts and a
// projection, unaligned and strided, nothing written outside.
#include "run.h"
#include "variants.h"

using namespace gatewise_tests;

namespace {

long checked = 0;
double worst = 0;    // error as a share of the allowed
double loosest = 0;  // what was allowed, in tolerances of a plain layer

template <typename T>
void test_case(const Kernels& kernels, const Case& sizes, const Setup& setup) {
  Problem problem = draw_problem(sizes, 1e-5);
  if (!setup.final_gradients) {
    std::fill(problem.grad_h_n.begin(), problem.grad_h_n.end(), 0);
    std::fill(problem.grad_c_n.begin(), problem.grad_c_n.end(), 0);
  }
  Difficulty difficulty;
  const Result want = reference(problem, &difficulty);
  const double allowed = tolerance<T>(sizes, magnification(problem, difficulty));
  loosest = std::max(loosest, allowed / tolerance<T>(sizes));
  for_each_array([&](const char* name, const Numbers& mine, const Numbers& right) {
    const double error = relative_error(name, mine, right, sizes);
    check(error <= allowed, "%s %s, %s: relative error of %s is %.3g, allowed %.3g", kernels.isa,
          name_of<T>(sizes), describe(problem).c_str(), name, error, allowed);
    worst = std::max(worst, error / allowed);
  }, run_kernel<T>(kernels, problem, setup), as_asked(want, setup));
  ++checked;
}

// Below, at and above one vector, and beyond two; for one lane small numbers.
std::vector<int64_t> widths(int64_t lanes) {
  if (lanes == 1) return {1, 2, 5, 13};
  return {lanes - 1, lanes, lanes + 1, 2 * lanes + 3};
}

template <typename T>
void test_sizes(const Kernels& kernels, Cell cell, Variant variant, bool bf16) {
  std::mt19937 random(unsigned(variant) + 1);
  const auto one_in = [&](int n) { return random() % n == 0; };
  const std::vector<int64_t> around = widths(kernels.lanes(dtype_of<T>({})));
  const auto any = [&] { return around[random() % around.size()]; };
  for (const int64_t steps : {1, 2, 3, 17})
    for (const int64_t B : {1, 2, 5, 33}) {
      Case c;
      c.bf16 = bf16;
      c.cell = cell, c.T = steps, c.B = B, c.I = any(), c.H = any();
      c.reverse = one_in(2), c.bias = !one_in(4);
      c.lengths = one_in(2), c.reset = one_in(2);
      c.projection = one_in(3) && c.projects();
      c.P = c.projection ? any() : c.H;
      c.seed = random();
      Setup setup;
      setup.strided = one_in(2), setup.offset = int(random() % 4);
      setup.wants_x = !one_in(5), setup.wants_state = !one_in(3);
      setup.wants_restart = !one_in(3), setup.final_gradients = !one_in(3);
      setup.packed = c.seed % 3 == 0;
      if (steps * B > 99) c.B = 9;
      test_case<T>(kernels, with_variant(c, variant), setup);
    }
}

// Several blocks of steps, many rows, and rows a power of two apart, which backward copies.
template <typename T>
void test_large(const Kernels& kernels, Cell cell, Variant variant) {
  for (const bool features : {false, true}) {
    Case c;
    c.cell = cell, c.reverse = c.lengths = c.reset = features;
    c.projection = features && c.projects();
    c.T = 130, c.B = 3, c.I = 2, c.H = 21, c.P = c.projection ? 18 : 21;
    test_case<T>(kernels, with_variant(c, variant), {});
    c.T = 4, c.B = 150, c.I = 40, c.H = 19, c.P = c.projection ? 17 : 19;
    test_case<T>(kernels, with_variant(c, variant), {});
  }
  Case c;
  c.cell = cell, c.T = c.B = 3, c.I = 20, c.H = c.P = 512;
  if (sizeof(T) == 4 && variant == Variant::all && kernels.lanes(Dtype::float32) > 8)
    test_case<T>(kernels, with_variant(c, variant), {});
}

template <typename T>
void test_cell(const Kernels& kernels, Cell cell, bool few, bool bf16 = false) {
  for (int number = 0; number <= int(last_variant); ++number) {
    const Variant variant = Variant(number);
    if (!has_variant(cell, variant)) continue;
    test_sizes<T>(kernels, cell, variant, bf16);
    const bool large = cell == Cell::lstm || cell == Cell::gru || variant == Variant::all;
    if (variant >= Variant::all && large && !few) test_large<T>(kernels, cell, variant);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const bool few = quick(argc, argv);
  for (const Kernels* kernels : all_kernels()) {
    for (const Cell cell : all_cells) {
      test_cell<float>(*kernels, cell, few);
      test_cell<double>(*kernels, cell, few);
    }
    std::printf("  %-8s worst error %.2f of the allowed, up to %.0f times a plain layer's\n",
                kernels->isa, worst, loosest);
    worst = loosest = 0;
  }
  for (const Kernels* kernels : all_kernels(Dtype::bfloat16)) {
    for (const Cell cell : all_cells) test_cell<float>(*kernels, cell, true, true);
    std::printf("  %-8s worst error of bfloat16 %.2f of the allowed\n", kernels->isa, worst);
    worst = 0;
  }
  return report("test_options", checked);
}
