// Runs a kernel on a problem, forward and backward, in memory that is watched.
#pragma once
#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <thread>

#include "../gatewise.h"
#include "compare.h"
#include "guarded.h"

namespace gatewise_tests {

using gatewise::Dtype;
using gatewise::Kernels;
using gatewise::Status;

template <typename T>
Dtype dtype_of(const Case& c) {
  if (c.bf16 || c.in_parts) return c.bf16 ? Dtype::bfloat16 : Dtype::float32_bf16x6;
  return sizeof(T) == 4 ? Dtype::float32 : Dtype::float64;
}

template <typename T>
const char* name_of(const Case& c) {
  if (c.bf16 || c.in_parts) return c.bf16 ? "bfloat16" : "float in parts";
  return sizeof(T) == 4 ? "float" : "double";
}

// The instruction sets of this machine that have a precision.
inline std::vector<const Kernels*> all_kernels(Dtype dtype = Dtype::float32) {
  std::vector<const Kernels*> found;
  for (const char* isa : {"amx", "avx512_bf16", "avx512", "avx2", "neon", "scalar"}) {
    const Kernels* kernels = gatewise::kernels_for(isa, dtype);
    if (kernels && std::strcmp(kernels->isa, isa) == 0) found.push_back(kernels);
  }
  return found;
}

// The cells that the kernels of a precision have.
inline std::vector<Cell> cells_of(Dtype dtype) {
  if (dtype == Dtype::float32_bf16x6)
    return {Cell::lstm,    Cell::gru,              Cell::rnn_tanh, Cell::rnn_relu,
            Cell::min_gru, Cell::min_gru_positive, Cell::min_lstm, Cell::min_lstm_positive};
  return {std::begin(all_cells), std::end(all_cells)};
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
  bool wants_restart = true;    // the gradients of the state after a cut
  bool final_gradients = true;  // gradients of h_n and c_n come in; otherwise null, for zeros
  bool packed = false;          // forward reads its weights as packed before, and no others
};

// The numbers of a problem where a kernel reads them.
template <typename T>
struct Inputs {
  const Problem& p;
  const View x_view, y_view;
  const Input<T> x, grad_y, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh, weight_hr;
  const Input<T> peephole, restart_h, restart_c, grad_h_n, grad_c_n;
  std::vector<Input<T>> norm;

  Inputs(const Problem& p, const Setup& setup)
      : p(p), x_view(view(setup, p, p.I)), y_view(view(setup, p, p.P)), x(p.x, x_view, setup.offset),
        grad_y(p.grad_y, y_view, setup.offset), h0(p.h0, setup.offset), c0(p.c0, setup.offset),
        weight_ih(p.weight_ih, setup.offset), weight_hh(p.weight_hh, setup.offset),
        bias_ih(p.bias_ih, setup.offset), bias_hh(p.bias_hh, setup.offset),
        weight_hr(p.weight_hr, setup.offset), peephole(p.peephole, setup.offset),
        restart_h(p.restart_h, setup.offset), restart_c(p.restart_c, setup.offset),
        grad_h_n(p.grad_h_n, setup.offset), grad_c_n(p.grad_c_n, setup.offset) {
    for (const Numbers& values : p.norm) norm.emplace_back(values, setup.offset);
  }

  gatewise::Layer layer() const {
    gatewise::Layer layer{p.cell, p.T, p.B, p.I, p.H, p.P, p.reverse, x.get(), x_view.step, x_view.row,
                          h0.get(), c0.get(), weight_ih.get(), weight_hh.get(), bias_ih.get(),
                          bias_hh.get(), weight_hr.get(), p.length.empty() ? nullptr : p.length.data(),
                          p.cut.empty() ? nullptr : p.cut.data(), restart_h.get(), restart_c.get()};
    const CellOptions& with = p.options;
    gatewise::Options& o = layer.options;
    o.any = with.any, o.activation = with.activation, o.gate_activation = with.gate_activation;
    o.clip = with.clip, o.peephole = peephole.get();
    for (int i = 0; i < 6; ++i) o.norm[i] = norm[i].get();
    o.update = with.update, o.recurrent = with.recurrent;
    o.zoneout_c = with.zoneout_c, o.zoneout_h = with.zoneout_h;
    o.seed = with.draws ? &with.seed : nullptr;
    o.stream = with.stream, o.first_step = with.first_step;
    return layer;
  }

 private:
  static View view(const Setup& setup, const Problem& p, int64_t width) {
    return setup.strided ? View::batch_first(p.T, p.B, width) : View::time_first(p.T, p.B, width);
  }
};

// A layer with its weights packed beside it, and not a number where they were.
template <typename T>
class Packed {
 public:
  Packed(const Kernels& kernels, const Inputs<T>& in, const Setup& setup)
      : nothing_(4 * in.p.H * std::max(in.p.I, in.p.H), std::numeric_limits<T>::quiet_NaN()),
        memory_(View::flat(kernels.packed_bytes(dtype_of<T>(in.p), in.layer()) / int64_t(sizeof(T))),
                0) {
    layer_ = in.layer();
    const Status status =
        kernels.pack(dtype_of<T>(in.p), layer_, memory_.get(), {setup.run, setup.threads});
    check(status == Status::ok, "pack returned %d", int(status));
    memory_.values("packed");
    layer_.packed = memory_.get();
    for (const void** weight : {&layer_.weight_ih, &layer_.weight_hh, &layer_.bias_ih, &layer_.bias_hh,
                                &layer_.weight_hr, &layer_.options.norm[1], &layer_.options.norm[3]})
      if (*weight) *weight = nothing_.data();
  }

  const gatewise::Layer& layer() const { return layer_; }

 private:
  const std::vector<T> nothing_;
  Output<T> memory_;
  gatewise::Layer layer_;
};

// Forward, for training and for inference, which must give the same; leaves y and saved for backward.
template <typename T>
void run_forward(const Kernels& kernels, const Inputs<T>& in, const Setup& setup, Output<T>& y,
                 Output<T>& saved, Result& result) {
  const Problem& p = in.p;
  std::unique_ptr<Packed<T>> packed;
  if (setup.packed) packed = std::make_unique<Packed<T>>(kernels, in, setup);
  const gatewise::Layer layer = packed ? packed->layer() : in.layer();
  const gatewise::Threads threads{setup.run, setup.threads};
  for (const bool save : {false, true}) {
    Output<T> other_y(in.y_view, setup.offset);
    Output<T>& out_y = save ? y : other_y;
    Output<T> h_n(View::flat(int64_t(p.h0.size())), setup.offset);
    Output<T> c_n(View::flat(int64_t(p.c0.size())), setup.offset);
    const gatewise::LayerOutput out{out_y.get(), in.y_view.step, in.y_view.row, h_n.get(), c_n.get(),
                                    save ? saved.get() : nullptr};
    const Status status = kernels.forward(dtype_of<T>(p), layer, out, threads);
    check(status == Status::ok, "forward returned %d", int(status));
    const Result before = result;
    result.y = out_y.values("y");
    result.h_n = h_n.values("h_n");
    result.c_n = c_n.values("c_n");
    if (save)
      check(before.y == result.y && before.h_n == result.h_n && before.c_n == result.c_n,
            "%s, %s: inference and training differ", kernels.isa, describe(p).c_str());
  }
  saved.check_surroundings("saved");

  const int64_t each = p.T * p.B * p.H;
  Output<T> gates(View::flat(p.traced_gates() * each), setup.offset);
  Output<T> cells(View::flat(p.cells() * each), setup.offset);
  gatewise::LayerTrace trace{};
  for (int64_t m = 0; m < p.cells(); ++m) trace.cells[m] = cells.get() + m * each;
  for (int64_t gate = 0; gate < p.traced_gates(); ++gate)
    trace.gates[gate] = gates.get() + gate * each;
  const Status traced = kernels.trace(dtype_of<T>(p), layer, saved.get(), trace, threads);
  check(traced == Status::ok, "trace returned %d", int(traced));
  result.gates = gates.values("gates");
  result.cells = cells.values("cells");
}

template <typename T>
void run_backward(const Kernels& kernels, const Inputs<T>& in, const Setup& setup, Output<T>& y,
                  Output<T>& saved, Result& result) {
  const Problem& p = in.p;
  const auto like = [&](const Numbers& values) {
    return Output<T>(View::flat(int64_t(values.size())), setup.offset);
  };
  Output<T> x = like(p.x), h0 = like(p.h0), c0 = like(p.c0), weight_ih = like(p.weight_ih);
  Output<T> weight_hh = like(p.weight_hh), bias_ih = like(p.bias_ih), bias_hh = like(p.bias_hh);
  Output<T> weight_hr = like(p.weight_hr), peephole = like(p.peephole);
  Output<T> restart_h = like(p.restart_h), restart_c = like(p.restart_c);
  std::vector<Output<T>> norm;
  for (const Numbers& values : p.norm) norm.push_back(like(values));
  const bool restart = p.restart && setup.wants_restart;
  const auto wanted = [](bool wants, Output<T>& out) { return wants ? out.get() : nullptr; };
  gatewise::LayerGradient grad{
      y.get(), in.y_view.step, in.y_view.row, saved.get(), in.grad_y.get(), in.y_view.step,
      in.y_view.row, setup.final_gradients ? in.grad_h_n.get() : nullptr,
      setup.final_gradients ? in.grad_c_n.get() : nullptr, wanted(setup.wants_x, x),
      wanted(setup.wants_state, h0), wanted(setup.wants_state, c0), weight_ih.get(),
      wanted(p.feeds_back(), weight_hh), wanted(p.bias, bias_ih),
      wanted(p.bias && p.feeds_back(), bias_hh), wanted(p.projection, weight_hr),
      wanted(restart, restart_h), wanted(restart && p.has_cells(), restart_c),
      wanted(p.options.peephole, peephole)};
  for (int i = 0; i < 6; ++i) grad.grad_norm[i] = wanted(!p.norm[i].empty(), norm[i]);
  const Status status =
      kernels.backward(dtype_of<T>(p), in.layer(), grad, {setup.run, setup.threads});
  check(status == Status::ok, "backward returned %d", int(status));
  if (setup.wants_x) result.grad_x = x.values("grad_x");
  if (setup.wants_state) result.grad_h0 = h0.values("grad_h0");
  if (setup.wants_state) result.grad_c0 = c0.values("grad_c0");
  result.grad_weight_ih = weight_ih.values("grad_weight_ih");
  result.grad_weight_hh = weight_hh.values("grad_weight_hh");
  if (p.bias) result.grad_bias_ih = bias_ih.values("grad_bias_ih");
  if (p.bias) result.grad_bias_hh = bias_hh.values("grad_bias_hh");
  if (p.projection) result.grad_weight_hr = weight_hr.values("grad_weight_hr");
  result.grad_peephole = peephole.values("grad_peephole");
  for (int i = 0; i < 6; ++i) result.grad_norm[i] = norm[i].values("grad_norm");
  if (restart) result.grad_restart_h = restart_h.values("grad_restart_h");
  if (restart) result.grad_restart_c = restart_c.values("grad_restart_c");
}

// Forward and backward, every byte around the outputs watched. Backward runs twice, since it may.
template <typename T>
Result run_kernel(const Kernels& kernels, const Problem& p, const Setup& setup) {
  const Inputs<T> in(p, setup);
  const int64_t saved_row = kernels.saved_row(dtype_of<T>(p), p.cell, p.H, p.options.norm);
  Output<T> y(in.y_view, setup.offset);
  Output<T> saved(View::flat(p.T * p.B * saved_row), setup.offset);
  Result result;
  run_forward(kernels, in, setup, y, saved, result);
  const Output<T> kept_y = y, kept_saved = saved;
  run_backward(kernels, in, setup, y, saved, result);
  const Result before = result;
  run_backward(kernels, in, setup, y, saved, result);
  for_each_array([&](const char* name, const Numbers& first, const Numbers& again) {
    check(first == again, "%s, %s: %s of a second backward differs", kernels.isa,
          describe(p).c_str(), name);
  }, before, result);
  check(saved.same_bits(kept_saved) && y.same_bits(kept_y), "%s, %s: backward has written to saved or y",
        kernels.isa, describe(p).c_str());
  return result;
}

// The reference's results without those that a setup does not ask for.
inline Result as_asked(Result want, const Setup& setup) {
  if (!setup.wants_x) want.grad_x.clear();
  if (!setup.wants_state) want.grad_h0.clear(), want.grad_c0.clear();
  if (!setup.wants_restart) want.grad_restart_h.clear(), want.grad_restart_c.clear();
  return want;
}

}  // namespace gatewise_tests
