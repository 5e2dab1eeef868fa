// What products multiply. A precision P says of which type arrays, sums and states are, and what the
// products of x, h and the gradients of pre-activations read:
//
//   float, double   the numbers themselves
//   Bf16            numbers rounded to bfloat16, in layers of float; the sums are float. Machines with
//                   an instruction for it multiply pairs of them; elsewhere a float holds one.
//   Bf16x6          float, as sums of six products of bfloat16 parts, on tile registers: see amx_parts.h
//
// An operand stands for `group` neighbours along the axis that a product sums over. One that lies in parts is
// as many arrays, `apart` operands behind each other.
#pragma once
#include "simd.h"
#include "team.h"

namespace gatewise {
namespace GATEWISE_ISA {

struct Bf16 {};
struct Bf16x6 {};

#ifdef __AMX_BF16__
#define GATEWISE_BF16X6 1
#else
#define GATEWISE_BF16X6 0
#endif

// Whether this instruction set has been given a precision.
template <typename P>
constexpr bool compiled = std::is_same_v<P, Bf16>     ? GATEWISE_BF16
                          : std::is_same_v<P, Bf16x6> ? GATEWISE_BF16X6
                                                      : GATEWISE_FULL;

template <typename P>
struct Operand {
  using Number = P;
  using Factor = P;
  static constexpr int group = 1;
  static constexpr bool rounds = false;
};

template <>
struct Operand<Bf16> {
  using Number = float;
#ifdef __AVX512BF16__
  using Factor = uint32_t;  // two numbers, the first in the low half
  static constexpr int group = 2;
#else
  using Factor = float;
  static constexpr int group = 1;
#endif
  static constexpr bool rounds = true;
};

template <>
struct Operand<Bf16x6> : Operand<Bf16> {
  static constexpr bool rounds = false;
};

template <typename P>
using Number = typename Operand<P>::Number;
template <typename P>
using Factor = typename Operand<P>::Factor;
template <typename P>
constexpr int group = Operand<P>::group;
template <typename P>
constexpr int parts = std::is_same_v<P, Bf16x6> ? 3 : 1;
// Whether operands are other than the numbers, so that products read copies.
template <typename P>
constexpr bool copied = Operand<P>::rounds || group<P> > 1;

// How many operands hold so many numbers; and numbers that fill whole vectors.
template <typename P>
constexpr int64_t factors(int64_t count) {
  return (count + group<P> - 1) / group<P>;
}
template <typename P>
constexpr int64_t padded_factors(int64_t count) {
  constexpr int64_t N = Simd<Number<P>>::lanes;
  return (count + N - 1) / N * N / group<P>;
}

// Whether the products of layers run in tile registers. These take 16 operands along the depth: what they read
// is filled up to that with zeros.
template <typename P>
#ifdef __AMX_BF16__
constexpr bool in_tiles = group<P> > 1;
#else
constexpr bool in_tiles = false;
#endif
template <typename P>
constexpr int64_t whole_depth(int64_t operands) {
  return in_tiles<P> ? (operands + 15) / 16 * 16 : operands;
}

// sum + a·b, and of pairs both products.
template <typename T, typename F>
GATEWISE_INLINE Vec<T> multiply_add(Vec<T> sum, Vec<F> a, Vec<F> b) {
#ifdef __AVX512BF16__
  if constexpr (!std::is_same_v<T, F>)
    return (Vec<T>)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
  else
#endif
    return sum + a * b;
}

// v as a product takes it: to the nearest, ties to even.
template <typename P>
GATEWISE_INLINE Vec<Number<P>> rounded(Vec<Number<P>> v) {
  if constexpr (Operand<P>::rounds) {
    using Bits = Vec<uint32_t>;
    const Bits bits = (Bits)v;
    const Bits nearest = (bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff0000u;
    return v == v ? (Vec<float>)nearest : v;  // adding to a NaN might make it a number
  } else {
    return v;
  }
}

#ifdef __AVX512BF16__
GATEWISE_INLINE __m512i widened(__m256i halves) { return _mm512_cvtepu16_epi32(halves); }

// Numbers rounded to bfloat16, which leave what they lose by it.
GATEWISE_INLINE __m256i take_part(Vec<float>& v) {
  const __m256i halves = (__m256i)_mm512_cvtneps_pbh((__m512)v);
  v -= (Vec<float>)_mm512_slli_epi32(widened(halves), 16);
  return halves;
}

// The same lane by lane: pairs of one of `first` and one of `second`.
GATEWISE_INLINE Vec<uint32_t> take_joined_part(Vec<float>& first, Vec<float>& second) {
  const __m512i low = widened(take_part(first)), high = widened(take_part(second));
  return (Vec<uint32_t>)_mm512_or_si512(low, _mm512_slli_epi32(high, 16));
}
#endif

// A vector of neighbours as operands, and back.
template <typename P>
GATEWISE_INLINE void store_factors(Factor<P>* to, Vec<Number<P>> v, int64_t apart = 0) {
  if constexpr (group<P> == 1) {
    static_cast<void>(apart);
    store(to, rounded<P>(v));
  } else {
#ifdef __AVX512BF16__
    for (int part = 0; part < parts<P>; ++part) {
      const __m256i halves = take_part(v);
      std::memcpy(to + part * apart, &halves, sizeof halves);
    }
#endif
  }
}

template <typename P>
GATEWISE_INLINE Vec<Number<P>> load_factors(const Factor<P>* from, int64_t apart = 0) {
  if constexpr (group<P> == 1) {
    static_cast<void>(apart);
    return load(from);
  } else {
    Vec<float> sum = {};
#ifdef __AVX512BF16__
    for (int part = parts<P> - 1; part >= 0; --part) {
      __m256i halves;
      std::memcpy(&halves, from + part * apart, sizeof halves);
      sum += (Vec<float>)_mm512_slli_epi32(widened(halves), 16);
    }
#endif
    return sum;
  }
}

// Lane by lane the operand that holds `first` and, where it holds two, `second`.
template <typename P>
GATEWISE_INLINE Vec<Factor<P>> join(Vec<Number<P>> first, Vec<Number<P>> second) {
  static_assert(parts<P> == 1);
  if constexpr (group<P> == 1) {
    static_cast<void>(second);
    return rounded<P>(first);
  } else {
#ifdef __AVX512BF16__
    return take_joined_part(first, second);
#endif
  }
}

// The same to memory, in all parts. past_caches: how they are stored.
template <typename P>
GATEWISE_INLINE void store_joined(Factor<P>* to, Vec<Number<P>> first, Vec<Number<P>> second,
                                  int64_t apart = 0, bool past_caches = false) {
  const auto put = [&](Factor<P>* at, Vec<Factor<P>> v) { past_caches ? stream(at, v) : store(at, v); };
  if constexpr (parts<P> == 1) {
    static_cast<void>(apart);
    put(to, join<P>(first, second));
  } else {
#ifdef __AVX512BF16__
    for (int part = 0; part < parts<P>; ++part) put(to + part * apart, take_joined_part(first, second));
#endif
  }
}

// One part of the same of two vectors of neighbours that are operands already: they lie along one axis, the
// result along the other.
template <typename P>
GATEWISE_INLINE Vec<Factor<P>> join_factors(const Factor<P>* first, const Factor<P>* second) {
  if constexpr (group<P> == 1) {
    static_cast<void>(second);
    return load(first);
  } else {
#ifdef __AVX512BF16__
    __m256i low, high;
    std::memcpy(&low, first, sizeof low);
    std::memcpy(&high, second, sizeof high);
    return (Vec<uint32_t>)_mm512_or_si512(widened(low), _mm512_slli_epi32(widened(high), 16));
#endif
  }
}

// Numbers first to last - 1 of a row of `count` as operands along it; first is a whole vector's, and
// zeros fill the last vector.
template <typename P>
GATEWISE_INLINE void store_row(Factor<P>* to, const Number<P>* from, int64_t count, Range range,
                               int64_t apart = 0) {
  for (int64_t i = range.first; i < std::min(range.last, count); i += Simd<Number<P>>::lanes)
    store_factors<P>(to + i / group<P>, load_part(from + i, count - i), apart);
}

}  // namespace GATEWISE_ISA
}  // namespace gatewise
