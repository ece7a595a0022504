// Python's pickles, as far as files of weights need them: values are read, nothing is ever called.
// Tests: tests/io/torch_file.cpp.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <dssl/core/error.hpp>

namespace dssl {

namespace detail {

/// What a value of a pickle is. An opaque one stands for whatever is made by a class or function of which nothing is
/// needed: it is carried along, and never made.
enum class PickleKind : std::uint8_t {
  none,
  boolean,
  whole,
  other_number,
  text,
  tuple,
  list,
  dictionary,
  global,
  storage,
  tensor,
  opaque
};

/// The kind in words.
[[nodiscard]] constexpr std::string_view pickle_kind_name(PickleKind kind) {
  constexpr std::array<std::string_view, 12> names{"None",    "a boolean", "a whole number", "a number",
                                                   "text",    "a tuple",   "a list",         "a dictionary",
                                                   "a class", "a storage", "one tensor",     "an object"};
  return names[static_cast<std::size_t>(kind)];
}

/// A value of a pickle. Values hold each other by number, so that neither depth nor a loop is a danger, and
/// what the pickle shares is shared.
struct PickleValue {
  PickleKind kind = PickleKind::none;
  bool of_numbers = false;  ///< a storage, a tensor, what holds one, or an opaque value that is called for with one
  std::uint32_t part = 0;  ///< of `Pickle::parts`: the items of a tuple or list, keys and values of a
                           ///< dictionary in turn, what a storage's id or a tensor's arguments are
  std::int64_t number = 0;  ///< of a whole number or boolean
  std::string_view text{};  ///< text; "module\nname" of a global, or of what an opaque value is made by; the bytes of a
                            ///< whole number that does not fit
};

/// "module.name" of a global.
[[nodiscard]] inline std::string spelled_global(std::string_view name) {
  std::string out(name);
  out[out.find('\n')] = '.';
  return out;
}

/// A pickle as it was read; text lies in the bytes that it was read from.
struct Pickle {
  std::vector<PickleValue> values;
  std::vector<std::vector<std::uint32_t>> parts;
  std::uint32_t root = 0;
  std::size_t end = 0;  ///< where the pickle ends in the bytes

  [[nodiscard]] const PickleValue& value(std::uint32_t number) const { return values[number]; }
  [[nodiscard]] const PickleValue& top() const { return values[root]; }
  [[nodiscard]] const std::vector<std::uint32_t>& items(const PickleValue& value) const {
    return parts[value.part];
  }
};

/// Reads one pickle: a loop over its bytes with a stack of values. Only the opcodes of protocol 2 that
/// torch.save writes are known, and only the globals that make tensors and dictionaries; what others make is opaque.
class PickleReader {
 public:
  /// The pickle begins at `at` of `bytes`, which must outlive it.
  PickleReader(std::string_view path, std::span<const std::byte> bytes, std::size_t at = 0)
      : x_path(path), x_bytes(bytes), x_at(at) {}

  /// Throws `CheckpointError` for a pickle that is damaged or refers to what is not known.
  [[nodiscard]] Pickle read() {
    bool stopped = false;
    while (!stopped) stopped = step(to_byte(take(1)[0]));
    x_out.end = x_at;
    return std::move(x_out);
  }

 private:
  // Files of weights have some thousands.
  static constexpr std::size_t most_marks = 4096;
  static constexpr std::size_t most_values = std::size_t{1} << 22U;

  [[noreturn]] void fail(const std::string& problem) const { throw CheckpointError(x_path, problem); }
  [[noreturn]] void damaged(std::string_view what) const {
    fail(join("the pickle is damaged at byte ", x_at, ": ", what));
  }

  [[nodiscard]] static std::uint8_t to_byte(std::byte byte) { return std::to_integer<std::uint8_t>(byte); }

  [[nodiscard]] std::span<const std::byte> take(std::uint64_t count) {
    if (count > x_bytes.size() - x_at) damaged("it ends early");
    const auto taken = x_bytes.subspan(x_at, static_cast<std::size_t>(count));
    x_at += taken.size();
    return taken;
  }

  template <class Number>
  [[nodiscard]] Number number() {
    Number value{};
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }

  [[nodiscard]] static std::string_view text_of(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  // ---- stack

  void push(const PickleValue& value) {
    if (x_out.values.size() >= most_values) fail(join("the pickle has more than ", most_values, " values"));
    x_stack.push_back(static_cast<std::uint32_t>(x_out.values.size()));
    x_out.values.push_back(value);
  }

  void push_container(PickleKind kind, std::vector<std::uint32_t> items) {
    const bool of_numbers = holds_numbers(items);
    x_out.parts.push_back(std::move(items));
    push({.kind = kind, .of_numbers = of_numbers, .part = static_cast<std::uint32_t>(x_out.parts.size() - 1)});
  }

  [[nodiscard]] bool holds_numbers(const std::vector<std::uint32_t>& items) const {
    for (const std::uint32_t item : items) {
      if (x_out.values[item].of_numbers) return true;
    }
    return false;
  }

  void push_opaque(std::string_view made_by, bool of_numbers) {
    push({.kind = PickleKind::opaque, .of_numbers = of_numbers, .text = made_by});
  }

  void require_one() const {
    if (x_stack.empty() || (!x_marks.empty() && x_stack.size() <= x_marks.back()))
      damaged("nothing is on its stack");
  }

  [[nodiscard]] std::uint32_t pop() {
    require_one();
    const std::uint32_t top = x_stack.back();
    x_stack.pop_back();
    return top;
  }

  [[nodiscard]] PickleValue& top() {
    require_one();
    return x_out.values[x_stack.back()];
  }

  [[nodiscard]] std::vector<std::uint32_t> pop_to_mark() {
    if (x_marks.empty()) damaged("it has no mark");
    const auto from = x_stack.begin() + static_cast<std::ptrdiff_t>(x_marks.back());
    x_marks.pop_back();
    std::vector<std::uint32_t> items(from, x_stack.end());
    x_stack.erase(from, x_stack.end());
    return items;
  }

  // ---- opcodes

  /// Does what one opcode says; true after the last one.
  [[nodiscard]] bool step(std::uint8_t code) {
    switch (code) {
      case 0x80:
        x_protocol = to_byte(take(1)[0]);
        if (x_protocol > 5) fail(join("is a pickle of protocol ", int{x_protocol}, "; expected 2, as torch.save writes it"));
        break;
      case '.':
        x_out.root = pop();
        return true;
      case '(':
        if (x_marks.size() >= most_marks) fail(join("the pickle has more than ", most_marks, " things within each other"));
        x_marks.push_back(x_stack.size());
        break;
      case '}':
        push_container(PickleKind::dictionary, {});
        break;
      case ']':
        push_container(PickleKind::list, {});
        break;
      case ')':
        push_container(PickleKind::tuple, {});
        break;
      case 'N':
        push({});
        break;
      case 0x88:
      case 0x89:
        push({.kind = PickleKind::boolean, .number = code == 0x88});
        break;
      case 'J':
        push({.kind = PickleKind::whole, .number = number<std::int32_t>()});
        break;
      case 'K':
        push({.kind = PickleKind::whole, .number = number<std::uint8_t>()});
        break;
      case 'M':
        push({.kind = PickleKind::whole, .number = number<std::uint16_t>()});
        break;
      case 0x8A:
        long_number();
        break;
      case 'G':
        static_cast<void>(take(8));
        push({.kind = PickleKind::other_number});
        break;
      case 'X':
        push({.kind = PickleKind::text, .text = text_of(take(number<std::uint32_t>()))});
        break;
      case 'q':
      case 'r':
        require_one();
        if (x_memo.size() > most_values) fail(join("the pickle has more than ", most_values, " values"));
        x_memo[code == 'q' ? number<std::uint8_t>() : number<std::uint32_t>()] = x_stack.back();
        break;
      case 'h':
      case 'j':
        recall(code == 'h' ? number<std::uint8_t>() : number<std::uint32_t>());
        break;
      case 'c':
        global();
        break;
      case 'Q':
        storage();
        break;
      case 'R':
        call();
        break;
      case 0x81:
        object();
        break;
      case 'b':
        state();
        break;
      case 's':
      case 'u':
        set_items(code);
        break;
      case 'a':
      case 'e':
        append(code);
        break;
      case 't':
        push_container(PickleKind::tuple, pop_to_mark());
        break;
      case 0x85:
      case 0x86:
      case 0x87: {
        std::vector<std::uint32_t> items(code - 0x84U);
        for (std::size_t i = items.size(); i-- > 0;) items[i] = pop();
        push_container(PickleKind::tuple, std::move(items));
        break;
      }
      default:
        fail(join("the pickle has the opcode 0x", "0123456789abcdef"[code >> 4U],
                  "0123456789abcdef"[code & 15U], " at byte ", x_at - 1,
                  ", which files of weights do not need; nothing of it is run",
                  x_protocol > 2 ? join(" (it is of protocol ", int{x_protocol}, "; save it with torch.save's own, which is 2)") : ""));
    }
    return false;
  }

  void long_number() {
    const std::string_view bytes = text_of(take(number<std::uint8_t>()));
    if (bytes.size() > 8) {
      push({.kind = PickleKind::other_number, .text = bytes});
      return;
    }
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < bytes.size(); ++i)
      value |= std::uint64_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
    // The sign of the highest byte goes on upward.
    const bool negative = !bytes.empty() && static_cast<unsigned char>(bytes.back()) >= 0x80;
    if (negative && bytes.size() < 8) value |= ~std::uint64_t{0} << (8 * bytes.size());
    push({.kind = PickleKind::whole, .number = std::bit_cast<std::int64_t>(value)});
  }

  void recall(std::uint32_t place) {
    const auto known = x_memo.find(place);
    if (known == x_memo.end()) damaged("it recalls a value that it did not keep");
    x_stack.push_back(known->second);
    // Recalled values cost nothing to make, so that their number is bounded apart.
    if (x_stack.size() > most_values) fail(join("the pickle has more than ", most_values, " values"));
  }

  /// What the names of a global give the right to.
  [[nodiscard]] static bool is_storage_class(std::string_view name) {
    return name.starts_with("torch\n") && name.ends_with("Storage");
  }
  [[nodiscard]] static bool has_meaning(std::string_view name) {
    return name == ordered_dictionary || name == rebuild_tensor || name == rebuild_parameter || is_storage_class(name);
  }
  /// What weights have no use for and attacks have. It would be as opaque as all others; whoever has such a file is to know.
  [[nodiscard]] static bool is_hostile(std::string_view name) {
    constexpr std::array<std::string_view, 12> modules{"posix", "nt",     "os",  "subprocess", "sys",    "importlib",
                                                       "runpy", "ctypes", "pty", "shutil",     "socket", "webbrowser"};
    const std::string_view module = name.substr(0, name.find_first_of(".\n"));
    for (const std::string_view one : modules) {
      if (one == module) return true;
    }
    if (module != "builtins" && module != "__builtin__") return false;
    constexpr std::array<std::string_view, 18> types{"bool", "bytearray", "bytes",  "complex", "dict", "float", "frozenset", "int",   "list",
                                                     "long", "object",    "range",  "set",     "slice", "str",  "tuple",     "unicode", "xrange"};
    const std::string_view type = name.substr(name.find('\n') + 1);
    for (const std::string_view one : types) {
      if (one == type) return false;
    }
    return true;
  }
  static constexpr std::string_view ordered_dictionary = "collections\nOrderedDict";
  static constexpr std::string_view rebuild_tensor = "torch._utils\n_rebuild_tensor_v2";
  static constexpr std::string_view rebuild_parameter = "torch._utils\n_rebuild_parameter";

  void global() {
    const std::size_t from = x_at;
    for (int line = 0; line < 2; ++line) {
      const std::size_t begin = x_at;
      while (to_byte(take(1)[0]) != '\n') {
        if (x_at - begin > 512) damaged("a name without end");
      }
    }
    const std::string_view name = text_of(x_bytes.subspan(from, x_at - 1 - from));
    if (!has_meaning(name)) refuse_module_or_hostile(name);
    push({.kind = PickleKind::global, .text = name});
  }

  void refuse_module_or_hostile(std::string_view name) const {
    if (is_hostile(name)) {
      fail(join("refers to '", spelled_global(name),
                "', which files of weights do not need; nothing of it is run (save model.state_dict() alone)"));
    }
    // An object of a class of its own in the place of everything: ')' and then NEWOBJ follow, perhaps with
    // PUT between.
    const std::string_view rest = text_of(x_bytes.subspan(x_at));
    const std::string_view call = rest.starts_with('q') && rest.size() > 2 ? rest.substr(2) : rest;
    if (x_stack.empty() && x_marks.empty() && call.starts_with(")\x81")) {
      fail(join("holds a whole module, an object of '", spelled_global(name),
                "', whose code is not in the file; save model.state_dict() instead"));
    }
  }

  void storage() {
    const PickleValue id = x_out.values[pop()];
    if (id.kind != PickleKind::tuple || x_out.items(id).empty())
      damaged("a persistent id that is no storage");
    const auto& items = x_out.items(id);
    const auto at = [&](std::size_t i) -> const PickleValue& { return x_out.values[items[i]]; };
    if (at(0).kind == PickleKind::text && at(0).text == "module") {
      fail("holds a whole module, whose code is not in the file; save model.state_dict() instead");
    }
    const bool known = items.size() >= 5 && at(0).kind == PickleKind::text && at(0).text == "storage" &&
                       at(1).kind == PickleKind::global && at(2).kind == PickleKind::text && at(4).kind == PickleKind::whole;
    if (!known) damaged("a persistent id that is no storage");
    if (items.size() > 5 && at(5).kind != PickleKind::none) {
      fail(
          "has storages that are views of others, as torch before 0.4 saved them; load and save it with a "
          "newer one");
    }
    if (!is_storage_class(at(1).text)) {  // of a class that came later
      push_opaque(at(1).text, true);
      return;
    }
    push({.kind = PickleKind::storage, .of_numbers = true, .part = id.part});
  }

  void call() {
    const PickleValue arguments = x_out.values[pop()];
    const PickleValue function = x_out.values[pop()];
    const bool known = function.kind == PickleKind::global && has_meaning(function.text);
    if (function.kind != PickleKind::opaque && function.kind != PickleKind::global) damaged("a call of what is no function");
    if (!known) {
      // What torch makes tensors by holds their elements, in whatever form.
      const bool rebuilds = function.text.starts_with("torch._utils\n_rebuild") || function.text.starts_with("torch._tensor\n_rebuild");
      push_opaque(function.text, function.of_numbers || arguments.of_numbers || rebuilds);
      return;
    }
    if (arguments.kind != PickleKind::tuple) damaged("a call of what is no function");
    const auto& items = x_out.items(arguments);
    if (function.text == ordered_dictionary) {
      if (!items.empty()) damaged("an OrderedDict with arguments");
      push_container(PickleKind::dictionary, {});
    } else if (function.text == rebuild_tensor) {
      push({.kind = PickleKind::tensor, .of_numbers = true, .part = arguments.part});
    } else if (function.text == rebuild_parameter) {
      const PickleValue tensor = items.empty() ? PickleValue{} : x_out.values[items[0]];
      if (tensor.kind == PickleKind::opaque) {
        push_opaque(tensor.text, true);
        return;
      }
      if (tensor.kind != PickleKind::tensor) damaged("a parameter without tensor");
      x_stack.push_back(items[0]);
    } else {
      damaged("a call of a storage's class");
    }
  }

  void object() {
    const bool of_numbers = x_out.values[pop()].of_numbers;
    const PickleValue type = x_out.values[pop()];
    const bool unknown = type.kind == PickleKind::opaque || (type.kind == PickleKind::global && !has_meaning(type.text));
    if (!unknown) damaged(join("an object of ", type.kind == PickleKind::global ? spelled_global(type.text) : std::string(pickle_kind_name(type.kind))));
    push_opaque(type.text, of_numbers || type.of_numbers);
  }

  void state() {
    static_cast<void>(pop());
    const PickleKind kind = top().kind;
    if (kind != PickleKind::dictionary && kind != PickleKind::opaque)
      damaged(join("a state for ", pickle_kind_name(kind)));
  }

  void set_items(std::uint8_t code) {
    std::vector<std::uint32_t> items;
    if (code == 's') {
      const std::uint32_t value = pop();
      items = {pop(), value};
    } else {
      items = pop_to_mark();
    }
    static_cast<void>(top());
    PickleValue& holder = x_out.values[x_stack.back()];
    if (holder.kind == PickleKind::opaque) return;
    if (holder.kind != PickleKind::dictionary || items.size() % 2 != 0)
      damaged(join("items for ", pickle_kind_name(holder.kind)));
    auto& held = x_out.parts[holder.part];
    for (std::size_t i = 0; i < items.size(); i += 2) {
      const PickleKind key = x_out.values[items[i]].kind;
      const PickleValue& value = x_out.values[items[i + 1]];
      if (key == PickleKind::opaque && !value.of_numbers) continue;  // nobody can ask for it
      if (key != PickleKind::text && key != PickleKind::whole)
        fail(join("has a dictionary with a key that is ", pickle_kind_name(key),
                  "; expected text or whole numbers (save model.state_dict() alone)"));
      held.insert(held.end(), {items[i], items[i + 1]});
      holder.of_numbers = holder.of_numbers || value.of_numbers;
    }
  }

  void append(std::uint8_t code) {
    const std::vector<std::uint32_t> items = code == 'a' ? std::vector<std::uint32_t>{pop()} : pop_to_mark();
    static_cast<void>(top());
    PickleValue& holder = x_out.values[x_stack.back()];
    if (holder.kind == PickleKind::opaque) return;
    if (holder.kind != PickleKind::list) damaged(join("items for ", pickle_kind_name(holder.kind)));
    holder.of_numbers = holder.of_numbers || holds_numbers(items);
    auto& held = x_out.parts[holder.part];
    held.insert(held.end(), items.begin(), items.end());
  }

  std::string_view x_path;
  std::span<const std::byte> x_bytes;
  std::size_t x_at;
  std::uint8_t x_protocol = 0;
  Pickle x_out;
  std::vector<std::uint32_t> x_stack;
  std::vector<std::size_t> x_marks;
  std::unordered_map<std::uint32_t, std::uint32_t> x_memo;
};

}  // namespace detail
}  // namespace dssl
