"""Between the build and the device: an artifact is signed, and sent as the difference to the last one."""

from edgesmith.release.delta import apply_delta, make_delta
from edgesmith.release.signature import SIGNATURE, check_signature, make_keys, sign

__all__ = ["SIGNATURE", "apply_delta", "check_signature", "make_delta", "make_keys", "sign"]
