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

  // The arrays of a piece, and where it is.
  struct Views {
    Own& own;
    const Piece& piece;
    const int64_t b, head, steps = piece.last - piece.first, vectors = own.width_vectors;
    const Matrix<T> q = own.of_steps(0), k = own.of_steps(1), v = own.of_steps(2), dR = own.of_steps(3);
    const Matrix<T> across = own.across(4), made = own.of_steps(5);
    const Matrix<T> h = own.of_steps(6), past = h;  // h until the weights are known, then ways to the memory
    const Matrix<T> pairs = own.pairs(0), decays = own.pairs(1), dpairs = own.pairs(2);
    const Matrix<T> C = own.square(0), C_across = own.square(1);
    const Matrix<T> dC = own.square(2), dC_across = own.square(3);
    T *const n = own.line(0), *const dn = own.line(1);
    // Numbers a step; those of forward give way to gradients once they have been read.
    T *const gain = own.gain(), *const weight = own.weight(), *const dw = own.scale();
    T *const by_row = own.since(), *const by_column = own.own(), *const dgain = own.least();
    T *const of_itself = own.spare(0), *const dweight = own.spare(1);
  };

  void retreat(Own& own, const Piece& piece, int64_t b, int64_t head) const {
    const Views x{own, piece, b, head};
    own.enter(piece);
    read_again(x);
    if (call_.o) take_gates(x);
    go_back_to_weights(x);
    go_back_to_pairs(x);
    go_back_to_queries(x);
    go_back_to_keys_and_values(x);
    const double dkept = go_back_to_memory(x);
    go_back_to_gates(x, dkept);
  }

  void read_again(const Views& x) const {
    const Own& own = x.own;
    const Piece& piece = x.piece;
    const int64_t row = call_.heads * call_.width, step = call_.batch * row;
    own.read(x.q, call_.q, piece, x.b, x.head, call_.step, call_.row);
    own.read(x.k, call_.k, piece, x.b, x.head, call_.step, call_.row, T(call_.key_scale));
    own.read(x.v, call_.v, piece, x.b, x.head, call_.step, call_.row);
    own.read(x.dR, grad_.grad_y, piece, x.b, x.head, step, row);
    own.read(x.h, grad_.output.h, piece, x.b, x.head, step, row);
  }
  void write(const Views& x, void* grad, Matrix<T> from, T factor = 1) const {
    x.own.write(grad, from, x.piece, x.b, x.head, grad_.step, grad_.row, factor);
  }

  // The gradient of the output gates, and that of what they act on in place of that of y.
  void take_gates(const Views& x) const {
    const Matrix<T> o = x.made;
    x.own.read(o, call_.o, x.piece, x.b, x.head, call_.step, call_.row);
    for (int64_t t = 0; t < x.steps; ++t)
      for (int64_t c = 0; c < x.own.features; c += N) {
        const Vec<T> gate = sigmoid<T>(load(o.row(t) + c)), dh = load(x.dR.row(t) + c) * gate;
        store(o.row(t) + c, dh * load(x.h.row(t) + c) * (T(1) - gate));
        store(x.dR.row(t) + c, dh);
      }
    write(x, grad_.grad_o, o);
  }

  // Pairs and weights as forward had them, and from h to R and w.
  void go_back_to_weights(const Views& x) const {
    const Own& own = x.own;
    transpose_into(x.across, x.k, own.length_vectors, x.vectors);
    multiply_into<false>(x.pairs, x.steps, own.length_vectors, x.q, x.across, own.width, Triangle::result,
                         false);
    for (int64_t t = 0; t < x.steps; ++t) {
      const T w = own.weigh(t, x.pairs, x.q.row(t), x.n, &x.decays), normaliser = own.normaliser(t, w);
      const T along = sum_of<T>(multiply_rows(x.dR.row(t), x.h.row(t), x.vectors));
      const bool counts = own.by_weight(t, w);
      scale_row(x.dR.row(t), normaliser, x.vectors);
      x.dw[t] = counts ? (w < 0 ? along : -along) * normaliser : T(0);
    }
  }

  // From R and w to the products of queries and keys, whose gradient goes to the place of the decays, and
  // to the decays. What a step reads of itself is apart: it says nothing of forgetting, and would drown what
  // does.
  void go_back_to_pairs(const Views& x) const {
    const Own& own = x.own;
    transpose_into(x.across, x.v, own.length_vectors, x.vectors);
    multiply_into<false>(x.dpairs, x.steps, own.length_vectors, x.dR, x.across, own.width,
                         Triangle::result, false);
    std::fill_n(x.by_column, own.length, T(0));
    for (int64_t t = 0; t < x.steps; ++t) {
      T *const pairs = x.pairs.row(t), *const decays = x.decays.row(t), *const dpairs = x.dpairs.row(t);
      const T itself = std::exchange(pairs[t], T(0));
      x.of_itself[t] = itself * (dpairs[t] + x.dw[t]);
      Vec<T> sum{};
      for (int64_t at = 0; at <= t; at += N) {
        const Vec<T> d = load(dpairs + at) + x.dw[t], e = load(pairs + at) * d;
        store(decays + at, load(decays + at) * d);
        store(x.by_column + at, load(x.by_column + at) + e);
        sum += e;
      }
      x.by_row[t] = sum_of<T>(sum);
      pairs[t] = itself;
    }
  }

  // These read the memory from before as well.
  void go_back_to_queries(const Views& x) const {
    std::fill_n(x.dgain, x.own.length, T(0));
    multiply_into<false>(x.made, x.steps, x.vectors, x.decays, x.k, x.steps, Triangle::left, false);
    if (!x.piece.empty) {
      transpose_into(x.C_across, x.C, x.vectors, x.vectors);
      multiply_into<false>(x.past, x.steps, x.vectors, x.dR, x.C_across, x.own.width, Triangle::none, false);
      for (int64_t t = 0; t < x.steps; ++t) {
        add_row(x.past.row(t), x.n, x.dw[t], x.vectors);
        x.dgain[t] = x.gain[t] * sum_of<T>(multiply_rows(x.q.row(t), x.past.row(t), x.vectors));
        add_row(x.made.row(t), x.past.row(t), x.gain[t], x.vectors);
      }
    }
    write(x, grad_.grad_q, x.made);
  }

  // These write to the memory after as well.
  void go_back_to_keys_and_values(const Views& x) const {
    const int64_t width = x.own.width;
    transpose_into(x.dC_across, x.dC, x.vectors, x.vectors);
    multiply_into<true>(x.made, x.steps, x.vectors, x.decays, x.q, x.steps, Triangle::left_across, false);
    multiply_into<false>(x.past, x.steps, x.vectors, x.v, x.dC_across, width, Triangle::none, false);
    for (int64_t s = 0; s < x.steps; ++s) {
      add_row(x.past.row(s), x.dn, T(1), x.vectors);
      x.dweight[s] = x.weight[s] * sum_of<T>(multiply_rows(x.k.row(s), x.past.row(s), x.vectors));
      add_row(x.made.row(s), x.past.row(s), x.weight[s], x.vectors);
      scale_row(x.k.row(s), x.weight[s], x.vectors);
    }
    write(x, grad_.grad_k, x.made, T(call_.key_scale));
    multiply_into<true>(x.made, x.steps, x.vectors, x.pairs, x.dR, x.steps, Triangle::left_across, false);
    multiply_into<false>(x.made, x.steps, x.vectors, x.k, x.dC, width, Triangle::none, true);
    write(x, grad_.grad_v, x.made);
  }

  // From the memory after to that from before; returns the gradient of the logarithm of what is kept.
  double go_back_to_memory(const Views& x) const {
    const Own& own = x.own;
    if (x.piece.empty) {
      own.empty(x.dC, x.dn);
      return 0;
    }
    const double dkept = own.kept * agreement(own, x.C, x.n, x.dC, x.dn);
    scale_row(x.dn, own.kept, x.vectors);
    for (int64_t key = 0; key < own.width; ++key) scale_row(x.dC.row(key), own.kept, x.vectors);
    for (int64_t t = 0; t < x.steps; ++t) {
      scale_row(x.q.row(t), x.gain[t], x.vectors);
      add_row(x.dn, x.q.row(t), x.dw[t], x.vectors);
    }
    multiply_into<true>(x.dC, own.width, x.vectors, x.q, x.dR, x.steps, Triangle::none, true);
    return dkept;
  }

  // To log i as it is, to log f by all that its sums, from it on, are part of.
  void go_back_to_gates(const Views& x, double dkept) const {
    double sum = dkept;
    for (int64_t s = 0; s < x.steps - 1; ++s) sum += x.dweight[s];
    for (int64_t s = x.steps - 1; s >= 0; --s) {
      const double later = double(x.by_column[s]) + (s < x.steps - 1 ? x.dweight[s] : T(0));
      sum += double(x.by_row[s]) + x.dgain[s] - later;
      const double written = double(x.by_column[s]) + x.of_itself[s] + x.dweight[s];
      *gate(grad_.grad_log_i, x.piece.first + s, x.b, x.head) = T(written);
      *gate(grad_.grad_log_f, x.piece.first + s, x.b, x.head) = T(sum);
    }
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
