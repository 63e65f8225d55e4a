"""Encoders: one modality each, values in and vectors out."""

from .base import Encoder
from .click import Prod2Vec, Prod2VecSettings, click_settings
from .image import image_encoder
from .run import EncodingRun, encode_catalog
from .text import text_encoder

__all__ = [
    "Encoder",
    "EncodingRun",
    "Prod2Vec",
    "Prod2VecSettings",
    "click_settings",
    "encode_catalog",
    "image_encoder",
    "text_encoder",
]
