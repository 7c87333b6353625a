"""Prints the program of a language in docs/bindings.md: python bindings/lines.py C++ > hello.cpp"""

from __future__ import annotations

import re
import sys
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "bindings.md"
PROGRAM = re.compile(r"^## (.+)\n(?:(?!^## ).*\n)*?```.+\n((?:.*\n)*?)```$", re.MULTILINE)


def programs() -> dict[str, str]:
    """Heading -> the first block below it."""
    return dict(PROGRAM.findall(PAGE.read_text(encoding="utf-8")))


def main() -> None:
    known = programs()
    if len(sys.argv) != 2 or sys.argv[1] not in known:
        raise SystemExit(f"usage: lines.py LANGUAGE, one of {', '.join(known)}")
    print(known[sys.argv[1]], end="")


if __name__ == "__main__":
    main()
