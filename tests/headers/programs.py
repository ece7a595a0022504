"""Holds the programs' headers to bringing what they name of each other.

A header that names what another one declares must include that one, itself or through what it includes: else it compiles only
behind it. Nothing is compiled, as parsing these headers alone takes minutes: names are those that are declared at the beginning
of a line, in one header alone.
Usage: programs.py FOLDER   (examples/)
"""
import pathlib
import re
import sys

DECLARED = [
    re.compile(r"^(?:struct|class|enum class) (\w+)(?=[ {:])", re.M),
    re.compile(r"^inline (?:constexpr|const) .*?(\w+)(?= = |\[|\{)", re.M),
    re.compile(r"^(?:\[\[nodiscard\]\] |inline |constexpr |template <.*> |void |int |auto |bool )[^=;{}()]*?(\w+)\(", re.M),
]
# What stands before a name where it is used; another word there is a type, and declares it, as do class and using.
BEFORE_A_USE = {"const", "constexpr", "inline", "static", "return", "throw", "new", "else", "typename", "mutable", "case", "explicit",
                "virtual", "friend", "public", "in", "do"}


def code(text):
    """Without comments, strings and includes."""
    text = re.sub(r"//.*|^\s*#.*", "", text, flags=re.M)
    return re.sub(r'"(?:[^"\\\n]|\\.)*"', '""', text)


def declares_itself(text, word):
    """Whether a header declares a name anywhere: a member, a parameter, an alias."""
    return any(before not in BEFORE_A_USE for before in re.findall(rf"(\w+)[>&*\]]* {word}\b", text))


def main(folder):
    folder = pathlib.Path(folder)
    texts = {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.glob("*/*.hpp"))}
    brings = {name: {i for i in re.findall(r'#include [<"]([^>"]+)[>"]', text) if i in texts} for name, text in texts.items()}
    texts = {name: code(text) for name, text in texts.items()}

    def closure(name):
        seen, left = {name}, [name]
        while left:
            new = brings[left.pop()] - seen
            seen |= new
            left += new
        return seen

    declares = {}
    for name, text in texts.items():
        for pattern in DECLARED:
            for declared in pattern.findall(text):
                declares.setdefault(declared, set()).add(name)
    wrong = 0
    for name, text in texts.items():
        own = closure(name)
        used = set(re.findall(r"(?<![\w.>:])(?:programs::)?(\w+)\b", text))
        for word in sorted(used & declares.keys()):
            if len(declares[word]) > 1 or declares[word] & own or declares_itself(text, word):
                continue
            print(f"{name}: names {word} of {min(declares[word])}, which it does not include", file=sys.stderr)
            wrong += 1
    print(f"{len(texts)} headers, {len(declares)} names, {wrong} not brought")
    return 1 if wrong or not texts else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
