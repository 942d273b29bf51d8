/* needs: rescaled, clamped */
/* 1 / sqrt(x) of 0 to 2^31 - 1 as a multiplier and an exponent, by five steps of Newton's method; 0 counts as 1. */
APART int32_t inverse_root(int32_t x, int32_t *exponent)
{
    int32_t a = x, half, estimate = 0x10000000, step;
    *exponent = -11;
    if (x <= 1) {
        *exponent = 0;
        return INT32_MAX;
    }
    if (a >= 0x20000000)
        a >>= 2, *exponent -= 1;
    for (; a < 0x8000000; a *= 4)
        *exponent += 1;
    a >>= 1;
    half = shifted_right(a, 1);
    for (step = 0; step < 5; step++) {
        const int32_t square = high_product(estimate, estimate);
        const int32_t cube = high_product(square, estimate) * 64;
        estimate = (high_product(estimate, 0x18000000) - high_product(half, cube)) * 8;
    }
    estimate = high_product(estimate, 1518500250);
    if (*exponent > 0) {
        estimate *= (int32_t)1 << *exponent;
        *exponent = 0;
    }
    return estimate;
}

/* A row brought to length 1, seven bits behind the point. */
APART void unit_row(const int8_t *x, int8_t *y, int32_t length, int32_t zero_point)
{
    int32_t index, multiplier, exponent, total = 0;
    for (index = 0; index < length; index++)
        total += (x[index] - zero_point) * (x[index] - zero_point);
    multiplier = inverse_root(total, &exponent);
    for (index = 0; index < length; index++)
        y[index] = clamped(rescaled(x[index] - zero_point, multiplier, exponent + 7), -128, 127);
}
