// Counting failures. Every test program ends with `return report(name)`, which is zero only when
// nothing failed.
#pragma once
#include <cstdarg>
#include <cstdio>
#include <cstring>

namespace gatewise_tests {

inline int& failures() {
  static int count = 0;
  return count;
}

// Counts and, for the first few, prints a failure unless `ok`. Returns `ok`.
__attribute__((format(printf, 2, 3))) inline bool check(bool ok, const char* format, ...) {
  if (ok) return true;
  if (++failures() > 20) return false;
  std::va_list arguments;
  va_start(arguments, format);
  std::fputs("FAILED ", stdout);
  std::vprintf(format, arguments);
  std::fputs("\n", stdout);
  va_end(arguments);
  return false;
}

// Prints the outcome; the exit status of the program.
inline int report(const char* program, long checked) {
  std::printf("%s: %ld checked, %d failed\n", program, checked, failures());
  return failures() > 100 ? 100 : failures();
}

// Sanitizers slow everything down by an order of magnitude: `--quick` asks for fewer cases.
inline bool quick(int argc, char** argv) {
  return argc > 1 && std::strcmp(argv[1], "--quick") == 0;
}

}  // namespace gatewise_tests
