"""Artifacts on devices: pushed, checked, tried, switched to, and taken back."""

from edgesmith.deploy.installation import Deployment, deploy, roll_back
from edgesmith.deploy.transport import Transport, connect

__all__ = ["Deployment", "Transport", "connect", "deploy", "roll_back"]
