// The GRU with a mask on its candidate, row by row; for the equations see gru.cc.
#include "../layer.h"
#include "../norm.h"

namespace gatewise {
namespace GATEWISE_ISA {

template <typename T>
class GruRows {
  using V = Vec<T>;
  static constexpr int N = Simd<T>::lanes;
  static constexpr int64_t width = 4 * N;

 public:
  static constexpr int64_t sums = 0;

  explicit GruRows(const Layer& layer) : hidden_(layer.hidden) {}

  void forward(const ForwardRow<T>& at, Range panels) const {
    for (int64_t p = panels.first; p < panels.last; ++p) {
      T* z = at.z + p * width;
      const V r = sigmoid<T>(load(z + N)), u = sigmoid<T>(load(z + 2 * N)), m = load(z + 3 * N);
      const V n = tanh<T>(load(z) + r * m);
      const V masked = at.update ? n * load(at.update + p * N) : n;
      const V before = load_part(at.h_before + p * N, hidden_ - p * N);
      store_part(at.h + p * N, masked + u * (before - masked), hidden_ - p * N);
      if (!at.saved) continue;
      T* saved = at.saved + p * width;
      store(saved, n);
      store(saved + N, r);
      store(saved + 2 * N, u);
      store(saved + 3 * N, m);
    }
  }

  void backward(const BackwardRow<T>& at, Range panels, T*) const {
    for (int64_t p = panels.first; p < panels.last; ++p) {
      const T* saved = at.saved + p * width;
      T* dz = at.dz + p * width;
      const V n = load(saved), r = load(saved + N), u = load(saved + 2 * N), m = load(saved + 3 * N);
      const V update = at.update ? load(at.update + p * N) : broadcast<T>(T(1));
      const V before = load_part(at.h_before + p * N, hidden_ - p * N), dh = load(at.dh + p * N);
      const V dn = dh * (T(1) - u) * update * (T(1) - n * n);
      store(dz, dn);
      store(dz + N, dn * m * (r * (T(1) - r)));
      store(dz + 2 * N, dh * (before - n * update) * (u * (T(1) - u)));
      store(dz + 3 * N, dn * r);
      store(at.carry_h + p * N, dh * u);
    }
  }

  void unpack(const T*, const LayerGradient&) const {}

 private:
  int64_t hidden_;
};

template <typename T>
struct GruOptions {
  static constexpr int vectors = 4, units = 1;  // n of x, r, z, n of h
  static constexpr Part input{0, 3, {2, 0, 1}}, state{1, 3, {0, 1, 2}};
  static constexpr Memory memory = Memory::hidden;
  static constexpr bool saves = true, projects = false;
  using Rows = GruRows<T>;
};

GATEWISE_CELL(gru_options, GruOptions)

}  // namespace GATEWISE_ISA
}  // namespace gatewise
