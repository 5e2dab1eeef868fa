// Forward and backward of the memory of an mLSTM, a head at a time; see matrix_memory.h for the equations.
#pragma once
#include "matrix_memory.h"

namespace gatewise {
namespace GATEWISE_ISA {

template <typename T>
class MemoryForward {
  static constexpr int N = Simd<T>::lanes;
  using Own = HeadMemory<T>;

 public:
  static constexpr int of_steps = 5, of_pairs = 1, squares = 1;

  MemoryForward(const MatrixMemory& call, const MatrixMemoryOutput& out) : call_(call), out_(out) {}

  void operator()(Own& own, int64_t b, int64_t head, int64_t item) const {
    const Matrix<T> C = own.square(0);
    T* const n = own.line(0);
    own.take(C, n, call_.C_0, call_.n_0, item);
    for (int64_t i = 0; i < own.count; ++i) {
      const Piece& piece = own.piece(i);
      if (piece.empty) own.empty(C, n);
      if (piece.begins && out_.saved) {
        const Matrix<T> kept = own.kept_at(out_.saved, item, piece);
        std::copy_n(C.at, own.features * own.features, kept.at);
        std::copy_n(n, own.features, kept.row(own.features));
      }
      advance(own, piece, b, head);
    }
    own.give(out_.C, out_.n, C, n, item);
    static_cast<T*>(out_.m)[item] = T(own.ms()[call_.steps - 1]);
  }

 private:
  void advance(Own& own, const Piece& piece, int64_t b, int64_t head) const {
    const int64_t steps = piece.last - piece.first, vectors = own.width_vectors;
    const Matrix<T> q = own.of_steps(0), k = own.of_steps(1), v = own.of_steps(2), R = own.of_steps(3);
    const Matrix<T> keys = own.across(4), pairs = own.pairs(0), C = own.square(0);
    T* const n = own.line(0);
    own.enter(piece);
    own.read(q, call_.q, piece, b, head, call_.step, call_.row);
    own.read(k, call_.k, piece, b, head, call_.step, call_.row, T(call_.key_scale));
    own.read(v, call_.v, piece, b, head, call_.step, call_.row);

    transpose_into(keys, k, own.length_vectors, vectors);
    multiply_into<false>(pairs, steps, own.length_vectors, q, keys, own.width, Triangle::result, false);
    if (!piece.empty) {
      multiply_into<false>(R, steps, vectors, q, C, own.width, Triangle::none, false);
      for (int64_t t = 0; t < steps; ++t) scale_row(R.row(t), own.gain()[t], vectors);
    }
    T* const w = own.since();  // whose exponent of a step is not needed after it
    for (int64_t t = 0; t < steps; ++t) w[t] = own.weigh(t, pairs, q.row(t), n, nullptr);
    multiply_into<false>(R, steps, vectors, pairs, v, steps, Triangle::left, !piece.empty);
    for (int64_t t = 0; t < steps; ++t) scale_row(R.row(t), own.normaliser(t, w[t]), vectors);
    const int64_t row = call_.heads * call_.width;
    if (out_.h) own.write(out_.h, R, piece, b, head, call_.batch * row, row);
    if (call_.o) {
      const Matrix<T> o = q;  // which nobody reads any more
      own.read(o, call_.o, piece, b, head, call_.step, call_.row);
      for (int64_t t = 0; t < steps; ++t)
        for (int64_t c = 0; c < own.features; c += N)
          store(R.row(t) + c, load(R.row(t) + c) * sigmoid<T>(load(o.row(t) + c)));
      own.write(out_.y, R, piece, b, head, call_.batch * row, row);
    }

    for (int64_t s = 0; s < steps; ++s) scale_row(k.row(s), own.weight()[s], vectors);
    for (int64_t key = 0; key < own.width; ++key) scale_row(C.row(key), own.kept, vectors);
    multiply_into<true>(C, own.width, vectors, k, v, steps, Triangle::none, true);
    scale_row(n, own.kept, vectors);
    for (int64_t s = 0; s < steps; ++s) add_row(n, k.row(s), T(1), vectors);
  }

  const MatrixMemory& call_;
  const MatrixMemoryOutput& out_;
};

template <typename T>
class MemoryBackward {
  static constexpr int N = Simd<T>::lanes;
  using Own = HeadMemory<T>;

 public:
  static constexpr int of_steps = 7, of_pairs = 3, squares = 4;

  MemoryBackward(const MatrixMemory& call, const MatrixMemoryGradient& grad)
      : call_(call), grad_(grad) {}

  void operator()(Own& own, int64_t b, int64_t head, int64_t item) const {
    const Matrix<T> C = own.square(0), dC = own.square(2);
    T *const n = own.line(0), *const dn = own.line(1);
    own.take(C, n, grad_.output.C, grad_.output.n, item);
    own.take(dC, dn, grad_.grad_C, grad_.grad_n, item);
    // What remains of the gradient of m: C and n are relative to it.
    const double rest = (grad_.grad_m ? double(as<T>(grad_.grad_m)[item]) : 0) - agreement(own, C, n, dC, dn);
    for (int64_t i = own.count - 1; i >= 0; --i) {
      const Piece& piece = own.piece(i);
      if (piece.empty) {
        own.empty(C, n);
      } else {
        const Matrix<T> kept = own.kept_at(grad_.output.saved, item, piece);
        std::copy_n(kept.at, own.features * own.features, C.at);
        std::copy_n(kept.row(own.features), own.features, n);
      }
      retreat(own, piece, b, head);
    }
    own.give(grad_.grad_C_0, grad_.grad_n_0, dC, dn, item);
    const double first = agreement(own, C, n, dC, dn) + pass_on(own, rest, b, head);
    static_cast<T*>(grad_.grad_m_0)[item] = T(first);
  }

 private:
  // Σ dC·C + Σ dn·n: the gradient of the logarithm of a factor of both.
  static double agreement(const Own& own, Matrix<T> C, const T* n, Matrix<T> dC, const T* dn) {
    double sum = sum_of<T>(multiply_rows(n, dn, own.width_vectors));
    for (int64_t key = 0; key < own.width; ++key)
      sum += sum_of<T>(multiply_rows(C.row(key), dC.row(key), own.width_vectors));
    return sum;
  }

  void retreat(Own& own, const Piece& piece, int64_t b, int64_t head) const {
    const int64_t steps = piece.last - piece.first, vectors = own.width_vectors;
    const Matrix<T> q = own.of_steps(0), k = own.of_steps(1), v = own.of_steps(2), dR = own.of_steps(3);
    const Matrix<T> other = own.across(4), made = own.of_steps(5), h = own.of_steps(6), past = h;
    const Matrix<T> pairs = own.pairs(0), decays = own.pairs(1), dpairs = own.pairs(2);
    const Matrix<T> C = own.square(0), C_across = own.square(1), dC = own.square(2), dC_across = own.square(3);
    T *const n = own.line(0), *const dn = own.line(1);
    const int64_t row = call_.heads * call_.width;
    own.enter(piece);
    own.read(q, call_.q, piece, b, head, call_.step, call_.row);
    own.read(k, call_.k, piece, b, head, call_.step, call_.row, T(call_.key_scale));
    own.read(v, call_.v, piece, b, head, call_.step, call_.row);
    own.read(dR, grad_.grad_y, piece, b, head, call_.batch * row, row);
    own.read(h, grad_.output.h, piece, b, head, call_.batch * row, row);
    if (call_.o) take_gates(own, piece, b, head);

    // Forward once more, and from h to R and w.
    transpose_into(other, k, own.length_vectors, vectors);
    multiply_into<false>(pairs, steps, own.length_vectors, q, other, own.width, Triangle::result, false);
    T* const dw = own.scale();  // a step's is not needed after it
    for (int64_t t = 0; t < steps; ++t) {
      const T w = own.weigh(t, pairs, q.row(t), n, &decays), normaliser = own.normaliser(t, w);
      const T along = sum_of<T>(multiply_rows(dR.row(t), h.row(t), vectors));
      const bool counts = own.by_weight(t, w);
      scale_row(dR.row(t), normaliser, vectors);
      dw[t] = counts ? (w < 0 ? along : -along) * normaliser : T(0);
    }

    // From R and w to the pairs, whose gradient goes to the place of the decays.
    transpose_into(other, v, own.length_vectors, vectors);
    multiply_into<false>(dpairs, steps, own.length_vectors, dR, other, own.width, Triangle::result, false);
    // What a step reads of itself is apart: it says nothing of forgetting, and would drown what does.
    T *const by_row = own.since(), *const by_column = own.own(), *const of_itself = own.spare(0);
    std::fill_n(by_column, own.length, T(0));
    for (int64_t t = 0; t < steps; ++t) {
      const T itself = std::exchange(pairs.row(t)[t], T(0));
      of_itself[t] = itself * (dpairs.row(t)[t] + dw[t]);
      Vec<T> sum{};
      for (int64_t at = 0; at <= t; at += N) {
        const Vec<T> d = load(dpairs.row(t) + at) + dw[t], e = load(pairs.row(t) + at) * d;
        store(decays.row(t) + at, load(decays.row(t) + at) * d);
        store(by_column + at, load(by_column + at) + e);
        sum += e;
      }
      by_row[t] = sum_of<T>(sum);
      pairs.row(t)[t] = itself;
    }

    // Queries, which read the memory from before as well.
    T* const dgain = own.least();
    std::fill_n(dgain, own.length, T(0));
    multiply_into<false>(made, steps, vectors, decays, k, steps, Triangle::left, false);
    if (!piece.empty) {
      transpose_into(C_across, C, vectors, vectors);
      multiply_into<false>(past, steps, vectors, dR, C_across, own.width, Triangle::none, false);
      for (int64_t t = 0; t < steps; ++t) {
        add_row(past.row(t), n, dw[t], vectors);
        dgain[t] = own.gain()[t] * sum_of<T>(multiply_rows(q.row(t), past.row(t), vectors));
        add_row(made.row(t), past.row(t), own.gain()[t], vectors);
      }
    }
    own.write(grad_.grad_q, made, piece, b, head, grad_.step, grad_.row);

    // Keys and values, which write to the memory after as well.
    T* const dweight = own.spare(1);
    transpose_into(dC_across, dC, vectors, vectors);
    multiply_into<true>(made, steps, vectors, decays, q, steps, Triangle::left_across, false);
    multiply_into<false>(past, steps, vectors, v, dC_across, own.width, Triangle::none, false);
    for (int64_t s = 0; s < steps; ++s) {
      add_row(past.row(s), dn, T(1), vectors);
      dweight[s] = own.weight()[s] * sum_of<T>(multiply_rows(k.row(s), past.row(s), vectors));
      add_row(made.row(s), past.row(s), own.weight()[s], vectors);
      scale_row(k.row(s), own.weight()[s], vectors);
    }
    own.write(grad_.grad_k, made, piece, b, head, grad_.step, grad_.row, T(call_.key_scale));
    multiply_into<true>(made, steps, vectors, pairs, dR, steps, Triangle::left_across, false);
    multiply_into<false>(made, steps, vectors, k, dC, own.width, Triangle::none, true);
    own.write(grad_.grad_v, made, piece, b, head, grad_.step, grad_.row);

    // The memory from before.
    const double dkept = piece.empty ? 0 : own.kept * agreement(own, C, n, dC, dn);
    if (piece.empty) {
      own.empty(dC, dn);
    } else {
      scale_row(dn, own.kept, vectors);
      for (int64_t key = 0; key < own.width; ++key) scale_row(dC.row(key), own.kept, vectors);
      for (int64_t t = 0; t < steps; ++t) {
        scale_row(q.row(t), own.gain()[t], vectors);
        add_row(dn, q.row(t), dw[t], vectors);
      }
      multiply_into<true>(dC, own.width, vectors, q, dR, steps, Triangle::none, true);
    }

    // The gates: of log i as it is, of log f all that its sums, from it on, are part of.
    double sum = dkept;
    for (int64_t s = 0; s < steps - 1; ++s) sum += dweight[s];
    for (int64_t s = steps - 1; s >= 0; --s) {
      const double later = double(by_column[s]) + (s < steps - 1 ? dweight[s] : T(0));
      sum += double(by_row[s]) + dgain[s] - later;
      const double written = double(by_column[s]) + of_itself[s] + dweight[s];
      *gate(grad_.grad_log_i, piece.first + s, b, head) = T(written);
      *gate(grad_.grad_log_f, piece.first + s, b, head) = T(sum);
    }
  }

  // The gradient of the output gates, and that of what they act on in place of that of y.
  void take_gates(Own& own, const Piece& piece, int64_t b, int64_t head) const {
    const Matrix<T> dy = own.of_steps(3), o = own.of_steps(5), h = own.of_steps(6);
    own.read(o, call_.o, piece, b, head, call_.step, call_.row);
    for (int64_t t = 0; t < piece.last - piece.first; ++t)
      for (int64_t c = 0; c < own.features; c += N) {
        const Vec<T> gate = sigmoid<T>(load(o.row(t) + c)), dh = load(dy.row(t) + c) * gate;
        store(o.row(t) + c, dh * load(h.row(t) + c) * (T(1) - gate));
        store(dy.row(t) + c, dh);
      }
    own.write(grad_.grad_o, o, piece, b, head, grad_.step, grad_.row);
  }

  // Hands the gradient of the last m on to what it is the maximum of; returns what comes to the first.
  double pass_on(const Own& own, double rest, int64_t b, int64_t head) const {
    if (rest == 0) return 0;
    for (int64_t t = call_.steps - 1; t >= 0; --t) {
      const bool empty = call_.cuts && call_.cuts[t * call_.batch + b];
      const double before = empty ? never : t ? own.ms()[t - 1] : own.first_m(b, head);
      if (own.inputs()[t] > before + own.forgets()[t]) {
        *gate(grad_.grad_log_i, t, b, head) += T(rest);
        return 0;
      }
      *gate(grad_.grad_log_f, t, b, head) += T(rest);
      if (empty) return 0;
    }
    return rest;
  }

  T* gate(void* grad, int64_t t, int64_t b, int64_t head) const {
    return static_cast<T*>(grad) + (t * call_.batch + b) * call_.heads + head;
  }

  const MatrixMemory& call_;
  const MatrixMemoryGradient& grad_;
};

}  // namespace GATEWISE_ISA
}  // namespace gatewise
