// Memory for the tests, as unkind as the contract allows: arrays start anywhere an element may,
// rows may be far apart, and every byte outside an array is watched.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "check.h"
#include "norm.h"

namespace gatewise_tests {

// Where T×B rows of `width` elements lie.
struct View {
  int64_t T, B, width, step, row;

  static View flat(int64_t count) { return {1, 1, count, count, count}; }
  static View time_first(int64_t T, int64_t B, int64_t width) {
    return {T, B, width, B * width, width};
  }
  // As one direction of two in a batch_first tensor with something beside it.
  static View batch_first(int64_t T, int64_t B, int64_t width) {
    return {T, B, width, 2 * width + 1, T * (2 * width + 1) + 3};
  }
  int64_t at(int64_t t, int64_t b) const { return t * step + b * row; }
  int64_t size() const { return at(T - 1, B - 1) + width; }
};

// An array that the kernel reads: NaN between its rows, and its end is the end of the heap block,
// so that the address sanitizer sees the first byte read beyond.
template <typename T>
class Input {
 public:
  Input(const Numbers& values, const View& view, int offset)
      : offset_(offset), memory_(offset + (values.empty() ? 0 : view.size()),
                                 std::numeric_limits<T>::quiet_NaN()) {
    const double* value = values.data();
    for (int64_t t = 0; t < view.T && !values.empty(); ++t)
      for (int64_t b = 0; b < view.B; ++b)
        for (int64_t i = 0; i < view.width; ++i) memory_[offset + view.at(t, b) + i] = T(*value++);
  }
  Input(const Numbers& values, int offset)
      : Input(values, View::flat(int64_t(values.size())), offset) {}

  // Null when there are no values.
  const T* get() const {
    return int64_t(memory_.size()) > offset_ ? memory_.data() + offset_ : nullptr;
  }

 private:
  int64_t offset_;
  std::vector<T> memory_;
};

// An array that the kernel writes, between guards; aligned to any vector but for the offset.
template <typename T>
class Output {
 public:
  Output(const View& view, int offset)
      : view_(view), memory_(line + guard + offset + view.size() + guard, untouched()) {
    const auto past = std::uintptr_t(memory_.data()) % 64 / sizeof(T);
    first_ = line - int64_t(past) + guard + offset;
  }

  T* get() { return memory_.data() + first_; }

  // Checks that exactly the elements of the view were written, and returns them.
  Numbers values(const char* name) const {
    Numbers result;
    result.reserve(view_.T * view_.B * view_.width);
    for_each([&](T value) { result.push_back(value); });
    const auto missed = int64_t(result.size()) - written_inside();
    check(missed == 0, "%s: %ld elements were not written", name, long(missed));
    check_surroundings(name);
    return result;
  }

  // Checks that nothing outside the view was written.
  void check_surroundings(const char* name) const {
    int64_t strayed = -written_inside();
    for (const T value : memory_) strayed += !is_untouched(value);
    check(strayed == 0, "%s: %ld elements outside were written", name, long(strayed));
  }

  // Whether every byte is the same, those of the guards too.
  bool same_bits(const Output& other) const {
    return std::memcmp(memory_.data(), other.memory_.data(), memory_.size() * sizeof(T)) == 0;
  }

 private:
  static constexpr int64_t guard = 64, line = 64 / sizeof(T);

  template <typename F>
  void for_each(F&& f) const {
    for (int64_t t = 0; t < view_.T; ++t)
      for (int64_t b = 0; b < view_.B; ++b)
        for (int64_t i = 0; i < view_.width; ++i) f(memory_[first_ + view_.at(t, b) + i]);
  }
  int64_t written_inside() const {
    int64_t count = 0;
    for_each([&](T value) { count += !is_untouched(value); });
    return count;
  }

  // A NaN that no arithmetic makes.
  static T untouched() {
    T value = std::numeric_limits<T>::quiet_NaN();
    reinterpret_cast<unsigned char*>(&value)[0] = 0xA5;
    return value;
  }
  static bool is_untouched(T value) {
    const T pattern = untouched();
    return std::memcmp(&value, &pattern, sizeof value) == 0;
  }

  View view_;
  std::vector<T> memory_;
  int64_t first_;
};

}  // namespace gatewise_tests
