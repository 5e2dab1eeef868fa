// The only place that sees Python: addresses and sizes in, errors out. Shapes, dtypes and strides are
// the caller's to check (src/gatewise/ops/native.py); the contract is gatewise.h.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>
#include <omp.h>
#include <pthread.h>

#include <algorithm>
#include <string>
#include <vector>

#include "../gatewise.h"
#include "../kernels/workspace.h"

namespace nb = nanobind;
using namespace gatewise;

namespace {

// The OpenMP threads of the parent do not exist in a forked child, and waiting for them would hang.
bool forked = false;

void run_parallel(Work work, void* context, int threads) {
  if (threads <= 1 || forked) return work(context, 0, 1);
#pragma omp parallel num_threads(threads)
  work(context, omp_get_thread_num(), omp_get_num_threads());
}

// Memory is Python's own error; the others are for the caller to put into words.
int checked(Status status) {
  if (status == Status::no_memory) throw std::bad_alloc();
  return int(status);
}

template <typename T>
T* pointer(std::uintptr_t address) {
  return reinterpret_cast<T*>(address);
}

using Address = std::uintptr_t;

struct BoundLayer : Layer {
  BoundLayer(Cell cell, int64_t T, int64_t B, int64_t I, int64_t H, int64_t P, bool reversed, Address x,
             int64_t x_step, int64_t x_row, Address h0, Address c0, Address weight_ih,
             Address weight_hh, Address bias_ih, Address bias_hh, Address weight_hr,
             Address lengths, Address reset)
      : Layer{cell, T, B, I, H, P, reversed, pointer<void>(x), x_step, x_row, pointer<void>(h0),
              pointer<void>(c0), pointer<void>(weight_ih), pointer<void>(weight_hh),
              pointer<void>(bias_ih), pointer<void>(bias_hh), pointer<void>(weight_hr),
              pointer<int64_t>(lengths), pointer<uint8_t>(reset)} {}

  // Addresses of null, or of nothing, are 0.
  void set_options(Activation activation, Activation gate_activation, double clip, Address peephole,
                   const std::vector<Address>& norm) {
    options.any = true;
    options.activation = activation;
    options.gate_activation = gate_activation;
    options.clip = clip;
    options.peephole = pointer<void>(peephole);
    for (std::size_t i = 0; i < norm.size() && i < 6; ++i) options.norm[i] = pointer<void>(norm[i]);
  }
  void set_masks(double update, double recurrent, double zoneout_c, double zoneout_h, Address seed,
                 int64_t stream, int64_t first_step) {
    options.any = true;
    options.update = update;
    options.recurrent = recurrent;
    options.zoneout_c = zoneout_c;
    options.zoneout_h = zoneout_h;
    options.seed = pointer<int64_t>(seed);
    options.stream = stream;
    options.first_step = first_step;
  }
  void set_packed(Address address) { packed = pointer<void>(address); }
  void set_restart(Address h, Address c) {
    restart_h = pointer<void>(h);
    restart_c = pointer<void>(c);
  }
};

// Where the gradients go that only some layers have.
struct BoundGradient {
  void *restart_h = nullptr, *restart_c = nullptr, *peephole = nullptr;
  void* norm[6] = {};

  BoundGradient(Address restart_h, Address restart_c, Address peephole,
                const std::vector<Address>& norm)
      : restart_h(pointer<void>(restart_h)), restart_c(pointer<void>(restart_c)),
        peephole(pointer<void>(peephole)) {
    for (std::size_t i = 0; i < norm.size() && i < 6; ++i) this->norm[i] = pointer<void>(norm[i]);
  }
};

}  // namespace

NB_MODULE(_native, m) {
  // torch keeps the operators, and so these objects, until after the interpreter has looked for leaks.
  nb::set_leak_warnings(false);
  pthread_atfork(nullptr, nullptr, [] { forked = true; });

  nb::enum_<Dtype>(m, "Dtype")
      .value("float32", Dtype::float32)
      .value("float64", Dtype::float64)
      .value("bfloat16", Dtype::bfloat16)
      .value("float32_bf16x6", Dtype::float32_bf16x6);

  nb::enum_<Cell> cells(m, "Cell");
#define GATEWISE_VALUE(name) cells.value(#name, Cell::name);
  GATEWISE_CELLS(GATEWISE_VALUE)

  nb::enum_<Activation>(m, "Activation")
      .value("tanh", Activation::tanh)
      .value("sigmoid", Activation::sigmoid)
      .value("relu", Activation::relu)
      .value("hardtanh", Activation::hardtanh)
      .value("hardsigmoid", Activation::hardsigmoid);

  nb::class_<BoundLayer>(m, "Layer")
      .def(nb::init<Cell, int64_t, int64_t, int64_t, int64_t, int64_t, bool, Address, int64_t, int64_t,
                    Address, Address, Address, Address, Address, Address, Address, Address,
                    Address>())
      .def("set_options", &BoundLayer::set_options)
      .def("set_masks", &BoundLayer::set_masks)
      .def("set_restart", &BoundLayer::set_restart)
      .def("set_packed", &BoundLayer::set_packed);

  nb::class_<BoundGradient>(m, "OptionGradients")
      .def(nb::init<Address, Address, Address, const std::vector<Address>&>());

  nb::class_<MatrixMemory>(m, "MatrixMemory")
      .def("__init__", [](MatrixMemory* self, int64_t T, int64_t B, int64_t heads, int64_t width,
                          int64_t chunk, Address q, Address k, Address v, Address o, int64_t step,
                          int64_t row, double key_scale, Address log_i, Address log_f, Address cuts,
                          Address C_0, Address n_0, Address m_0) {
        new (self) MatrixMemory{T, B, heads, width, chunk, pointer<void>(q), pointer<void>(k),
                                pointer<void>(v), pointer<void>(o), step, row, key_scale,
                                pointer<void>(log_i), pointer<void>(log_f), pointer<uint8_t>(cuts),
                                pointer<void>(C_0), pointer<void>(n_0), pointer<void>(m_0)};
      });
  nb::class_<MatrixMemoryOutput>(m, "MatrixMemoryOutput")
      .def("__init__", [](MatrixMemoryOutput* self, Address h, Address y, Address C, Address n,
                          Address m, Address saved) {
        new (self) MatrixMemoryOutput{pointer<void>(h), pointer<void>(y), pointer<void>(C),
                                      pointer<void>(n), pointer<void>(m), pointer<void>(saved)};
      });

  nb::class_<Kernels>(m, "Kernels")
      .def_prop_ro("isa", [](const Kernels& k) { return std::string(k.isa); })
      .def("lanes", [](const Kernels& k, Dtype dtype) { return k.lanes(dtype); })
      .def("saved_row", [](const Kernels& k, Dtype dtype, Cell cell, int64_t hidden,
                           bool normalised) { return k.saved_row(dtype, cell, hidden, normalised); })
      .def("forward",
           [](const Kernels& k, Dtype dtype, const BoundLayer& layer, Address y, int64_t y_step,
              int64_t y_row, Address h_n, Address c_n, Address saved, int threads) {
             const LayerOutput out{pointer<void>(y), y_step, y_row, pointer<void>(h_n),
                                   pointer<void>(c_n), pointer<void>(saved)};
             nb::gil_scoped_release release;
             return checked(k.forward(dtype, layer, out, {run_parallel, threads}));
           })
      .def("backward",
           [](const Kernels& k, Dtype dtype, const BoundLayer& layer, Address y, int64_t y_step,
              int64_t y_row, Address saved, Address grad_y, int64_t grad_y_step,
              int64_t grad_y_row, Address grad_h_n, Address grad_c_n, Address grad_x,
              Address grad_h0, Address grad_c0, Address grad_weight_ih, Address grad_weight_hh,
              Address grad_bias_ih, Address grad_bias_hh, Address grad_weight_hr,
              const BoundGradient* options, int threads) {
             LayerGradient grad{
                 pointer<void>(y), y_step, y_row, pointer<void>(saved), pointer<void>(grad_y),
                 grad_y_step, grad_y_row, pointer<void>(grad_h_n), pointer<void>(grad_c_n),
                 pointer<void>(grad_x), pointer<void>(grad_h0), pointer<void>(grad_c0),
                 pointer<void>(grad_weight_ih), pointer<void>(grad_weight_hh),
                 pointer<void>(grad_bias_ih), pointer<void>(grad_bias_hh),
                 pointer<void>(grad_weight_hr)};
             if (options) {
               grad.grad_restart_h = options->restart_h;
               grad.grad_restart_c = options->restart_c;
               grad.grad_peephole = options->peephole;
               std::copy(options->norm, options->norm + 6, grad.grad_norm);
             }
             nb::gil_scoped_release release;
             return checked(k.backward(dtype, layer, grad, {run_parallel, threads}));
           },
           nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(),
           nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(),
           nb::arg(), nb::arg(), nb::arg(), nb::arg().none(), nb::arg())
      .def("packed_bytes",
           [](const Kernels& k, Dtype dtype, const BoundLayer& layer) {
             return k.packed_bytes(dtype, layer);
           })
      .def("pack",
           [](const Kernels& k, Dtype dtype, const BoundLayer& layer, Address packed, int threads) {
             nb::gil_scoped_release release;
             return checked(k.pack(dtype, layer, pointer<void>(packed), {run_parallel, threads}));
           })
      .def("trace",
           [](const Kernels& k, Dtype dtype, const BoundLayer& layer, Address saved,
              const std::vector<Address>& gates, const std::vector<Address>& cells, int threads) {
             LayerTrace out{};
             for (std::size_t state = 0; state < cells.size() && state < 3; ++state)
               out.cells[state] = pointer<void>(cells[state]);
             for (std::size_t gate = 0; gate < gates.size() && gate < 4; ++gate)
               out.gates[gate] = pointer<void>(gates[gate]);
             nb::gil_scoped_release release;
             return checked(k.trace(dtype, layer, pointer<void>(saved), out, {run_parallel, threads}));
           })
      .def("cross_entropy",
           [](const Kernels& k, Dtype dtype, int64_t N, int64_t H, int64_t V, Address x, int64_t x_row,
              Address weight, Address bias, Address target, double smoothing, Address scale,
              Address loss, Address grad_x, Address grad_weight, Address grad_bias, int threads) {
             const CrossEntropy call{N, H, V, pointer<void>(x), x_row, pointer<void>(weight),
                                     pointer<void>(bias), pointer<int64_t>(target), smoothing,
                                     pointer<void>(scale), pointer<void>(loss), pointer<void>(grad_x),
                                     pointer<void>(grad_weight), pointer<void>(grad_bias)};
             nb::gil_scoped_release release;
             return checked(k.cross_entropy(dtype, call, {run_parallel, threads}));
           })
      .def("saved_memory", [](const Kernels& k, Dtype dtype, const MatrixMemory& call) {
        return k.saved_memory(dtype, call);
      })
      .def("memory_forward",
           [](const Kernels& k, Dtype dtype, const MatrixMemory& call, const MatrixMemoryOutput& out,
              int threads) {
             nb::gil_scoped_release release;
             return checked(k.memory_forward(dtype, call, out, {run_parallel, threads}));
           })
      .def("memory_backward",
           [](const Kernels& k, Dtype dtype, const MatrixMemory& call, const MatrixMemoryOutput& output,
              Address grad_y, Address grad_C, Address grad_n, Address grad_m, Address grad_q,
              Address grad_k, Address grad_v, Address grad_o, int64_t step, int64_t row,
              Address grad_log_i, Address grad_log_f, Address grad_C_0, Address grad_n_0,
              Address grad_m_0, int threads) {
             const MatrixMemoryGradient grad{
                 output, pointer<void>(grad_y), pointer<void>(grad_C), pointer<void>(grad_n),
                 pointer<void>(grad_m), pointer<void>(grad_q), pointer<void>(grad_k),
                 pointer<void>(grad_v), pointer<void>(grad_o), step, row, pointer<void>(grad_log_i),
                 pointer<void>(grad_log_f), pointer<void>(grad_C_0), pointer<void>(grad_n_0),
                 pointer<void>(grad_m_0)};
             nb::gil_scoped_release release;
             return checked(k.memory_backward(dtype, call, grad, {run_parallel, threads}));
           })
      .def("evaluate",
           [](const Kernels& k, Dtype dtype, int function, Address in, Address out, int64_t count) {
             k.evaluate(dtype, function, pointer<void>(in), pointer<void>(out), count);
           })
      .def("mask",
           [](const Kernels& k, Dtype dtype, Address seed, int64_t stream, int64_t step, int word,
              double probability, int64_t rows, int64_t columns, Address out) {
             k.mask(dtype, pointer<int64_t>(seed), stream, step, word, probability, rows, columns,
                    pointer<void>(out));
           })
      .def("burn", [](const Kernels& k, Dtype dtype, int64_t iterations, int threads) {
        nb::gil_scoped_release release;
        return k.burn(dtype, iterations, {run_parallel, threads});
      });

  m.def(
      "workspace_tensor",
      [](Dtype dtype, const std::vector<std::size_t>& shape) {
        const bool wide = dtype == Dtype::float64;
        std::size_t bytes = wide ? sizeof(double) : sizeof(float);
        for (const std::size_t size : shape) bytes *= size;
        auto* block = new WorkspaceBlock(take_workspace(bytes));
        if (!block->data) {
          delete block;
          throw std::bad_alloc();
        }
        nb::capsule owner(block, [](void* p) noexcept {
          auto* returned = static_cast<WorkspaceBlock*>(p);
          return_workspace(*returned);
          delete returned;
        });
        return nb::ndarray<nb::pytorch>(block->data, shape.size(), shape.data(), owner, nullptr,
                                        wide ? nb::dtype<double>() : nb::dtype<float>());
      },
      "An uninitialised torch tensor whose memory comes from the workspace and returns to it.");
  m.attr("BAD_LENGTH") = int(Status::bad_length);
  m.attr("BAD_TARGET") = int(Status::bad_target);
  m.def(
      "kernels",
      [](const std::string& isa, Dtype dtype) { return kernels_for(isa.c_str(), dtype); },
      nb::rv_policy::reference, "The kernels of an instruction set for a precision, or None.");
  m.def("best_kernels", &best_kernels, nb::rv_policy::reference,
        "The kernels of the best instruction set of this machine for a precision, or None.");
}
