// The cross-entropy of a linear layer's outputs W·x + b, and its gradients, without ever holding all the
// outputs.
//
// For a block of rows of x the outputs of all classes are made once, kept as exponentials, and turned in
// place into their gradients, which the two products of backward read from the cache, a block of classes
// at a time. They lie as [class][row]: weights are then read as they are, the vectors of the first product
// are rows of x, and the maxima and sums of the softmax run lane by lane. Threads share the classes;
// each has a sum of its own for the gradient of x.
//
// Sources: Wijmans et al. 2024 (arXiv:2411.09009) for gradients without the outputs; label smoothing:
// Szegedy et al. 2016, in torch's form (1-ε)·(lse - z_t) + ε·(lse - mean z).
#pragma once
#include <cmath>
#include <limits>

#include "math.h"
#include "row_block.h"

namespace gatewise {
namespace GATEWISE_ISA {

// How many classes form a block: their gradients for a tile of rows fill most of a first-level cache.
constexpr int64_t class_block = 96;

// What one thread has for itself.
template <typename P>
struct ClassScratch {
  using T = Number<P>;
  using F = Factor<P>;

  Buffer<T> most, sum, total;  // of each row: largest output, sum of exponentials, sum of outputs
  Buffer<T> grad_x;            // [column][row]
  // One block as products read it, where that is not as it lies: along the columns, with classes side by
  // side, and gradients likewise.
  Buffer<F> weights, weight_pairs, dz, dz_pairs;
  std::vector<const F*> weight_rows, pair_rows;

  ClassScratch(const CrossEntropy& call, int64_t height)
      : most(height), sum(height), total(height), grad_x(call.grad_x ? call.input * height : 0),
        weights(Operand<P>::rounds ? class_block * padded_factors<P>(call.input) : 0),
        weight_pairs(group<P> > 1 ? class_block * padded_factors<P>(call.input) : 0),
        dz(Operand<P>::rounds ? class_block * padded_factors<P>(height) : 0),
        dz_pairs(group<P> > 1 ? class_block * padded_factors<P>(height) : 0),
        weight_rows(class_block), pair_rows(class_block) {}
};

template <typename P>
class LinearCrossEntropy {
  using T = Number<P>;
  using F = Factor<P>;
  using Own = ClassScratch<P>;
  static constexpr int N = Simd<T>::lanes;
  static_assert(class_block % (tile_rows * group<P>) == 0);

 public:
  LinearCrossEntropy(const CrossEntropy& call, int threads)
      : call_(call), learns_(call.scale != nullptr),
        blocks_(ceil_div(call.classes, class_block)),
        threads_(worthwhile_threads(call, threads)), rows_(call, learns_ && call.grad_weight),
        barrier_(threads_), z_(call.classes * rows_.height), shift_(blocks_ * rows_.height),
        picked_(rows_.height), most_(rows_.height), share_(rows_.height), scale_(rows_.height) {
    for (int t = 0; t < threads_; ++t) own_.emplace_back(call, rows_.height);
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

  T* z(int64_t b, int64_t i) const { return z_.get() + (b * class_block + i) * rows_.height; }
  int64_t classes_in(int64_t b) const {
    return std::min(class_block, call_.classes - b * class_block);
  }
  const T* weight(int64_t b, int64_t i) const {
    return as<T>(call_.weight) + (b * class_block + i) * call_.input;
  }

  // Calls f(row of the block, its class in block b) for the rows whose target is in it.
  template <typename Function>
  void for_targets(int64_t b, Range rows, Function&& f) const {
    for (int64_t r = rows.first; r < rows.last; ++r) {
      const int64_t i = rows_.target(r) - b * class_block;
      if (i >= 0 && i < classes_in(b)) f(r, i);
    }
  }

  // The weights of a block as the product with x reads them.
  void take_weights(Own& own, int64_t b) const {
    for (int64_t i = 0; i < classes_in(b); ++i)
      if constexpr (Operand<P>::rounds) {
        F* row = own.weights.get() + i * padded_factors<P>(call_.input);
        store_row<P>(row, weight(b, i), call_.input, {0, call_.input});
        own.weight_rows[i] = row;
      } else {
        own.weight_rows[i] = weight(b, i);
      }
  }

  // The outputs of a block of classes as exponentials, and what the softmax wants to know of them.
  void take_outputs(Own& own, int64_t b, const Chunks& tiles) const {
    take_weights(own, b);
    for (int64_t tile = 0; tile < tiles.count; ++tile) {
      const int64_t first = tiles.first_vector(tile) * N;
      const F* panel = rows_.along_rows(tile);
      for_tiles(tiles.vectors_in(tile), classes_in(b), [&](auto R, auto NV, int64_t i) {
        Tile<T, R, NV> sums;
        RowPointers<F, R> a;
        for (int r = 0; r < R; ++r) {
          a.row[r] = own.weight_rows[i + r];
          const T bias = call_.bias ? as<T>(call_.bias)[b * class_block + i + r] : T(0);
          for (int v = 0; v < NV; ++v) sums.v[r][v] = broadcast<T>(bias);
        }
        multiply(sums, a, rows_.depth, panel);
        for (int r = 0; r < R; ++r)
          for (int v = 0; v < NV; ++v) store(z(b, i + r) + first + v * N, sums.v[r][v]);
      });
      const int64_t last = first + tiles.vectors_in(tile) * N;
      for_targets(b, {first, std::min(last, tiles.columns)},
                  [&](int64_t r, int64_t i) { picked_.get()[r] = z(b, i)[r]; });
      for (int64_t r = first; r < last; r += N) take_exponentials(own, b, r);
    }
  }

  // Against the largest of the block, which the gradients make up for.
  void take_exponentials(Own& own, int64_t b, int64_t r) const {
    const int64_t classes = classes_in(b);
    Vec<T> most = broadcast(std::numeric_limits<T>::lowest()), total{}, sum{};
    for (int64_t i = 0; i < classes; ++i) {
      const Vec<T> y = load(z(b, i) + r);
      most = y > most ? y : most;
      total += y;
    }
    for (int64_t i = 0; i < classes; ++i) {
      const Vec<T> e = exp<T>(load(z(b, i) + r) - most);
      store(z(b, i) + r, e);
      sum += e;
    }
    store(shift_.get() + b * rows_.height + r, most);
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

  // Turns the exponentials of a block into the gradients of its outputs, and multiplies with these.
  void take_gradients(Own& own, int64_t b, const Chunks& tiles, bool first_block) const {
    const int64_t classes = classes_in(b), width = tiles.vectors * N;
    const T even = T(call_.smoothing / double(call_.classes));
    for (int64_t r = 0; r < width; r += N) {
      const Vec<T> above = load(shift_.get() + b * rows_.height + r) - load(most_.get() + r);
      const Vec<T> by = load(share_.get() + r) * exp<T>(above), less = load(scale_.get() + r) * even;
      for (int64_t i = 0; i < classes; ++i) store(z(b, i) + r, load(z(b, i) + r) * by - less);
    }
    for_targets(b, {0, tiles.columns}, [&](int64_t r, int64_t i) {
      z(b, i)[r] -= scale_.get()[r] * T(1 - call_.smoothing);
    });
    if constexpr (Operand<P>::rounds)
      for (int64_t i = 0; i < classes; ++i)
        store_row<P>(dz(own, b, i), z(b, i), width, {0, width});
    const bool first_rows = rows_.first() == 0;
    if (call_.grad_bias) add_grad_bias(b, width, first_rows);
    if (call_.grad_x) add_grad_x(own, b, tiles, first_block);
    if (call_.grad_weight) add_grad_weight(own, b, width, first_rows);
  }

  // The gradients of one class of a block as products along the rows read them.
  F* dz(Own& own, int64_t b, int64_t i) const {
    if constexpr (Operand<P>::rounds)
      return own.dz.get() + i * padded_factors<P>(rows_.height);
    else
      return z(b, i);
  }

  void add_grad_bias(int64_t b, int64_t width, bool first) const {
    for (int64_t i = 0; i < classes_in(b); ++i) {
      Vec<T> sum{};
      for (int64_t r = 0; r < width; r += N) sum += load(z(b, i) + r);
      T& out = static_cast<T*>(call_.grad_bias)[b * class_block + i];
      T all = first ? T(0) : out;
      for (int lane = 0; lane < N; ++lane) all += sum[lane];
      out = all;
    }
  }

  // grad_x[column][row] += sum over the classes of weight[class][column] · dz[class][row]
  void add_grad_x(Own& own, int64_t b, const Chunks& tiles, bool first) const {
    const F* dz_rows = take_pairs(own, b, tiles.vectors * N);
    const int64_t height = rows_.height;
    for (int64_t tile = 0; tile < tiles.count; ++tile) {
      const int64_t row = tiles.first_vector(tile) * N;
      for_tiles(tiles.vectors_in(tile), call_.input, [&](auto R, auto NV, int64_t column) {
        Tile<T, R, NV> sums;
        T* out = own.grad_x.get() + column * height + row;
        for (int r = 0; r < R; ++r)
          for (int v = 0; v < NV; ++v)
            sums.v[r][v] = first ? Vec<T>{} : load(out + r * height + v * N);
        multiply_outer(sums, own.pair_rows.data(), column, factors<P>(classes_in(b)), dz_rows + row,
                       height);
        for (int r = 0; r < R; ++r)
          for (int v = 0; v < NV; ++v) store(out + r * height + v * N, sums.v[r][v]);
      });
    }
  }

  // A block of weights and of gradients as a product over the classes reads them; returns the latter.
  const F* take_pairs(Own& own, int64_t b, int64_t width) const {
    if constexpr (group<P> == 1) {
      take_weights(own, b);
      own.pair_rows = own.weight_rows;
      return dz(own, b, 0);
    } else {
      const int64_t classes = classes_in(b), stride = padded_factors<P>(call_.input) * group<P>;
      for (int64_t i = 0; i < classes; i += 2) {
        const bool both = i + 1 < classes;
        F* row = own.weight_pairs.get() + i / 2 * stride;
        own.pair_rows[i / 2] = row;
        for (int64_t k = 0; k < call_.input; k += N) {
          const int64_t rest = call_.input - k;
          store(row + k, join<P>(load_part(weight(b, i) + k, rest),
                                 both ? load_part(weight(b, i + 1) + k, rest) : Vec<T>{}));
        }
        F* pairs = own.dz_pairs.get() + i / 2 * rows_.height;
        for (int64_t r = 0; r < width; r += N)
          store(pairs + r, join<P>(load(z(b, i) + r), both ? load(z(b, i + 1) + r) : Vec<T>{}));
      }
      return own.dz_pairs.get();
    }
  }

  // grad_weight[class][column] += sum over the rows of dz[class][row] · x[row][column]
  void add_grad_weight(Own& own, int64_t b, int64_t width, bool first) const {
    T* const out = static_cast<T*>(call_.grad_weight) + b * class_block * call_.input;
    const Chunks& columns = rows_.columns;
    for_row_tiles(classes_in(b), [&](auto R, int64_t i) {
      RowPointers<F, R> a;
      for (int r = 0; r < R; ++r) a.row[r] = dz(own, b, i + r);
      const auto row = [&](int r) { return out + (i + r) * call_.input; };
      for (int64_t c = 0; c < columns.count; ++c)
        with_constant<tile_vectors>(columns.vectors_in(c), [&](auto NV) {
          Tile<T, R, NV> sums;
          for (int r = 0; r < R; ++r)
            for (int v = 0; v < NV; ++v) {
              const int64_t k = (columns.first_vector(c) + v) * N;
              sums.v[r][v] = first ? Vec<T>{} : load_part(row(r) + k, call_.input - k);
            }
          multiply(sums, a, factors<P>(width), rows_.along_columns(c));
          store_tile(sums, columns.first_vector(c), call_.input, row);
        });
    });
  }

  // The sum of the threads' shares, where the caller has the rows.
  void write_grad_x(Range vectors, int64_t count, int team) const {
    for (int64_t vector = vectors.first; vector < vectors.last; ++vector)
      for (int64_t k = 0; k < call_.input; k += N) {
        Vec<T> v[N] = {};
        for (int i = 0; i < std::min<int64_t>(N, call_.input - k); ++i)
          for (int t = 0; t < team; ++t)
            v[i] += load(own_[t].grad_x.get() + (k + i) * rows_.height + vector * N);
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
  RowBlock<P> rows_;
  Barrier barrier_;
  const Buffer<T> z_;      // [class][row] of the block of rows at hand
  const Buffer<T> shift_;  // what was subtracted before exponentials were taken, [block][row]
  const Buffer<T> picked_, most_, share_, scale_;  // of each row; share: scale / sum of exponentials
  std::vector<Own> own_;
};

}  // namespace GATEWISE_ISA
}  // namespace gatewise
