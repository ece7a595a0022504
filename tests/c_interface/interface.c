/* dssl.h from C: what is wrong is said in one line and ends nothing; the same bits however pixels lie and on any threads.
 * Usage: interface WEIGHTS HEADS BANK_WEIGHTS BANK OTHER_WEIGHTS HOSTILE_FOLDER */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <dssl.h>

static int failures = 0;

static void expect(int holds, const char* what, const char* said) {
  if (holds) return;
  fprintf(stderr, "FAILED: %s; the line: '%s'\n", what, said);
  ++failures;
}

/* Fails unless a call gave that status, and one line with these words. */
static void expect_line(dssl_status found, dssl_status wanted, const char* line, const char* words, const char* what) {
  expect(found == wanted, what, line);
  expect(wanted == DSSL_OK ? line[0] == '\0' : line[0] != '\0' && strchr(line, '\n') == NULL, what, line);
  if (wanted != DSSL_OK) expect(strstr(line, words) != NULL, what, line);
}

enum { height = 37, width = 29, gap = 11, stride = 3 * width + gap };
static uint8_t rgb[3 * height * width], bgr[3 * height * width], spread[height * stride];
static uint8_t grey[height * width], three[3 * height * width];

static void draw(void) {
  uint32_t state = 1;
  memset(spread, 255, sizeof spread);
  for (int i = 0; i < height * width; ++i) {
    for (int c = 0; c < 3; ++c) {
      state = state * 1664525U + 1013904223U;
      rgb[3 * i + c] = (uint8_t)(state >> 24U);
      bgr[3 * i + 2 - c] = rgb[3 * i + c];
      spread[i / width * stride + 3 * (i % width) + c] = rgb[3 * i + c];
    }
    grey[i] = rgb[3 * i];
    three[3 * i] = three[3 * i + 1] = three[3 * i + 2] = grey[i];
  }
}

static dssl_image image_of(const uint8_t* pixels, int kind, size_t row) {
  const dssl_image image = {pixels, height, width, kind, row};
  return image;
}

static char line[512];

static void bad_backbones(const char* weights, const char* hostile, int heads) {
  dssl_backbone* backbone = (dssl_backbone*)line; /* anything but null: a failure makes it null */
  expect_line(dssl_backbone_open(NULL, weights, NULL, line, sizeof line), DSSL_BAD_ARGUMENT, line, "out is a null pointer", "no place for the handle");
  expect_line(dssl_backbone_open(&backbone, NULL, NULL, line, sizeof line), DSSL_BAD_ARGUMENT, line, "weights is a null pointer", "no weights");
  expect(backbone == NULL, "a handle is null where opening fails", "");
  expect_line(dssl_backbone_open(&backbone, "nowhere.pth", NULL, line, sizeof line), DSSL_BAD_FILE, line, "nowhere.pth", "an absent file");
  expect_line(dssl_backbone_open(&backbone, ".", NULL, line, sizeof line), DSSL_BAD_FILE, line, "expected", "a folder without weights");
  char path[1024];
  snprintf(path, sizeof path, "%s/html.pth", hostile);
  expect_line(dssl_backbone_open(&backbone, path, NULL, line, sizeof line), DSSL_BAD_FILE, line, "is a page of a web server", "a page");
  snprintf(path, sizeof path, "%s/system.pth", hostile);
  expect_line(dssl_backbone_open(&backbone, path, NULL, line, sizeof line), DSSL_BAD_FILE, line, "posix.system", "a hostile file");

  dssl_options options = {0};
  expect_line(dssl_backbone_open(&backbone, weights, &options, line, sizeof line), DSSL_BAD_ARGUMENT, line, "option 'heads' is 0", "heads that the file does not say");
  options.heads = heads;
  options.height = 41;
  expect_line(dssl_backbone_open(&backbone, weights, &options, line, sizeof line), DSSL_BAD_ARGUMENT, line, "option 'height' is 41", "a height that is no multiple of the patch");
  options.height = -8;
  expect_line(dssl_backbone_open(&backbone, weights, &options, line, sizeof line), DSSL_BAD_ARGUMENT, line, "option 'height' is -8", "a negative height");
  options.height = 0;
  options.width = 48;
  const int blocks[] = {0, 5};
  options.blocks = blocks;
  options.block_count = 2;
  expect_line(dssl_backbone_open(&backbone, weights, &options, line, sizeof line), DSSL_BAD_ARGUMENT, line, "option 'blocks' is 5", "a block that is not there");
  options.block_count = -1;
  expect_line(dssl_backbone_open(&backbone, weights, &options, line, sizeof line), DSSL_BAD_ARGUMENT, line, "'block_count' is -1", "a negative count");
  options.blocks = NULL;
  options.block_count = 2;
  expect_line(dssl_backbone_open(&backbone, weights, &options, line, sizeof line), DSSL_BAD_ARGUMENT, line, "'block_count' is 2", "a count of nothing");
  options.block_count = 0;
  options.family = "other";
  expect_line(dssl_backbone_open(&backbone, weights, &options, line, sizeof line), DSSL_BAD_ARGUMENT, line, "option 'family' is other", "an unknown family");
  options.family = NULL;
  options.compute.threads = -1;
  expect_line(dssl_backbone_open(&backbone, weights, &options, line, sizeof line), DSSL_BAD_ARGUMENT, line, "option 'threads' is -1", "negative threads");
  options.compute.threads = 0;
  const float mean[] = {0.5F, 0.5F, 0.5F};
  const float nothing[] = {0, 0, 0};
  options.mean = mean;
  expect_line(dssl_backbone_open(&backbone, weights, &options, line, sizeof line), DSSL_BAD_ARGUMENT, line, "option 'deviation'", "a mean without deviation");
  options.deviation = nothing;
  expect_line(dssl_backbone_open(&backbone, weights, &options, line, sizeof line), DSSL_BAD_ARGUMENT, line, "option 'deviation' is 0", "a deviation of 0");
  expect(backbone == NULL, "a handle is null where opening fails", "");

  /* A line that does not fit is cut, and nothing is written behind it. */
  char room[12];
  memset(room, 'x', sizeof room);
  expect(dssl_backbone_open(&backbone, "nowhere.pth", NULL, room, 8) == DSSL_BAD_FILE, "an absent file, in a short line", "");
  expect(strcmp(room, "nowhere") == 0 && room[8] == 'x', "a line is cut to its room", "");
  expect(dssl_backbone_open(&backbone, "nowhere.pth", NULL, NULL, 0) == DSSL_BAD_FILE, "an absent file, without a line", "");

  dssl_backbone_close(NULL);
  expect(dssl_backbone_shape(NULL).token == 0 && dssl_backbone_describe(NULL)[0] == '\0', "nothing is known of null", "");
}

static void bad_scorers(const char* weights, const char* bank, const char* other) {
  dssl_scorer* scorer = NULL;
  expect_line(dssl_scorer_open(NULL, weights, bank, NULL, line, sizeof line), DSSL_BAD_ARGUMENT, line, "out is a null pointer", "no place for the handle");
  expect_line(dssl_scorer_open(&scorer, NULL, bank, NULL, line, sizeof line), DSSL_BAD_ARGUMENT, line, "weights is a null pointer", "no weights");
  expect_line(dssl_scorer_open(&scorer, weights, NULL, NULL, line, sizeof line), DSSL_BAD_ARGUMENT, line, "bank is a null pointer", "no bank");
  expect_line(dssl_scorer_open(&scorer, weights, "nowhere.safetensors", NULL, line, sizeof line), DSSL_BAD_FILE, line, "nowhere.safetensors", "an absent bank");
  expect_line(dssl_scorer_open(&scorer, "nowhere.pth", bank, NULL, line, sizeof line), DSSL_BAD_FILE, line, "nowhere.pth", "absent weights");
  expect_line(dssl_scorer_open(&scorer, weights, weights, NULL, line, sizeof line), DSSL_BAD_FILE, line, "is a zip file or a pickle, as torch.save writes them; expected safetensors", "weights in the place of a bank");
  expect_line(dssl_scorer_open(&scorer, other, bank, NULL, line, sizeof line), DSSL_BAD_FILE, line, "was made with other weights than", "a bank of other weights");
  expect(scorer == NULL, "a handle is null where opening fails", "");
  dssl_scorer_close(NULL);
  expect(dssl_scorer_shape(NULL).token == 0 && dssl_scorer_describe(NULL)[0] == '\0' && !dssl_scorer_threshold(NULL).known,
         "nothing is known of null", "");
}

static void bad_images(dssl_backbone* backbone, dssl_scorer* scorer, float* out) {
  dssl_image image = image_of(rgb, DSSL_RGB, 0);
  double score = 0;
  expect_line(dssl_features(NULL, out, NULL, &image, line, sizeof line), DSSL_BAD_ARGUMENT, line, "backbone is a null pointer", "features of no backbone");
  expect_line(dssl_features(backbone, out, NULL, NULL, line, sizeof line), DSSL_BAD_ARGUMENT, line, "image is a null pointer", "features of no image");
  expect_line(dssl_features(backbone, NULL, NULL, &image, line, sizeof line), DSSL_BAD_ARGUMENT, line, "class_token, and patch_map too", "features to nowhere");
  expect_line(dssl_score(NULL, &score, NULL, &image, line, sizeof line), DSSL_BAD_ARGUMENT, line, "scorer is a null pointer", "a score of no scorer");
  expect_line(dssl_score(scorer, NULL, out, &image, line, sizeof line), DSSL_BAD_ARGUMENT, line, "score is a null pointer", "a score to nowhere");
  expect_line(dssl_score(scorer, &score, NULL, NULL, line, sizeof line), DSSL_BAD_ARGUMENT, line, "image is a null pointer", "a score of no image");
  image.pixels = NULL;
  expect_line(dssl_features(backbone, out, NULL, &image, line, sizeof line), DSSL_BAD_IMAGE, line, "pixels are a null pointer", "no pixels");
  expect_line(dssl_score(scorer, &score, NULL, &image, line, sizeof line), DSSL_BAD_IMAGE, line, "pixels are a null pointer", "no pixels");
  image = image_of(rgb, 7, 0);
  expect_line(dssl_features(backbone, out, NULL, &image, line, sizeof line), DSSL_BAD_IMAGE, line, "is of kind 7", "an unknown kind");
  image = image_of(rgb, DSSL_RGB, 3 * width - 1);
  expect_line(dssl_features(backbone, out, NULL, &image, line, sizeof line), DSSL_BAD_IMAGE, line, "rows are 86 bytes apart", "a stride too short");
  image.stride = SIZE_MAX;
  expect_line(dssl_features(backbone, out, NULL, &image, line, sizeof line), DSSL_BAD_IMAGE, line, "bytes apart", "a stride too long");
  image.stride = 0;
  image.height = 0;
  expect_line(dssl_features(backbone, out, NULL, &image, line, sizeof line), DSSL_BAD_IMAGE, line, "has 0 x 29 pixels", "no rows");
  image.height = height;
  image.width = -1;
  expect_line(dssl_features(backbone, out, NULL, &image, line, sizeof line), DSSL_BAD_IMAGE, line, "has 37 x -1 pixels", "a negative width");
}

static size_t numbers_of(dssl_shape shape) {
  return (size_t)shape.token * (1 + (size_t)shape.grid_height * (size_t)shape.grid_width);
}

/* Whether an image has these very features, and this score and map. */
struct known {
  const char* weights;
  dssl_options options;
  const char *bank_weights, *bank;
  dssl_backbone* backbone; /* null: of the thread's own */
  const float* features;
  double score;
  const float* map;
  int wrong;
};

static int same_features(dssl_backbone* backbone, const struct known* known, const dssl_image* image) {
  const dssl_shape shape = dssl_backbone_shape(backbone);
  const size_t bytes = numbers_of(shape) * sizeof(float);
  float* const out = malloc(bytes);
  const int same = dssl_features(backbone, out, out + shape.token, image, NULL, 0) == DSSL_OK && memcmp(out, known->features, bytes) == 0;
  free(out);
  return same;
}

static void* work(void* argument) {
  struct known* const known = argument;
  const dssl_image image = image_of(rgb, DSSL_RGB, 0);
  dssl_backbone* backbone = known->backbone;
  dssl_scorer* scorer = NULL;
  known->wrong += backbone == NULL && dssl_backbone_open(&backbone, known->weights, &known->options, NULL, 0) != DSSL_OK;
  known->wrong += dssl_scorer_open(&scorer, known->bank_weights, known->bank, &known->options.compute, NULL, 0) != DSSL_OK;
  const dssl_shape shape = dssl_scorer_shape(scorer);
  const size_t pixels = (size_t)shape.height * (size_t)shape.width;
  float* const map = malloc(pixels * sizeof *map);
  for (int i = 0; i < 20 && known->wrong == 0; ++i) {
    double score = 0;
    for (int j = 0; j < 40; ++j) known->wrong += !same_features(backbone, known, &image);
    known->wrong += dssl_score(scorer, &score, map, &image, NULL, 0) != DSSL_OK || score != known->score ||
                    memcmp(map, known->map, pixels * sizeof *map) != 0;
  }
  free(map);
  dssl_scorer_close(scorer);
  if (known->backbone == NULL) dssl_backbone_close(backbone);
  return NULL;
}

/* Two threads at once, with handles of their own or with one backbone together. */
static int wrong_on_two_threads(const struct known* known, dssl_backbone* shared) {
  struct known of[2] = {*known, *known};
  pthread_t threads[2];
  for (int i = 0; i < 2; ++i) {
    of[i].backbone = shared;
    of[i].options.compute.threads = i + 1;
    if (pthread_create(&threads[i], NULL, work, &of[i]) != 0) return 1;
  }
  for (int i = 0; i < 2; ++i) pthread_join(threads[i], NULL);
  return of[0].wrong + of[1].wrong;
}

int main(int argc, char** argv) {
  if (argc != 7) {
    fprintf(stderr, "usage: %s WEIGHTS HEADS BANK_WEIGHTS BANK OTHER_WEIGHTS HOSTILE_FOLDER\n", argv[0]);
    return 2;
  }
  const char *weights = argv[1], *bank_weights = argv[3], *bank = argv[4];
  const int heads = atoi(argv[2]);
  draw();
  expect(strchr(dssl_version(), '.') != NULL, "the version has numbers", dssl_version());
  bad_backbones(weights, argv[6], heads);
  bad_scorers(bank_weights, bank, argv[5]);

  struct known known = {.weights = weights, .options = {.height = 40, .width = 48, .heads = heads}, .bank_weights = bank_weights, .bank = bank};
  dssl_backbone* backbone = NULL;
  dssl_scorer* scorer = NULL;
  expect_line(dssl_backbone_open(&backbone, weights, &known.options, line, sizeof line), DSSL_OK, line, "", "a backbone");
  expect_line(dssl_scorer_open(&scorer, bank_weights, bank, NULL, line, sizeof line), DSSL_OK, line, "", "a scorer");
  const dssl_shape shape = dssl_backbone_shape(backbone), of_map = dssl_scorer_shape(scorer);
  expect(shape.height == 40 && shape.width == 48 && shape.grid_height == 5 && shape.grid_width == 6, "a shape", "");
  float* const features = malloc(numbers_of(shape) * sizeof(float));
  float* const map = malloc((size_t)of_map.height * (size_t)of_map.width * sizeof(float));
  const dssl_image image = image_of(rgb, DSSL_RGB, 0);
  expect_line(dssl_features(backbone, features, features + shape.token, &image, line, sizeof line), DSSL_OK, line, "", "features");
  expect_line(dssl_score(scorer, &known.score, map, &image, line, sizeof line), DSSL_OK, line, "", "a score");
  known.features = features;
  known.map = map;

  /* However the pixels lie. */
  const dssl_image turned = image_of(bgr, DSSL_BGR, 0), apart = image_of(spread, DSSL_RGB, stride);
  expect(same_features(backbone, &known, &turned), "blue, green, red have the features of red, green, blue", "");
  expect(same_features(backbone, &known, &apart), "rows with a gap have the features of rows without", "");
  double score = 0;
  expect(dssl_score(scorer, &score, NULL, &turned, NULL, 0) == DSSL_OK && score == known.score, "nor does a score differ", "");
  const dssl_image one = image_of(grey, DSSL_GREY, 0), repeated = image_of(three, DSSL_RGB, 0);
  expect(!same_features(backbone, &known, &one), "another image has other features", "");
  struct known of_grey = known;
  float* const grey_features = malloc(numbers_of(shape) * sizeof(float));
  expect(dssl_features(backbone, grey_features, grey_features + shape.token, &one, NULL, 0) == DSSL_OK, "features of grey", "");
  of_grey.features = grey_features;
  expect(same_features(backbone, &of_grey, &repeated), "grey has the features of grey colour", "");
  /* One of the two alone. */
  expect(dssl_features(backbone, grey_features, NULL, &image, NULL, 0) == DSSL_OK &&
             memcmp(grey_features, features, (size_t)shape.token * sizeof(float)) == 0, "a class token alone", "");
  expect(dssl_features(backbone, NULL, grey_features, &image, NULL, 0) == DSSL_OK &&
             memcmp(grey_features, features + shape.token, (numbers_of(shape) - (size_t)shape.token) * sizeof(float)) == 0, "patches alone", "");

  bad_images(backbone, scorer, grey_features);
  expect(same_features(backbone, &known, &image), "a refused image changes nothing", "");
  expect(wrong_on_two_threads(&known, NULL) == 0, "two handles on two threads", "");
  expect(wrong_on_two_threads(&known, backbone) == 0, "one handle on two threads", "");
  free(features);
  free(grey_features);
  free(map);
  dssl_backbone_close(backbone);
  dssl_scorer_close(scorer);
  if (failures == 0) printf("the interface for C: as it should be\n");
  return failures == 0 ? 0 : 1;
}
