"""Apache TVM: absent."""

from __future__ import annotations

PACKAGES = ()

ABSENT = (
    "the schedule search of its wheel crashes (apache-tvm 0.27.0.post1: MetaSchedule ends with signal 11 in "
    "tvm::ffi::ToJSONGraph), and its default schedules would be no comparison: 0.8 s for MobileNetV2"
)
