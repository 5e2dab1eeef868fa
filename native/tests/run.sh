#!/bin/sh
# Builds the C++ tests and runs them. Arguments go to every program (--quick); CMAKE, JOBS, BUILD,
# CXXFLAGS and OPTIMIZE (-O2) can be set. A directory BUILD that holds a build of the Python module
# lends its objects; else the tests are built without Python, under build/native-tests.
set -eu
root=$(CDPATH= cd -- "$(dirname -- "$0")/../.." && pwd)
build=${BUILD:-$root/build/native-tests}
PATH=$root/.venv/bin:$PATH  # the cmake that built the module: another would build its objects again
if [ ! -f "$build/.skbuild-info.json" ]; then
  generator=
  command -v ninja >/dev/null && generator=-GNinja
  # shellcheck disable=SC2086 # one word or none
  "${CMAKE:-cmake}" -S "$root" -B "$build" $generator -DGATEWISE_MODULE=OFF \
    -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_FLAGS="${CXXFLAGS:-}" \
    -DGATEWISE_OPTIMIZE="${OPTIMIZE:--O2}" >/dev/null
fi
"${CMAKE:-cmake}" -S "$root" -B "$build" -DGATEWISE_TESTS=ON >/dev/null
"${CMAKE:-cmake}" --build "$build" -j "${JOBS:-2}"
# Fresh memory holds huge numbers instead of zeros, so that reading it before writing shows.
export MALLOC_PERTURB_=128 MALLOC_MMAP_THRESHOLD_=33554432
# The longest first, so that none is left alone at the end.
export build
# shellcheck disable=SC2016 # expanded by the inner shell
for test in layers options threads sabotage cross_entropy matrix_memory masks math contract; do echo "$test"; done |
  xargs -P "${JOBS:-2}" -I'{}' sh -c \
    '"$build/native/tests/test_{}" "$@" || { echo "test_{}: FAILED"; exit 1; }' run "$@"
