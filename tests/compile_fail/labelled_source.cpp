// expect: this source gives images with masks; to train on its images say dssl::ImagesOf{source}
#include <dssl/dssl.hpp>

int main() {
  dssl::Trainer<dssl::DenseDino, dssl::Cpu> trainer;
#ifdef DSSL_MUST_COMPILE
  trainer.fit(dssl::ImagesOf{dssl::SyntheticScenes{{.count = 100}}});
#else
  trainer.fit(dssl::SyntheticScenes{{.count = 100}});
#endif
}
