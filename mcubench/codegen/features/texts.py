"""Texts around the steps: the header, and the functions that take samples."""

from __future__ import annotations

__all__ = ["HEADER", "SCALE", "SOURCE"]

HEADER = """
/* $title, at 50 Hz, one row for 64 samples. Written by mcubench: do not edit. */
#ifndef ${upper}_H_
#define ${upper}_H_

#include <stdint.h>

/* Memory that the caller keeps from sample to sample; reset it before each recording. */
#define ${upper}_STATE_BYTES $state
/* Memory that the caller lends while a function runs; of 0 bytes the pointer is not read. */
#define ${upper}_SCRATCH_BYTES $scratch
/* Of both. */
#define ${upper}_ALIGN 4
/* Features of a row. */
#define ${upper}_COUNT $count

/* What the int16 numbers of a sample are multiples of: g, and rad/s. */
#define ${upper}_ACCELEROMETER_UNIT $accelerometer
#define ${upper}_GYROSCOPE_UNIT $gyroscope

#ifdef __cplusplus
extern "C" {
#endif

/* Begins a recording: 0, or -1 if the pointer is null or not aligned. */
int ${name}_reset(void *state);

/* Takes a sample: acceleration x, y, z, angular velocity x, y, z. 1 if a row of features was written, which is so two
   samples behind the end of each window of 128, of which one begins every 64 samples; 0 if none was; -1 if a pointer is
   null or not aligned. */
int ${name}_push(void *state, void *scratch, const int16_t *sample, float *features);

/* The same of a sample in g and rad/s. */
int ${name}_push_f32(void *state, void *scratch, const float *sample, float *features);

#ifdef __cplusplus
}
#endif

/* The row:
$names */

#endif /* ${upper}_H_ */
"""

SOURCE = """
/* $title. Written by mcubench: do not edit. */
#include "$name.h"

#include <stddef.h>

$helpers
$constants
struct kept {
    uint32_t count; /* two more than samples that the windows have got; from 258 on it begins again at 130 */
$kept
};

typedef char state_has_its_size[sizeof(struct kept) == ${upper}_STATE_BYTES ? 1 : -1];

/* What is new with a sample. */
APART void take_sample(struct kept *kept, const float *sample)
{
    const uint32_t place = (kept->count + 126) & 127;
$samples
    (void)place;
}

/* A row of the windows, whose oldest sample lies at `start`. */
APART void write_row(const struct kept *kept, int32_t start, float *scratch, float *features)
{
    (void)start, (void)scratch;
$row
}

$scale
static int take(struct kept *kept, void *scratch, const float *sample, float *features)
{
    take_sample(kept, sample);
    kept->count++;
    if (kept->count < 130 || (kept->count - 130) % 64 != 0)
        return 0;
    if (kept->count == 258)
        kept->count = 130;
    write_row(kept, kept->count == 130 ? 0 : 64, (float *)scratch, features);
$scaled
    return 1;
}

static int refused(const void *memory, size_t alignment)
{
    return memory == NULL || (uintptr_t)memory % alignment != 0;
}

int ${name}_reset(void *state)
{
    uint8_t *const bytes = (uint8_t *)state;
    size_t i;
    if (refused(state, ${upper}_ALIGN))
        return -1;
    for (i = 0; i < ${upper}_STATE_BYTES; i++)
        bytes[i] = 0; /* as those of 0.0f are */
    return 0;
}

int ${name}_push_f32(void *state, void *scratch, const float *sample, float *features)
{
    if ($memory || refused(sample, 4) || refused(features, 4))
        return -1;
    return take((struct kept *)state, scratch, sample, features);
}

int ${name}_push(void *state, void *scratch, const int16_t *sample, float *features)
{
    float values[6];
    int32_t i;
    if ($memory || refused(sample, 2) || refused(features, 4))
        return -1;
    for (i = 0; i < 6; i++)
        values[i] = (float)sample[i] * (i < 3 ? ${upper}_ACCELEROMETER_UNIT : ${upper}_GYROSCOPE_UNIT);
    return take((struct kept *)state, scratch, values, features);
}
"""

SCALE = """
/* Ranges that become -1 to 1: the lower end, and 2 over the width. */
APART void scale_row(float *features)
{
    int32_t i;
    for (i = 0; i < ${upper}_COUNT; i++)
        features[i] = (features[i] - $lows[i]) * $factors[i] - 1.0f;
}
"""
