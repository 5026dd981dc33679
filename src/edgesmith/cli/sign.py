"""``edgesmith sign``: vouch for an artifact."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgesmith.cli.arguments import ArtifactArgument
from edgesmith.cli.console import console, figures
from edgesmith.release import SIGNATURE, sign


def command(
    artifact: ArtifactArgument,
    key: Annotated[
        Path, typer.Option(help="The private key, in PEM ('edgesmith keys' makes one).", show_default=False)
    ],
) -> None:
    """Sign an artifact with an Ed25519 key, so that whoever has the public key can tell that nothing was changed.

    The signature covers the manifest, whose hashes cover all files. Files that were changed since the artifact was
    compiled are refused.

    \b
    Examples:
      edgesmith sign out/ --key release.key
      edgesmith verify out/ --key release.pub
    """
    fingerprint = sign(artifact, key)
    console().print(figures([("signed", str(artifact / SIGNATURE)), ("key", fingerprint)]))
