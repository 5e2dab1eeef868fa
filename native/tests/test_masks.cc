// Philox against the known answers of its authors, and the masks of every instruction set against it.
#include "masks.h"
#include "run.h"

using namespace gatewise_tests;

namespace {

long checked = 0;

// Those of the library of the paper, Random123: philox4x32 with ten rounds.
void test_known_answers() {
  constexpr uint32_t ones = 0xffffffff;
  const struct {
    Words counter;
    std::array<uint32_t, 2> key;
    Words answer;
  } known[] = {
      {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {{ones, ones, ones, ones}, {ones, ones}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0},
       {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
  };
  for (const auto& each : known) {
    check(philox(each.counter, each.key) == each.answer, "philox(%08x …) is wrong", each.counter[0]);
    ++checked;
  }
}

template <typename T>
void test_mask(const Kernels& kernels, int64_t seed, int64_t stream, int64_t step, int word,
               double probability, int64_t rows, int64_t columns) {
  Output<T> out(View::flat(rows * columns), int(columns % 3));
  kernels.mask(dtype_of<T>({}), &seed, stream, step, word, probability, rows, columns, out.get());
  const Numbers got = out.values("mask");
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t unit = 0; unit < columns; ++unit, ++checked) {
      const Words words = words_at(seed, stream, step, row, unit);
      const T want = happens(words[word], probability) ? T(0) : T(1 / (1 - probability));
      check(T(got[row * columns + unit]) == want,
            "%s: seed %lld stream %lld step %lld word %d probability %g: mask[%ld][%ld] is %g",
            kernels.isa, (long long)seed, (long long)stream, (long long)step, word, probability,
            long(row), long(unit), got[row * columns + unit]);
    }
}

// A word of the kernels to its last bit but the eight that are not looked at: probabilities on both sides.
void test_words(const Kernels& kernels) {
  for (const int64_t unit : {0, 1, 37})
    for (int word = 0; word < 4; ++word) {
      const int64_t seed = 0, bits = words_at(seed, 0, 0, 0, unit)[word] >> 8;
      for (const int64_t above : {0, 1}) {
        const double probability = double(bits + above) / 16777216;
        std::vector<double> mask(unit + 1);
        kernels.mask(Dtype::float64, &seed, 0, 0, word, probability, 1, unit + 1, mask.data());
        check((mask[unit] == 0) == (above == 1), "%s: word %d of unit %ld is not %06lx", kernels.isa,
              word, long(unit), long(bits));
        ++checked;
      }
    }
}

template <typename T>
void test_masks(const Kernels& kernels) {
  const int64_t lanes = kernels.lanes(dtype_of<T>({}));
  for (const int64_t columns : {int64_t(1), lanes - 1, lanes, lanes + 1, 2 * lanes + 3})
    for (const int64_t seed : {int64_t(0), int64_t(-1), INT64_MIN, int64_t(0x123456789ABCDEF)})
      for (const int64_t step : {int64_t(0), int64_t(99999), whole_sequence, whole_sequence - 1})
        for (int word = 0; word < 4; ++word)
          if (columns > 0) test_mask<T>(kernels, seed, step % 5 - 2, step, word, 0.3, 3, columns);
  for (const double probability : {0.0, 1e-9, 1e-7, 0.5, 0.999, 1.0})
    test_mask<T>(kernels, 17, INT64_MAX, 3, 0, probability, 40, 50);
}

}  // namespace

int main() {
  test_known_answers();
  for (const Kernels* kernels : all_kernels()) {
    test_words(*kernels);
    test_masks<float>(*kernels);
    test_masks<double>(*kernels);
  }
  return report("test_masks", checked);
}
