"""What every rule here reads: the C++ files of the tree, their #include lines, and their code without comments."""
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("policy", "enforcer", "cni")
INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)', re.MULTILINE)
# A literal or a comment; literals come first, so that "//" inside a text is no comment.
TOKEN = re.compile(
    r'R"(?P<tag>[^()\s\\]{0,16})\(.*?\)(?P=tag)"|"(?:\\.|[^"\\\n])*"|(?<![0-9A-Za-z_])\'(?:\\.|[^\'\\\n])+\''
    r"|//[^\n]*|/\*.*?\*/",
    re.DOTALL,
)


def cpp_files(*folders, root=ROOT):
    """Every .h and .cpp below the folders, sorted; an empty answer is an error, for a check of nothing proves nothing."""
    found = sorted(
        path for folder in folders for path in (root / folder).rglob("*") if path.suffix in (".h", ".cpp") and path.is_file()
    )
    if not found:
        raise AssertionError(f"no C++ file below {', '.join(folders)}")
    return found


def relative(path, root=ROOT):
    return path.relative_to(root).as_posix()


def includes(text):
    """The (line number, header, quoted) of each #include."""
    return [
        (text.count("\n", 0, match.start(1 if match.group(1) else 2)) + 1, match.group(1) or match.group(2), bool(match.group(1)))
        for match in INCLUDE.finditer(text)
    ]


def _blank(match):
    token = match.group(0)
    kept = "\n" * token.count("\n")
    return kept if token.startswith("/") else '""' + kept


def code_of(text):
    """The text without comments and with every literal empty; lines keep their numbers."""
    return TOKEN.sub(_blank, text)
