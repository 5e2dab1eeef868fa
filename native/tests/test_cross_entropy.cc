// The linear layer with cross-entropy, of every instruction set and dtype: losses and gradients against a
// plain one in double, at sizes around the blocks and vectors, with rows that do not count, strided and
// unaligned, on several threads, nothing written outside. Each wrong layer is rejected.
#include "products.h"
#include "run.h"

using namespace gatewise_tests;

namespace {

long checked = 0;
double worst = 0;  // error as a share of the allowed

struct Sizes {
  int64_t rows, input, classes;
  bool bias, ignored;
  double smoothing;
  Dtype dtype;

  bool rounds() const { return dtype == Dtype::bfloat16; }
};

const char* name_of(Dtype dtype) {
  const char* names[] = {"float", "double", "bfloat16", "float of six products"};
  return names[int(dtype)];
}

struct Task {
  Sizes sizes;
  Numbers x, weight, bias, scale;
  std::vector<int64_t> target;

  explicit Task(const Sizes& s, unsigned seed) : sizes(s) {
    Draws draw(seed);
    x = draw(s.rows * s.input, 1);
    weight = draw(s.classes * s.input, 2 / std::sqrt(double(s.input)));
    bias = draw(s.bias ? s.classes : 0, 1);
    scale = draw(s.rows, 1);
    for (int64_t n = 0; n < s.rows; ++n) {
      target.push_back(int64_t(draw.random() % uint64_t(s.classes)));
      if (s.ignored && draw.random() % 4 == 0) target.back() = -1 - int64_t(draw.random() % 100);
    }
  }
};

struct Answer {
  Numbers loss, grad_x, grad_weight, grad_bias;
};

// As one would write it down.
Answer reference(const Task& task) {
  const auto [N, H, V, has_bias, ignored, smoothing, dtype] = task.sizes;
  const bool bf16 = task.sizes.rounds();
  Answer a{Numbers(N), Numbers(N * H), Numbers(V * H), Numbers(has_bias ? V : 0)};
  for (int64_t n = 0; n < N; ++n) {
    if (task.target[n] < 0) continue;
    const double* x = &task.x[n * H];
    Numbers z = product(task.weight, x, V, H, bf16);
    for (int64_t v = 0; v < V; ++v) z[v] += has_bias ? task.bias[v] : 0;
    const double most = *std::max_element(z.begin(), z.end());
    double sum = 0, total = 0;
    for (const double value : z) sum += std::exp(value - most), total += value;
    const double lse = most + std::log(sum);
    a.loss[n] = (1 - smoothing) * (lse - z[task.target[n]]);
    if (smoothing > 0) a.loss[n] += smoothing * (lse - total / double(V));
    Numbers dz(V);
    for (int64_t v = 0; v < V; ++v) {
      const double wanted = smoothing / double(V) + (v == task.target[n] ? 1 - smoothing : 0);
      dz[v] = task.scale[n] * (std::exp(z[v] - lse) - wanted);
      if (has_bias) a.grad_bias[v] += dz[v];
    }
    const auto factor = [&](double value) { return bf16 ? nearest_bf16(value) : value; };
    for (int64_t v = 0; v < V; ++v)
      for (int64_t k = 0; k < H; ++k) {
        a.grad_x[n * H + k] += factor(dz[v]) * factor(task.weight[v * H + k]);
        a.grad_weight[v * H + k] += factor(dz[v]) * factor(x[k]);
      }
  }
  return a;
}

struct Wishes {
  bool gradients = true, x = true, weight = true;
  int threads = 1;
  gatewise::ParallelRun run = run_threads;
};

template <typename T>
Answer run_kernel(const Kernels& kernels, const Task& task, const Wishes& wishes, int offset) {
  const Sizes& s = task.sizes;
  const View rows = offset % 2 ? View::batch_first(1, s.rows, s.input) : View::time_first(1, s.rows, s.input);
  const Input<T> x(task.x, rows, offset), weight(task.weight, offset), bias(task.bias, offset);
  const Input<T> scale(task.scale, offset);
  Output<T> loss(View::flat(s.rows), offset), grad_x(View::flat(s.rows * s.input), offset);
  Output<T> grad_weight(View::flat(s.classes * s.input), offset), grad_bias(View::flat(s.classes), offset);
  const bool learns = wishes.gradients, learns_bias = learns && s.bias;
  const gatewise::CrossEntropy call{s.rows,
                                    s.input,
                                    s.classes,
                                    x.get(),
                                    rows.row,
                                    weight.get(),
                                    bias.get(),
                                    task.target.data(),
                                    s.smoothing,
                                    learns ? scale.get() : nullptr,
                                    loss.get(),
                                    learns && wishes.x ? grad_x.get() : nullptr,
                                    learns && wishes.weight ? grad_weight.get() : nullptr,
                                    learns_bias ? grad_bias.get() : nullptr};
  check(kernels.cross_entropy(s.dtype, call, {wishes.run, wishes.threads}) == Status::ok,
        "%s: refused", kernels.isa);
  Answer a;
  a.loss = loss.values("loss");
  if (call.grad_x) a.grad_x = grad_x.values("grad_x");
  if (call.grad_weight) a.grad_weight = grad_weight.values("grad_weight");
  if (call.grad_bias) a.grad_bias = grad_bias.values("grad_bias");
  return a;
}

// ‖got − want‖ / ‖want‖, where each number counts as at least √least: gradients of outputs are differences of
// numbers up to one, and where these cancel their rounding errors do not.
double distance(const Numbers& got, const Numbers& want, double least) {
  double apart = 0, size = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    apart += (got[i] - want[i]) * (got[i] - want[i]);
    size += want[i] * want[i];
  }
  const double error = std::sqrt(apart / std::max(size, least * double(want.size()) + 1e-300));
  return std::isnan(error) ? INFINITY : error;
}

// An output is off by some roundings of its size, and so is its exponential by as many parts. With
// operands in bfloat16 the reference rounds, too, but for gradients near the middle between two numbers.
template <typename T>
double tolerance(const Sizes& s) {
  const double full = std::numeric_limits<T>::epsilon() * (8 + std::sqrt(double(s.input + s.rows)) / 2);
  return s.rounds() ? full + 5e-5 : full;
}

double largest_error(const Answer& got, const Answer& want, const Sizes& s) {
  const double each = double(s.rows) / double(s.classes);
  double error = distance(got.loss, want.loss, 1);
  if (!got.grad_x.empty()) error = std::max(error, distance(got.grad_x, want.grad_x, 4 / double(s.input)));
  if (!got.grad_weight.empty()) error = std::max(error, distance(got.grad_weight, want.grad_weight, each));
  if (!got.grad_bias.empty()) error = std::max(error, distance(got.grad_bias, want.grad_bias, each));
  return error;
}

template <typename T>
void test_task(const Kernels& kernels, const Sizes& s, unsigned seed) {
  const Task task(s, seed);
  Wishes wishes;
  wishes.threads = 1 + int(seed % 3);
  wishes.run = seed % 4 == 3 ? run_fewer_threads : run_threads;
  wishes.gradients = seed % 11 != 0, wishes.x = seed % 5 != 0, wishes.weight = seed % 5 != 1;
  const Answer got = run_kernel<T>(kernels, task, wishes, int(seed % 4));
  const double error = largest_error(got, reference(task), s), allowed = tolerance<T>(s);
  check(error <= allowed, "%s %s: %ld rows, %ld columns, %ld classes, smoothing %g, seed %u: error %.3g, allowed %.3g",
        kernels.isa, name_of(s.dtype), long(s.rows),
        long(s.input), long(s.classes), s.smoothing, seed, error, allowed);
  worst = std::max(worst, error / allowed);
  ++checked;
}

template <typename T>
void test_sizes(const Kernels& kernels, bool few, Dtype dtype) {
  const int64_t lanes = kernels.lanes(dtype);
  unsigned seed = 0;
  for (const int64_t rows : {int64_t(1), int64_t(3), lanes, lanes + 1, int64_t(70), int64_t(230)})
    for (const int64_t input : {int64_t(1), lanes - 1, lanes + 1, 4 * lanes, int64_t(75)})
      for (const int64_t classes : {1, 2, 5, 95, 96, 97, 230}) {
        ++seed;
        if (input < 1 || (few && seed % 5)) continue;
        test_task<T>(kernels, {rows, input, classes, seed % 3 != 0, seed % 2 == 0, seed % 3 == 1 ? 0.1 : 0.0, dtype},
                     seed);
      }
  // So many rows that tile registers, too, take them in two goes, and columns enough to keep some outputs.
  for (const int64_t classes : {40, 290}) test_task<T>(kernels, {2100, 80, classes, true, false, 0.1, dtype}, 8);
}

// The right layer on numbers that were tampered with.
struct Sabotage {
  const char* what;
  void (*tamper)(Task&);
};

const Sabotage sabotages[] = {
    {"targets one off", [](Task& t) { for (int64_t& v : t.target) v = v < 0 ? v : (v + 1) % t.sizes.classes; }},
    {"no smoothing", [](Task& t) { t.sizes.smoothing = 0; }},
    {"no bias", [](Task& t) { std::fill(t.bias.begin(), t.bias.end(), 0); }},
    {"a class left out", [](Task& t) { t.bias.back() = -1e9; }},
    {"rows that do not count counted", [](Task& t) { for (int64_t& v : t.target) v = std::max<int64_t>(v, 0); }},
    {"a row twice as heavy", [](Task& t) { for (double& v : t.scale) { v *= 2; break; } }},
    {"two rows of x swapped", [](Task& t) { std::swap_ranges(t.x.begin(), t.x.begin() + t.sizes.input, t.x.begin() + t.sizes.input); }},
    {"the last column of the weights lost", [](Task& t) {
       for (int64_t v = 1; v <= t.sizes.classes; ++v) t.weight[v * t.sizes.input - 1] = 0;
     }},
};

template <typename T>
void test_sabotage(const Kernels& kernels, Dtype dtype) {
  const Task task({40, 20, 130, true, true, 0.1, dtype}, 5);
  const Answer got = run_kernel<T>(kernels, task, {}, 0);
  for (const Sabotage& sabotage : sabotages) {
    Task wrong = task;
    sabotage.tamper(wrong);
    check(largest_error(got, reference(wrong), task.sizes) > 2 * tolerance<T>(task.sizes), "%s: %s is not seen",
          kernels.isa, sabotage.what);
    ++checked;
  }
}

// Outputs of any size, classes that are ruled out, and a result that repeats to the bit.
void test_extremes(const Kernels& kernels, Dtype dtype) {
  Task task({33, 8, 200, true, false, 0, dtype}, 9);
  for (double& v : task.x) v *= 1e4;
  check(largest_error(run_kernel<float>(kernels, task, {}, 0), reference(task), task.sizes) < 1e-2,
        "%s: large outputs", kernels.isa);
  Task ruled({33, 8, 200, true, false, 0, dtype}, 9);
  for (int64_t v = 0; v < 150; ++v) ruled.bias[v] = -INFINITY;
  for (int64_t& v : ruled.target) v = 150 + v % 50;
  Wishes two;
  two.threads = 2;
  const Answer first = run_kernel<float>(kernels, ruled, two, 0), again = run_kernel<float>(kernels, ruled, two, 0);
  check(largest_error(first, reference(ruled), ruled.sizes) < tolerance<float>(ruled.sizes),
        "%s: classes that are ruled out", kernels.isa);
  check(first.grad_weight == again.grad_weight && first.loss == again.loss && first.grad_x == again.grad_x,
        "%s: does not repeat", kernels.isa);
  Task bad({4, 8, 10, true, false, 0, dtype}, 1);
  bad.target[2] = 10;
  Output<float> out(View::flat(100), 0);
  const gatewise::CrossEntropy call{4, 8, 10, out.get(), 8, out.get(), nullptr, bad.target.data(), 0,
                                    nullptr, out.get(), nullptr, nullptr, nullptr};
  check(kernels.cross_entropy(dtype, call, {run_threads, 1}) == Status::bad_target,
        "%s: takes a target beyond the classes", kernels.isa);
  out.check_surroundings("a refused call");
  checked += 4;
}

}  // namespace

int main(int argc, char** argv) {
  const bool few = quick(argc, argv);
  for (const Dtype dtype : {Dtype::float32, Dtype::float32_bf16x6})
    for (const Kernels* kernels : all_kernels(dtype)) {
      test_sizes<float>(*kernels, few, dtype);
      test_sabotage<float>(*kernels, dtype);
      test_extremes(*kernels, dtype);
    }
  for (const Kernels* kernels : all_kernels(Dtype::float64)) {
    test_sizes<double>(*kernels, few, Dtype::float64);
    test_sabotage<double>(*kernels, Dtype::float64);
  }
  for (const Kernels* kernels : all_kernels(Dtype::bfloat16)) {
    test_sizes<float>(*kernels, few, Dtype::bfloat16);
    test_sabotage<float>(*kernels, Dtype::bfloat16);
  }
  std::printf("test_cross_entropy: largest error %.2f of the allowed\n", worst);
  return report("test_cross_entropy", checked);
}
