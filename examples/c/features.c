/* The features of a picture, from C: features WEIGHTS PICTURE OUT [SIZE [HEADS]]
 *
 * WEIGHTS is any file that dssl-features takes, PICTURE a binary PGM or PPM. OUT gets 32-bit floats as the machine has
 * them: the class token, then the patches, row after row. */
#include <stdio.h>
#include <stdlib.h>

#include <dssl.h>

#include "picture.h"

static int fail(const char* line) {
  fprintf(stderr, "features: %s\n", line);
  return 1;
}

int main(int argc, char** argv) {
  char error[512];
  if (argc < 4 || argc > 6) {
    fprintf(stderr, "usage: %s WEIGHTS PICTURE OUT [SIZE [HEADS]]\n", argv[0]);
    return 2;
  }
  dssl_options options = {0};
  if (argc > 4) options.height = options.width = atoi(argv[4]);
  if (argc > 5) options.heads = atoi(argv[5]);

  dssl_backbone* backbone = NULL;
  if (dssl_backbone_open(&backbone, argv[1], &options, error, sizeof error) != DSSL_OK) return fail(error);
  printf("%s\n", dssl_backbone_describe(backbone));

  const dssl_shape shape = dssl_backbone_shape(backbone);
  const size_t token = (size_t)shape.token;
  const size_t numbers = token * (1 + (size_t)shape.grid_height * (size_t)shape.grid_width);
  float* out = malloc(numbers * sizeof *out);
  const dssl_image picture = read_picture(argv[2]);
  int status = 1;
  FILE* file = NULL;
  if (out == NULL) {
    fail("out of memory");
  } else if (picture.pixels == NULL) {
    fail("the picture cannot be read; expected a binary PGM or PPM of 8 bits");
  } else if (dssl_features(backbone, out, out + token, &picture, error, sizeof error) != DSSL_OK) {
    fail(error);
  } else if ((file = fopen(argv[3], "wb")) == NULL || fwrite(out, sizeof *out, numbers, file) != numbers) {
    fail("the output cannot be written");
  } else {
    printf("class token of %d numbers, %d x %d patches\n", shape.token, shape.grid_height, shape.grid_width);
    status = 0;
  }
  if (file != NULL && fclose(file) != 0) status = fail("the output cannot be written");
  free((void*)picture.pixels);
  free(out);
  dssl_backbone_close(backbone);
  return status;
}
