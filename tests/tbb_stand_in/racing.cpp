// A program with a race between the tasks of a loop, which the thread sanitizer has to report.
#include <tbb/parallel_for.h>

int main() {
  long shared = 0;
  for (int repeat = 0; repeat < 20; ++repeat) {
    tbb::parallel_for(0, 2000, [&](int) { ++shared; });
  }
  return shared > 0 ? 0 : 1;
}
