"""What a model is: the typed spec, its partitions, and how it is read."""

from include.ratchet.spec.durations import format_duration, parse_duration
from include.ratchet.spec.loading import find_models, get_model, load_model, load_models
from include.ratchet.spec.model import NIGHTLY, Model, ModelSpec
from include.ratchet.spec.partitions import STATIC_KEY, Partition, partition_of, partitions_between
from include.ratchet.spec.segments import WHOLE, ModelKey, segment_name

__all__ = [
    "NIGHTLY",
    "STATIC_KEY",
    "WHOLE",
    "Model",
    "ModelKey",
    "ModelSpec",
    "Partition",
    "find_models",
    "format_duration",
    "get_model",
    "load_model",
    "load_models",
    "parse_duration",
    "partition_of",
    "partitions_between",
    "segment_name",
]
