// How threads share a layer: even ranges, buffers, and each thread's share.
#pragma once
#include <cstdint>
#include <memory>
#include <new>
#include <utility>

#include "barrier.h"
#include "schedule.h"
#include "workspace.h"

namespace gatewise {
namespace GATEWISE_ISA {

struct Range {
  int64_t first, last;
  int64_t size() const { return last - first; }
};

inline Range even_range(int64_t count, int part, int parts) {
  return {count * part / parts, count * (part + 1) / parts};
}

// Typed views of the contract's untyped pointers.
template <typename T>
const T* as(const void* p) {
  return static_cast<const T*>(p);
}

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Uninitialised memory for the length of a call, from the workspace; throws std::bad_alloc.
template <typename T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(int64_t count) : block_(take_workspace(std::size_t(count) * sizeof(T))) {
    if (!block_.data) throw std::bad_alloc();
  }
  Buffer(Buffer&& other) noexcept : block_(std::exchange(other.block_, {})) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~Buffer() { return_workspace(block_); }
  T* get() const { return static_cast<T*>(block_.data); }

 private:
  WorkspaceBlock block_;
};

// Either every thread runs rows of its own through whole steps (no barrier inside the loop), or
// all threads run all rows and each computes some of the hidden units (one barrier a step).
enum class Split { rows, units };

// Measured: with fewer rows a thread leaves the register tile empty; in short sequences the sums of
// each thread's own weight gradients cost more than the barriers; with a larger H the weights no
// longer fit the cache of one core, and half of them does. `columns` are those of the wider weight,
// in so many panels.
inline Split choose_split(const Layer& layer, int team, int64_t panels, int64_t columns) {
  const int64_t rows = layer.batch / team;
  const bool fits = columns * layer.projected <= 4 * 512 * 512;
  const bool by_rows = rows >= 8 && rows * layer.steps >= 64 && fits;
  return by_rows || team == 1 || panels < team ? Split::rows : Split::units;
}

// Threads worth waking: none for less than some microseconds of work, nor, when units are split, for
// steps that cost less than the barrier; `waits`: whether there is one.
inline int worthwhile_threads(const Layer& layer, int wanted, int64_t columns, bool waits) {
  const int64_t per_step = 2 * layer.batch * columns * (layer.projected + layer.input);
  if (wanted <= 1 || per_step * layer.steps < 400000) return 1;
  return !waits || layer.batch >= 16 * wanted || per_step / wanted >= 16000 ? wanted : 1;
}

// The rows of one thread, as local indices 0 to count-1 of the schedule's slots.
struct RowShare {
  int64_t first = 0, stride = 1, count = 0;

  RowShare(const Layer& layer, Split split, int thread, int team) {
    if (split == Split::units) {
      count = layer.batch;
    } else if (layer.lengths) {  // ordered by length: deal them out like cards
      first = thread;
      stride = team;
      count = ceil_div(layer.batch - thread, team);
    } else {
      const Range range = even_range(layer.batch, thread, team);
      first = range.first;
      count = range.size();
    }
  }

  int64_t slot(int64_t j) const { return first + j * stride; }

  // How many of the rows run at a position where `running` of all slots do.
  int64_t running(int64_t running) const {
    return running <= first ? 0 : std::min(count, ceil_div(running - first, stride));
  }
};

}  // namespace GATEWISE_ISA
}  // namespace gatewise
