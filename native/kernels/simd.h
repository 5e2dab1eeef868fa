// Vectors of the instruction set this file is compiled for, through the compiler's vector extension.
//
// GATEWISE_VECTOR_BYTES is 64, 32 or 16; 0 makes vectors of one element, so that the scalar build is
// the same source. Source of the idioms: GCC manual, "Using Vector Instructions through Built-in
// Functions". Include only from files compiled once per instruction set: everything sits in the
// namespace GATEWISE_ISA, so that no two sets share an instantiation.
#pragma once
#include <cstdint>
#include <cstring>
#include <type_traits>
#if defined(__x86_64__)
// GCC 12 takes the undefined vectors that its own intrinsics start from for mistakes.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
#endif

#define GATEWISE_INLINE inline __attribute__((always_inline))

namespace gatewise {
namespace GATEWISE_ISA {

template <typename T>
struct Simd {
  static constexpr int bytes = GATEWISE_VECTOR_BYTES ? GATEWISE_VECTOR_BYTES : int(sizeof(T));
  static constexpr int lanes = bytes / int(sizeof(T));
  using Bits = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;
  typedef T Vector __attribute__((vector_size(bytes)));
  typedef Bits BitVector __attribute__((vector_size(bytes)));
};

template <typename T>
using Vec = typename Simd<T>::Vector;

template <typename T>
GATEWISE_INLINE Vec<T> load(const T* p) {
  Vec<T> v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

template <typename T>
GATEWISE_INLINE void store(T* p, Vec<T> v) {
  std::memcpy(p, &v, sizeof v);
}

// The first `count` elements, zero behind them; count may exceed the lanes.
template <typename T>
GATEWISE_INLINE Vec<T> load_part(const T* p, int64_t count) {
  if (count >= Simd<T>::lanes) return load(p);
  T part[Simd<T>::lanes] = {};
  for (int64_t i = 0; i < count; ++i) part[i] = p[i];
  return load(part);
}

template <typename T>
GATEWISE_INLINE void store_part(T* p, Vec<T> v, int64_t count) {
  if (count >= Simd<T>::lanes) return store(p, v);
  T part[Simd<T>::lanes];
  store(part, v);
  for (int64_t i = 0; i < count; ++i) p[i] = part[i];
}

// v with zeros behind its first `count` elements.
template <typename T>
GATEWISE_INLINE Vec<T> keep_part(Vec<T> v, int64_t count) {
  T all[Simd<T>::lanes];
  store(all, v);
  return load_part(all, count);
}

// Stores a vector past the caches, for what they would not hold until it is read; `p` is aligned to
// the vector. Before another thread reads it, stream_fence().
template <typename T>
GATEWISE_INLINE void stream(T* p, Vec<T> v) {
#if GATEWISE_VECTOR_BYTES == 64
  _mm512_stream_si512(reinterpret_cast<__m512i*>(p), (__m512i)v);
#elif GATEWISE_VECTOR_BYTES == 32
  _mm256_stream_si256(reinterpret_cast<__m256i*>(p), (__m256i)v);
#else
  store(p, v);
#endif
}

GATEWISE_INLINE void stream_fence() {
#if GATEWISE_VECTOR_BYTES >= 32
  _mm_sfence();
#endif
}

// Calls the lines of `count` vectors from p on into the cache, to be written next if `write`.
template <int count, bool write, typename T>
GATEWISE_INLINE void prefetch(const T* p) {
  constexpr int line = 64 / int(sizeof(T));
#pragma GCC unroll 4
  for (int i = 0; i < count * Simd<T>::lanes; i += line) __builtin_prefetch(p + i, write);
}

// x held to ±limit; NaN goes through. The compiler makes two instructions each of the comparisons.
template <typename T>
GATEWISE_INLINE Vec<T> clamp(Vec<T> x, T limit) {
  const Vec<T> high = limit - Vec<T>{}, low = -high;
#if GATEWISE_VECTOR_BYTES == 64
  if constexpr (sizeof(T) == 4)
    return (Vec<T>)_mm512_max_ps((__m512)low, _mm512_min_ps((__m512)high, (__m512)x));
  else
    return (Vec<T>)_mm512_max_pd((__m512d)low, _mm512_min_pd((__m512d)high, (__m512d)x));
#elif GATEWISE_VECTOR_BYTES == 32
  if constexpr (sizeof(T) == 4)
    return (Vec<T>)_mm256_max_ps((__m256)low, _mm256_min_ps((__m256)high, (__m256)x));
  else
    return (Vec<T>)_mm256_max_pd((__m256d)low, _mm256_min_pd((__m256d)high, (__m256d)x));
#else
  x = x > high ? high : x;
  return x < low ? low : x;
#endif
}

// Transposes a square of N vectors in place: log2(N) stages that swap the blocks off the diagonal.
template <typename T>
GATEWISE_INLINE void transpose(Vec<T> (&v)[Simd<T>::lanes]) {
  constexpr int N = Simd<T>::lanes;
  if constexpr (N > 1) {
    using Bits = typename Simd<T>::BitVector;
#pragma GCC unroll 4
    for (int size = 1; size < N; size *= 2) {
      Bits low, high;  // lanes of the pair (a, b); those of b count from N
      for (int i = 0; i < N; ++i) {
        low[i] = i & size ? N + i - size : i;
        high[i] = i & size ? N + i : i + size;
      }
#pragma GCC unroll 16
      for (int i = 0; i < N; ++i)
        if (!(i & size)) {
          const Vec<T> a = v[i], b = v[i + size];
          v[i] = __builtin_shuffle(a, b, low);
          v[i + size] = __builtin_shuffle(a, b, high);
        }
    }
  }
}

template <typename T>
GATEWISE_INLINE T sum_of(Vec<T> v) {
  T sum = 0;
  for (int i = 0; i < Simd<T>::lanes; ++i) sum += v[i];
  return sum;
}

// While it lives, this thread takes numbers too small for a full mantissa as zero: products of decays that fade
// are full of them, and processors take a hundred cycles for each.
class FlushScope {
 public:
#if defined(__x86_64__)
  FlushScope() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }
  ~FlushScope() { _mm_setcsr(before_); }
#elif defined(__aarch64__)
  FlushScope() : before_(__builtin_aarch64_get_fpcr()) { __builtin_aarch64_set_fpcr(before_ | 1u << 24); }
  ~FlushScope() { __builtin_aarch64_set_fpcr(before_); }
#else
  FlushScope() : before_(0) {}
#endif
  FlushScope(const FlushScope&) = delete;
  FlushScope& operator=(const FlushScope&) = delete;

 private:
  const unsigned before_;
};

// x - 0 is x for every x, signed zeros included, so the compiler drops the subtraction.
template <typename T>
GATEWISE_INLINE Vec<T> broadcast(T s) {
  return s - Vec<T>{};
}

}  // namespace GATEWISE_ISA
}  // namespace gatewise
