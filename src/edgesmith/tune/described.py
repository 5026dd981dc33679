"""The processor of a device, by what its system tells."""

from __future__ import annotations

from edgesmith.deploy import Transport
from edgesmith.errors import DeviceError
from edgesmith.target import ISAS, Processor, Target, profiles
from edgesmith.target.processor import CPUINFO, FACTS, fastest_cpu, features_of, processor_of

__all__ = ["processor_there"]


def processor_there(device: Transport, target: Target) -> tuple[Processor, int]:
    """The fastest processor of a device, and its number there.

    Caches that the system does not tell are the target's.

    Raises:
        DeviceError: the device cannot be reached, or lacks instructions that the target has.
    """
    device.check_machine(target.arch)
    cpuinfo = device.run(f"cat {CPUINFO}")
    facts: dict[str, str] = {}
    for line in device.run(f"grep -H '' {' '.join(FACTS)} 2>/dev/null || true").splitlines():
        path, _, text = line.partition(":")
        facts.setdefault(path, text)
    features = features_of(cpuinfo)
    lacking = [name for name in target.isas if not features.issuperset(ISAS[name].cpuinfo)]
    if lacking:
        raise DeviceError(
            f"its processor lacks {', '.join(lacking)}",
            where=device.name,
            hint="Tune with the --target of this device.",
        )
    profile = profiles().get(target.device)
    own = profile.processor if profile else None
    known = (target.l1_bytes, target.l2_bytes, own.l3_bytes if own else 0)
    cpu = fastest_cpu(facts)
    return processor_of(cpuinfo, facts, own.name if own else target.arch, cpu, default_bytes=known), cpu
