// Runs a kernel on a problem and compares the outcome.
#pragma once
#include <algorithm>
#include <atomic>
#include <string>
#include <thread>

#include "../gatewise.h"
#include "guarded.h"

namespace gatewise_tests {

using gatewise::Dtype;
using gatewise::Kernels;
using gatewise::Status;

template <typename T>
constexpr Dtype dtype_of = sizeof(T) == 4 ? Dtype::float32 : Dtype::float64;

// The instruction sets of this machine.
inline std::vector<const Kernels*> all_kernels() {
  std::vector<const Kernels*> found;
  for (const char* isa : {"avx512", "avx2", "neon", "scalar"})
    if (const Kernels* kernels = gatewise::kernels_for(isa)) found.push_back(kernels);
  return found;
}

// The largest team that any run has had since this was last reset.
inline std::atomic<int>& largest_team() {
  static std::atomic<int> team{0};
  return team;
}

inline void run_threads(gatewise::Work work, void* context, int threads) {
  largest_team() = std::max<int>(largest_team(), threads);
  std::vector<std::thread> others;
  for (int thread = 1; thread < threads; ++thread)
    others.emplace_back(work, context, thread, threads);
  work(context, 0, threads);
  for (std::thread& other : others) other.join();
}

// A runner that cannot get all the threads it is asked for.
inline void run_fewer_threads(gatewise::Work work, void* context, int threads) {
  run_threads(work, context, (threads + 1) / 2);
}

struct Setup {
  gatewise::ParallelRun run = run_threads;
  int threads = 1;
  bool strided = false;
  int offset = 0;  // elements that every array is shifted by
  bool wants_x = true;
  bool wants_state = true;      // the gradients of h0 and c0
  bool final_gradients = true;  // gradients of h_n and c_n come in; otherwise null, for zeros
};

// Forward and backward, every byte around the outputs watched. Backward runs twice, since it may.
template <typename T>
Result run_kernel(const Kernels& kernels, const Problem& p, const Setup& setup) {
  const int offset = setup.offset;
  const auto view = setup.strided ? View::batch_first : View::time_first;
  const View x_view = view(p.T, p.B, p.I), y_view = view(p.T, p.B, p.P);
  const Input<T> x(p.x, x_view, offset), grad_y(p.grad_y, y_view, offset);
  const Input<T> h0(p.h0, offset), c0(p.c0, offset);
  const Input<T> weight_ih(p.weight_ih, offset), weight_hh(p.weight_hh, offset);
  const Input<T> bias_ih(p.bias_ih, offset), bias_hh(p.bias_hh, offset);
  const Input<T> weight_hr(p.weight_hr, offset);
  const Input<T> grad_h_n(p.grad_h_n, offset), grad_c_n(p.grad_c_n, offset);
  const gatewise::Layer layer{p.cell, p.T, p.B, p.I, p.H, p.P, p.reverse, x.get(), x_view.step, x_view.row,
                              h0.get(), c0.get(), weight_ih.get(), weight_hh.get(), bias_ih.get(),
                              bias_hh.get(), weight_hr.get(),
                              p.length.empty() ? nullptr : p.length.data(),
                              p.cut.empty() ? nullptr : p.cut.data()};
  const gatewise::Threads threads{setup.run, setup.threads};
  const int64_t saved_row = kernels.saved_row(dtype_of<T>, p.cell, p.H);
  const int64_t cells = p.has_cells() ? p.B * p.H : 0, GH = p.G() * p.H;

  // For training, and for inference, which must give the same.
  Result result;
  Output<T> y(y_view, offset);
  Output<T> saved(View::flat(p.T * p.B * saved_row), offset);
  for (const bool save : {false, true}) {
    Output<T> other_y(y_view, offset);
    Output<T>& out_y = save ? y : other_y;
    Output<T> h_n(View::flat(p.B * p.P), offset), c_n(View::flat(cells), offset);
    const gatewise::LayerOutput out{out_y.get(), y_view.step, y_view.row, h_n.get(), c_n.get(),
                                    save ? saved.get() : nullptr};
    const Status status = kernels.forward(dtype_of<T>, layer, out, threads);
    check(status == Status::ok, "forward returned %d", int(status));
    const Result before = result;
    result.y = out_y.values("y");
    result.h_n = h_n.values("h_n");
    result.c_n = c_n.values("c_n");
    if (save)
      check(before.y == result.y && before.h_n == result.h_n && before.c_n == result.c_n,
            "inference and training differ");
  }

  const int64_t each = p.T * p.B * p.H;
  Output<T> gates(View::flat(p.traced_gates() * each), offset);
  Output<T> traced_cells(View::flat(p.T * cells), offset);
  gatewise::LayerTrace trace{{}, p.has_cells() ? traced_cells.get() : nullptr};
  for (int64_t gate = 0; gate < p.traced_gates(); ++gate)
    trace.gates[gate] = gates.get() + gate * each;
  const Status traced = kernels.trace(dtype_of<T>, layer, saved.get(), trace, threads);
  check(traced == Status::ok, "trace returned %d", int(traced));
  result.gates = gates.values("gates");
  result.cells = traced_cells.values("cells");

  for (int turn = 0; turn < 2; ++turn) {
    Output<T> grad_x(View::flat(p.T * p.B * p.I), offset);
    Output<T> grad_h0(View::flat(p.B * p.P), offset), grad_c0(View::flat(cells), offset);
    Output<T> grad_weight_ih(View::flat(GH * p.I), offset);
    Output<T> grad_weight_hh(View::flat(GH * p.P), offset);
    Output<T> grad_bias_ih(View::flat(GH), offset), grad_bias_hh(View::flat(GH), offset);
    Output<T> grad_weight_hr(View::flat(p.P * p.H), offset);
    const gatewise::LayerGradient grad{
        y.get(), y_view.step, y_view.row, saved.get(), grad_y.get(), y_view.step, y_view.row,
        setup.final_gradients ? grad_h_n.get() : nullptr,
        setup.final_gradients ? grad_c_n.get() : nullptr, setup.wants_x ? grad_x.get() : nullptr,
        setup.wants_state ? grad_h0.get() : nullptr, setup.wants_state ? grad_c0.get() : nullptr,
        grad_weight_ih.get(), grad_weight_hh.get(), p.bias ? grad_bias_ih.get() : nullptr,
        p.bias ? grad_bias_hh.get() : nullptr, p.projection ? grad_weight_hr.get() : nullptr};
    const Status status = kernels.backward(dtype_of<T>, layer, grad, threads);
    check(status == Status::ok, "backward returned %d", int(status));
    const Result before = result;
    if (setup.wants_x) result.grad_x = grad_x.values("grad_x");
    if (setup.wants_state) result.grad_h0 = grad_h0.values("grad_h0");
    if (setup.wants_state) result.grad_c0 = grad_c0.values("grad_c0");
    result.grad_weight_ih = grad_weight_ih.values("grad_weight_ih");
    result.grad_weight_hh = grad_weight_hh.values("grad_weight_hh");
    if (p.bias) result.grad_bias_ih = grad_bias_ih.values("grad_bias_ih");
    if (p.bias) result.grad_bias_hh = grad_bias_hh.values("grad_bias_hh");
    if (p.projection) result.grad_weight_hr = grad_weight_hr.values("grad_weight_hr");
    if (turn == 1)
      for_each_array([](const char* name, const Numbers& first, const Numbers& again) {
        check(first == again, "%s of a second backward differs", name);
      }, before, result);
  }
  return result;
}

// ‖got − want‖ / ‖want‖ of the array of a layer, infinite where NaN stands. All numbers are sums of
// terms of about 0.2 and more, those of weights over all steps and rows; where these cancel their
// rounding errors do not, so each number counts as at least 0.2·√(number of terms) in the norm.
inline double relative_error(const char* name, const Numbers& got, const Numbers& want,
                             const Case& sizes) {
  if (got.size() != want.size()) return INFINITY;
  const bool of_weights = std::strstr(name, "weight") || std::strstr(name, "bias");
  const double terms = of_weights ? double(sizes.T * sizes.B) : 1;
  double distance = 0, scale = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    distance += (got[i] - want[i]) * (got[i] - want[i]);
    scale += want[i] * want[i];
  }
  const double least = 0.04 * terms * double(want.size()) + 1e-300;
  const double error = std::sqrt(distance / std::max(scale, least));
  return std::isnan(error) ? INFINITY : error;
}

// Rounding errors of sums of K terms grow as sqrt(K) at worst here (random signs), those of the
// recurrence linearly with the few steps in which a state forgets; measured errors are a quarter.
template <typename T>
double tolerance(const Case& sizes) {
  const double terms = double(sizes.I + sizes.P) + 0.1 * double(sizes.T * sizes.B);
  return std::numeric_limits<T>::epsilon() * (16 + std::sqrt(terms));
}

inline std::string describe(const Case& c) {
  char text[160];
  std::snprintf(text, sizeof text, "%s T%ld B%ld I%ld H%ld P%ld%s%s%s%s%s seed %u",
                traits(c.cell).name, long(c.T), long(c.B), long(c.I), long(c.H), long(c.P),
                c.reverse ? " reverse" : "",
                c.bias ? "" : " no bias", c.projection ? " projected" : "",
                c.lengths ? " lengths" : "", c.reset ? " reset" : "", c.seed);
  return text;
}

}  // namespace gatewise_tests
