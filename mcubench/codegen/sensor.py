"""From a sensor's samples to a class: what computes features, and the model behind it, as one function."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcubench.codegen.text import fill

if TYPE_CHECKING:
    from mcubench.codegen.features import FeatureProject

__all__ = ["sensor_files", "sensor_sources"]

_HEADER = """
/* From samples of the sensor to the class of each window: $features_name computes features, $name classifies them. */
#ifndef ${upper}_SENSOR_H_
#define ${upper}_SENSOR_H_

#include "$name.h"
#include "$features_name.h"

/* Memory that the caller keeps from sample to sample; reset it before each recording. */
#define ${upper}_SENSOR_STATE_BYTES ${features_upper}_STATE_BYTES
/* Memory that the caller lends while a function runs: a row of features, and what either needs. */
#define ${upper}_SENSOR_ROW_BYTES (4 * ${features_upper}_COUNT)
#define ${upper}_SENSOR_MEMORY_BYTES (${upper}_SENSOR_ROW_BYTES + \\
    (${features_upper}_SCRATCH_BYTES > ${upper}_CLASSIFY_ARENA_BYTES ? \\
        ${features_upper}_SCRATCH_BYTES : ${upper}_CLASSIFY_ARENA_BYTES))
/* Of both. */
#define ${upper}_SENSOR_ALIGN 4

#ifdef __cplusplus
extern "C" {
#endif

/* Begins a recording: 0, or -1 if the pointer is null or not aligned. */
int ${name}_sensor_reset(void *state);

/* Takes a sample as ${features_name}_push does: 1 if a window is complete, with its class; 0 if none is; -1 if a
   pointer is null or not aligned. */
int ${name}_sensor_push(void *state, void *memory, const int16_t *sample, int *found);

#ifdef __cplusplus
}
#endif

#endif /* ${upper}_SENSOR_H_ */
"""
_SOURCE = """
/* Written by mcubench: do not edit. */
#include "${name}_sensor.h"

#include <stddef.h>

int ${name}_sensor_reset(void *state) { return ${features_name}_reset(state); }

int ${name}_sensor_push(void *state, void *memory, const int16_t *sample, int *found)
{
    float *const row = (float *)memory;
    int8_t *const lent = (int8_t *)memory + ${upper}_SENSOR_ROW_BYTES;
    int ready;
    if (memory == NULL || found == NULL)
        return -1;
    ready = ${features_name}_push(state, lent, sample, row);
    if (ready == 1 && (*found = ${name}_classify(lent, row)) < 0)
        return -1;
    return ready;
}
"""


def sensor_files(name: str, features: FeatureProject) -> dict[str, str]:
    """Texts by file name: those of features, and what joins them with a model that classifies rows of them.

    Args:
        name: What names of the model begin with.
        features: What its inputs are.
    """
    values = {"name": name, "upper": name.upper(), "features_name": features.name}
    values["features_upper"] = features.name.upper()
    joined = {f"{name}_sensor.h": fill(_HEADER, **values), f"{name}_sensor.c": fill(_SOURCE, **values)}
    return {**features.files, **joined}


def sensor_sources(name: str, features: FeatureProject) -> list[str]:
    """Which of them are to be compiled."""
    return [features.source, f"{name}_sensor.c"]
