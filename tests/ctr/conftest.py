"""A small simulated market with its data, features and tables, for tests of what is made from a trained model."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
import torch

from trimodal.catalog import Catalog
from trimodal.ctr.batches import Tables
from trimodal.ctr.data import CtrData
from trimodal.ctr.features import ItemFeatures
from trimodal.ctr.layers.inputs import IdEmbedding
from trimodal.ctr.models import build
from trimodal.ctr.models.base import CtrModel
from trimodal.ctr.ranker import Ranker
from trimodal.ctr.ranker_writer import write_ranker
from trimodal.ctr.recipes import temporal
from trimodal.ctr.source import VisitorEvents
from trimodal.ctr.training import TrainingSettings
from trimodal.datasets.taste import TasteMarket, simulate_taste

MAX_HISTORY = 6


@dataclass(frozen=True)
class Small:
    """The last four products have no event, and the last visitor has none in training."""

    market: TasteMarket
    catalog: Catalog
    data: CtrData
    features: ItemFeatures
    tables: Tables

    def model(self, name: str, seed: int = 0, **options) -> CtrModel:
        """A model in evaluation whose numbers all matter."""
        torch.manual_seed(seed)
        model = build(name, self.tables.inputs, **options)
        with torch.no_grad():
            for parameter in model.parameters():
                # Of a size at which logits differ and no sigmoid is saturated.
                parameter.normal_(0.0, parameter.shape[-1] ** -0.5)
            for module in model.modules():
                if isinstance(module, IdEmbedding):
                    module.weight.normal_(0.0, 0.5)
                    module.weight[0] = 0
        return model.eval()

    def write(self, folder: Path, model: CtrModel, **arguments) -> Path:
        """The model as a ranker in a folder."""
        settings = TrainingSettings(max_history=MAX_HISTORY)
        whole = {"tables": self.tables, "data": self.data, "features": self.features, "settings": settings}
        write_ranker(folder, model, **whole | arguments)
        return folder

    def ranker(self, folder: Path, name: str, **options) -> Ranker:
        """A ranker that was written and loaded."""
        return Ranker.load(self.write(folder, self.model(name, **options), options=options))


@pytest.fixture(scope="session")
def small() -> Small:
    market = simulate_taste(60, 40, events_per_user=24, seed=1)
    catalog = Catalog.from_records(market.products)
    late = datetime(2025, 3, 31, tzinfo=UTC)
    unseen = pl.col("product_id").is_in(list(market.items)[-4:])
    early = (pl.col("user_id") == market.users[-1]) & (pl.col("timestamp") < late)
    data = temporal(VisitorEvents.from_frames(catalog, market.clicks.filter(~unseen & ~early)), by="time")
    features = ItemFeatures.join(data.items, market.vectors)
    return Small(market, catalog, data, features, Tables(data, features, max_history=MAX_HISTORY))
