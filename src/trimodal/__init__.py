"""trimodal: similar products from three modalities, titles, pictures and anonymous clicks.

from trimodal import Recommender, read_data

data = read_data("shop/")
recommender = Recommender().fit(data.catalog, data.clicks)
print(recommender.similar("4711", k=15))
"""

from .catalog import Catalog
from .clicks import ClickLog
from .data import Data, check_data, read_data
from .embeddings import Embedding, Provenance, State
from .errors import TrimodalError
from .fusion import ClickText, EarlyFusion, Fusion, IntermediateFusion, LateFusion
from .recommender import Recommender
from .results import Neighbor, SimilarProducts

__version__ = "0.1.0"

__all__ = [
    "Catalog",
    "ClickLog",
    "ClickText",
    "Data",
    "EarlyFusion",
    "Embedding",
    "Fusion",
    "IntermediateFusion",
    "LateFusion",
    "Neighbor",
    "Provenance",
    "Recommender",
    "SimilarProducts",
    "State",
    "TrimodalError",
    "check_data",
    "read_data",
]
