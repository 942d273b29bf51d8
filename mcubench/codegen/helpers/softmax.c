/* needs: compiler, shifted_right */
/* 2 a b / 2^32, rounded to nearest, of numbers of either sign. */
INLINE int32_t any_high_product(int32_t a, int32_t b) { return (int32_t)(((int64_t)a * b + 0x40000000) >> 31); }

INLINE int32_t saturated(int64_t x) { return (int32_t)(x > INT32_MAX ? INT32_MAX : x < INT32_MIN ? INT32_MIN : x); }

/* 1 / (1 + a) for 0 <= a < 1 in fixed point, by three steps of Newton's method on 1 / ((1 + a) / 2). */
APART int32_t one_over_one_plus(int32_t a)
{
    const int32_t half = (int32_t)(((int64_t)a + INT32_MAX + 1) / 2);
    int32_t x = 1515870810 + any_high_product(half, -1010580540), step;
    for (step = 0; step < 3; step++)
        x += saturated((int64_t)any_high_product(x, 0x20000000 - any_high_product(half, x)) * 4);
    return saturated((int64_t)x * 2);
}

/* Shares of powers e^-d, where d is how far a code lies below the largest one; `count` powers are not taken for 0. */
APART void softmax_of(const int8_t *x, int8_t *y, int32_t length, const int32_t *powers, int32_t count,
    int32_t zero_point)
{
    int32_t largest = -128, index, headroom = 0;
    uint32_t total = 0;
    for (index = 0; index < length; index++)
        if (x[index] > largest)
            largest = x[index];
    for (index = 0; index < length; index++)
        if (largest - x[index] < count)
            total += (uint32_t)shifted_right(powers[largest - x[index]], 12);
    while (!(total & 0x80000000u))
        total <<= 1, headroom++;
    {
        const int32_t reciprocal = one_over_one_plus((int32_t)(total & 0x7FFFFFFFu));
        const int32_t shift = 35 - headroom;
        for (index = 0; index < length; index++) {
            int32_t share = zero_point;
            if (largest - x[index] < count && shift < 32)
                share += shifted_right(any_high_product(reciprocal, powers[largest - x[index]]), shift);
            y[index] = (int8_t)(share > 127 ? 127 : share);
        }
    }
}
