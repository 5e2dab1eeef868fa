// The test of the reference, and the border cases of the contract: the reference's gradients are those of
// finite differences; bad lengths are refused before anything is written; unknown instruction sets are
// no kernels.
#include "run.h"
#include "variants.h"

using namespace gatewise_tests;

namespace {

long checked = 0;

// What the arriving gradients make of the outputs: a number whose gradient backward is to return.
double pull(const Problem& p) {
  const Result r = reference(p);
  double sum = 0;
  for (std::size_t i = 0; i < r.y.size(); ++i) sum += r.y[i] * p.grad_y[i];
  for (std::size_t i = 0; i < r.h_n.size(); ++i) sum += r.h_n[i] * p.grad_h_n[i];
  for (std::size_t i = 0; i < r.c_n.size(); ++i) sum += r.c_n[i] * p.grad_c_n[i];
  return sum;
}

void test_reference_gradient(const Case& sizes) {
  Problem p = draw_problem(sizes, 1e-4, 8);
  const Result r = reference(p);
  const auto test = [&](const char* name, Numbers& input, const Numbers& gradient) {
    const double step = 1e-5;
    for (std::size_t i = 0; i < input.size(); ++i) {
      const double kept = input[i];
      input[i] = kept + step;
      const double above = pull(p);
      input[i] = kept - step;
      const double slope = (above - pull(p)) / (2 * step);
      input[i] = kept;
      check(std::fabs(slope - gradient[i]) <= 1e-7 * (1 + std::fabs(slope)),
            "reference, %s: %s[%ld] is %.10g, by differences %.10g", describe(p).c_str(), name,
            long(i), gradient[i], slope);
      ++checked;
    }
  };
  test("grad_x", p.x, r.grad_x);
  test("grad_h0", p.h0, r.grad_h0);
  test("grad_c0", p.c0, r.grad_c0);
  test("grad_weight_ih", p.weight_ih, r.grad_weight_ih);
  test("grad_weight_hh", p.weight_hh, r.grad_weight_hh);
  test("grad_bias_ih", p.bias_ih, r.grad_bias_ih);
  test("grad_bias_hh", p.bias_hh, r.grad_bias_hh);
  test("grad_weight_hr", p.weight_hr, r.grad_weight_hr);
  test("grad_peephole", p.peephole, r.grad_peephole);
  for (int i = 0; i < 6; ++i) test("grad_norm", p.norm[i], r.grad_norm[i]);
  test("grad_restart_h", p.restart_h, r.grad_restart_h);
  test("grad_restart_c", p.restart_c, r.grad_restart_c);
}

void test_reference_gradients(Cell cell) {
  for (int options = 0; options < 32; ++options) {
    Case c;
    c.cell = cell;
    c.T = 4, c.B = 2, c.I = 2, c.H = 3;
    c.reverse = options & 1, c.bias = options & 2, c.projection = options & 4;
    c.lengths = options & 8, c.reset = options & 16;
    c.P = c.projection ? 2 : 3;
    c.seed = unsigned(options);
    if (c.projection && !c.projects()) continue;
    test_reference_gradient(c);
    const Variant variant = Variant(options % (int(last_variant) + 1));
    if (has_variant(cell, variant)) test_reference_gradient(with_variant(c, variant));
  }
}

void test_bad_lengths(const Kernels& kernels) {
  Case sizes;
  sizes.lengths = true;
  for (const int64_t bad : {int64_t(-1), sizes.T + 1, INT64_MAX}) {
    Problem p(sizes);
    p.length.back() = bad;
    const Numbers numbers(size_t(4 * p.H * (p.I + p.P)), 0.0);
    Output<double> out(View::flat(p.T * p.B * p.P), 0);
    const double* in = numbers.data();
    const gatewise::Layer layer{p.cell, p.T, p.B, p.I, p.H, p.P, false, in, p.B * p.I, p.I, in, in, in, in,
                                in, in, nullptr, p.length.data(), nullptr};
    const gatewise::LayerOutput output{out.get(), p.B * p.P, p.P, out.get(), out.get(), nullptr};
    check(kernels.forward(Dtype::float64, layer, output, {run_threads, 2}) ==
              Status::bad_length,
          "%s: forward takes a length of %ld", kernels.isa, long(bad));
    const gatewise::LayerGradient gradient{
        in, p.B * p.P, p.P, in, in, p.B * p.P, p.P, in, in, out.get(), out.get(), out.get(),
        out.get(), out.get(), out.get(), out.get(), nullptr};
    check(kernels.backward(Dtype::float64, layer, gradient, {run_threads, 2}) ==
              Status::bad_length,
          "%s: backward takes a length of %ld", kernels.isa, long(bad));
    check(kernels.trace(Dtype::float64, layer, in, {}, {run_threads, 2}) == Status::bad_length,
          "%s: trace takes a length of %ld", kernels.isa, long(bad));
    const Numbers after(out.get(), out.get() + p.T * p.B * p.P);
    for (const double value : after) check(std::isnan(value), "a refused call has written");
    ++checked;
  }
}

void test_burn(const Kernels& kernels) {
  const int64_t once = kernels.burn(Dtype::float32, 1000, {run_threads, 1});
  check(once >= 2 * 1000 * 8 * kernels.lanes(Dtype::float32), "%s burns too little", kernels.isa);
  check(kernels.burn(Dtype::float32, 1000, {run_threads, 3}) == 3 * once,
        "%s: three threads do not burn three times as much", kernels.isa);
  check(kernels.burn(Dtype::float64, 1000, {run_threads, 1}) * kernels.lanes(Dtype::float32) ==
            once * kernels.lanes(Dtype::float64),
        "%s: float64 burns what its lanes do not hold", kernels.isa);
  const int64_t plain = gatewise::best_kernels(Dtype::float32)->burn(Dtype::float32, 1000, {run_threads, 1});
  for (const auto& [isa, times] : {std::pair("avx512_bf16", 2.0), std::pair("amx", 512 / 6.0)})
    if (const Kernels* pairs = gatewise::kernels_for(isa, Dtype::bfloat16))
      check(double(pairs->burn(Dtype::bfloat16, 1000, {run_threads, 1})) == double(plain) * times,
            "%s: a product of pairs counts as it should not", isa);
}

// The shapes of the tile registers are a thread's own, and another library's: they are there after a call.
void test_tile_shapes() {
#if defined(__x86_64__)
  if (!gatewise::kernels_for("amx", Dtype::bfloat16)) return;
  struct alignas(64) Shapes {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t bytes[16] = {48, 64};
    uint8_t rows[16] = {5, 12};
  };
  const Shapes wanted;
  asm volatile("ldtilecfg %0" ::"m"(wanted));
  float x[32] = {}, weight[64] = {}, loss[1];
  const int64_t target[] = {1};
  const gatewise::CrossEntropy call{1, 32, 2, x, 32, weight, nullptr, target, 0,
                                    nullptr, loss, nullptr, nullptr, nullptr};
  check(gatewise::kernels_for("amx", Dtype::bfloat16)
                ->cross_entropy(Dtype::bfloat16, call, {run_threads, 1}) == Status::ok,
        "amx: refused");
  check(std::abs(loss[0] - std::log(2.f)) < 1e-6f, "amx: the loss is %g", double(loss[0]));
  Shapes found;
  asm volatile("sttilecfg %0\n\ttilerelease" : "=m"(found));
  check(std::memcmp(&found, &wanted, sizeof wanted) == 0, "amx: the shapes of others are gone");
  checked += 3;
#endif
}

}  // namespace

int main() {
  test_tile_shapes();
  for (const Cell cell : all_cells) test_reference_gradients(cell);
  for (const Kernels* kernels : all_kernels()) {
    test_bad_lengths(*kernels);
    test_burn(*kernels);
    check(gatewise::kernels_for(kernels->isa, Dtype::float64) == kernels, "%s does not find itself",
          kernels->isa);
    check(gatewise::kernels_for(kernels->isa, Dtype::bfloat16) != nullptr, "%s has no bfloat16",
          kernels->isa);
  }
  for (const char* isa : {"", "nonsense", "AVX2"})
    check(gatewise::kernels_for(isa, Dtype::float32) == nullptr, "there are kernels for '%s'", isa);
  for (const char* isa : {"avx512_bf16", "avx512", "avx2", "neon", "scalar"})
    check(gatewise::kernels_for(isa, Dtype::float32_bf16x6) == nullptr, "%s multiplies in parts", isa);
  check(gatewise::best_kernels(Dtype::float32_bf16x6) == gatewise::kernels_for("amx", Dtype::bfloat16) ||
            !gatewise::kernels_for("amx", Dtype::bfloat16),
        "amx does not multiply in parts");
  for (const Dtype dtype : {Dtype::float32, Dtype::bfloat16}) {
    check(gatewise::kernels_for("scalar", dtype) != nullptr, "there are no scalar kernels");
    check(gatewise::best_kernels(dtype) == all_kernels(dtype).front(),
          "the best kernels are not the first");
  }
  return report("test_contract", checked);
}
