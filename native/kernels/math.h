// exp, sigmoid, tanh and log σ on vectors.
//
// All go through expm1 of the reduced argument: x = n·ln2 + r, |r| <= ln2/2, and
// e^r - 1 = r + r²·q(r), where q interpolates (e^r - 1 - r)/r² at Chebyshev nodes (fitted at 50
// digits). Relative error of the polynomial: 7.8e-9 (float), 1.3e-17 (double); of the functions,
// measured over their whole range by tests/ops/test_native_math.py: below 4 ulp.
//
// Infinite arguments saturate and NaN goes through: a clamp leaves it alone, and the polynomial
// carries it on.
#pragma once
#include "simd.h"

namespace gatewise {
namespace GATEWISE_ISA {

template <typename T>
struct ExpTable;

template <>
struct ExpTable<float> {
  static constexpr float log2e = 1.44269504f;
  static constexpr float ln2_high = 0.693115234375f;  // 12 bits: n·ln2_high is exact
  static constexpr float ln2_low = 3.19461849453e-5f;
  static constexpr float round = 12582912.f;  // 1.5·2^23: adding it rounds to an integer
  static constexpr int mantissa = 23;
  static constexpr float limit = 87.f;       // e^±87 is normal
  static constexpr float tanh_limit = 20.f;  // tanh(10) is 1 to the last bit
  static constexpr float q[] = {0.5f, 0.166665768f, 0.0416665544f, 0.00836320297f, 0.00139262135f};
  static constexpr int atanh_terms = 8;
};

template <>
struct ExpTable<double> {
  static constexpr double log2e = 1.442695040888963407;
  static constexpr double ln2_high = 0.693147175014019;  // 27 bits
  static constexpr double ln2_low = 5.5459262969660602465e-9;
  static constexpr double round = 6755399441055744.;  // 1.5·2^52
  static constexpr int mantissa = 52;
  static constexpr double limit = 708.;
  static constexpr double tanh_limit = 44.;  // tanh(22) is 1 to the last bit
  static constexpr double q[] = {0.500000000000000103,   0.166666666666666675,
                                 0.0416666666666239915,  0.00833333333333005135,
                                 0.00138888889172817933, 0.000198412698631059687,
                                 2.48015211902177277e-5, 2.75572683786841929e-6,
                                 2.76201387197339956e-7, 2.51004241570050668e-8};
  static constexpr int atanh_terms = 17;
};

// e^x = scale·(1 + fraction) with |fraction| < 0.42, for |x| <= limit.
template <typename T>
struct ScaledExp {
  Vec<T> scale;
  Vec<T> fraction;
};

template <typename T>
GATEWISE_INLINE ScaledExp<T> scaled_exp(Vec<T> x) {
  using E = ExpTable<T>;
  using Bits = typename Simd<T>::BitVector;
  const Vec<T> shifted = x * E::log2e + E::round;
  const Vec<T> n = shifted - E::round;
  const Vec<T> r = (x - n * E::ln2_high) - n * E::ln2_low;
  constexpr int degree = int(sizeof(E::q) / sizeof(T)) - 1;
  Vec<T> q = broadcast<T>(E::q[degree]);
#pragma GCC unroll 16
  for (int i = degree - 1; i >= 0; --i) q = q * r + E::q[i];
  // The integer n stands in the low bits of `shifted`; the shift drops the constant's own bits.
  const Bits scale = ((Bits)shifted << E::mantissa) + (Bits)broadcast<T>(1);
  return {(Vec<T>)scale, q * (r * r) + r};
}

// Held to e^±limit.
template <typename T>
GATEWISE_INLINE Vec<T> exp(Vec<T> x) {
  const ScaledExp<T> e = scaled_exp<T>(clamp<T>(x, ExpTable<T>::limit));
  return e.scale * e.fraction + e.scale;
}

// 1 / (1 + e^-x)
template <typename T>
GATEWISE_INLINE Vec<T> sigmoid(Vec<T> x) {
  const ScaledExp<T> e = scaled_exp<T>(-clamp<T>(x, ExpTable<T>::limit));
  return T(1) / (e.scale * e.fraction + (e.scale + T(1)));
}

// t / (t + 2) with t = e^2|x| - 1, exact near zero because t never cancels there, with the sign of x. For
// negative x itself t would come near -1, where its rounding error counts twice in the quotient: near -1 that
// is all there is of 1 - tanh².
template <typename T>
GATEWISE_INLINE Vec<T> tanh(Vec<T> x) {
  const auto negative = x < Vec<T>{};
  const Vec<T> size = negative ? -x : x;
  const ScaledExp<T> e = scaled_exp<T>(clamp<T>(size + size, ExpTable<T>::tanh_limit));
  const Vec<T> t = e.scale * e.fraction + (e.scale - T(1));
  const Vec<T> y = t / (t + T(2));
  return negative ? -y : y;
}

// log σ(x) = min(x, 0) - log(1 + u) with u = e^-|x|, and log(1 + u) = 2·atanh(s) with s = u / (2 + u), at
// most 1/3: so many terms of s + s³/3 + s⁵/5 … are exact to the last bit.
template <typename T>
GATEWISE_INLINE Vec<T> log_sigmoid(Vec<T> x) {
  const Vec<T> zero{}, least = x < zero ? x : zero;
  const Vec<T> u = exp<T>(x < zero ? x : -x), s = u / (u + T(2)), square = s * s;
  constexpr int terms = ExpTable<T>::atanh_terms;
  Vec<T> sum = broadcast<T>(T(2) / T(2 * terms - 1));
#pragma GCC unroll 16
  for (int i = terms - 2; i >= 0; --i) sum = sum * square + T(2) / T(2 * i + 1);
  return least - sum * s;
}

}  // namespace GATEWISE_ISA
}  // namespace gatewise
