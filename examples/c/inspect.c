/* Is a picture like normal ones? From C: inspect WEIGHTS BANK PICTURE [MAP]
 *
 * BANK is the bank.safetensors that dssl-defects wrote, WEIGHTS what it was made with, PICTURE a binary PGM or PPM. MAP gets
 * the heat map as a PGM of 16 bits, whose white is the largest score. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <dssl.h>

#include "picture.h"

static int fail(const char* line) {
  fprintf(stderr, "inspect: %s\n", line);
  return 1;
}

/* As dssl-defects writes its maps. */
static int write_map(const char* path, const float* map, int height, int width, float white) {
  FILE* file = fopen(path, "wb");
  if (file == NULL) return 0;
  fprintf(file, "P5 %d %d 65535\n", width, height);
  for (int i = 0; i < height * width; ++i) {
    const double share = white > 0 ? (double)map[i] / (double)white : 0;
    const unsigned grey = (unsigned)lround(65535 * (share < 0 ? 0 : share > 1 ? 1 : share));
    fputc((int)(grey >> 8U), file);
    fputc((int)(grey & 255U), file);
  }
  return fclose(file) == 0;
}

int main(int argc, char** argv) {
  char error[512];
  if (argc < 4 || argc > 5) {
    fprintf(stderr, "usage: %s WEIGHTS BANK PICTURE [MAP]\n", argv[0]);
    return 2;
  }
  dssl_scorer* scorer = NULL;
  if (dssl_scorer_open(&scorer, argv[1], argv[2], NULL, error, sizeof error) != DSSL_OK) return fail(error);

  const dssl_shape shape = dssl_scorer_shape(scorer);
  const dssl_threshold threshold = dssl_scorer_threshold(scorer);
  const size_t pixels = (size_t)shape.height * (size_t)shape.width;
  float* map = malloc(pixels * sizeof *map);
  const dssl_image picture = read_picture(argv[3]);
  double score = 0;
  int status = 1;
  if (map == NULL) {
    fail("out of memory");
  } else if (picture.pixels == NULL) {
    fail("the picture cannot be read; expected a binary PGM or PPM of 8 bits");
  } else if (dssl_score(scorer, &score, map, &picture, error, sizeof error) != DSSL_OK) {
    fail(error);
  } else {
    float white = map[0];
    for (size_t i = 1; i < pixels; ++i) white = map[i] > white ? map[i] : white;
    printf("score %.17g map_white %.9g", score, white);
    if (threshold.known) printf(" threshold %.17g alarm %d", threshold.score, score >= threshold.score);
    printf("\n");
    status = argc < 5 || write_map(argv[4], map, shape.height, shape.width, white) ? 0 : fail("the map cannot be written");
  }
  free((void*)picture.pixels);
  free(map);
  dssl_scorer_close(scorer);
  return status;
}
