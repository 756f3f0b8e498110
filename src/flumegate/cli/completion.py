"""`flumegate completion bash|zsh|fish`: what a shell needs to complete our command lines."""

from __future__ import annotations

from typing import Literal


def completion(shell: Literal["bash", "zsh", "fish"], /) -> int:
    """Print a completion script. For bash: `source <(flumegate completion bash)`.

    Args:
        shell: Which shell it is for.
    """
    from flumegate.cli.main import build

    print(build([]).generate_completion(shell=shell))
    return 0
