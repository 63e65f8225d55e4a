"""trimodal: similar products from three modalities, titles, pictures and anonymous clicks.

    >>> from trimodal import Recommender, read_data
    >>> data = read_data("shop/")
    >>> recommender = Recommender().fit(data.catalog, data.clicks)
    >>> print(recommender.similar("4711", k=15))

`__all__` lists what a user imports; everything else may change.
"""

import os

# Daft reports its import and its runs to its makers, and the hub library its use, unless told not to: a shop's
# machine reports to nobody. Set before either is imported; a user who wants it can set the variable first.
os.environ.setdefault("DAFT_ANALYTICS_ENABLED", "0")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

from .catalog import Catalog
from .clicks import ClickLog
from .data import Data, check_data, read_data
from .embeddings import Embedding, Provenance, State
from .errors import TrimodalError
from .fusion import AdaptiveFusion, ClickText, CoVisitFusion, EarlyFusion, Fusion, IntermediateFusion, LateFusion
from .recommender import Recommender
from .results import Neighbor, SimilarProducts
from .shaping import Shaping

__version__ = "0.1.0"

__all__ = [
    "AdaptiveFusion",
    "Catalog",
    "ClickLog",
    "ClickText",
    "CoVisitFusion",
    "Data",
    "EarlyFusion",
    "Embedding",
    "Fusion",
    "IntermediateFusion",
    "LateFusion",
    "Neighbor",
    "Provenance",
    "Recommender",
    "Shaping",
    "SimilarProducts",
    "State",
    "TrimodalError",
    "check_data",
    "read_data",
]
