"""Features: causal numbers from bars, under versioned schemas."""

from finchaos.features.scaling import RobustScaler, ZScoreScaler
from finchaos.features.schema import FeatureSchema, load_schema, schema_names
from finchaos.features.stream import FeatureStream

__all__ = [
    "FeatureSchema",
    "FeatureStream",
    "RobustScaler",
    "ZScoreScaler",
    "load_schema",
    "schema_names",
]
