// The only place that sees Python: addresses and sizes in, error codes out.
#include <nanobind/nanobind.h>
namespace nb = nanobind;
NB_MODULE(_native, m) { m.attr("__doc__") = "Kernels of gatewise."; }
