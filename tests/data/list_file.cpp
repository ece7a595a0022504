// Lists as editors and shells save them: one reader, one rule for blanks, comments and labels.
#include "catch.hpp"

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <dssl/data/list_file.hpp>

#include "temporary_folder.hpp"
#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

/// UTF-16 of plain text, behind a byte order mark.
std::string utf16(std::u16string_view text, bool big_endian) {
  std::string out;
  const auto put = [&](char16_t unit) {
    const char high = static_cast<char>(unit >> 8), low = static_cast<char>(unit & 0xFF);
    out += big_endian ? high : low;
    out += big_endian ? low : high;
  };
  put(u'\uFEFF');
  for (const char16_t unit : text) put(unit);
  return out;
}

struct Read {
  std::vector<std::string> names, labels;
};

/// The entries of a list where `files` are the files there are.
Read read(const std::string& text, const std::set<std::string>& files) {
  const TemporaryFolder folder;
  write_text(folder / "list.txt", std::string_view(text));
  Read out;
  for (const ListEntry& entry : read_list(folder / "list.txt", [&](const std::string& name) {
         return files.contains(name) ? "at/" + name : std::string();
       })) {
    out.names.push_back(entry.name);
    out.labels.push_back(entry.label);
    CHECK(entry.path == (files.contains(entry.name) ? "at/" + entry.name : ""));
  }
  return out;
}

using Texts = std::vector<std::string>;

}  // namespace

TEST_CASE("a list is read in every encoding that editors save, with every line end") {
  const std::set<std::string> files{"a.png", "\xc3\xa4.png", "\xf0\x9f\x98\x80.png"};
  const Texts names{"a.png", "\xc3\xa4.png", "\xf0\x9f\x98\x80.png"};
  CHECK(read("a.png\n\xc3\xa4.png\n\xf0\x9f\x98\x80.png", files).names == names);
  CHECK(read("\xef\xbb\xbf" "a.png\r\n\xc3\xa4.png\r\n\xf0\x9f\x98\x80.png\r\n", files).names == names);
  CHECK(read("a.png\r\xc3\xa4.png\r\xf0\x9f\x98\x80.png\r", files).names == names);
  CHECK(read(utf16(u"a.png\r\n\u00e4.png\r\n\U0001F600.png\r\n", false), files).names == names);
  CHECK(read(utf16(u"a.png\n\u00e4.png\n\U0001F600.png", true), files).names == names);
}

TEST_CASE("names hold blanks where a file does, and what follows them is the label") {
  const std::set<std::string> files{"a.png", "a b.png", "img 1", "img", "photo #1.png", "sub/c.png", "x"};
  const Read read_ = read("a.png 0\na b.png odd one\nimg 1\nimg 2\nphoto #1.png\na.png # a comment\n"
                          "\"a b.png\" 3\n'x'\tlabel two # why\nsub\\c.png 1\n# all of it\n\n   a.png\t7\n",
                          files);
  CHECK(read_.names == Texts{"a.png", "a b.png", "img 1", "img", "photo #1.png", "a.png", "a b.png", "x",
                             "sub/c.png", "a.png"});
  CHECK(read_.labels == Texts{"0", "odd one", "", "2", "", "", "3", "label two", "1", "7"});
}

TEST_CASE("what is not there ends at a tab or the first blank, and keeps its line") {
  const Read read_ = read("a.png\nlost 4\nlost too.png\tlabel\n", {"a.png"});
  CHECK(read_.names == Texts{"a.png", "lost", "lost too.png"});
  CHECK(read_.labels == Texts{"", "4", "label"});
}

TEST_CASE("a list that names nothing, no file, or is no text is refused in words") {
  const auto refused = [](const std::string& text) {
    return thrown_by<DataError>([&] { static_cast<void>(read(text, {"a.png"})); });
  };
  CHECK(contains(refused("# nothing\n\n"), "list.txt: the list names no images"));
  CHECK(contains(refused("\n~/a.png\nb.png\n"),
                 "list.txt: none of its 2 lines names a file; the first is '~/a.png' (line 2)"));
  CHECK(contains(refused(std::string("a.png\nb\0c.png\n", 14)), "list.txt: is no list: line 2 holds a byte 0"));
}

TEST_CASE("a line of very many words is read in time, and its message stays short") {
  const TemporaryFolder folder;
  std::string line = "a.png";
  for (int n = 0; n < 100'000; ++n) line += " a";
  write_text(folder / "list.txt", std::string_view(line));
  int asked = 0;
  const auto entries = read_list(folder / "list.txt", [&](const std::string& name) {
    ++asked;
    return name == "a.png" ? std::string("found") : std::string();
  });
  CHECK(asked <= 4096);
  REQUIRE(entries.size() == 1);
  CHECK(entries[0].name == "a.png");
  CHECK(entries[0].label.size() == 2 * 100'000 - 1);
  const std::string error =
      thrown_by<DataError>([&] { (void)read_list(folder / "list.txt", [](const std::string&) { return std::string(); }); });
  CHECK(error.ends_with(" a a ...' (line 1)"));
  CHECK(error.size() < 400);
}
