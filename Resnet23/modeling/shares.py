"""Cutting a row of images into shares: for processes, and for the parts of an accumulated gradient."""


def share(count: int, parts: int, part: int) -> slice:
    """The place of one of `parts` shares of `count` images, one after the other; sizes differ by at most one."""
    return slice(count * part // parts, count * (part + 1) // parts)


def shares(count: int, parts: int) -> list[slice]:
    """All of them."""
    return [share(count, parts, part) for part in range(parts)]
