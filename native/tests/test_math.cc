// sigmoid, tanh and log σ of every instruction set over their whole range. Prints the largest error of each
// in units of the last place (ulp), and asserts at most 4 wherever the result is a normal number.
//
// Beyond the clamp of the kernels (|x| > 87 in float, 708 in double) sigmoid and log σ stay at their value
// there, which is as small as normal numbers get: the error allowed is absolute, twice that number.
#include <cfloat>

#include "run.h"

using namespace gatewise_tests;

namespace {

constexpr double most_ulp = 4;
long checked = 0;

template <typename T>
using Exact = std::conditional_t<sizeof(T) == 4, double, long double>;

template <typename T>
Exact<T> exact(int function, T x) {
  const Exact<T> wide = x;
  if (function == 2)
    return wide < 0 ? wide - std::log1p(std::exp(wide)) : -std::log1p(std::exp(-wide));
  return function ? std::tanh(wide) : 1 / (1 + std::exp(-wide));
}

template <typename T>
double error_in_ulp(T got, Exact<T> want) {
  if (std::isnan(want) || std::isnan(got)) return std::isnan(want) == std::isnan(got) ? 0 : INFINITY;
  const int exponent = std::max(std::ilogb(want), std::numeric_limits<T>::min_exponent - 1);
  const Exact<T> unit = std::scalbn(Exact<T>(1), exponent - (std::numeric_limits<T>::digits - 1));
  return double(std::fabs(Exact<T>(got) - want) / unit);
}

// Every region of the range: all binades of both signs, densely where the functions bend, and the
// values with a name.
template <typename T>
std::vector<T> arguments(int count) {
  using Limits = std::numeric_limits<T>;
  std::vector<T> x = {0,  T(-0.0), 1, -1, Limits::min(), -Limits::min(), Limits::denorm_min(),
                      -Limits::denorm_min(), Limits::min() / 4, Limits::epsilon(), Limits::max(),
                      Limits::lowest(), Limits::infinity(), -Limits::infinity(),
                      Limits::quiet_NaN(), T(1e4), T(-1e4), 87, -87, 88, -88, 708, -708, 709, -709};
  std::mt19937_64 random(3);
  std::uniform_real_distribution<double> bend(-10, 10), wide(-100, 100);
  std::uniform_real_distribution<double> binade(Limits::min_exponent - 4, Limits::max_exponent - 1);
  for (int i = 0; i < count; ++i) {
    x.push_back(T(bend(random)));
    x.push_back(T(wide(random)));
    const T magnitude = std::scalbn(T(1 + std::fabs(bend(random)) / 10), int(binade(random)));
    x.push_back(i % 2 ? magnitude : -magnitude);
  }
  return x;
}

template <typename T>
void test(const std::vector<const Kernels*>& all, int count) {
  const std::vector<T> x = arguments<T>(count);
  for (int function = 0; function < 3; ++function) {
    std::vector<Exact<T>> want;
    for (const T value : x) want.push_back(exact(function, value));
    for (const Kernels* kernels : all) {
      std::vector<T> got(x.size() + 1, T(-7));
      kernels->evaluate(dtype_of<T>({}), function, x.data(), got.data(), int64_t(x.size()));
      check(got.back() == T(-7), "%s: written beyond the end", kernels->isa);
      double worst = 0;
      T where = 0;
      for (std::size_t i = 0; i < x.size(); ++i, ++checked) {
        const double error = error_in_ulp(got[i], want[i]);
        const bool vanishes = function != 1 && std::fabs(want[i]) < 2 * std::numeric_limits<T>::min();
        if (vanishes) {
          check(std::fabs(got[i]) <= 2 * std::numeric_limits<T>::min(), "%s: of %.9g it is %.9g",
                kernels->isa, double(x[i]), double(got[i]));
        } else if (error > worst) {
          worst = error, where = x[i];
        }
        check(std::fabs(double(got[i])) <= 1 || function == 2 || std::isnan(x[i]), "%s: %.9g exceeds 1",
              kernels->isa, double(got[i]));
      }
      const char* name = function == 2 ? "log σ" : function ? "tanh" : "sigmoid";
      std::printf("  %-8s %-8s %-7s %5.2f ulp at %.9g\n", kernels->isa,
                  sizeof(T) == 4 ? "float" : "double", name, worst, double(where));
      check(worst <= most_ulp, "%s %s: %.2f ulp at %.9g", kernels->isa, name, worst, double(where));
    }
  }
}

// One wrong bit in the middle of the mantissa must be seen.
void test_of_the_test() {
  check(error_in_ulp(std::nextafter(0.5f, 1.f), 0.5) == 1, "a neighbour is not one ulp away");
  check(error_in_ulp(0.5f * (1 + 6e-7f), 0.5) > most_ulp, "a relative error of 6e-7 passes");
  check(error_in_ulp(0.f, 1e-40) > most_ulp, "a lost denormal passes");
  check(std::isinf(error_in_ulp(NAN, 0.5)), "a NaN passes");
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<const Kernels*> all = all_kernels();
  test_of_the_test();
  test<float>(all, quick(argc, argv) ? 20000 : 500000);
  test<double>(all, quick(argc, argv) ? 20000 : 300000);
  return report("test_math", checked);
}
