// Teams of every size: right results, the same bits at the same number of threads, rounding alone
// between numbers, also when the runner grants fewer threads than the plan has asked for.
#include "run.h"
#include "variants.h"

using namespace gatewise_tests;

namespace {

long checked = 0;

// Large enough to be worth threads; few and many rows, so that both ways to share work are met, one
// with weights beyond the cache of a core, one with neither rows nor units for all threads, and one
// with units left over that all share by rows.
std::vector<Case> plain_cases(Cell cell, int64_t lanes) {
  const int64_t H = 2 * lanes + 3 > 40 ? 2 * lanes + 3 : 40;
  std::vector<Case> all;
  if (cell > Cell::rnn_relu && traits(cell).has_options) return all;  // as those with options do
  for (const bool projection : {false, true})
    for (const bool features : {false, true})
      for (const int64_t B : {1, 3, 5, 21, 33, 81}) {
        if (cell != Cell::lstm && (projection || B == 33)) continue;
        if (!traits(cell).feeds_back && (B == 3 || B == 5)) continue;
        Case c;
        c.cell = cell;
        c.T = B == 1 ? 17 : 9, c.B = B, c.H = B == 1 ? 160 : H, c.I = B == 1 ? 70 : 37;
        if (B == 3) c.H = std::max<int64_t>(4 * lanes, 8), c.I = 4000 / c.H;
        if (B == 21) c.T = 5, c.H = 6 * lanes + 3;
        c.projection = projection, c.P = projection ? c.H - 7 : c.H;
        c.lengths = c.reset = c.reverse = features;
        c.seed = unsigned(B);
        if (B == 5 && features && lanes > 1) c.H = 300, c.P = projection ? 290 : 300, c.T = 4;
        all.push_back(c);
      }
  return all;
}

// Work shared by rows and by units, with whole rows wanted (for norms) and without.
std::vector<Case> option_cases(Cell cell, int64_t lanes) {
  std::vector<Case> all;
  for (const int64_t B : {5, 45})
    for (const Variant variant : {Variant::norm, Variant::peephole, Variant::zoneout_h, Variant::all,
                                  Variant::all_expected}) {
      if (!has_variant(cell, variant)) continue;
      const bool whole = variant == Variant::all;
      if ((cell > Cell::rnn_relu || B == 45) && !whole) continue;
      Case c;
      c.cell = cell, c.T = 9, c.B = B, c.I = 37;
      c.H = std::max<int64_t>((B == 5 ? 5 : 2) * lanes + 3, 40);
      c.seed = unsigned(B) + unsigned(variant) % 2;
      c.lengths = c.reset = c.reverse = c.seed % 2 == 0;
      c.projection = c.projects() && variant != Variant::norm;
      c.P = c.projection ? c.H - 7 : c.H;
      all.push_back(with_variant(c, variant));
    }
  return all;
}

// So many rows of length 0 that some threads have no others.
Case idle_case(Cell cell) {
  Case c;
  c.cell = cell, c.T = 9, c.B = 45, c.I = 37, c.H = c.P = 40;
  c.lengths = true, c.idle = 43;
  return c;
}

void test_equal(const Result& first, const Result& second, const Kernels& kernels, const Case& c,
                int threads) {
  for_each_array([&](const char* name, const Numbers& a, const Numbers& b) {
    check(a == b, "%s, %s, %d threads: two runs give two %s", kernels.isa, describe(c).c_str(),
          threads, name);
  }, first, second);
}

template <typename T>
void test_case(const Kernels& kernels, const Case& sizes, bool& team_of) {
  const Problem problem = sizes.options.any ? draw_problem(sizes, 1e-5) : Problem(sizes);
  Difficulty difficulty;
  const Result want = reference(problem, &difficulty);
  const double allowed = sizes.options.any
                             ? tolerance<T>(sizes, magnification(problem, difficulty))
                             : tolerance<T>(sizes);
  Setup setup;
  setup.strided = sizes.reverse;
  const Result alone = run_kernel<T>(kernels, problem, setup);
  const std::vector<int> teams = sizes.options.any ? std::vector{5} : std::vector{1, 2, 3, 5};
  for (const int threads : teams)
    for (const auto run : {run_threads, run_fewer_threads}) {
      setup.threads = threads, setup.run = run;
      largest_team() = 0;
      const Result got = run_kernel<T>(kernels, problem, setup);
      team_of = team_of || (threads == 5 && largest_team() == 5);
      for_each_array([&](const char* name, const Numbers& mine, const Numbers& right,
                         const Numbers& single) {
        const double error = relative_error(name, mine, right, sizes);
        const double apart = relative_error(name, mine, single, sizes);
        check(error <= allowed && apart <= allowed,
              "%s %s, %s, %d threads: %s is off by %.3g, and by %.3g from one thread's",
              kernels.isa, name_of<T>(sizes), describe(sizes).c_str(), threads,
              name, error, apart);
      }, got, want, alone);
      for (int turn = 0; turn < (sizes.options.any ? 1 : 2); ++turn)
        test_equal(got, run_kernel<T>(kernels, problem, setup), kernels, sizes, threads);
      ++checked;
    }
}

}  // namespace

int main(int argc, char** argv) {
  for (const Kernels* kernels : all_kernels()) {
    bool team_of_five = false;
    const int64_t lanes = kernels->lanes(Dtype::float32);
    for (const Cell cell : all_cells) {
      std::vector<Case> cases = plain_cases(cell, lanes);
      for (const Case& sizes : option_cases(cell, lanes)) cases.push_back(sizes);
      cases.push_back(idle_case(cell));
      for (const Case& sizes : cases) {
        // The scalar kernels share the code that shares the work.
        if (lanes == 1 && (sizes.B > 33 || quick(argc, argv))) continue;
        test_case<float>(*kernels, sizes, team_of_five);
        if (sizes.lengths && sizes.idle == 0 && !quick(argc, argv))
          test_case<double>(*kernels, sizes, team_of_five);
      }
    }
    check(team_of_five || quick(argc, argv), "%s: no case was worth five threads", kernels->isa);
  }
  for (const Dtype dtype : {Dtype::bfloat16, Dtype::float32_bf16x6})
    for (const Kernels* kernels : all_kernels(dtype))
      for (const Cell cell : cells_of(dtype)) {
        const bool in_parts = dtype == Dtype::float32_bf16x6;
        const bool minimal = !traits(cell).feeds_back;
        if (cell == Cell::rnn_relu || (cell > Cell::rnn_relu && cell != Cell::gru_before && !minimal)) continue;
        const int64_t lanes = kernels->lanes(Dtype::float32);
        std::vector<Case> cases = plain_cases(cell, lanes);
        if (!in_parts)
          for (const Case& sizes : option_cases(cell, lanes)) cases.push_back(sizes);
        bool team_of_five = false;
        for (Case& sizes : cases) {
          sizes.multiply_as(dtype);
          if (lanes > 8 && sizes.B < 81) test_case<float>(*kernels, sizes, team_of_five);
        }
        check(team_of_five || lanes <= 8 || cell > Cell::gru, "%s: no case was worth five threads",
              kernels->isa);
      }
  return report("test_threads", checked);
}
