"""Which version of the code produced a result."""

import subprocess


def git_revision() -> str | None:
    """The commit of the project in the current directory, with "-dirty" when tracked files differ; None outside git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() or None
