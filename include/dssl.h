/* dssl for C, and for every language that calls C: features of images by a file of weights, and defect scores by a bank.
 *
 * A plain interface of the library dssl_c (pkg-config: dssl-c; CMake: find_package(dssl COMPONENTS c), dssl::c), which needs
 * no C++ compiler and no header beside this one. Weights are files of dssl, DINO, DenseDINO, DINOv2, DINOv3, timm,
 * torchvision or Hugging Face, safetensors or .pth, of any sizes; a bank is what dssl-defects wrote. All numbers are those
 * of dssl-features and dssl-defects, to the bit on one machine.
 *
 * Errors. A function that can fail returns a dssl_status, and writes one line of English without a line break into
 * `error`, which has room for `error_size` bytes with the zero at the end; a longer line is cut. `error` may be null where
 * `error_size` is 0. On success the line is empty. No exception leaves a function, nothing is printed, and the process is
 * never ended. A null pointer where something is needed is DSSL_BAD_ARGUMENT, and no crash.
 *
 * Threads. Handles know nothing of each other: two of them work at the same time on two threads. One handle does one
 * thing at a time: a second call waits for the first one's end. Closing a handle that another thread is in is not allowed.
 * A handle computes on the threads that `dssl_compute` says, which are oneTBB's and the process's; the number of threads
 * changes no bit of a result.
 *
 * Versions before 1.0 may change this interface with the second number, which the library's name holds (soname).
 * Tests: tests/c_interface/interface.c, tests/programs/c_interface.sh.
 */
#ifndef DSSL_H
#define DSSL_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define DSSL_API __attribute__((visibility("default")))
#else
#define DSSL_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* What became of a call. */
typedef enum dssl_status {
  DSSL_OK = 0,
  DSSL_BAD_ARGUMENT = 1, /* a null pointer, or an option's value */
  DSSL_BAD_FILE = 2,     /* cannot be read, is none of the kind, or does not belong to the other */
  DSSL_BAD_IMAGE = 3,    /* its sizes, or its channels for these weights */
  DSSL_NO_MEMORY = 4,
  DSSL_FAILED = 5        /* anything else; the line says what */
} dssl_status;

/* How the bytes of a pixel lie. */
typedef enum dssl_pixels {
  DSSL_GREY = 0, /* one byte */
  DSSL_RGB = 1,  /* three: red, green, blue */
  DSSL_BGR = 2   /* three: blue, green, red, as OpenCV's cameras give them */
} dssl_pixels;

/* Pixels of 8 bits a channel, where they lie: read during the call, not kept. Grey is repeated for weights of colour
 * images, colour becomes grey for weights of one channel. */
typedef struct dssl_image {
  const uint8_t* pixels; /* the first pixel of the first row */
  int height, width;     /* any, at least 1 each */
  int kind;              /* a dssl_pixels */
  size_t stride;         /* bytes from the begin of a row to that of the next; 0: rows follow each other without a gap */
} dssl_image;

/* On what it is computed. All zero: every processor, in 32-bit floats. */
typedef struct dssl_compute {
  int threads; /* at most so many; 0: all that the process may use */
  int bf16;    /* 1: products and attention in bf16 where the processor multiplies it, else in 32-bit floats */
} dssl_compute;

/* What a backbone is opened with, as the options of dssl-features. All zero is a good beginning: `dssl_options o = {0};`. */
typedef struct dssl_options {
  int height, width;        /* of the input in pixels, multiples of the weights' patch; 0: 224, or as high as wide */
  int pad;                  /* 1: images keep their shape, with a margin of mean colour; 0: they are stretched */
  const char* family;       /* whose code trained the weights, as "timm", where names do not tell; null: as they say */
  int heads;                /* of the attention, where the file does not say their number; 0: the usual one */
  const int* blocks;        /* whose tokens are read, side by side; negative from the end (-1 the last); null: the last */
  int block_count;
  int no_norm;              /* 1: tokens without the backbone's last norm */
  int flips;                /* 1: the mean of those of the image and of its mirror image; twice the time */
  const float* mean;        /* by channel, from 0 to 1: taken away from pixels, which are then divided by `deviation`; both */
  const float* deviation;   /* null: as the weights or preprocessor_config.json beside them say, else those of ImageNet for
                             * three channels, 0.5 and 0.25 for any other number */
  dssl_compute compute;
} dssl_options;

/* Sizes of what goes in and comes out. */
typedef struct dssl_shape {
  int height, width;           /* of the input in pixels, to which every image is brought; of a heat map */
  int grid_height, grid_width; /* patches down and across */
  int token;                   /* numbers of a class token, and of each patch */
} dssl_shape;

/* Where a bank's scores raise an alarm. */
typedef struct dssl_threshold {
  int known;            /* 1: the bank has one, from normal images that nothing was learned from; 0: none */
  double score;         /* an image of this score or more is an alarm */
  double false_alarms;  /* the share of normal images that raises one */
} dssl_threshold;

typedef struct dssl_backbone dssl_backbone; /* weights, and memory for one image */
typedef struct dssl_scorer dssl_scorer;     /* the same, and a bank of normal patches */

/* "0.1.0". */
DSSL_API const char* dssl_version(void);

/* Opens a file of weights for images of one size. `options` may be null. *out is null where it fails. */
DSSL_API dssl_status dssl_backbone_open(dssl_backbone** out, const char* weights, const dssl_options* options, char* error,
                                        size_t error_size);
/* Gives everything back; null is nothing to close. */
DSSL_API void dssl_backbone_close(dssl_backbone* backbone);
/* All zero for null. */
DSSL_API dssl_shape dssl_backbone_shape(const dssl_backbone* backbone);
/* What it is, in one line; lives as long as the handle. "heads 6 (usual)" where neither file nor options say the number,
 * and what images are normalised by where that is not usual. Empty for null. */
DSSL_API const char* dssl_backbone_describe(const dssl_backbone* backbone);

/* class_token[token] =, patch_map[grid_height][grid_width][token] =: the features of an image. One of the two may be null. */
DSSL_API dssl_status dssl_features(dssl_backbone* backbone, float* class_token, float* patch_map, const dssl_image* image,
                                   char* error, size_t error_size);

/* Opens a bank that dssl-defects wrote (bank.safetensors), with the weights that it was made with: sizes, blocks,
 * normalisation of images and smoothing come from the bank, and other weights are DSSL_BAD_FILE, as are the same ones that would be run with other heads,
 * another epsilon of the norms or another rule of positions (as without their config.json). `compute` may be null. *out is
 * null where it fails. */
DSSL_API dssl_status dssl_scorer_open(dssl_scorer** out, const char* weights, const char* bank, const dssl_compute* compute,
                                      char* error, size_t error_size);
DSSL_API void dssl_scorer_close(dssl_scorer* scorer);
DSSL_API dssl_shape dssl_scorer_shape(const dssl_scorer* scorer);
DSSL_API const char* dssl_scorer_describe(const dssl_scorer* scorer);
/* `known` is 0 for null. */
DSSL_API dssl_threshold dssl_scorer_threshold(const dssl_scorer* scorer);

/* *score =, heat_map[height][width] =: how far an image is from normal ones, and where. `heat_map` may be null. */
DSSL_API dssl_status dssl_score(dssl_scorer* scorer, double* score, float* heat_map, const dssl_image* image, char* error,
                                size_t error_size);

#ifdef __cplusplus
}
#endif

#endif
