"""Why a text that a teacher wrote is not used with the teacher's label, see `Kind.reply_problem`."""

from __future__ import annotations

UNUSABLE, REFUSED, UNSURE = "no usable reply", "ambiguous", "unsure label"
