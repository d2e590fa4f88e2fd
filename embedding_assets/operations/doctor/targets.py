"""Can each target be written to, and how much at once? Nothing is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from embedding_assets.chroma.server import CLOUD_QUOTAS, reach
from embedding_assets.operations.doctor.check import Check, Finding, Status
from embedding_assets.targets.address import SETTING, Target


def target_checks(targets: Sequence[Target]) -> Iterator[Check]:
    """One for each target."""
    for target in targets:
        yield Check(
            f"target {target.name}",
            lambda target=target: _check(target),  # type: ignore[misc]
            f"start the server or correct {SETTING}; tenant and database must be there",
        )


def _check(target: Target) -> Finding:
    version, most = reach(target.address)
    quotas = f"; Chroma Cloud's quotas: {CLOUD_QUOTAS}" if target.address.in_cloud else ""
    at_once = target.address.most_at_once(most)
    return Finding(
        Status.OK,
        f"{target.address.shown} answers (version {version}) and takes {most:,} records at once; "
        f"it gets {at_once:,}{quotas}",
    )
