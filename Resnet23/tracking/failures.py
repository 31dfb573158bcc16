"""What a failed request to a remote means."""

import re

from Resnet23.errors import Resnet23Error

REFUSED = (401, 403)
# What servers answer that lack a route: older versions of MLflow, and hosts that offer only a part of it.
NOT_OFFERED = (400, 403, 404, 405, 501)


def http_status(error: Exception) -> int | None:
    """The status that the server answered with, None when there was no answer."""
    response = getattr(error, "response", None)
    if response is not None:  # not "if response": one with an error status counts as false
        return response.status_code
    if found := re.search(r"failed with error code (\d{3})|too many (\d{3}) error responses", str(error)):
        return int(found[1] or found[2])
    if type(error).__name__ == "RestException":  # an answer in JSON
        return error.get_http_status_code()
    return None


def is_refusal(error: Exception) -> bool:
    """Whether the server refuses the credentials: asking again would not help."""
    return http_status(error) in REFUSED


def is_not_offered(error: Exception) -> bool:
    """Whether the server has no such route, for one that not every server has."""
    return http_status(error) in NOT_OFFERED


def reason(error: Exception) -> str:
    """A failure in a few words, without the addresses and repetitions of the libraries' own messages."""
    if isinstance(error, Resnet23Error):
        return str(error)
    status = http_status(error)
    if status in REFUSED:
        return f"it refuses the credentials (HTTP {status})"
    if status is not None:
        return f"it answers with HTTP {status}"
    text = str(error)
    if "timed out" in text.lower():
        return "it does not answer in time"
    if re.search(r"refused|unreachable|resolve|Name or service", text):
        return "it cannot be reached"
    return f"{type(error).__name__}: {text.splitlines()[0][:150] if text else ''}"
