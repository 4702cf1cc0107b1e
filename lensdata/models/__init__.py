"""Models that turn pixels into scores and embeddings. Importing it imports neither torch nor onnxruntime."""

from lensdata.models.light.models import EMBEDDING_DIM, METRICS, LightModels, light_ids
from lensdata.models.plan import Models, Plan, plan
from lensdata.models.scorer import ScorerId

__all__ = ["EMBEDDING_DIM", "METRICS", "LightModels", "Models", "Plan", "ScorerId", "light_ids", "plan"]
