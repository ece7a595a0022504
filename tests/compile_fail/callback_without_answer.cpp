// expect: on_step: the function must take a const dssl::StepReport& and return dssl::proceed or dssl::stop
#include <dssl/dssl.hpp>

int main() {
  dssl::Trainer<dssl::DenseDino, dssl::Cpu> trainer;
  double loss = 0;
#ifdef DSSL_MUST_COMPILE
  trainer.on_step([&](const dssl::StepReport& report) { return loss = report.loss, dssl::proceed; });
#else
  trainer.on_step([&](const dssl::StepReport& report) { loss = report.loss; });
#endif
}
