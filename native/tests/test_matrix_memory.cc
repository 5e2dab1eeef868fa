// The memory of an mLSTM, of every instruction set and dtype: what is read and handed on against the recurrence
// written out in double, and gradients against differences of it, at sizes around chunks and vectors, with
// cuts, without a memory before, gated and not, on several threads, nothing written outside. Each wrong
// recurrence is rejected.
#include "products.h"
#include "run.h"

using namespace gatewise_tests;

namespace {

long checked = 0;
double worst = 0;  // error as a share of the allowed

struct Sizes {
  int64_t T, B, NH, d, chunk;
  bool gated, cuts, fresh;  // fresh: with an empty memory before the first step
};

// What a call reads, T×B×(NH·d) and so on, in double.
struct Task {
  Sizes sizes;
  Numbers q, k, v, o, log_i, log_f, C, n, m;
  std::vector<uint8_t> cuts;

  Task(const Sizes& s, unsigned seed) : sizes(s) {
    Draws draw(seed);
    const int64_t steps = s.T * s.B * s.NH, rows = s.B * s.NH;
    q = draw(steps * s.d, 1), k = draw(steps * s.d, 1), v = draw(steps * s.d, 1), o = draw(steps * s.d, 1);
    log_i = draw(steps, 2), log_f = draw(steps, 1);
    for (double& f : log_f) f = -double(float(std::abs(f)));
    for (std::size_t i = 0; i < log_i.size(); i += 7) log_i[i] = -INFINITY;
    C = draw(rows * s.d * s.d, 1), n = draw(rows * s.d, 1), m = draw(rows, 1);
    if (s.fresh) {
      C.assign(C.size(), 0), n.assign(n.size(), 0), m.assign(m.size(), -INFINITY);
    }
    for (int64_t i = 0; i < s.T * s.B; ++i) cuts.push_back(s.cuts && draw.random() % 6 == 0);
  }
  // What has a gradient, in the order of Answer::grads.
  std::vector<Numbers*> inputs() { return {&q, &k, &v, &o, &log_i, &log_f, &C, &n, &m}; }
};

struct Answer {
  Numbers y, C, n, m;
  std::vector<Numbers> grads;

  std::vector<const Numbers*> outputs() const { return {&y, &C, &n, &m}; }
};

enum class Wrong { none, keys, bound, late, cuts, gates };

// As one would write it down, step by step.
Answer reference(const Task& task, Wrong wrong = Wrong::none) {
  const auto [T, B, NH, d, chunk, gated, cuts, fresh] = task.sizes;
  Answer a{Numbers(task.q.size()), task.C, task.n, task.m, {}};
  for (int64_t b = 0; b < B; ++b)
    for (int64_t head = 0; head < NH; ++head) {
      double *C = &a.C[(b * NH + head) * d * d], *n = &a.n[(b * NH + head) * d], &m = a.m[b * NH + head];
      m = std::max(m, -1e30);
      for (int64_t t = 0; t < T; ++t) {
        const int64_t step = (t * B + b) * NH + head;
        if (task.cuts[t * B + b] && wrong != Wrong::cuts) {
          std::fill_n(C, d * d, 0), std::fill_n(n, d, 0);
          m = -1e30;
        }
        const double *q = &task.q[step * d], *k = &task.k[step * d], *v = &task.v[step * d];
        const int64_t late = wrong == Wrong::late && t ? step - B * NH : step;
        const double before = task.log_f[late] + m, scale = wrong == Wrong::keys ? 1 : 1 / std::sqrt(double(d));
        m = std::max(before, task.log_i[step]);
        const double i = std::exp(task.log_i[step] - m), f = std::exp(before - m);
        double weight = 0;
        for (int64_t key = 0; key < d; ++key) {
          n[key] = f * n[key] + i * scale * k[key];
          weight += n[key] * q[key];
        }
        for (int64_t value = 0; value < d; ++value) {
          double read = 0;
          for (int64_t key = 0; key < d; ++key) {
            double& at = C[value * d + key];
            at = f * at + i * v[value] * scale * k[key];
            read += at * q[key];
          }
          const double least = wrong == Wrong::bound ? 0 : std::exp(-m);
          double& y = a.y[step * d + value];
          y = read == 0 ? 0 : read / std::max(std::abs(weight), least);
          if (gated && wrong != Wrong::gates) y /= 1 + std::exp(-task.o[step * d + value]);
        }
      }
    }
  return a;
}

// One tensor of T×B×(NH·d) in float or double.
template <typename T>
struct Call {
  const Sizes s;
  const View rows, steps, squares, lines, heads;
  const Input<T> q, k, v, o, log_i, log_f, C, n, m;
  gatewise::MatrixMemory memory;

  Call(const Task& task, int offset)
      : s(task.sizes),
        rows(offset % 2 ? View::batch_first(s.T, s.B, s.NH * s.d) : View::time_first(s.T, s.B, s.NH * s.d)),
        steps(View::flat(s.T * s.B * s.NH)), squares(View::flat(s.B * s.NH * s.d * s.d)),
        lines(View::flat(s.B * s.NH * s.d)), heads(View::flat(s.B * s.NH)), q(task.q, rows, offset),
        k(task.k, rows, offset), v(task.v, rows, offset), o(task.o, rows, offset), log_i(task.log_i, offset),
        log_f(task.log_f, offset), C(task.C, offset), n(task.n, offset), m(task.m, offset),
        memory{s.T, s.B, s.NH, s.d, s.chunk, q.get(), k.get(), v.get(), s.gated ? o.get() : nullptr, rows.step,
               rows.row, 1 / std::sqrt(double(s.d)), log_i.get(), log_f.get(),
               s.cuts ? task.cuts.data() : nullptr, C.get(), n.get(), m.get()} {}
};

template <typename T>
constexpr Dtype dtype_of = sizeof(T) == 4 ? Dtype::float32 : Dtype::float64;

// Outputs, and the gradients of Σ pulls · outputs.
template <typename T>
Answer run_kernel(const Kernels& kernels, const Task& task, const std::vector<Numbers>& pulls, int offset,
                  int count) {
  const Call<T> call(task, offset);
  const Sizes& s = task.sizes;
  const gatewise::Threads threads{run_threads, count};
  const View dense = View::time_first(s.T, s.B, s.NH * s.d);
  Output<T> h(dense, offset), y(dense, offset), C(call.squares, offset), n(call.lines, offset), m(call.heads, offset);
  const int64_t size = kernels.saved_memory(dtype_of<T>, call.memory);
  Output<T> saved(View::flat(size), 0);
  const gatewise::MatrixMemoryOutput out{h.get(), s.gated ? y.get() : nullptr, C.get(), n.get(), m.get(), saved.get()};
  check(kernels.memory_forward(dtype_of<T>, call.memory, out, threads) == Status::ok, "%s: forward", kernels.isa);
  saved.check_surroundings("saved");
  Answer a{(s.gated ? y : h).values("y"), C.values("C"), n.values("n"), m.values("m"), {}};

  Output<T> seen(dense, offset), last_C(call.squares, offset), last_n(call.lines, offset), last_m(call.heads, offset);
  const gatewise::MatrixMemoryOutput unlearned{s.gated ? nullptr : seen.get(), s.gated ? seen.get() : nullptr,
                                               last_C.get(), last_n.get(), last_m.get(), nullptr};
  check(kernels.memory_forward(dtype_of<T>, call.memory, unlearned, threads) == Status::ok, "%s: inference", kernels.isa);
  check(seen.values("y") == a.y && last_C.values("C") == a.C && last_n.values("n") == a.n &&
            last_m.values("m") == a.m,
        "%s: inference differs", kernels.isa);

  const Input<T> grad_y(pulls[0], dense, offset), grad_C(pulls[1], offset), grad_n(pulls[2], offset);
  const Input<T> grad_m(pulls[3], offset);
  std::vector<Output<T>> grads;
  for (const View& view : {call.rows, call.rows, call.rows, call.rows, call.steps, call.steps, call.squares,
                           call.lines, call.heads})
    grads.emplace_back(view, offset);
  const auto grad = [&](int i) { return grads[i].get(); };
  const gatewise::MatrixMemoryGradient gradient{
      out, grad_y.get(), grad_C.get(), grad_n.get(), grad_m.get(), grad(0), grad(1), grad(2),
      s.gated ? grad(3) : nullptr, call.rows.step, call.rows.row, grad(4), grad(5), grad(6), grad(7), grad(8)};
  check(kernels.memory_backward(dtype_of<T>, call.memory, gradient, threads) == Status::ok, "%s: backward", kernels.isa);
  for (int i = 0; i < 9; ++i)
    a.grads.push_back(i == 3 && !s.gated ? Numbers(task.o.size()) : grads[i].values("a gradient"));
  return a;
}

double relative(const Numbers& got, const Numbers& want) {
  double apart = 0, size = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    apart += (got[i] - want[i]) * (got[i] - want[i]);
    size += want[i] * want[i];
  }
  const double error = std::sqrt(apart / std::max(size, 1e-30));
  return std::isnan(error) ? INFINITY : error;
}

double largest_error(const Answer& got, const Answer& want) {
  double error = 0;
  for (int i = 0; i < 4; ++i) error = std::max(error, relative(*got.outputs()[i], *want.outputs()[i]));
  return error;
}

std::vector<Numbers> draw_pulls(const Task& task, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  std::vector<Numbers> pulls;
  for (const std::size_t size : {task.q.size(), task.C.size(), task.n.size(), task.m.size()}) {
    pulls.emplace_back(size);
    for (double& value : pulls.back()) value = double(float(normal(random)));
  }
  return pulls;
}

// How the sum of pulls and outputs changes along a random direction of one input, by differences and by its
// gradient: the distance as a share of the gradient's length.
double gradient_error(const Task& task, const Answer& answer, const std::vector<Numbers>& pulls, int input,
                      unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  Task forth = task, back = task;
  const Numbers& gradient = answer.grads[input];
  Numbers &up = *forth.inputs()[input], &down = *back.inputs()[input];
  double along = 0, length = 0;
  for (std::size_t i = 0; i < up.size(); ++i) {
    const double way = normal(random);
    up[i] += 1e-6 * way, down[i] -= 1e-6 * way;
    along += gradient[i] * way;
    length += gradient[i] * gradient[i];
  }
  double change = 0;
  const Answer a = reference(forth), b = reference(back);
  for (int i = 0; i < 4; ++i)
    for (std::size_t j = 0; j < pulls[i].size(); ++j)
      change += pulls[i][j] * ((*a.outputs()[i])[j] - (*b.outputs()[i])[j]) / 2e-6;
  const double error = std::abs(change - along) / std::max(std::sqrt(length), 1e-3);
  return std::isnan(error) ? INFINITY : error;
}

template <typename T>
void test_task(const Kernels& kernels, const Sizes& s, unsigned seed) {
  const Task task(s, seed);
  const Answer want = reference(task);
  std::vector<Numbers> pulls = draw_pulls(task, seed);
  for (std::size_t i = 0; i < want.m.size(); ++i)  // differences of 1e30 are none
    if (want.m[i] < -1e29) pulls[3][i] = 0;
  const Answer got = run_kernel<T>(kernels, task, pulls, int(seed % 4), 1 + int(seed % 3));
  const double error = largest_error(got, want), allowed = sizeof(T) == 4 ? 2e-5 : 1e-12;
  check(error <= allowed, "%s %s: T %ld, B %ld, NH %ld, d %ld, chunks of %ld, seed %u: error %.3g, allowed %.3g",
        kernels.isa, sizeof(T) == 4 ? "float" : "double", long(s.T), long(s.B), long(s.NH), long(s.d),
        long(s.chunk), seed, error, allowed);
  worst = std::max(worst, error / allowed);
  for (int input = 0; input < (s.fresh ? 6 : 9); ++input) {
    const double off = gradient_error(task, got, pulls, input, seed), most = sizeof(T) == 4 ? 1e-3 : 1e-5;
    check(off <= most, "%s %s: T %ld, B %ld, NH %ld, d %ld, chunks of %ld, seed %u: gradient %d is off by %.3g, allowed %.3g",
          kernels.isa, sizeof(T) == 4 ? "float" : "double", long(s.T), long(s.B), long(s.NH), long(s.d),
          long(s.chunk), seed, input, off, most);
  }
  ++checked;
}

template <typename T>
void test_sizes(const Kernels& kernels, bool few) {
  const int64_t lanes = kernels.lanes(dtype_of<T>);
  unsigned seed = 0;
  for (const int64_t steps : {int64_t(1), int64_t(5), lanes + 1, int64_t(40)})
    for (const int64_t width : {int64_t(1), int64_t(3), lanes, lanes + 1, 4 * lanes + 2})
      for (const int64_t chunk : {int64_t(1), int64_t(3), lanes, int64_t(64)}) {
        ++seed;
        if (few && seed % 3) continue;
        test_task<T>(kernels, {steps, 1 + seed % 3, 1 + seed % 2, width, std::min(steps, chunk), seed % 2 == 0,
                               seed % 4 > 1, seed % 5 == 0}, seed);
      }
}

template <typename T>
void test_sabotage(const Kernels& kernels) {
  const Task task({20, 2, 2, 6, 8, true, true, false}, 3);
  const std::vector<Numbers> pulls = draw_pulls(task, 3);
  const Answer got = run_kernel<T>(kernels, task, pulls, 0, 1);
  const double allowed = sizeof(T) == 4 ? 2e-5 : 1e-12;
  for (const Wrong wrong : {Wrong::keys, Wrong::bound, Wrong::late, Wrong::cuts, Wrong::gates}) {
    check(largest_error(got, reference(task, wrong)) > 2 * allowed, "%s: wrong version %d passes", kernels.isa,
          int(wrong));
    ++checked;
  }
  const Task brief({5, 2, 2, 6, 3, true, false, false}, 3);
  const std::vector<Numbers> brief_pulls = draw_pulls(brief, 3);
  const Answer right = run_kernel<T>(kernels, brief, brief_pulls, 0, 1);
  for (int input = 0; input < 9; ++input) {
    Answer wrong = right;
    for (double& value : wrong.grads[input]) value *= 1.01;
    const double off = std::max(gradient_error(brief, wrong, brief_pulls, input, 3),
                                gradient_error(brief, wrong, brief_pulls, input, 4));
    check(off > 2e-3, "%s: a gradient that is a hundredth too large passes: %d", kernels.isa, input);
    ++checked;
  }
}

}  // namespace

int main(int argc, char** argv) {
  const bool few = quick(argc, argv);
  for (const Kernels* kernels : all_kernels()) {
    test_sizes<float>(*kernels, few);
    test_sizes<double>(*kernels, few);
    test_sabotage<float>(*kernels);
    test_sabotage<double>(*kernels);
  }
  std::printf("test_matrix_memory: largest error %.2f of the allowed\n", worst);
  return report("test_matrix_memory", checked);
}
