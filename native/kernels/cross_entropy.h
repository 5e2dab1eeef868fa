// The cross-entropy of a linear layer's outputs W·x + b, and its gradients, without ever holding all the
// outputs.
//
// For a block of rows of x the outputs of all classes are made once, kept as exponentials, and turned in
// place into their gradients, which the two products of backward read from the cache, a block of classes
// at a time; or, where products are cheap, made once more for that, but for those that found room where the
// gradient of the weights is to lie. They lie as [class][row]: weights are then read as they are, the vectors
// of the first product are rows of x, and the maxima and sums of the softmax run lane by lane. Threads share
// the classes; each has a sum of its own for the gradient of x.
//
// Sources: Wijmans et al. 2024 (arXiv:2411.09009) for gradients without the outputs; label smoothing:
// Szegedy et al. 2016, in torch's form (1-ε)·(lse - z_t) + ε·(lse - mean z).
#pragma once
#include <cmath>
#include <deque>
#include <limits>

#include "class_products_amx.h"
#include "class_products_parts.h"
#include "math.h"

namespace gatewise {
namespace GATEWISE_ISA {

// What one thread has for itself.
template <typename P>
struct ClassScratch {
  using T = Number<P>;

  ClassProducts<P> products;
  Buffer<T> most, sum, total;  // of each row: largest output, sum of exponentials, sum of outputs
  Buffer<T> z;                 // of one block, where outputs are made again

  ClassScratch(const CrossEntropy& call, const typename ClassProducts<P>::Rows& rows)
      : products(call, rows), most(rows.height), sum(rows.height), total(rows.height),
        z(ClassProducts<P>::makes_again ? ClassProducts<P>::block * rows.stride : 0) {}
};

template <typename P>
class LinearCrossEntropy {
  using T = Number<P>;
  using Own = ClassScratch<P>;
  static constexpr int N = Simd<T>::lanes;
  static constexpr int64_t class_block = ClassProducts<P>::block;
  static constexpr bool makes_again = ClassProducts<P>::makes_again;

  // Outputs of a block of classes, [class][row], from some row on.
  struct Outputs {
    T* at;
    int64_t stride;
    T* of_class(int64_t i) const { return at + i * stride; }
  };

 public:
  LinearCrossEntropy(const CrossEntropy& call, int threads)
      : call_(call), learns_(call.scale != nullptr),
        blocks_(ceil_div(call.classes, class_block)),
        threads_(worthwhile_threads(call, threads)), rows_(call, learns_ && call.grad_weight, !makes_again),
        barrier_(threads_), z_(makes_again ? 0 : call.classes * rows_.stride),
        shift_(makes_again ? 0 : blocks_ * rows_.height),
        picked_(rows_.height), most_(rows_.height), share_(rows_.height), scale_(rows_.height) {
    for (int t = 0; t < threads_; ++t) own_.emplace_back(call, rows_);
  }

  void run(ParallelRun parallel) {
    parallel([](void* self, int thread, int team) {
      static_cast<LinearCrossEntropy*>(self)->work(thread, team);
    }, this, threads_);
  }

 private:
  // No more than there are blocks, and one where waking others would cost more than it saves.
  int worthwhile_threads(const CrossEntropy& call, int wanted) const {
    const bool large = 2 * call.rows * call.input * call.classes >= 400000;
    return large ? int(std::min<int64_t>(wanted, blocks_)) : 1;
  }

  void work(int thread, int team) {
    const TileScope registers;
    const FlushScope flush;
    const Range mine = even_range(blocks_, thread, team);
    Own& own = own_[thread];
    if (thread == 0) clear_outputs();
    for (int64_t first = 0; first < rows_.total(); first += rows_.height) {
      barrier_.wait(thread, team);  // all have done with the rows before
      if (thread == 0) rows_.move_to(first);
      barrier_.wait(thread, team);
      const Chunks tiles = rows_.tiles();
      prepare(even_range(tiles.vectors, thread, team), tiles.columns);
      start(own, tiles);
      barrier_.wait(thread, team);
      for (int64_t b = mine.first; b < mine.last; ++b) take_outputs(own, b, tiles);
      barrier_.wait(thread, team);
      finish(even_range(tiles.columns, thread, team), team);
      barrier_.wait(thread, team);
      if (!learns_) continue;
      for (int64_t b = mine.first; b < mine.last; ++b) take_gradients(own, b, tiles, b == mine.first);
      barrier_.wait(thread, team);
      if (call_.grad_x) write_grad_x(even_range(tiles.vectors, thread, team), tiles.columns, team);
    }
  }

  // What rows that do not count have, and weights if none does.
  void clear_outputs() const {
    const auto clear = [](void* at, int64_t count) {
      if (at) std::fill_n(static_cast<T*>(at), count, T(0));
    };
    for (int64_t n = 0; n < call_.rows; ++n)
      if (call_.target[n] < 0) {
        static_cast<T*>(call_.loss)[n] = 0;
        if (call_.grad_x) clear(static_cast<T*>(call_.grad_x) + n * call_.input, call_.input);
      }
    if (rows_.total()) return;
    clear(call_.grad_weight, call_.classes * call_.input);
    clear(call_.grad_bias, call_.classes);
  }

  // A share of the rows; what stands behind the last one gets no gradient.
  void prepare(Range vectors, int64_t count) const {
    rows_.pack(vectors);
    for (int64_t r = vectors.first * N; r < vectors.last * N; ++r) {
      scale_.get()[r] = learns_ && r < count ? as<T>(call_.scale)[rows_.row(r)] : T(0);
      most_.get()[r] = share_.get()[r] = 0;
    }
  }

  void start(Own& own, const Chunks& tiles) const {
    for (int64_t r = 0; r < tiles.vectors * N; ++r) {
      own.most.get()[r] = std::numeric_limits<T>::lowest();
      own.sum.get()[r] = own.total.get()[r] = 0;
    }
  }

  // Those of block b, from row r on.
  Outputs outputs(Own& own, int64_t b, int64_t r) const {
    if constexpr (!makes_again) return {z_.get() + b * class_block * rows_.stride + r, rows_.stride};
    if (!keeps(b, r)) return {own.z.get() + r, rows_.stride};
    return {static_cast<T*>(call_.grad_weight) + b * class_block * call_.input + r, kept_rows()};
  }

  // Of the rows that come first, a tile of row r is kept in the gradient of the weights, which has as many numbers
  // for a class, until this is written. Products make whole steps of classes.
  bool keeps(int64_t b, int64_t r) const {
    return call_.grad_weight && rows_.first() == 0 && r < kept_rows() &&
           classes_in(b) % ClassProducts<P>::classes_at_once == 0;
  }
  int64_t kept_rows() const {
    constexpr int64_t tile = tile_vectors * N;
    return ClassProducts<P>::keeps_some ? call_.input / tile * tile : 0;
  }

  int64_t classes_in(int64_t b) const {
    return std::min(class_block, call_.classes - b * class_block);
  }

  // Calls f(row of the block, its class in block b) for the rows whose target is in it.
  template <typename Function>
  void for_targets(int64_t b, Range rows, Function&& f) const {
    for (int64_t r = rows.first; r < rows.last; ++r) {
      const int64_t i = rows_.target(r) - b * class_block;
      if (i >= 0 && i < classes_in(b)) f(r, i);
    }
  }

  // The outputs of a block of classes and what the softmax wants to know of them; if all are kept, as
  // exponentials.
  void take_outputs(Own& own, int64_t b, const Chunks& tiles) const {
    own.products.take_weights(b);
    for (int64_t tile = 0; tile < tiles.count; ++tile) {
      const int64_t first = tiles.first_vector(tile) * N;
      const int64_t last = first + tiles.vectors_in(tile) * N;
      const Outputs z = outputs(own, b, first);
      own.products.make_outputs(b, tile, z.at, z.stride);
      for_targets(b, {first, std::min(last, tiles.columns)},
                  [&](int64_t r, int64_t i) { picked_.get()[r] = z.of_class(i)[r - first]; });
      for (int64_t r = first; r < last; r += N) take_exponentials(own, b, r, {z.at + r - first, z.stride});
    }
  }

  // Of the vector of rows r, against the largest of the block, which the gradients make up for.
  void take_exponentials(Own& own, int64_t b, int64_t r, const Outputs& z) const {
    const int64_t classes = classes_in(b);
    Vec<T> most = broadcast(std::numeric_limits<T>::lowest()), total{}, sum{};
    for (int64_t i = 0; i < classes; ++i) {
      const Vec<T> y = load(z.of_class(i));
      most = y > most ? y : most;
      total += y;
    }
    for (int64_t i = 0; i < classes; ++i) {
      const Vec<T> e = exp<T>(load(z.of_class(i)) - most);
      if (!makes_again) store(z.of_class(i), e);
      sum += e;
    }
    if (!makes_again) store(shift_.get() + b * rows_.height + r, most);
    const Vec<T> before = load(own.most.get() + r), now = most > before ? most : before;
    const Vec<T> old = load(own.sum.get() + r) * exp<T>(before - now);
    store(own.most.get() + r, now);
    store(own.sum.get() + r, old + sum * exp<T>(most - now));
    store(own.total.get() + r, load(own.total.get() + r) + total);
  }

  // The losses of a share of the rows, and what their gradients are made of.
  void finish(Range rows, int team) const {
    const T smoothing = T(call_.smoothing);
    for (int64_t r = rows.first; r < rows.last; ++r) {
      T most = own_[0].most.get()[r], sum = 0, total = 0;
      for (int t = 1; t < team; ++t) most = std::max(most, own_[t].most.get()[r]);
      for (int t = 0; t < team; ++t) {
        sum += own_[t].sum.get()[r] * std::exp(own_[t].most.get()[r] - most);
        total += own_[t].total.get()[r];
      }
      most_.get()[r] = most;
      share_.get()[r] = scale_.get()[r] / sum;
      const T picked = picked_.get()[r];
      T loss = std::log(sum) + (most - picked);
      if (smoothing > 0) loss += smoothing * (picked - total / T(call_.classes));
      static_cast<T*>(call_.loss)[rows_.row(r)] = loss;
    }
  }

  // Turns a block of outputs into their gradients, and multiplies with these.
  void take_gradients(Own& own, int64_t b, const Chunks& tiles, bool first_block) const {
    if constexpr (makes_again) own.products.take_weights(b);
    const Outputs dz = makes_again ? Outputs{own.z.get(), rows_.stride} : outputs(own, b, 0);
    for (int64_t tile = 0; tile < tiles.count; ++tile) {
      const int64_t first = tiles.first_vector(tile) * N;
      const Outputs z = outputs(own, b, first);
      if (makes_again && !keeps(b, first)) own.products.make_outputs(b, tile, z.at, z.stride);
      for (int64_t r = 0; r < tiles.vectors_in(tile) * N; r += N)
        take_gradients(b, first + r, {z.at + r, z.stride}, {dz.at + first + r, dz.stride});
    }
    for_targets(b, {0, tiles.columns}, [&](int64_t r, int64_t i) {
      dz.of_class(i)[r] -= scale_.get()[r] * T(1 - call_.smoothing);
    });
    const bool first_rows = rows_.first() == 0;
    if (call_.grad_bias) add_grad_bias(b, dz, tiles.vectors * N, first_rows);
    own.products.take_gradients(b, dz.at);
    if (call_.grad_x) own.products.add_grad_x(b, first_block);
    if (call_.grad_weight) own.products.add_grad_weight(b, first_rows);
  }

  // Of the vector of rows r, but for the target's part.
  void take_gradients(int64_t b, int64_t r, const Outputs& z, const Outputs& dz) const {
    const T even = T(call_.smoothing / double(call_.classes));
    const Vec<T> most = load(most_.get() + r), less = load(scale_.get() + r) * even;
    Vec<T> by = load(share_.get() + r);
    if constexpr (!makes_again) by *= exp<T>(load(shift_.get() + b * rows_.height + r) - most);
    for (int64_t i = 0; i < classes_in(b); ++i) {
      const Vec<T> y = load(z.of_class(i));
      store(dz.of_class(i), (makes_again ? exp<T>(y - most) : y) * by - less);
    }
  }

  void add_grad_bias(int64_t b, const Outputs& dz, int64_t width, bool first) const {
    for (int64_t i = 0; i < classes_in(b); ++i) {
      Vec<T> sum{};
      for (int64_t r = 0; r < width; r += N) sum += load(dz.of_class(i) + r);
      T& out = static_cast<T*>(call_.grad_bias)[b * class_block + i];
      T all = first ? T(0) : out;
      for (int lane = 0; lane < N; ++lane) all += sum[lane];
      out = all;
    }
  }

  // The sum of the threads' shares, where the caller has the rows.
  void write_grad_x(Range vectors, int64_t count, int team) const {
    for (int64_t vector = vectors.first; vector < vectors.last; ++vector)
      for (int64_t k = 0; k < call_.input; k += N) {
        Vec<T> v[N] = {};
        for (int i = 0; i < std::min<int64_t>(N, call_.input - k); ++i)
          for (int t = 0; t < team; ++t)
            v[i] += load(own_[t].products.grad_x(k + i) + vector * N);
        transpose<T>(v);
        for (int64_t r = vector * N; r < std::min((vector + 1) * N, count); ++r)
          store_part(static_cast<T*>(call_.grad_x) + rows_.row(r) * call_.input + k,
                     v[r - vector * N], call_.input - k);
      }
  }

  const CrossEntropy& call_;
  const bool learns_;
  const int64_t blocks_;
  const int threads_;
  typename ClassProducts<P>::Rows rows_;
  Barrier barrier_;
  const Buffer<T> z_;      // [class][row] of the block of rows at hand
  const Buffer<T> shift_;  // what was subtracted before exponentials were taken, [block][row]
  const Buffer<T> picked_, most_, share_, scale_;  // of each row; share: scale / sum of exponentials
  std::deque<Own> own_;  // they stay where they are made
};

}  // namespace GATEWISE_ISA
}  // namespace gatewise
