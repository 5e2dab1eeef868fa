// The GRU as it was first written (K. Cho et al. 2014): the reset gate acts on h before the product.
//
//   r = σ(z_r)   z = σ(z_z)   n = tanh(z_n + W_hn·(r·h))
//   h' = (1 - z)·mask·n + z·h
//
// So a step has two products: that of h, for r and z, and once r is known that of r·h, for n.
#include "../layer.h"

namespace gatewise {
namespace GATEWISE_ISA {

template <typename T>
class GruBeforeRows {
  using V = Vec<T>;
  static constexpr int N = Simd<T>::lanes;
  static constexpr int64_t width = 3 * N;

 public:
  static constexpr int64_t sums = 0;

  explicit GruBeforeRows(const Layer& layer) : hidden_(layer.hidden) {}

  // From the pre-activations z of a row: r in its place, and r·h for the second product. h: as products
  // see it; gated: padded.
  void gate(T* z, const T* h, T* gated, Range panels) const {
    for (int64_t p = panels.first; p < panels.last; ++p) {
      const V r = sigmoid<T>(load(z + p * width + N));
      store(z + p * width + N, r);
      store(gated + p * N, r * load_part(h + p * N, hidden_ - p * N));
    }
  }

  void forward(const ForwardRow<T>& at, Range panels) const {
    for (int64_t p = panels.first; p < panels.last; ++p) {
      const T* z = at.z + p * width;
      const V n = tanh<T>(load(z)), u = sigmoid<T>(load(z + 2 * N));
      const V masked = at.update ? n * load(at.update + p * N) : n;
      const V before = load_part(at.h_before + p * N, hidden_ - p * N);
      store_part(at.h + p * N, masked + u * (before - masked), hidden_ - p * N);
      if (!at.saved) continue;
      T* saved = at.saved + p * width;
      store(saved, n);
      store(saved + N, load(z + N));
      store(saved + 2 * N, u);
    }
  }

  // All but the gradient of r, which has to wait for that of r·h.
  void backward(const BackwardRow<T>& at, Range panels, T*) const {
    for (int64_t p = panels.first; p < panels.last; ++p) {
      const T* saved = at.saved + p * width;
      T* dz = at.dz + p * width;
      const V n = load(saved), u = load(saved + 2 * N), dh = load(at.dh + p * N);
      const V update = at.update ? load(at.update + p * N) : broadcast<T>(T(1));
      const V before = load_part(at.h_before + p * N, hidden_ - p * N);
      store(dz, dh * (T(1) - u) * update * (T(1) - n * n));
      store(dz + N, V{});
      store(dz + 2 * N, dh * (before - n * update) * (u * (T(1) - u)));
      store(at.carry_h + p * N, dh * u);
    }
  }

  // For panel p, from the gradient of r·h: returns that of the pre-activation of r; `gated` gets r·h and
  // `carry` what h gets.
  V gate_backward(const T* saved, const T* h, int64_t p, V dgated, V& gated, V& carry) const {
    const V r = load(saved + p * width + N), before = load_part(h + p * N, hidden_ - p * N);
    gated = r * before;
    carry = dgated * r;
    return dgated * before * (r * (T(1) - r));
  }

  void unpack(const T*, const LayerGradient&) const {}

 private:
  int64_t hidden_;
};

template <typename T>
struct GruBefore {
  static constexpr int vectors = 3, units = 1;  // n, r, z
  static constexpr Part input{0, 3, {2, 0, 1}}, state{1, 2, {0, 1}}, again{0, 1, {2}};
  static constexpr Memory memory = Memory::hidden;
  static constexpr bool saves = true, projects = false;
  using Rows = GruBeforeRows<T>;
};

GATEWISE_CELL(gru_before, GruBefore)

}  // namespace GATEWISE_ISA
}  // namespace gatewise
