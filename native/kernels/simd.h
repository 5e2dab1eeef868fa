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

// x - 0 is x for every x, signed zeros included, so the compiler drops the subtraction.
template <typename T>
GATEWISE_INLINE Vec<T> broadcast(T s) {
  return s - Vec<T>{};
}

}  // namespace GATEWISE_ISA
}  // namespace gatewise
