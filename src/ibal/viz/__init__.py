"""Seeing an episode: record it, draw it as a GIF, or write it as one self-contained HTML page."""

from __future__ import annotations

from ibal.viz.gif import write_gif
from ibal.viz.player import write_comparison, write_player
from ibal.viz.record import record
from ibal.viz.trajectory import Overlay, Trajectory, to_json

__all__ = ["Overlay", "Trajectory", "record", "to_json", "write_comparison", "write_gif", "write_player"]
