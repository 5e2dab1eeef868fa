// The contract of the kernels: every entry point, its shapes, aliasing and ownership.
//
// Knows neither Python nor torch. Raw pointers and sizes in, a status out; nothing is thrown across
// this border, and no pointer is kept after a call; scratch memory is (workspace.h). All arrays are
// row-major. Shape letters: T steps, B batch, I input, H hidden, P width of h (H without projection),
// G gates, stacked along the first axis of a weight: i, f, g, o for the LSTM, f, g, o with coupled gates
// and i, g, o without the forget gate; r, z, n for the GRU; z, n and f, i, g for the minimal cells, which
// have no weights of h; i, f, z, o for the sLSTM.
#pragma once
#include <cstdint>

namespace gatewise {

enum class Status : int { ok = 0, no_memory = 1, bad_length = 2, bad_target = 3 };

// Of all arrays; with bfloat16 they are float32, and the products of x, h and the gradients of gates
// take their operands rounded to bfloat16, while sums and states stay float32. Projections and
// everything pointwise are float32 then. float32_bf16x6 is float32 whose products are sums of six products of
// bfloat16 parts, as exact where all numbers are finite and those that count above 1e-33; for cross_entropy, and
// for the plain lstm, gru and rnn.
enum class Dtype : int { float32 = 0, float64 = 1, bfloat16 = 2, float32_bf16x6 = 3 };

// The cells, in kernels/cells/. A new one takes a line here.
#define GATEWISE_CELLS(each) \
  each(lstm) each(gru) each(rnn_tanh) each(rnn_relu) each(lstm_coupled) each(lstm_no_forget) \
  each(gru_before) each(min_gru) each(min_gru_positive) each(min_lstm) each(min_lstm_positive) \
  each(slstm) each(slstm_exponential)
#define GATEWISE_NAME(name) name,
enum class Cell : int { GATEWISE_CELLS(GATEWISE_NAME) };
#undef GATEWISE_NAME

// Calls work(context, thread, team) once per thread, team threads at the same time, and returns when
// all have returned. The team may be smaller than `threads`, never larger.
using Work = void (*)(void* context, int thread, int team);
using ParallelRun = void (*)(Work work, void* context, int threads);

struct Threads {
  ParallelRun run;
  int count;  // how many are wanted; the plan may use fewer
};

// Functions of one number; the hard ones are torch's, hardsigmoid(z) = relu6(z + 3) / 6.
enum class Activation : int { tanh = 0, sigmoid = 1, relu = 2, hardtanh = 3, hardsigmoid = 4 };

// What a cell may do beyond its plain form. All but the activations is for LSTM and GRU; peepholes,
// activations and the clip are for the LSTM; norms not for the GRU with its gate before the product.
struct Options {
  Activation activation = Activation::tanh;          // of the candidate and of the cell
  Activation gate_activation = Activation::sigmoid;  // of the gates
  double clip = 0;                // the cell state is held to ±clip; 0 for no limit
  const void* peephole = nullptr;  // a row of H for each gate but g, in their order, or null
  // Layer normalisation, or null: weight and bias on the input product (G·H each), the recurrent
  // product (G·H) and, for the LSTM, the cell state (H).
  const void* norm[6] = {};
  // Probabilities. With a seed, masks are drawn as philox.h says; without one, update and recurrent
  // dropout do nothing and zoneout takes its expectation.
  double update = 0, recurrent = 0, zoneout_c = 0, zoneout_h = 0;
  const int64_t* seed = nullptr;
  int64_t stream = 0;      // tells layers and directions of one seed apart
  int64_t first_step = 0;  // of this call in its sequence
  bool any = false;        // whether anything above differs from the plain form
};

// One layer in one direction: what forward and backward both read.
struct Layer {
  Cell cell;
  int64_t steps, batch, input, hidden, projected;  // T, B, I, H, P; all at least 1
  bool reverse;            // runs from the last valid step of each row to its first
  const void* x;           // T×B×I through the strides below; the last axis is contiguous
  int64_t x_step, x_row;   // strides of x along T and B, in elements
  const void* h0;          // B×P
  const void* c0;          // B×C·H, C states side by side, one but for the sLSTM; null for h alone
  const void* weight_ih;   // G·H×I
  const void* weight_hh;   // G·H×P, or null for a minimal cell
  const void* bias_ih;     // G·H, or null together with bias_hh
  const void* bias_hh;     // G·H, or null, as for a minimal cell
  const void* weight_hr;   // P×H, or null when P = H; for the LSTM alone
  const int64_t* lengths;  // B, each in 0..T, or null for T; a row of 0 hands its state on
  const uint8_t* reset;    // T×B, nonzero cuts between t-1 and t, or null
  const void* restart_h = nullptr;  // P, the state after a cut, or null for zeros
  const void* restart_c = nullptr;  // C·H, or null
  Options options = {};
  // The weights as Kernels::pack wrote them, for forward, which then reads neither the weights and biases
  // above nor the biases of the products' norms; or null.
  const void* packed = nullptr;
};

// What one forward call writes. No array may overlap another or an input.
struct LayerOutput {
  void* y;                // T×B×P through the strides below, zero beyond the lengths
  int64_t y_step, y_row;  // strides of y along T and B, in elements
  void* h_n;              // B×P, state after the last valid step in running order
  void* c_n;              // B×C·H, or null together with c0
  // For backward, T·B rows of as many elements as Kernels::saved_row tells, or null for inference.
  // Their order is the kernels' own; rows beyond the lengths are left as they are.
  void* saved;
};

// What one backward call reads beside the layer, and writes. The saved array is not changed, so a
// backward can be repeated. Gradients are overwritten, not added to.
struct LayerGradient {
  const void* y;                // as forward wrote it
  int64_t y_step, y_row;
  const void* saved;            // as forward wrote it, on the same instruction set
  const void* grad_y;           // T×B×P through the strides below, the last axis contiguous
  int64_t grad_y_step, grad_y_row;
  const void* grad_h_n;         // B×P, or null for zeros
  const void* grad_c_n;         // B×C·H, or null for zeros
  void* grad_x;                 // T×B×I contiguous, or null when not wanted
  void* grad_h0;                // B×P, or null together with grad_c0 when not wanted
  void* grad_c0;                // B×C·H, or null
  void* grad_weight_ih;         // G·H×I
  void* grad_weight_hh;         // G·H×P, or null like weight_hh
  void* grad_bias_ih;           // G·H, or null without biases
  void* grad_bias_hh;           // G·H, or null
  void* grad_weight_hr;         // P×H, or null when P = H
  void* grad_restart_h = nullptr;  // P, or null together with grad_restart_c when not wanted
  void* grad_restart_c = nullptr;  // C·H, or null
  void* grad_peephole = nullptr;   // as in Options, null together with it
  void* grad_norm[6] = {};
};

// Where the gates and the cell states of every step go, T×B×H each, in time order, zero beyond the
// lengths; null for what is not wanted or what the cell lacks.
struct LayerTrace {
  void* gates[4];  // in the order of the weights
  void* cells[3];
};

// The cross-entropy of the outputs W·x + b of a linear layer, for every row of x, and its gradients:
// what they read, then what they write. Products are as the precision has them.
struct CrossEntropy {
  int64_t rows, input, classes;  // N, H, V
  const void* x;                 // N×H, rows x_row elements apart
  int64_t x_row;
  const void* weight;            // V×H
  const void* bias;              // V, or null
  const int64_t* target;         // N, each below V; negative for a row that does not count
  double smoothing;              // of the labels, 0 to 1
  const void* scale;             // N, the gradients of the losses; null when no gradient is wanted
  void* loss;                    // N, zero where rows do not count
  void* grad_x;                  // N×H, or null, as all gradients
  void* grad_weight;             // V×H
  void* grad_bias;               // V
};

// The memory of an mLSTM and what is read of it: NH heads of width d, in float32 or float64.
struct MatrixMemory {
  int64_t steps, batch, heads, width, chunk;  // T, B, NH, d, and the steps that are computed at once
  const void* q;                 // T×B×NH×d through the strides below, the last two axes contiguous
  const void* k;                 // alike
  const void* v;                 // alike
  const void* o;                 // alike: the output gates before σ, or null for none
  int64_t step, row;             // of these along T and B, in elements
  double key_scale;              // what keys are multiplied by
  const void* log_i;             // T×B×NH, minus infinity where nothing is written
  const void* log_f;             // T×B×NH
  const uint8_t* cuts;           // T×B, nonzero where the memory is empty before a step, or null
  const void* C_0;               // B×NH×d×d, value by key
  const void* n_0;               // B×NH×d
  const void* m_0;               // B×NH, minus infinity for an empty memory
};

// What forward writes.
struct MatrixMemoryOutput {
  void* h;                       // T×B×NH×d, or null if y is wanted alone
  void* y;                       // T×B×NH×d: h times the output gates, null without them
  void* C;                       // after the last step, as before the first
  void* n;
  void* m;
  void* saved;                   // as many elements as Kernels::saved_memory tells, or null for inference
};

// What backward reads beside the call, and writes. Gradients are overwritten; those of the memory after the
// last step are null for zeros.
struct MatrixMemoryGradient {
  MatrixMemoryOutput output;     // as forward wrote it
  const void* grad_y;            // T×B×NH×d: of y, or of h without output gates
  const void* grad_C;
  const void* grad_n;
  const void* grad_m;
  void* grad_q;                  // T×B×NH×d through the strides below
  void* grad_k;
  void* grad_v;
  void* grad_o;                  // or null
  int64_t step, row;
  void* grad_log_i;              // T×B×NH
  void* grad_log_f;
  void* grad_C_0;                // as C_0, n_0 and m_0
  void* grad_n_0;
  void* grad_m_0;
};

// The functions of one instruction set, to be called for the precisions that it has.
struct Kernels {
  const char* isa;
  bool full, bf16, bf16x6;  // whether it has float32 and float64, bfloat16, and float32_bf16x6
  int64_t (*lanes)(Dtype);  // elements in a vector
  // Elements that forward saves for each step of a row.
  int64_t (*saved_row)(Dtype, Cell, int64_t hidden, bool normalised);
  Status (*forward)(Dtype, const Layer&, const LayerOutput&, const Threads&);
  Status (*backward)(Dtype, const Layer&, const LayerGradient&, const Threads&);
  // The bytes that pack writes for a layer, to memory aligned to 64, and the writing of them: its weights
  // as forward reads them, at the same precision, on the same instruction set, with the same options.
  int64_t (*packed_bytes)(Dtype, const Layer&);
  Status (*pack)(Dtype, const Layer&, void* packed, const Threads&);
  // Lays open what forward has saved.
  Status (*trace)(Dtype, const Layer&, const void* saved, const LayerTrace&, const Threads&);
  Status (*cross_entropy)(Dtype, const CrossEntropy&, const Threads&);
  // Elements that the memory of an mLSTM saves, and its passes.
  int64_t (*saved_memory)(Dtype, const MatrixMemory&);
  Status (*memory_forward)(Dtype, const MatrixMemory&, const MatrixMemoryOutput&, const Threads&);
  Status (*memory_backward)(Dtype, const MatrixMemory&, const MatrixMemoryGradient&, const Threads&);
  // Elementwise out[i] = function(in[i]) for the accuracy tests; `function` 0 sigmoid, 1 tanh, 2 log σ.
  void (*evaluate)(Dtype, int function, const void* in, void* out, int64_t count);
  // out[r·columns + c] = 0 with the probability, else 1 / (1 - probability): word `word` of the counter
  // (c, r, step, stream), as philox.h draws it.
  void (*mask)(Dtype, const int64_t* seed, int64_t stream, int64_t step, int word, double probability,
               int64_t rows, int64_t columns, void* out);
  // Multiply-adds alone on all threads, for the peak of the machine; returns how many operations.
  int64_t (*burn)(Dtype, int64_t iterations, const Threads&);
};

// The kernels compiled for `isa` ("amx", "avx512_bf16", "avx512", "avx2", "neon", "scalar"), or those of the
// next best set that has the precision: amx and avx512_bf16 have bfloat16 alone, and amx float32_bf16x6, which
// no other has; avx512 lacks bfloat16, and the others emulate it. Null when this build or this machine lacks
// `isa` or, from it on, the precision.
const Kernels* kernels_for(const char* isa, Dtype dtype);

// The best instruction set of this machine for a precision; null if none has it.
const Kernels* best_kernels(Dtype dtype);

}  // namespace gatewise
