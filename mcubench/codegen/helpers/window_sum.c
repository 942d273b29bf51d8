/* needs: dsp */
/* Products with a window of 3 x 3 centred codes, and of a constant with its weight. */
INLINE int32_t window_sum(const int8_t *x, int32_t stride, int32_t zero, int32_t one, const uint32_t *w, uint32_t sum)
{
    const int8_t *const a = x, *const b = x + stride, *const c = x + 2 * stride;
    sum = products(w[0], halves(a[1] - zero, b[1] - zero), sum);
    sum = products(w[1], halves(c[1] - zero, one), sum);
    sum = products(w[2], halves(a[0] - zero, a[2] - zero), sum);
    sum = products(w[3], halves(b[0] - zero, b[2] - zero), sum);
    return as_signed(products(w[4], halves(c[0] - zero, c[2] - zero), sum));
}
