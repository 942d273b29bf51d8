/* needs: root_of */
/* Magnitudes of bins 1 to 64 of a window that begins at `start`, times 2/128, over the first 64 of 128 floats. A transform of
   64 complex points, radix 2, that hold 128 real ones; cosines are those of 0 to 63 parts of 128 of a turn. */
APART void spectrum_of(const float *window, int32_t start, const float *cosines, float *z)
{
    int32_t k, half, j, place = 0, bit;
    for (k = 0; k < 64; k++) {
        z[2 * place] = window[(start + 2 * k) & 127];
        z[2 * place + 1] = window[(start + 2 * k + 1) & 127];
        for (bit = 32; place & bit; bit >>= 1)
            place ^= bit;
        place |= bit;
    }
    for (half = 1; half < 64; half *= 2)
        for (j = 0; j < half; j++) {
            const int32_t turn = 64 / half * j;
            const float c = cosines[turn], s = cosines[turn < 32 ? 32 - turn : turn - 32];
            for (k = j; k < 64; k += 2 * half) {
                float *const a = z + 2 * k, *const b = a + 2 * half;
                const float re = c * b[0] + s * b[1], im = c * b[1] - s * b[0];
                b[0] = a[0] - re, b[1] = a[1] - im;
                a[0] += re, a[1] += im;
            }
        }
    /* Twice the transforms of the even and the odd samples, the latter turned; the sum is bin k, the difference 64 - k. */
    for (k = 1; k <= 32; k++) {
        float *const a = z + 2 * k, *const b = z + 2 * (64 - k);
        const float c = cosines[k], s = cosines[32 - k];
        const float er = a[0] + b[0], ei = a[1] - b[1], pr = a[1] + b[1], pi = b[0] - a[0];
        const float tr = c * pr + s * pi, ti = c * pi - s * pr;
        const float sr = er + tr, si = ei + ti, dr = er - tr, di = ei - ti;
        a[0] = root_of(sr * sr + si * si) * 0x1p-7f;
        b[0] = root_of(dr * dr + di * di) * 0x1p-7f;
    }
    z[0] -= z[1];
    z[1] = (z[0] < 0.0f ? -z[0] : z[0]) * 0x1p-6f;
    {
        const float last = z[1];
        for (k = 1; k < 64; k++)
            z[k - 1] = z[2 * k];
        z[63] = last;
    }
}
