"""What tests do with a page in a browser."""

import time
from dataclasses import dataclass, field

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]


def until(tab, expression, arg=None):
    """Wait until an expression holds; asked from outside, since the page lets no string become a program."""
    end = time.monotonic() + 120
    while not tab.evaluate(expression, arg):
        assert time.monotonic() < end, expression
        tab.wait_for_timeout(20)


@dataclass
class Visit:
    """A page that has been read to its end, and what happened on the way."""

    tab: object
    said: list[str] = field(default_factory=list)
    asked_for: list[str] = field(default_factory=list)
