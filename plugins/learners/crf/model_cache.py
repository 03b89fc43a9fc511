"""The models of spans that predicted last."""

from __future__ import annotations

from plugins.learners.crf.model import unpack
from plugins.learners.model_cache import ModelCache

unpack_once = ModelCache(unpack)
