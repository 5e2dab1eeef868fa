// The memory of an mLSTM (Beck et al. 2024): for each head a matrix that keys write and queries read, some
// steps at once, with every product and gate in the cache. For the steps t of a chunk, with C and n from
// before it,
//
//   R_t = Σ_{s<=t} D_ts·(q_t·k_s) v_s + g_t·C q_t,   D_ts = e^(F_t - m_t + i_s - F_s), F the sum of log f
//   w_t = the same for ones in the place of v and n in that of C,   g_t = e^(F_t + m_0 - m_t)
//   h_t = R_t / max(|w_t|, e^-m_t)
//
// and what it hands on is C' = e^(F_L + m_0 - m_L) C + Σ_s e^(F_L - F_s + i_s - m_L) v_s k_sᵀ, with n'
// alike. m is the stabiliser of the paper, taken step by step: no exponential exceeds 1. A cut begins a
// chunk whose memory is empty. C is held transposed, key by value. Source of the chunks: Yang et al. 2024,
// "Gated linear attention transformers with hardware-efficient training".
#pragma once
#include <cmath>
#include <deque>
#include <limits>

#include "math.h"
#include "small_products.h"

namespace gatewise {
namespace GATEWISE_ISA {

// Some steps of a row between cuts, in a window of as many as a chunk has.
struct Piece {
  int64_t first, last;
  bool begins;    // at the beginning of its window, where forward saves the memory
  bool empty;     // whether the memory before it is: at first, or behind a cut
  double before;  // m before it
};

constexpr double never = -1e30;  // for minus infinity, of which differences are no numbers

// What one head of a row has: gates and stabilisers of all its steps, and room for a chunk.
template <typename T>
class HeadMemory {
  static constexpr int N = Simd<T>::lanes;

 public:
  // So many matrices of steps, of pairs of steps and of squares of features.
  HeadMemory(const MatrixMemory& call, int of_steps, int of_pairs, int squares)
      : call_(call), width(call.width), length_vectors(ceil_div(call.chunk, N)),
        width_vectors(ceil_div(width, N)), length(length_vectors * N), features(width_vectors * N),
        input_(call.steps), forget_(call.steps), sum_(call.steps), m_(call.steps), pieces_(call.steps),
        rows_(8 * length), steps_(of_steps * length * features), pairs_(of_pairs * length * length),
        squares_(squares * features * features), lines_(2 * features) {}

  // Reads the gates of a head, and finds its pieces.
  void open(int64_t b, int64_t head) {
    const int64_t rows = call_.batch * call_.heads, row = b * call_.heads + head;
    double m = first_m(b, head), sum = 0;
    count = 0;
    for (int64_t t = 0; t < call_.steps; ++t) {
      const bool begins = t % call_.chunk == 0, empties = call_.cuts && call_.cuts[t * call_.batch + b];
      if (begins || empties) {
        if (count) pieces_.get()[count - 1].last = t;
        if (empties) m = never;
        pieces_.get()[count++] = {t, call_.steps, begins, m <= never, m};
        sum = 0;
      }
      const double i = as<T>(call_.log_i)[t * rows + row], f = as<T>(call_.log_f)[t * rows + row];
      input_.get()[t] = i;
      forget_.get()[t] = f;
      sum_.get()[t] = sum += f;
      m_.get()[t] = m = std::max(m + f, i);
    }
  }
  double first_m(int64_t b, int64_t head) const {
    return std::max(never, double(as<T>(call_.m_0)[b * call_.heads + head]));
  }
  const Piece& piece(int64_t i) const { return pieces_.get()[i]; }

  // The exponentials of a piece that are one a step, and the exponents of those of pairs.
  void enter(const Piece& piece) {
    const double *input = input_.get() + piece.first, *sum = sum_.get() + piece.first;
    const double* m = m_.get() + piece.first;
    const int64_t steps = piece.last - piece.first;
    const double whole = sum[steps - 1], after = m[steps - 1];
    double middle = never;
    for (int64_t s = 0; s < steps; ++s) middle = std::max(middle, input[s] - sum[s]);
    std::fill_n(rows_.get(), 8 * length, T(0));
    for (int64_t s = 0; s < steps; ++s) {
      since()[s] = T(sum[s] - m[s] + middle);
      own()[s] = T(input[s] - sum[s] - middle);
      gain()[s] = T(sum[s] + piece.before - m[s]);
      weight()[s] = T(whole - sum[s] + input[s] - after);
      scale()[s] = T(std::min(m[s], 0.0));
      least()[s] = T(-std::max(m[s], 0.0));
    }
    for (T* at = gain(); at < gain() + 4 * length; at += N) store(at, exp<T>(load(at)));
    kept = T(std::exp(whole + piece.before - after));
  }

  // D_ts for the steps s of vector v; zero where t does not see them.
  Vec<T> decay(int64_t t, int64_t v) const {
    typename Simd<T>::BitVector step;
    for (int i = 0; i < N; ++i) step[i] = i;
    const auto seen = step <= typename Simd<T>::Bits(t - v * N);
    return seen ? exp<T>(load(own() + v * N) + since()[t]) : Vec<T>{};
  }

  // D·pairs in place of pairs, for step t, and w_t; D too if there is room for it.
  T weigh(int64_t t, Matrix<T> pairs, const T* q, const T* n, const Matrix<T>* decays) const {
    Vec<T> sum{};
    for (int64_t v = 0; v < length_vectors; ++v) {
      const bool seen = v * N <= t;
      const Vec<T> d = seen ? decay(t, v) : Vec<T>{};
      const Vec<T> p = seen ? d * load(pairs.row(t) + v * N) : Vec<T>{};
      sum += p;
      store(pairs.row(t) + v * N, p);
      if (decays) store(decays->row(t) + v * N, d);
    }
    return sum_of<T>(sum) + gain()[t] * sum_of<T>(multiply_rows(n, q, width_vectors));
  }

  // h_t / R_t = 1 / max(|w_t|, e^-m_t), with no exponential above 1.
  T normaliser(int64_t t, T w) const { return scale()[t] / std::max(std::abs(w) * scale()[t], floor(t)); }
  bool by_weight(int64_t t, T w) const { return std::abs(w) * scale()[t] >= floor(t); }

  // Copies rows of a head of T×B×NH×d, `factor` times as large, with zeros behind them.
  void read(Matrix<T> to, const void* from, const Piece& piece, int64_t b, int64_t head, int64_t step,
            int64_t row, T factor = 1) const {
    const T* source = as<T>(from) + piece.first * step + b * row + head * width;
    for (int64_t t = 0; t < length; ++t)
      for (int64_t c = 0; c < features; c += N) {
        const bool there = piece.first + t < piece.last;
        store(to.row(t) + c, there ? load_part(source + t * step + c, width - c) * factor : Vec<T>{});
      }
  }
  // And back, past the caches if they cannot hold all rows until somebody reads them.
  void write(void* to, Matrix<T> from, const Piece& piece, int64_t b, int64_t head, int64_t step,
             int64_t row, T factor = 1) const {
    T* out = static_cast<T*>(to) + piece.first * step + b * row + head * width;
    const bool whole = (std::uintptr_t(out) | step * sizeof(T) | width * sizeof(T)) % line_bytes == 0;
    const bool streams = whole && call_.steps * step * int64_t(sizeof(T)) >= streamed_bytes;
    for (int64_t t = 0; t < piece.last - piece.first; ++t, out += step)
      for (int64_t c = 0; c < features; c += N) {
        const Vec<T> v = load(from.row(t) + c) * factor;
        streams ? stream(out + c, v) : store_part(out + c, v, width - c);
      }
  }

  // The memory of a head as callers have it, value by key, and here, key by value; null for zeros.
  void take(Matrix<T> C, T* n, const void* whole, const void* line, int64_t item) const {
    empty(C, n);
    if (!whole) return;
    const T *from = as<T>(whole) + item * width * width, *row = as<T>(line) + item * width;
    for (int64_t key = 0; key < width; ++key) {
      for (int64_t value = 0; value < width; ++value) C.row(key)[value] = from[value * width + key];
      n[key] = row[key];
    }
  }
  void give(void* whole, void* line, Matrix<T> C, const T* n, int64_t item) const {
    T *to = static_cast<T*>(whole) + item * width * width, *row = static_cast<T*>(line) + item * width;
    for (int64_t key = 0; key < width; ++key) {
      for (int64_t value = 0; value < width; ++value) to[value * width + key] = C.row(key)[value];
      row[key] = n[key];
    }
  }
  void empty(Matrix<T> C, T* n) const {
    std::fill_n(C.at, features * features, T(0));
    std::fill_n(n, features, T(0));
  }
  // Where forward keeps the memory from before a window.
  Matrix<T> kept_at(void* saved, int64_t item, const Piece& piece) const {
    const int64_t windows = ceil_div(call_.steps, call_.chunk), window = piece.first / call_.chunk;
    return {static_cast<T*>(saved) + (item * windows + window) * (features + 1) * features, features};
  }

  Matrix<T> of_steps(int i) const { return {steps_.get() + i * length * features, features}; }
  Matrix<T> across(int i) const { return {of_steps(i).at, length}; }  // features by steps
  Matrix<T> pairs(int i) const { return {pairs_.get() + i * length * length, length}; }
  Matrix<T> square(int i) const { return {squares_.get() + i * features * features, features}; }
  T* line(int i) const { return lines_.get() + i * features; }

  T* since() const { return rows_.get(); }
  T* own() const { return rows_.get() + length; }
  T* gain() const { return rows_.get() + 2 * length; }
  T* weight() const { return rows_.get() + 3 * length; }
  T* scale() const { return rows_.get() + 4 * length; }
  T* least() const { return rows_.get() + 5 * length; }
  T* spare(int i) const { return rows_.get() + (6 + i) * length; }
  const double* inputs() const { return input_.get(); }
  const double* forgets() const { return forget_.get(); }
  const double* ms() const { return m_.get(); }

 private:
  static constexpr int64_t streamed_bytes = 4 << 20;
  static constexpr int64_t line_bytes = 64;  // of a cache: a part of one that goes past it costs as much as all

  T floor(int64_t t) const { return std::max(least()[t], std::numeric_limits<T>::min()); }

  const MatrixMemory& call_;

 public:
  const int64_t width, length_vectors, width_vectors;
  const int64_t length, features;  // of a chunk and a head, whole vectors
  int64_t count = 0;               // of pieces
  T kept = 0;                      // of the memory, by the end of a piece

 private:
  const Buffer<double> input_, forget_, sum_, m_;
  const Buffer<Piece> pieces_;
  const Buffer<T> rows_, steps_, pairs_, squares_, lines_;
};

// Deals the heads of all rows out to threads: work(own, b, head, item).
template <typename T, typename Work>
class HeadTeam {
 public:
  HeadTeam(const MatrixMemory& call, int threads, int of_steps, int of_pairs, int squares, Work work)
      : call_(call), work_(work), items_(call.batch * call.heads),
        threads_(worthwhile_threads(call, threads)) {
    for (int t = 0; t < threads_; ++t) own_.emplace_back(call, of_steps, of_pairs, squares);
  }
  void run(ParallelRun parallel) {
    parallel([](void* self, int thread, int team) {
      auto& heads = *static_cast<HeadTeam*>(self);
      const FlushScope scope;
      const Range mine = even_range(heads.items_, thread, team);
      for (int64_t item = mine.first; item < mine.last; ++item) {
        const int64_t b = item / heads.call_.heads, head = item % heads.call_.heads;
        heads.own_[thread].open(b, head);
        heads.work_(heads.own_[thread], b, head, item);
      }
      stream_fence();
    }, this, threads_);
  }

 private:
  // No more than there are heads, and one where waking others would cost more than it saves.
  int worthwhile_threads(const MatrixMemory& call, int wanted) const {
    const bool large = 4 * call.steps * items_ * call.width * (call.width + call.chunk) >= 400000;
    return large ? int(std::min<int64_t>(wanted, items_)) : 1;
  }

  const MatrixMemory& call_;
  Work work_;
  const int64_t items_;
  const int threads_;
  std::deque<HeadMemory<T>> own_;
};

}  // namespace GATEWISE_ISA
}  // namespace gatewise
