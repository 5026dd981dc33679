"""Artifacts on devices: pushed, checked, tried, switched to, and taken back."""

from edgesmith.deploy.attached import Attached, attach
from edgesmith.deploy.installation import Deployment, deploy, roll_back
from edgesmith.deploy.transport import Transport, connect
from edgesmith.deploy.workplace import Workplace

__all__ = ["Attached", "Deployment", "Transport", "Workplace", "attach", "connect", "deploy", "roll_back"]
