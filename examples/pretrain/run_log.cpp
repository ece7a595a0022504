#include <pretrain/run_log.hpp>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>

#include <dssl/core/error.hpp>
#include <dssl/io/atomic_file.hpp>
#include <dssl/monitor/best_weights.hpp>
#include <dssl/version.hpp>
#include <pretrain/held_out.hpp>
#include <pretrain/recipes.hpp>

namespace dssl::programs {
namespace {

using Json = RunLog::Json;

std::string megabytes(double bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f MB", bytes / 1e6);
  return text;
}

std::string_view name_of(Collapse collapse) {
  switch (collapse) {
    case Collapse::uniform: return "uniform";
    case Collapse::peaked: return "peaked";
    case Collapse::together: return "together";
    default: return "none";
  }
}

/// Its loss, and the figures that the term has.
Json term_json(const TermReport& term) {
  Json out = {{"loss", term.loss}};
  const auto figure = [&out](const char* name, double value) {
    if (std::isfinite(value)) out[name] = value;
  };
  figure("teacher_entropy", term.teacher_entropy);
  figure("mean_entropy", term.mean_entropy);
  figure("divergence", term.divergence);
  figure("centre_norm", term.centre_norm);
  return out;
}

/// Where there are several terms: " (image 5.1234, point 5.0123)".
std::string terms_note(const StepReport& report) {
  if (report.term_count < 2) return {};
  std::string out;
  for (const TermReport& term : report.each_term()) {
    char text[64];
    std::snprintf(text, sizeof text, " %.4f", term.loss);
    out += join(out.empty() ? " (" : ", ", term.name, text);
  }
  return out + ")";
}

/// The step that a line of metrics.jsonl is about, or -1 where it is no such line (cut off in a crash).
Index step_of(const std::string& line) {
  const Json value = Json::parse(line, nullptr, false);
  if (!value.is_object() || !value.contains("step") || !value["step"].is_number_integer()) return -1;
  return value["step"].get<Index>();
}

}  // namespace

RunLog::RunLog(const Job& job, std::vector<std::string> command)
    : x_job(job), x_command(std::move(command)) {}

RunLog::~RunLog() = default;

void RunLog::begin(std::string_view recipe, std::string_view backend, const MemoryPlan& plan,
                   Index parameters, Index steps_done, Json options) {
  if (x_first()) x_require_space(parameters);
  const Index update = x_job.options.update_images();
  const Index steps = x_job.options.epochs * (x_job.source->size() / update);
  x_first_step = steps_done;
  x_line(join("backend: ", backend));
  if (!x_job.ranks.empty()) x_line(join("ranks: ", x_job.ranks, "; threads of each: ", x_job.threads == 0 ? "all" : join(x_job.threads)));
  x_line(join("recipe: ", recipe));
  if (!x_job.preset.empty()) x_line(join("preset: ", x_job.preset));
  if (!x_job.pairs.empty()) x_line(join("cameras: ", x_job.pairs));
  if (!x_job.weight_maps.empty()) x_line(join("weight maps: ", x_job.points.weights, ", ", x_job.weight_maps));
  const std::string samples = x_job.whole ? join(x_job.source->size(), " tiles of ", x_job.tile, " x ", x_job.tile, " pixels (", x_job.tile_overlap,
                                                 " or more common to neighbours) of ", x_job.whole->size(), " images")
                                          : join(x_job.source->size(), " images");
  x_line(join("data: ", x_job.data, ", ", samples,
              x_job.left_aside.empty() ? "" : " (left aside, as they are not read: ", x_job.left_aside,
              x_job.left_aside.empty() ? "" : ")", "; ", x_job.options.epochs,
              " epochs of ", x_job.source->size() / update, " steps of ", update, " images"));
  if (x_first()) {
    for (const std::string& line : x_job.damaged) warn(line);
  }
  if (!x_job.init.empty()) {
    const OptimiserOptions& o = x_job.options.optimiser;
    x_line(join("rates: begun with weights, so a peak of ", o.learning_rate, " for 256 images (--lr) after ", o.warmup_epochs,
                " epochs of warm-up (--warmup-epochs), ", o.rates.layer_decay, " times as much a block earlier (--layer-decay), ",
                o.final_learning_rate, " at the end (--min-lr)"));
  }
  if (!x_job.options.views.mean.empty()) x_line(join("images: ", describe(x_job.pixels())));
  x_line(
      join("parameters: ", static_cast<double>(parameters) / 1e6, recipe_of(x_job).teacher ? " million, each of student and teacher" : " million"));
  x_line("memory:");
  for (const auto& entry : plan.entries) {
    x_line(join("  ", megabytes(static_cast<double>(entry.bytes)), "  ", entry.name));
  }
  x_line(join("  ", megabytes(static_cast<double>(plan.total())), "  together"));
  if (x_first()) x_open_monitor(!x_job.resume.empty());
  options["backend"] = x_job.backend;
  options["threads"] = x_job.threads;
  options["ranks"] = x_job.options.ranks.size();
  options["reduce"] = name_of(x_job.options.reduce);
  options["bucket_bytes"] = x_job.options.bucket_bytes;
  options["shard"] = x_job.options.shard;
  options["precision"] = x_job.precision;
  options["views_on"] = x_job.options.views_on == ViewsOn::device ? "device" : "host";
  options["points"] = x_job.points.points;
  options["sampler"] = x_job.points.sampler;
  if (!x_job.points.weights.empty()) options["point_weights"] = x_job.points.weights;
  if (!x_job.init.empty()) options["init"] = x_job.init;
  if (recipe_of(x_job).frozen) {
    options["teacher_file"] = x_job.teacher;
    x_job.teacher_published.add_to(options, "teacher_");
  }
  if (x_job.position_start > 0) options["position_start"] = x_job.position_start;
  if (x_job.tile > 0) {
    options["tile"] = x_job.tile;
    options["tile_overlap"] = x_job.tile_overlap;
  }
  options["read"] = {{"white", x_job.read.white}, {"orient", x_job.read.orient}};
  options["checkpoint_steps"] = x_job.options.checkpoint_steps;
  if (!x_job.monitor.empty()) {
    options["monitor"] = x_job.monitor;
    options["monitor_every"] = x_job.monitor_every;
    options["monitor_metric"] = x_held_out->metric;
    options["keep_best"] = x_job.keep_best;
  }
  x_options = {{"program", "dssl-pretrain"}, {"version", version_string},     {"compiler", __VERSION__},
               {"backend", backend},         {"command", x_command},          {"data", x_job.data},
               {"split", x_job.split},       {"images", x_job.files().size()}, {"arch", x_job.arch},
               {"recipe", x_job.recipe},     {"relation", x_job.relation},    {"recipe_in_words", recipe},
               {"parameters", parameters},   {"memory_bytes", plan.total()},  {"options", options}};
  if (x_job.whole) x_options["tiles"] = x_job.source->size();
  if (x_job.extend_to > 0) {
    x_line(join("extended to ", x_job.extend_to, " epochs: from here learning rate, weight decay and the teacher's momentum "
                "are those that a run of ", x_job.extend_to, " epochs has at this step"));
  }
  if (steps_done > 0) x_line(join("going on after step ", steps_done, " of ", steps));
  x_interruption.emplace();
  if (!x_first()) return;
  x_progress.emplace("pretrain", steps * update, "images");
  x_progress->begin_at(steps_done * update);
}

void RunLog::x_open_monitor(bool resumed) {
  x_held_out = open_held_out(x_job, [this](std::string_view message) { warn(message); });
  if (x_held_out) x_line(join("monitor: ", x_held_out->describe()));
  if (!x_job.keep_best) return;
  x_best = std::make_unique<BestWeights>(x_job.best_path(), x_held_out->metric);
  if (resumed) x_best->resume();
}

RunLog::Json RunLog::x_look(const StepReport& report, const BackboneWeights<float>& weights) {
  Json out = Json::object();
  bool is_best = false;
  for (const Figure& figure : x_held_out->measure(weights)) {
    out[figure.name] = std::isfinite(figure.value) ? Json(figure.value) : Json(nullptr);
    if (figure.name != x_held_out->metric) continue;
    const Index steps = report.step + 1;
    is_best = x_best && x_best->offer(figure.value, steps, weights, x_job.weights_metadata(steps));
    char text[96];
    std::snprintf(text, sizeof text, ", %s %.4f after epoch %ld%s", figure.name.c_str(), figure.value,
                  static_cast<long>(report.epoch + 1), is_best ? " (best)" : "");
    x_monitor_note = text;
  }
  if (x_best) out["best"] = is_best;
  return out;
}

void RunLog::look_at_references(std::function<LocalityFigures(const BackboneWeights<float>&)> look, Index every) {
  x_look_at_references = std::move(look);
  x_locality_every = every;
}

RunLog::Json RunLog::x_locality(const StepReport& report, const BackboneWeights<float>& weights) {
  const LocalityFigures figures = x_look_at_references(weights);
  const auto finite = [](double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); };
  Json attention = Json::array();
  for (const double of_block : figures.attention) attention.push_back(finite(of_block));
  char text[160];
  std::snprintf(text, sizeof text, ", references local %.1f %% (patches %.1f %%), attention %.2f",
                100 * figures.references.rest, 100 * figures.patches.rest, figures.attention_mean());
  x_locality_note = text;
  constexpr Index early = 100;  // updates: until then all of them are
  const Index steps = report.step + 1;
  if (figures.blind() && !x_blind && steps >= early && 4 * steps >= report.steps) {
    x_blind = true;
    std::snprintf(text, sizeof text, "%.1f %% of reference tokens' variance tells places of an image apart, of patches' %.1f %%",
                  100 * figures.references.rest, 100 * figures.patches.rest);
    warn(join("reference tokens are blind after epoch ", report.epoch + 1, ": ", text,
              "; the point level trains little but image features. Longer runs may cure it, --recipe densedino-local does"));
  }
  return {{"references_local", finite(figures.references.rest)},
          {"references_within", finite(figures.references.within())},
          {"patches_local", finite(figures.patches.rest)},
          {"patches_within", finite(figures.patches.within())},
          {"attention", attention}};
}

Continue RunLog::step(const StepReport& report, const std::function<BackboneWeights<float>()>& teacher) {
  if (!x_first()) return x_interruption->requested() ? stop : proceed;
  if (!x_metrics) x_open_files();
  Json line = {
      {"step", report.step}, {"epoch", report.epoch}, {"images", report.images}, {"loss", report.loss}};
  for (const TermReport& term : report.each_term()) line[std::string(term.name)] = term_json(term);
  line["gradient_norm"] = report.gradient_norm;
  if (x_job.options.views.warped() && recipe_of(x_job).points) line["valid_points"] = report.valid_points;
  line["feature_spread"] = report.feature_spread;
  line["learning_rate"] = report.learning_rate;
  line["weight_decay"] = report.weight_decay;
  line["teacher_momentum"] = report.teacher_momentum;
  line["teacher_temperature"] = report.teacher_temperature;
  line["seconds"] = report.seconds;
  line["data_wait_seconds"] = report.data_wait_seconds;
  line["images_per_second"] = report.images_per_second;
  line["unreadable"] = report.unreadable;
  line["collapse"] = name_of(report.collapse);
  if (x_held_out && x_held_out->due(report)) line["monitor"] = x_look(report, teacher());
  if (x_look_at_references && report.ends_epoch(x_locality_every)) line["locality"] = x_locality(report, teacher());
  const std::string text = line.dump() + "\n";
  // Flushed line by line: whoever watches the file sees every step, and a full disk is noticed at once.
  if (std::fwrite(text.data(), 1, text.size(), x_metrics.get()) != text.size() ||
      std::fflush(x_metrics.get()) != 0) {
    // The run ends, but what was trained is not lost with the lines that tell of it.
    x_problem = join("cannot write: ", std::strerror(errno));
    return stop;
  }
  char note[64];
  std::snprintf(note, sizeof note, "epoch %ld, loss %.4f", static_cast<long>(report.epoch + 1), report.loss);
  x_progress->at(report.images, note + terms_note(report) + x_locality_note + x_monitor_note);
  if (x_interruption->requested()) return stop;
  if (report.step + 1 == report.steps) return proceed;
  if (x_job.max_steps > 0 && report.step + 1 - x_first_step >= x_job.max_steps) {
    x_budget = join("--max-steps ", x_job.max_steps);
    return stop;
  }
  if (x_job.minutes > 0 && x_progress->seconds() >= 60 * x_job.minutes) {
    x_budget = join("--minutes ", x_job.minutes);
    return stop;
  }
  return proceed;
}

void RunLog::warn(std::string_view message) {
  if (!x_warned.emplace(message).second) return;
  if (x_progress) x_progress->clear();
  print_error("dssl-pretrain", join("warning: ", x_first() ? std::string() : join("rank ", x_job.options.ranks.rank(), ": "), message));
}

int RunLog::end(const RunSummary& summary) {
  if (!x_first()) return 0;
  x_progress.reset();
  if (!x_problem.empty()) {
    x_metrics.reset();
    throw FileError(x_metrics_path(), join(x_problem, "; a checkpoint of ", summary.steps, " steps was written"));
  }
  if (x_metrics && std::fclose(x_metrics.release()) != 0) {
    throw FileError(x_metrics_path(), join("cannot write: ", std::strerror(errno)));
  }
  if (!summary.finished && x_budget.empty()) {
    // The only other answer that ends a run is the one to a signal.
    print_error("dssl-pretrain", join("interrupted after step ", summary.steps,
                                      "; the same command with --resume goes on from there"));
    return 130;
  }
  if (!summary.finished) {
    x_line(join("stopped after step ", summary.steps, " as ", x_budget,
                " says; the same command with --resume goes on from there"));
  }
  x_line(
      join(summary.steps, " steps, ", duration_text(summary.seconds), "; teacher: ", x_job.teacher_path()));
  if (summary.unreadable > 0) {
    print_error("dssl-pretrain",
                join("warning: ", summary.unreadable, x_job.whole ? " times a tile of" : " times", " an unreadable image was passed over"));
  }
  return 0;
}

/// A checkpoint is written beside the last one, and the teacher beside the last teacher. Throws `FileError`.
void RunLog::x_require_space(Index parameters) const {
  std::error_code problem;
  const auto space = std::filesystem::space(x_job.out, problem);
  if (problem) return;  // a file system that does not tell
  const double buffers = 2 + (x_job.options.optimiser.kind == OptimiserKind::adamw ? 2 : 1);
  const double copies = std::filesystem::exists(x_job.checkpoint_path(), problem) ? 1 : 2;
  const double weights = copies * (buffers + 1) + (x_job.keep_best ? copies : 0);
  const double needed = weights * 4 * static_cast<double>(parameters);
  if (static_cast<double>(space.available) < needed) {
    throw FileError(x_job.out, join("the disk has ", megabytes(static_cast<double>(space.available)),
                                    " left; checkpoint and teacher need ", megabytes(needed)));
  }
}

void RunLog::x_open_files() {
  write_json(x_job.out + "/options.json", x_options);
  x_cut_metrics();
  if (x_first_step == 0) {
    // What an earlier run kept is not this run's best.
    std::error_code ignored;
    std::filesystem::remove(x_job.best_path(), ignored);
  }
  x_metrics.reset(std::fopen(x_metrics_path().c_str(), "a"));
  if (!x_metrics) throw FileError(x_metrics_path(), join("cannot open to write: ", std::strerror(errno)));
}

void RunLog::x_cut_metrics() const {
  AtomicFile kept(x_metrics_path());
  if (x_first_step > 0) {
    std::ifstream before(x_metrics_path());
    for (std::string line; std::getline(before, line);) {
      const Index step = step_of(line);
      if (step >= 0 && step < x_first_step) kept.write(line + "\n");
    }
  }
  kept.commit();
}

void RunLog::x_line(const std::string& text) const {
  if (x_first()) std::printf("%s\n", text.c_str());
}

}  // namespace dssl::programs
