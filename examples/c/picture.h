/* A binary PGM or PPM picture of 8 bits (P5, P6), for the examples: a camera, or a library of image files, in its place. */
#ifndef PICTURE_H
#define PICTURE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <dssl.h>

/* Reads a number of a header, and the one white space behind it; -1 where there is none. */
static int picture_number(FILE* file) {
  int c = fgetc(file), value = 0;
  while (c == ' ' || c == '\n' || c == '\r' || c == '\t' || c == '#') {
    if (c == '#') {
      while (c != '\n' && c != EOF) c = fgetc(file);
    } else {
      c = fgetc(file);
    }
  }
  if (c < '0' || c > '9') return -1;
  for (; c >= '0' && c <= '9'; c = fgetc(file)) {
    if (value > 100000) return -1;
    value = 10 * value + (c - '0');
  }
  return value;
}

/* The picture; `pixels` is null where it cannot be read, and else to be freed. */
static dssl_image read_picture(const char* path) {
  dssl_image image = {0};
  uint8_t* pixels = NULL;
  FILE* file = fopen(path, "rb");
  if (file == NULL) return image;
  if (fgetc(file) == 'P') {
    const int kind = fgetc(file);
    const int width = picture_number(file);
    const int height = picture_number(file);
    const int white = picture_number(file);
    const size_t channels = kind == '6' ? 3 : 1;
    if ((kind == '5' || kind == '6') && width > 0 && height > 0 && white == 255) {
      const size_t size = channels * (size_t)width * (size_t)height;
      pixels = malloc(size);
      if (pixels != NULL && fread(pixels, 1, size, file) != size) {
        free(pixels);
        pixels = NULL;
      }
      image.height = height;
      image.width = width;
      image.kind = kind == '6' ? DSSL_RGB : DSSL_GREY;
    }
  }
  fclose(file);
  image.pixels = pixels;
  return image;
}

#endif
