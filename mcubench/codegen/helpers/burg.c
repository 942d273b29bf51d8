/* needs: compiler */
/* x - y of a window's numbers, and of what they lack in 2^-31. */
INLINE float window_difference(const float *window, const int8_t *remainders, int32_t x, int32_t y)
{
    const float d = window[x] - window[y];
    return remainders == NULL ? d : d + (float)(remainders[x] - remainders[y]) * 0x1p-31f;
}

/* A reflection is 1 - q or, of errors that are alike, q - 1: q, of squares, is exact where it is tiny. */
struct reflection {
    int32_t alike;
    float q, value;
};

APART struct reflection reflection_of(float sums, float differences)
{
    struct reflection r;
    r.alike = differences < sums;
    r.q = 2.0f * (r.alike ? differences : sums) / (sums + differences);
    r.value = r.alike ? r.q - 1.0f : 1.0f - r.q;
    return r;
}

/* Coefficients 1 to 4 of an autoregression of a window of 128 that begins at `start`; of forward and backward errors. */
APART void burg(const float *window, const int8_t *remainders, int32_t start, float *errors, float *coefficients)
{
    float *forward = errors, *const backward = errors + 128;
    float sums = 0.0f, differences = 0.0f;
    struct reflection r;
    int32_t i, k, order;
    for (i = 0; i < 127; i++) {
        const int32_t old = (start + i) & 127, next = (start + i + 1) & 127;
        const float d = window_difference(window, remainders, next, old), s = window[next] + window[old];
        differences += d * d, sums += s * s;
    }
    r = reflection_of(sums, differences);
    for (i = 0; i < 127; i++) {
        const int32_t old = (start + i) & 127, next = (start + i + 1) & 127;
        if (r.alike) {
            const float d = window_difference(window, remainders, next, old);
            forward[i] = d + r.q * window[old], backward[i] = r.q * window[next] - d;
        } else {
            const float s = window[next] + window[old];
            forward[i] = s - r.q * window[old], backward[i] = s - r.q * window[next];
        }
    }
    coefficients[0] = r.value;
    for (order = 2;; order++) {
        const int32_t n = 128 - order;
        forward++; /* forward errors begin one later, backward errors end one earlier */
        sums = differences = 0.0f;
        for (i = 0; i < n; i++) {
            const float d = forward[i] - backward[i], s = forward[i] + backward[i];
            differences += d * d, sums += s * s;
        }
        r = reflection_of(sums, differences);
        for (i = 0, k = order - 2; i <= k; i++, k--) {
            const float low = coefficients[i], high = coefficients[k];
            coefficients[i] = low + r.value * high;
            coefficients[k] = high + r.value * low;
        }
        coefficients[order - 1] = r.value;
        if (order == 4)
            return;
        for (i = 0; i < n; i++) {
            const float f = forward[i], b = backward[i];
            if (r.alike) {
                const float d = f - b;
                forward[i] = d + r.q * b, backward[i] = r.q * f - d;
            } else {
                const float s = f + b;
                forward[i] = s - r.q * b, backward[i] = s - r.q * f;
            }
        }
    }
}
