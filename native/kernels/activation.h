// Functions of one number that are chosen at run time: called, not inlined, since all of them stand in
// each.
#pragma once
#include "math.h"

namespace gatewise {
namespace GATEWISE_ISA {

template <typename T>
__attribute__((noinline)) Vec<T> activate(Activation which, Vec<T> z) {
  switch (which) {
    case Activation::tanh: return tanh<T>(z);
    case Activation::sigmoid: return sigmoid<T>(z);
    case Activation::relu: return z < T(0) ? Vec<T>{} : z;  // lets NaN through
    case Activation::hardtanh: return clamp<T>(z, T(1));
    default: return (clamp<T>(z, T(3)) + T(3)) / T(6);
  }
}

// The derivative, from the value y of the function: zero at the corners, as torch has it.
template <typename T>
__attribute__((noinline)) Vec<T> slope(Activation which, Vec<T> y) {
  const Vec<T> none{}, one = broadcast<T>(T(1));
  switch (which) {
    case Activation::tanh: return T(1) - y * y;
    case Activation::sigmoid: return y * (T(1) - y);
    case Activation::relu: return y <= T(0) ? none : one;
    case Activation::hardtanh: return y <= T(-1) ? none : y >= T(1) ? none : one;
    default: return y <= T(0) ? none : y >= T(1) ? none : one / T(6);
  }
}

}  // namespace GATEWISE_ISA
}  // namespace gatewise
