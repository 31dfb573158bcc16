"""Which version of the code produced a result."""

import subprocess

# DVC rewrites these while the pipeline runs, so that they say nothing of the code.
RECORD = (":!dvc.lock", ":!reports")


def git_revision() -> str | None:
    """The commit of the project in the current directory; None outside git.

    With "-dirty" when tracked files differ from it, other than the record of the results.
    """
    commit = _git("rev-parse", "--short=12", "HEAD")
    if not commit:
        return None
    changes = _git("status", "--porcelain", "--untracked-files=no", "--", ".", *RECORD)
    return f"{commit}-dirty" if changes else commit


def git_commit() -> str | None:
    """The whole hash of the commit that the project in the current directory is at; None outside git."""
    return _git("rev-parse", "HEAD")


def _git(*arguments: str) -> str | None:
    """What git prints; None when it fails or is not installed."""
    try:
        result = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()
