// Every plain cell, instruction set and dtype: outputs and gradients against the reference, at sizes
// around the width of a vector, in both directions, with lengths, cuts and a projection, unaligned and
// strided, nothing written outside.
#include "run.h"

using namespace gatewise_tests;

namespace {

long checked = 0;
double worst = 0;  // error as a share of the allowed

// Cells that differ from others in their gates alone: work is shared and rows are run as for those, or
// test_options tests it.
bool gates_differ(Cell cell) { return cell > Cell::rnn_relu; }

template <typename T>
void test_case(const Kernels& kernels, const Case& sizes, const Setup& setup) {
  Problem problem(sizes);
  if (!setup.final_gradients) {
    std::fill(problem.grad_h_n.begin(), problem.grad_h_n.end(), 0);
    std::fill(problem.grad_c_n.begin(), problem.grad_c_n.end(), 0);
  }
  const Result got = run_kernel<T>(kernels, problem, setup);
  const Result want = as_asked(reference(problem), setup);
  for_each_array([&](const char* name, const Numbers& mine, const Numbers& right) {
    const double error = relative_error(name, mine, right, sizes), allowed = tolerance<T>(sizes);
    check(error <= allowed, "%s %s, %s: relative error of %s is %.3g, allowed %.3g", kernels.isa,
          name_of<T>(sizes), describe(sizes).c_str(), name, error, allowed);
    worst = std::max(worst, error / allowed);
  }, got, want);
  ++checked;
}

// Below, at and above one vector, and beyond two; for a cell with four vectors of units in a panel
// the places around that. For one lane the same places without vectors.
std::vector<int64_t> widths(Cell cell, int64_t lanes) {
  if (lanes == 1) return {1, 2, 5, 13};
  if (cell == Cell::rnn_tanh || cell == Cell::rnn_relu)
    return {lanes - 1, 2 * lanes + 3, 4 * lanes, 5 * lanes + 1};
  return {lanes - 1, lanes, lanes + 1, 2 * lanes + 3};
}

// All sizes, or a fifth of them, each with some of the options; the draws see to it that all options
// meet.
template <typename T>
void test_sizes(const Kernels& kernels, Cell cell, int draws, bool quick, Dtype dtype = Dtype::float32) {
  std::mt19937 random(7);
  const auto one_in = [&](int n) { return random() % n == 0; };
  const std::vector<int64_t> around = widths(cell, kernels.lanes(dtype_of<T>({})));
  for (const int64_t H : around)
    for (const int64_t I : around)
      for (const int64_t steps : {1, 2, 3, 17})
        for (const int64_t B : {1, 2, 5, 33})
          for (int draw = 0; draw < draws; ++draw) {
            if (quick && !one_in(5)) continue;
            Case c;
            c.multiply_as(dtype);
            c.cell = cell, c.T = steps, c.B = B, c.I = I, c.H = H;
            c.reverse = one_in(2), c.bias = !one_in(4);
            c.lengths = one_in(2), c.reset = one_in(2);
            c.restart = one_in(c.reset ? 2 : 9);
            c.projection = one_in(3) && c.projects();
            c.P = c.projection ? around[random() % around.size()] : H;
            c.seed = random();
            Setup setup;
            setup.strided = one_in(2), setup.offset = int(random() % 4);
            setup.wants_x = !one_in(5), setup.wants_state = !one_in(3);
            setup.wants_restart = !one_in(3), setup.final_gradients = !one_in(3);
            setup.packed = c.seed % 3 == 0;
            test_case<T>(kernels, c, setup);
          }
}

template <typename T>
void test_extremes(const Kernels& kernels, Cell cell, bool quick, Dtype dtype = Dtype::float32) {
  const bool bf16 = dtype == Dtype::bfloat16;
  for (int options = 0; options < 32; ++options) {
    Case c;
    c.cell = cell;
    c.multiply_as(dtype);
    c.reverse = options & 1, c.bias = options & 2, c.projection = options & 4;
    c.lengths = options & 8, c.reset = options & 16;
    c.restart = c.reset && c.reverse == c.bias;
    if (c.projection && !c.projects()) continue;
    if (options % (gates_differ(cell) ? 7 : quick ? 5 : 1)) continue;
    c.seed = unsigned(options);
    c.T = c.B = c.I = c.H = c.P = 1;
    test_case<T>(kernels, c, {});
    // Without a forget gate rounding errors grow with the steps, and so they do with the stabiliser.
    const bool fades = cell != Cell::lstm_no_forget && cell != Cell::slstm_exponential &&
                       !(bf16 && cell == Cell::slstm);
    c.T = 130, c.B = 3, c.I = 2, c.H = 5, c.P = c.projection ? 3 : 5;  // several blocks of steps
    if (fades) test_case<T>(kernels, c, {});
    c.T = 4, c.B = 150, c.I = 40, c.H = 9, c.P = c.projection ? 70 : 9;
    test_case<T>(kernels, c, {});
    if (options % (quick || bf16 ? 32 : 8) == 0 && fades) {  // saved gates so large that they go past the caches
      c.T = 90, c.B = 64, c.I = 5, c.H = c.P = 50;
      test_case<T>(kernels, c, {});
      c.T = 700, c.B = 8;
      test_case<T>(kernels, c, {});
    }
    if (options % 16 == 0) {  // rows a power of two apart, which backward copies
      c.T = c.B = 3, c.I = c.H = c.P = 512;
      test_case<T>(kernels, c, {});
    }
    if (options % 3) continue;
    c.T = 3, c.B = 7, c.I = 270, c.H = 300, c.P = c.projection ? 290 : 300;  // beyond the L2 cache
    test_case<T>(kernels, c, {});
  }
}

}  // namespace

int main(int argc, char** argv) {
  const bool few = quick(argc, argv);
  for (const Kernels* kernels : all_kernels()) {
    for (const Cell cell : all_cells) {
      const int draws = few || gates_differ(cell) ? 1 : cell == Cell::lstm ? 4 : 2;
      test_sizes<float>(*kernels, cell, draws, few);
      test_sizes<double>(*kernels, cell, draws, few);
      test_extremes<float>(*kernels, cell, few);
      test_extremes<double>(*kernels, cell, few);
    }
    std::printf("  %-8s worst error %.2f of the allowed\n", kernels->isa, worst);
    worst = 0;
  }
  for (const Dtype dtype : {Dtype::bfloat16, Dtype::float32_bf16x6})
    for (const Kernels* kernels : all_kernels(dtype)) {
      for (const Cell cell : cells_of(dtype)) {
        test_sizes<float>(*kernels, cell, 1, few, dtype);
        test_extremes<float>(*kernels, cell, few, dtype);
      }
      std::printf("  %-8s worst error %s %.2f of the allowed\n", kernels->isa,
                  dtype == Dtype::bfloat16 ? "of bfloat16" : "in parts", worst);
      worst = 0;
    }
  return report("test_layers", checked);
}
