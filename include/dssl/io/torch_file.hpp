// Files that torch.save wrote, `.pth` and `.pt`: named tensors, read without Python and without running
// anything.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/io/element_type.hpp>
#include <dssl/io/mapped_file.hpp>
#include <dssl/io/pickle.hpp>
#include <dssl/io/tensor_file.hpp>
#include <dssl/io/torch_storages.hpp>
#include <dssl/io/zip_archive.hpp>

namespace dssl {

/// A file of torch.save, opened to read: the zip format (torch 1.6 and later) or the one before it.
///
/// The tensors are those of the dictionary that was saved and of dictionaries within it, their names joined
/// by dots
/// ("teacher.backbone.cls_token"); everything else in the file (options, counters, random states) is passed
/// over. Nothing is run: the pickle's reader knows the few classes that a state dict needs. What any other makes is passed
/// over too, unless it is made of a tensor's elements and has a name's place. Tensors may share storage, begin anywhere in it
/// and have any strides. Their storage stays in the mapped file unless it was packed by other hands. Test:
/// tests/io/torch_file.cpp.
class TorchFile final : public TensorFile {
 public:
  /// Opens the file and checks all that it says of its tensors against what there is.
  /// Throws `FileError` if it cannot be read, `CheckpointError` naming the tensor, record or class otherwise.
  [[nodiscard]] static TorchFile open(const std::string& path) { return TorchFile(path); }

  /// What some files are that are often taken for weights; empty for others.
  [[nodiscard]] static std::string what_else(std::span<const std::byte> bytes) {
    if (bytes.empty()) return "is empty; expected weights";
    if (begins_with(bytes, "version https://git-lfs")) {
      return "is a Git LFS pointer, not the weights themselves; fetch them with 'git lfs pull'";
    }
    if (bytes.size() > 262 && std::memcmp(bytes.data() + 257, "ustar", 5) == 0) {
      return "is a tar file; the tar format of 2017 (torch before 0.1.10) is not read: load and save it with "
             "a newer torch";
    }
    if (begins_with(bytes, "<")) return "is a page of a web server or XML, not weights; download it again";
    return {};
  }

  /// Whether the file's first bytes are those of torch.save (or of another zip file or pickle).
  [[nodiscard]] static bool is_one(std::span<const std::byte> bytes) {
    return begins_with(bytes, "PK\x03\x04") || begins_with(bytes, "PK\x05\x06") ||
           (bytes.size() >= 2 && bytes[0] == std::byte{0x80} && bytes[1] <= std::byte{5});
  }

 private:
  struct Storage {
    const ZipArchive::Record* record = nullptr;  // of a zip file
    std::span<const std::byte> bytes{};          // before it
    std::size_t size = 0;
  };
  /// The packed storage that was read last: tensors that share one come one after another.
  struct Unpacked {
    std::mutex mutex;
    const ZipArchive::Record* record = nullptr;
    std::vector<std::byte> bytes;
  };
  struct Place {
    Storage storage{};
    std::vector<Index> strides;
    std::size_t offset = 0;  // in elements
    bool contiguous = true;
  };

  [[nodiscard]] static bool begins_with(std::span<const std::byte> bytes, std::string_view text) {
    return bytes.size() >= text.size() && std::memcmp(bytes.data(), text.data(), text.size()) == 0;
  }

  explicit TorchFile(const std::string& path) : TensorFile(path), x_file(path) {
    const std::span<const std::byte> bytes = x_file.bytes();
    if (begins_with(bytes, "PK")) {
      open_zip();
    } else if (is_one(bytes)) {
      open_legacy();
    } else {
      const std::string known = what_else(bytes);
      fail(known.empty() ? "is neither a file of torch.save nor safetensors" : known);
    }
  }

  [[noreturn]] void fail(const std::string& problem) const { throw CheckpointError(path(), problem); }

  // ---- the zip format

  void open_zip() {
    x_archive = ZipArchive(path(), x_file.bytes());
    const std::string_view main = "/data.pkl";
    const ZipArchive::Record* found = nullptr;
    for (const ZipArchive::Record& record : x_archive.records()) {
      const std::string_view name = record.name;
      const std::size_t slash = name.find('/');
      if (slash == std::string_view::npos || name.find('/', slash + 1) != std::string_view::npos) continue;
      if (name.ends_with("/constants.pkl")) {
        fail(
            "is a TorchScript program (torch.jit.save), not a state dict; save model.state_dict() with "
            "torch.save");
      }
      if (!name.ends_with(main)) continue;
      if (found != nullptr) fail(join("has two pickles, '", found->name, "' and '", name, "'; expected one"));
      found = &record;
    }
    if (found == nullptr) fail("is a zip file without 'data.pkl'; expected a file of torch.save");
    const std::string root = found->name.substr(0, found->name.size() - main.size() + 1);
    std::vector<std::byte> scratch;
    if (const auto* const order = x_archive.find(root + "byteorder"); order != nullptr) {
      if (order->size > 16)
        fail(join("the record '", order->name, "' has ", order->size, " bytes; expected 'little'"));
      const auto said = x_archive.read(*order, scratch);
      if (!begins_with(said, "little"))
        fail("was written on a big-endian machine; expected the byte order 'little'");
    }
    // Packed, a few bytes say what takes a thousandfold to keep.
    const std::size_t longest = found->deflated ? longest_packed_pickle : longest_pickle;
    if (found->size > longest) {
      fail(join("the record '", found->name, "' has ", found->size, " bytes; expected at most ", longest,
                found->deflated ? " of a packed pickle" : ""));
    }
    const auto bytes = x_archive.read(*found, scratch);
    const detail::Pickle pickle = detail::PickleReader(path(), bytes).read();
    list(pickle, [&](std::string_view key) -> std::optional<Storage> {
      const auto* const record = x_archive.find(join(root, "data/", key));
      if (record == nullptr) return std::nullopt;
      return Storage{.record = record, .size = record->size};
    });
  }

  // ---- the format before it: pickles in a row, then storages

  void open_legacy() {
    constexpr std::string_view magic = "\x6C\xFC\x9C\x46\xF9\x20\x6A\xA8\x50\x19";
    const std::span<const std::byte> bytes = x_file.bytes();
    std::size_t at = 0;
    const auto next = [&] {
      detail::Pickle pickle = detail::PickleReader(path(), bytes.first(std::min(bytes.size(), at + longest_pickle)), at).read();
      at = pickle.end;
      return pickle;
    };
    if (next().top().text != magic) {
      fail("is a plain pickle, not a file of torch.save; expected a state dict saved with torch.save");
    }
    const detail::Pickle version = next();
    if (version.top().kind != detail::PickleKind::whole || version.top().number != 1001) {
      fail("is of another version of torch's old format; expected 1001");
    }
    const detail::Pickle machine = next();
    if (!is_little_endian(machine)) fail("was written on a big-endian machine; expected little_endian");
    const detail::Pickle pickle = next();
    const std::map<std::string, ElementType, std::less<>> types = storage_types(pickle);
    const detail::Pickle keys = next();
    if (keys.top().kind != detail::PickleKind::list) fail("has no list of its storages");
    std::map<std::string, Storage, std::less<>> storages;
    for (const std::uint32_t number : keys.items(keys.top())) {
      const std::string_view key = keys.value(number).text;
      const auto type = types.find(key);
      if (type == types.end()) fail(join("has the storage '", key, "', which no tensor uses, or whose class is not read"));
      if (bytes.size() - at < 8) fail(join("truncated: the storage '", key, "' begins after the file's end"));
      std::int64_t count = 0;
      std::memcpy(&count, bytes.data() + at, sizeof count);
      at += sizeof count;
      const std::size_t width = element_bytes(type->second);
      if (count < 0 || static_cast<std::uint64_t>(count) > (bytes.size() - at) / width) {
        fail(join("truncated: the storage '", key, "' has ", count, " elements of ", width,
                  " bytes, the file ", bytes.size() - at, " bytes for them"));
      }
      const auto size = static_cast<std::size_t>(count) * width;
      if (!storages.emplace(key, Storage{.bytes = bytes.subspan(at, size), .size = size}).second)
        fail(join("has the storage '", key, "' twice"));
      at += size;
    }
    list(pickle, [&](std::string_view key) -> std::optional<Storage> {
      const auto found = storages.find(key);
      if (found == storages.end()) return std::nullopt;
      return found->second;
    });
  }

  [[nodiscard]] static bool is_little_endian(const detail::Pickle& machine) {
    if (machine.top().kind != detail::PickleKind::dictionary) return false;
    const auto& items = machine.items(machine.top());
    for (std::size_t i = 0; i < items.size(); i += 2) {
      const detail::PickleValue& said = machine.value(items[i + 1]);
      if (machine.value(items[i]).text == "little_endian")
        return said.kind == detail::PickleKind::boolean && said.number == 1;
    }
    return false;
  }

  /// The type of every storage of the pickle by its key, wherever it is used.
  [[nodiscard]] std::map<std::string, ElementType, std::less<>> storage_types(
      const detail::Pickle& pickle) const {
    std::map<std::string, ElementType, std::less<>> types;
    for (const detail::PickleValue& value : pickle.values) {
      if (value.kind != detail::PickleKind::storage) continue;
      const auto& id = pickle.items(value);
      const std::string_view key = pickle.value(id[2]).text;
      const std::string_view name = storage_class(pickle, value);
      const auto type = detail::type_of_torch_storage(name);
      if (!type) fail(join("the storage '", key, "' is a ", name, ", which is not read"));
      const auto [known, added] = types.emplace(key, *type);
      if (!added && known->second != *type) fail(join("has two types for the storage '", key, "'"));
    }
    return types;
  }

  // ---- both

  /// "FloatStorage" of a storage.
  [[nodiscard]] static std::string_view storage_class(const detail::Pickle& pickle,
                                                      const detail::PickleValue& storage) {
    const std::string_view name = pickle.value(pickle.items(storage)[1]).text;
    return name.substr(name.find('\n') + 1);
  }

  /// Lists the tensors of the dictionary that the pickle holds; `storage_of(key)`: where a storage lies, if
  /// there is one.
  template <class StorageOf>
  void list(const detail::Pickle& pickle, const StorageOf& storage_of) {
    const detail::PickleKind kind = pickle.top().kind;
    if (kind != detail::PickleKind::dictionary) {
      fail(join("holds ", detail::pickle_kind_name(kind),
                kind == detail::PickleKind::opaque ? join(" of '", detail::spelled_global(pickle.top().text), "'") : "", "; expected a dictionary of named tensors (a state dict)"));
    }
    std::vector<StoredTensor> tensors;
    std::set<std::string, std::less<>> names;
    list_dictionary(tensors, names, pickle, pickle.top(), "", 0, storage_of);
    set_tensors(std::move(tensors));
  }

  template <class StorageOf>
  void list_dictionary(std::vector<StoredTensor>& tensors, std::set<std::string, std::less<>>& names,
                       const detail::Pickle& pickle, const detail::PickleValue& dictionary,
                       const std::string& prefix, int depth, const StorageOf& storage_of) {
    if (depth > deepest) fail(join("has dictionaries within dictionaries, more than ", deepest, " deep"));
    const auto& items = pickle.items(dictionary);
    for (std::size_t i = 0; i < items.size(); i += 2) {
      const detail::PickleValue& key = pickle.value(items[i]);
      const detail::PickleValue& value = pickle.value(items[i + 1]);
      const bool inner = value.kind == detail::PickleKind::dictionary;
      // What is passed over counts too: one dictionary may be there many times.
      if (++x_visited > most_names) fail(join("has more than ", most_names, " names"));
      const bool unread = value.kind == detail::PickleKind::opaque && value.of_numbers;
      if (!inner && !unread && value.kind != detail::PickleKind::tensor) continue;
      if (prefix.size() + key.text.size() > detail::longest_tensor_name) {
        fail(join("has a name of more than ", detail::longest_tensor_name, " characters"));
      }
      std::string name =
          key.kind == detail::PickleKind::text ? join(prefix, key.text) : join(prefix, key.number);
      x_characters += name.size();
      if (x_characters > most_characters)
        fail(join("has names of more than ", most_characters, " characters together"));
      if (inner) {
        list_dictionary(tensors, names, pickle, value, name + ".", depth + 1, storage_of);
        continue;
      }
      if (unread) {
        fail(join("tensor '", name, "' is made by '", detail::spelled_global(value.text), "', which is not read; expected plain tensors"));
      }
      if (!names.insert(name).second) fail(join("has two tensors '", name, "'"));
      tensors.push_back(described(pickle, value, std::move(name), storage_of));
    }
  }

  /// Checks what the pickle says of one tensor, and keeps where its elements lie.
  template <class StorageOf>
  [[nodiscard]] StoredTensor described(const detail::Pickle& pickle, const detail::PickleValue& tensor,
                                       std::string name, const StorageOf& storage_of) {
    const auto refuse = [&](const std::string& problem) { fail(join("tensor '", name, "' ", problem)); };
    const auto& arguments = pickle.items(tensor);
    const auto kind_is = [&](std::size_t i, detail::PickleKind kind) {
      return arguments.size() > i && pickle.value(arguments[i]).kind == kind;
    };
    if (!kind_is(0, detail::PickleKind::storage) || !kind_is(1, detail::PickleKind::whole) ||
        !kind_is(2, detail::PickleKind::tuple) || !kind_is(3, detail::PickleKind::tuple)) {
      refuse("is not described by a storage, an offset, sizes and strides");
    }
    const auto numbers = [&](std::size_t argument) {
      std::vector<Index> out;
      const auto& items = pickle.items(pickle.value(arguments[argument]));
      if (items.size() > most_dimensions) refuse(join("has more than ", most_dimensions, " dimensions"));
      for (const std::uint32_t item : items) {
        const detail::PickleValue& value = pickle.value(item);
        if (value.kind != detail::PickleKind::whole || value.number < 0)
          refuse("has sizes or strides that are no whole numbers from 0 on");
        out.push_back(value.number);
      }
      return out;
    };
    const detail::PickleValue& stored = pickle.value(arguments[0]);
    const auto& id = pickle.items(stored);
    const auto type = detail::type_of_torch_storage(storage_class(pickle, stored));
    if (!type) refuse(join("is a ", storage_class(pickle, stored), ", which is not read"));
    StoredTensor out{.name = name, .type = *type, .shape = numbers(2)};
    Place place{.strides = numbers(3)};
    if (place.strides.size() != out.shape.size()) {
      refuse(join("has ", out.shape.size(), " sizes and ", place.strides.size(), " strides"));
    }
    Index count = 1;
    bool empty = false;
    for (const Index extent : out.shape) {
      empty = empty || extent == 0;
      if (extent > most_elements / count) refuse(join("of ", shape_text(out.shape), " is too large"));
      count *= std::max<Index>(1, extent);
    }
    if (empty) count = 0;

    const std::string_view key = pickle.value(id[2]).text;
    const Index held = pickle.value(id[4]).number;
    const Index offset = pickle.value(arguments[1]).number;
    const auto storage = storage_of(key);
    if (!storage) refuse(join("has its elements in the storage '", key, "', which is not in the file"));
    if (held < 0 || static_cast<std::uint64_t>(held) > storage->size / element_bytes(*type)) {
      refuse(join("has its elements in a storage of ", held, ", of which the file has ",
                  storage->size / element_bytes(*type)));
    }
    // All of it is unpacked for one element.
    if (storage->record != nullptr && storage->record->deflated &&
        storage->size > static_cast<std::size_t>(held) * element_bytes(*type)) {
      refuse(join("has its elements in a storage of ", held, ", ", static_cast<std::size_t>(held) * element_bytes(*type),
                  " bytes; its packed record '", storage->record->name, "' has ", storage->size));
    }
    if (offset < 0) refuse(join("begins at element ", offset, " of its storage"));
    // The last element, counted so that nothing overflows.
    Index room = held - 1 - offset;
    if (count > 0 && room < 0) refuse(join("begins at element ", offset, " of a storage of ", held));
    for (std::size_t i = 0; count > 0 && i < out.shape.size(); ++i) {
      const Index steps = out.shape[i] - 1;
      if (steps > 0 && place.strides[i] > room / steps) {
        refuse(join("of ", shape_text(out.shape), " with strides ", shape_text(place.strides),
                    " from element ", offset, " leaves its storage of ", held));
      }
      room -= steps * place.strides[i];
    }
    if (count > held && count > most_repeated) {
      refuse(join("of ", shape_text(out.shape), " repeats a storage of ", held,
                  " elements; expected at most ", most_repeated, " elements of such a tensor"));
    }
    Index step = 1;
    for (std::size_t i = out.shape.size(); i-- > 0;) {
      if (out.shape[i] > 1 && place.strides[i] != step) place.contiguous = false;
      step *= std::max<Index>(1, out.shape[i]);
    }
    place.offset = static_cast<std::size_t>(offset);
    place.storage = *storage;
    x_tensor_places.push_back(std::move(place));
    return out;
  }

  [[nodiscard]] std::span<const std::byte> x_elements(std::size_t index,
                                                      std::vector<std::byte>& scratch) const override {
    const StoredTensor& tensor = tensors()[index];
    const Place& place = x_tensor_places[index];
    const std::size_t width = element_bytes(tensor.type);
    const auto count = static_cast<std::size_t>(tensor.size());
    if (count == 0) return {};
    const bool packed = place.storage.record != nullptr && place.storage.record->deflated;
    std::unique_lock<std::mutex> lock;
    if (packed) lock = std::unique_lock(x_unpacked->mutex);
    const std::span<const std::byte> all = packed                            ? unpacked(*place.storage.record)
                                           : place.storage.record == nullptr ? place.storage.bytes
                                                                             : x_archive.read(*place.storage.record, scratch);
    if (place.contiguous) {
      const auto part = all.subspan(place.offset * width, count * width);
      if (!packed) return part;
      scratch.assign(part.begin(), part.end());
      return scratch;
    }
    scratch.resize(count * width);
    std::vector<Index> at(tensor.shape.size(), 0);
    std::size_t from = place.offset;
    for (std::size_t i = 0; i < count; ++i) {
      std::memcpy(scratch.data() + i * width, all.data() + from * width, width);
      // The next place: the last extent runs fastest.
      for (std::size_t d = at.size(); d-- > 0;) {
        from += static_cast<std::size_t>(place.strides[d]);
        if (++at[d] < tensor.shape[d]) break;
        from -= static_cast<std::size_t>(place.strides[d] * tensor.shape[d]);
        at[d] = 0;
      }
    }
    return scratch;
  }

  /// The bytes of a deflated record; the lock of `x_unpacked` is held.
  [[nodiscard]] std::span<const std::byte> unpacked(const ZipArchive::Record& record) const {
    Unpacked& last = *x_unpacked;
    if (last.record == &record) return last.bytes;
    last.record = nullptr;
    static_cast<void>(x_archive.read(record, last.bytes));
    last.record = &record;
    return last.bytes;
  }

  static constexpr std::size_t longest_pickle = std::size_t{1} << 26U;
  static constexpr std::size_t longest_packed_pickle = std::size_t{1} << 22U;
  static constexpr int deepest = 16;
  static constexpr std::size_t most_names = 1'000'000;
  /// Of all names: a dictionary that is there many times costs its names each time.
  static constexpr std::size_t most_characters = std::size_t{1} << 26U;
  /// Sizes of a tensor.
  static constexpr std::size_t most_dimensions = 64;
  static constexpr Index most_elements = Index{1} << 40U;
  static constexpr Index most_repeated = Index{1} << 24U;

  MappedFile x_file;
  ZipArchive x_archive;
  std::unique_ptr<Unpacked> x_unpacked = std::make_unique<Unpacked>();
  std::size_t x_visited = 0;
  std::size_t x_characters = 0;
  std::vector<Place> x_tensor_places;
};

}  // namespace dssl
