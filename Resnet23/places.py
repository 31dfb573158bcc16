"""Where images and weights came from, without what is nobody else's business: the way there, user, password, token."""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit, urlunsplit

PLACES = ("data.source", "model.pretrained")  # the parameters that may hold a path or a URL, by their dotted keys
NAMELESS = "not shown"  # stands for a place without a last part, such as https://example.org


def last_part(place: str) -> str:
    """The name at the end of a path or URL, without what may stand around it and is secret: folders, user, token."""
    path = urlsplit(place).path if "://" in place else place
    return PurePosixPath(path.replace("\\", "/")).name


def without_ways(params: Mapping[str, Any]) -> dict[str, Any]:
    """Flat parameters, those of PLACES with the last part of their place; what is no text stays as it is."""
    names = {key: last_part(params[key]) or NAMELESS for key in PLACES if isinstance(params.get(key), str)}
    return {**params, **names}


def public_form(url: str) -> str:
    """A web address without user, password and query, which may hold secrets, for messages."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
