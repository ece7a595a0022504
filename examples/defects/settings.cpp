// The command line of dssl-defects: options, their help, their JSON.
#include "defects/settings.hpp"

#include <string>
#include <type_traits>
#include <vector>

#include <dssl/core/error.hpp>

namespace dssl::programs {

void DefectSettings::validate() const {
  backbone.validate();
  if (backbone.weights.empty() && has_backbone())
    throw OptionError("weights", "not given", "a file of weights, or 'random'");
  if (scorer == "template" && !pairs()) throw OptionError("templates", "not given", "a folder of templates");
  if (!bank.empty() && !has_bank()) throw OptionError("bank", bank, "none, unless the scorer is bank or filters");
  if (learns() && normal.empty() == bank.empty()) {
    throw OptionError(
        "normal", normal.empty() ? "not given" : "given beside a bank",
        has_bank() ? "normal images to learn from, or a bank" : "normal images to learn from");
  }
  if (!learns() && !normal.empty())
    throw OptionError("normal", normal.front(),
                      "none: templates say what is normal (--calibrate takes normal images)");
  if (hold_out && !calibrate.empty()) throw OptionError("hold-out", *hold_out, "none beside --calibrate");
  if (hold_out && normal.empty()) throw OptionError("hold-out", *hold_out, "none without --normal");
  if (test.empty() && !has_bank())
    throw OptionError("test", "not given", "images to score");
  LookSettings of_filters;
  if (scorer == "filters") {  // what it has of these
    of_filters = {.border = look.border, .flatten = look.flatten, .top = look.top, .free_of_size = look.free_of_size,
                  .foreground_masks = look.foreground_masks, .foreground_above = look.foreground_above, .foreground_below = look.foreground_below};
  }
  if (scorer != "bank" && look != of_filters) {
    throw OptionError("scorer", scorer, scorer == "filters" ? "bank, beside --standardise-..., --place and --tiles"
                                                            : "bank, beside --border, --foreground..., --standardise-..., --top, --place and --tiles");
  }
  if (!defects.empty() && !bank.empty()) throw OptionError("defects", defects.front(), "none beside a bank, which is made already");
  if (!defects.empty() && scorer != "filters") throw OptionError("defects", defects.front(), "none, unless the scorer is filters");
  if (!defects.empty() && masks.empty() && boxes.empty())
    throw OptionError("masks", "not given", "masks beside --defects, or boxes: where the defects are");
  for (const char* const option : {"--trees", "--folds"}) {
    if (x_given(option) && defects.empty()) throw OptionError(std::string(option).substr(2), "given", "none without --defects");
  }
  if (!has_backbone() && (backbone.map.references() || x_given("--points")))
    throw OptionError(backbone.map.references() ? "read" : "points", backbone.map.references() ? backbone.map.read : backbone.map.points,
                      join(backbone.map.references() ? "patches" : "none", ", as with --scorer ", scorer, " no backbone looks at the images"));
  if (scorer == "filters" && pairs()) throw OptionError("templates", templates, "none beside --scorer filters");
  for (const char* const option : {"--scale", "--overlap"}) {
    if (bank.empty() && x_given(option) && !look.tiles) throw OptionError(std::string(option).substr(2), "given", "none without --tiles");
  }
  if (test.empty() && !bank.empty()) throw OptionError("test", "not given", "images to score");
}

nlohmann::ordered_json DefectSettings::json() const {
  nlohmann::ordered_json object{{"scorer", scorer}};
  if (scorer == "filters") {
    object.update({{"channels", backbone.channels}, {"read", read_json(backbone.read)}});
  } else if (scorer == "difference") {
    object.update({{"size", backbone.size},
                   {"fit", backbone.fit},
                   {"channels", backbone.channels},
                   {"read", read_json(backbone.read)}});
  } else {
    object.update(backbone.json());
  }
  object.update({{"normal", normal},
                 {"bank", bank},
                 {"calibrate", calibrate},
                 {"hold_out", hold_out ? nlohmann::ordered_json(*hold_out) : nlohmann::ordered_json(nullptr)},
                 {"false_alarms", false_alarms},
                 {"test", test},
                 {"images", images},
                 {"masks", masks},
                 {"boxes", boxes},
                 {"templates", templates},
                 {"foreground", foreground},
                 {"image_file", image_file},
                 {"template_file", template_file},
                 {"good", good},
                 {"mask_threshold", mask_threshold ? nlohmann::ordered_json(*mask_threshold) : nlohmann::ordered_json(nullptr)},
                 {"missing_is_normal", missing_is_normal},
                 {"smoothing", smoothing}});
  if (scorer == "bank") {
    object.update({{"pool", pool},
                   {"coreset", coreset},
                   {"coreset_size", coreset_size},
                   {"projection", projection},
                   {"reweighting", reweighting},
                   {"neighbourhood", neighbourhood}});
    object.update(look_json(look));
  }
  if (scorer == "filters") {
    const nlohmann::ordered_json all = look_json(look);
    for (const char* const name : {"border", "flatten", "top", "free_of_size", "foreground_masks", "foreground_above", "foreground_below"})
      object[name] = all.at(name);
    object.update({{"defects", defects}, {"trees", label_trees}, {"folds", label_folds}});
  }
  if (scorer == "template") object["reach"] = reach;
  return object;
}

std::vector<std::string> DefectSettings::without_effect() const {
  std::vector<std::string> names;
  if (bank.empty()) return names;
  for (const char* const option : {"--pool", "--coreset", "--coreset-size", "--projection"}) {
    if (x_given(option)) names.emplace_back(option);
  }
  return names;
}

void DefectSettings::require_agreement(const DefectSettings& of_bank) const {
  const auto text = [](const auto& value) {
    if constexpr (std::is_same_v<std::decay_t<decltype(value)>, std::vector<Index>>) {
      std::string list;
      for (const Index i : value) list += join(list.empty() ? "" : ",", i);
      return list.empty() ? std::string("the last alone") : list;
    } else if constexpr (std::is_same_v<std::decay_t<decltype(value)>, std::vector<float>>) {
      return dssl::detail::number_list(value, ",");
    } else if constexpr (std::is_same_v<std::decay_t<decltype(value)>, std::optional<double>>) {
      return value ? join(*value) : std::string("not given");
    } else {
      return join(value);
    }
  };
  const auto agree = [&](const char* option, const auto& asked, const auto& made) {
    if (x_given(join("--", option)) && asked != made)
      throw OptionError(option, text(asked), join(text(made), ", with which ", bank, " was made, or nothing"));
  };
  const BackboneSettings& a = backbone;
  const BackboneSettings& b = of_bank.backbone;
  if (a.arch != "auto") agree("arch", a.arch, b.arch);
  agree("family", a.published.family, b.published.family);
  agree("heads", a.published.heads, b.published.heads_otherwise);
  agree("mean", a.published.pixels.mean, b.published.pixels.mean);
  agree("deviation", a.published.pixels.deviation, b.published.pixels.deviation);
  if (extents_of("size", a.size) != extents_of("size", b.size)) agree("size", a.size, b.size);
  agree("fit", a.fit, b.fit);
  agree("channels", a.channels, b.channels);
  agree("blocks", a.blocks, b.blocks);
  const auto flag = [](bool given) { return std::string(given ? "given" : "not given"); };
  agree("no-norm", flag(a.no_norm), flag(b.no_norm));
  agree("flips", flag(a.flips), flag(b.flips));
  agree("read", a.map.read, b.map.read);
  agree("points", a.map.points, b.map.points);
  agree("seed", a.seed, b.seed);
  agree("white", a.read.white, b.read.white);
  agree("no-orient", flag(!a.read.orient), flag(!b.read.orient));
  agree("neighbourhood", neighbourhood, of_bank.neighbourhood);
  agree("smoothing", smoothing, of_bank.smoothing);
  const LookSettings& l = of_bank.look;
  agree("border", look.border, l.border);
  agree("standardise-features", flag(look.standardise_features), flag(l.standardise_features));
  agree("standardise-images", flag(look.standardise_images), flag(l.standardise_images));
  agree("flatten", look.flatten, l.flatten);
  agree("top", look.top, l.top);
  agree("place", look.place, l.place);
  agree("free-of-size", flag(look.free_of_size), flag(l.free_of_size));
  agree("tiles", flag(look.tiles), flag(l.tiles));
  agree("scale", look.scale, l.scale);
  agree("overlap", look.overlap, l.overlap);
  agree("foreground-above", look.foreground_above, l.foreground_above);
  agree("foreground-below", look.foreground_below, l.foreground_below);
  // The bank knows that there were masks, not those of other images.
  if (look.foreground_masks != l.foreground_masks) {
    throw OptionError("foreground", look.foreground_masks ? foreground : "not given",
                      join(l.foreground_masks ? "masks of the images' foreground, with which " : "none, without which ", bank, " was made"));
  }
}

void add_options(CLI::App& app, DefectSettings& s) {
  s.app = &app;
  add_backbone_options(app, s.backbone, false);
  add_map_options(app, s.backbone.map, "Backbone");
  app.add_option(
         "--scorer", s.scorer,
         "bank: distance to patches of normal images; template: distance to the same place of a template; "
         "difference: of pixels, to the mean normal image or to the template, without a backbone; filters: a few fixed filters "
         "at the images' own size, by their distribution on normal images, without a backbone")
      ->check(CLI::IsMember({"bank", "template", "difference", "filters"}))
      ->capture_default_str();
  app.add_option("--out", s.out,
                 "Folder for result.json, scores, maps and the bank; made where it is missing")
      ->required();

  const std::string data =
      "Images (each a folder, or a text file with a name, or a name and a label, a line)";
  app.add_option("--normal", s.normal, "Normal images to learn from")->group(data);
  app.add_option("--defects", s.defects,
                 "Images with defects whose masks are learned from, beside --normal, with --scorer filters: one or more, none of --test")
      ->group(data);
  app.add_option(
         "--bank", s.bank,
         "Bank of an earlier run in place of --normal; brings its sizes, blocks and threshold with it")
      ->group(data);
  app.add_option("--calibrate", s.calibrate,
                 "Normal images that the threshold is taken from; none of --normal")
      ->group(data);
  app.add_option(
         "--hold-out", s.hold_out,
         join("Or the share of --normal, from its end, that is kept for it (default: ", DefectSettings::usual_hold_out,
              ", where that is enough)"))
      ->check(CLI::Range(0.0, 0.9))
      ->group(data);
  app.add_option("--test", s.test, "Images to score")->group(data);
  app.add_option("--images", s.images, "Folder that names in lists are relative to (default: the list's own)")
      ->group(data);
  app.add_option("--image-file", s.image_file, "File of a listed name: {} stands for it, as in '{}_test'")
      ->capture_default_str()
      ->group(data);
  app.add_option("--masks", s.masks,
                 "Folder of masks, PNG or JPEG: NAME.png, NAME_mask.png, NAME_GT.png, or a folder NAME of them; what is "
                 "not 0 is a defect. Where labels tell (--good) every other image has one")
      ->group(data);
  app.add_option("--mask-threshold", s.mask_threshold,
                 "Values of masks above this are a defect's, 0 to 254 (default: 0, or of masks with many values half of "
                 "the largest)")
      ->check(CLI::Range(0, 254))
      ->group(data);
  app.add_flag("--missing-is-normal", s.missing_is_normal,
               "Images without a mask count as normal, whatever their label says")
      ->group(data);
  app.add_option("--boxes", s.boxes, "Folder of boxes, NAME.txt with \"x1 y1 x2 y2\" a line")->group(data);
  app.add_option("--good", s.good,
                 "Labels of normal images (the first folder of an image's path, or its word "
                 "in a list)")
      ->delimiter(',')
      ->capture_default_str()
      ->group(data);
  app.add_option("--templates", s.templates, "Folder of templates, one for each image")->group(data);
  app.add_option("--template-file", s.template_file, "Template of a name: {} stands for it, as in '{}_temp'")
      ->capture_default_str()
      ->group(data);

  const std::string scoring = "Scoring";
  app.add_option("--false-alarms", s.asked_false_alarms,
                 "Share of normal images that may raise an alarm at the threshold; with --bank that of its "
                 "threshold, unless there is --calibrate")
      ->default_str(join(s.false_alarms))
      ->group(scoring);
  app.add_option("--pool", s.pool, "Normal patches that the bank is chosen from, at most")
      ->check(CLI::Range(Index{1}, Index{1} << 40))
      ->capture_default_str()
      ->group(scoring);
  app.add_option("--coreset", s.coreset, "Share of them that is kept")->capture_default_str()->group(scoring);
  app.add_option("--coreset-size", s.coreset_size, "Or their number; 0: by share")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str()
      ->group(scoring);
  app.add_option("--projection", s.projection,
                 "Width in which they are chosen, by a random projection; 0: none")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str()
      ->group(scoring);
  app.add_option("--reweighting", s.reweighting,
                 "Neighbours that weigh an image's score; 0: its largest distance")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str()
      ->group(scoring);
  app.add_option("--neighbourhood", s.neighbourhood,
                 "A patch becomes the mean of so many by so many around it: 1 or 3")
      ->check(CLI::IsMember({1, 3}))
      ->capture_default_str()
      ->group(scoring);
  add_look_options(app, s.look, s.foreground, scoring);
  app.add_option("--trees", s.label_trees, "Trees that are learned from --defects, at most")
      ->check(CLI::Range(Index{1}, Index{100'000}))
      ->capture_default_str()
      ->group(scoring);
  app.add_option("--folds", s.label_folds, "Parts of --defects by which, each held out in turn, the number of trees and their share are chosen")
      ->check(CLI::Range(Index{2}, Index{1000}))
      ->capture_default_str()
      ->group(scoring);
  app.add_option("--reach", s.reach, "Patches that image and template may be shifted against each other")
      ->check(CLI::Range(Index{0}, Index{64}))
      ->capture_default_str()
      ->group(scoring);
  app.add_option("--smoothing", s.smoothing,
                 "Standard deviation of the blur of score maps in pixels of the input")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str()
      ->group(scoring);

  const std::string maps = "Score maps";
  app.add_flag("--maps", s.maps, "Write each image's score map, at the input's size, as a grey PNG")
      ->group(maps);
  app.add_option("--map-bits", s.map_bits, "Bits of a pixel")
      ->check(CLI::IsMember({8, 16}))
      ->capture_default_str()
      ->group(maps);
  app.add_option(
         "--map-scale", s.map_scale,
         "Score that is white; 0: the map's own largest. scores.jsonl names each map's white in either case")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str()
      ->group(maps);
  add_rank_options(app, s.processes, "work", "Processes");
}

}  // namespace dssl::programs
