/* needs: softmax */
INLINE int32_t zeros_before(uint32_t x)
{
    int32_t count = 0;
    while (!(x & 0x80000000u))
        x <<= 1, count++;
    return count;
}

/* (a + b) / 2, halves away from 0. */
INLINE int32_t half_sum(int32_t a, int32_t b)
{
    const int64_t sum = (int64_t)a + b;
    return (int32_t)((sum + (sum >= 0 ? 1 : -1)) / 2);
}

/* ln(x), 5 bits before the point, for x >= 1 with 12: x is a power of 2 times r, about 2^(-1/4), and the logarithm of r
   is a quotient of polynomials. */
APART int32_t logarithm(int32_t x)
{
    const int32_t root = 1518500250, quarter = 8388608, middle = 1805811301;
    const int32_t zeros = zeros_before((uint32_t)x), less = zeros_before((uint32_t)any_high_product(x, root)) - 1;
    const int32_t ra = saturated((int64_t)any_high_product((int32_t)((uint32_t)x << (zeros - 1)), root) * 2);
    const int32_t rb = saturated((int64_t)x * ((int64_t)1 << less));
    const int32_t pa = (12 - zeros) * (1 << 25) + quarter, pb = (12 - less) * (1 << 25) - quarter;
    const int32_t r = ra < rb ? ra : rb, power = pa > pb ? pa : pb;
    const int32_t p = half_sum(r, middle), q = 2 * (r - middle);
    const int32_t square = any_high_product(q, q);
    const int32_t numerator = any_high_product(q, r) + any_high_product(any_high_product(q, square), 117049297);
    const int32_t inner = 1057819769 + q + any_high_product(square, 127690142);
    const int32_t denominator = any_high_product(p, inner) + any_high_product(q, 638450708);
    const int32_t quotient = any_high_product(shifted_right(numerator, 6), one_over_one_plus(denominator));
    return saturated(((int64_t)any_high_product(power, 1488522236) + quotient) * 2);
}

/* Logarithms of shares e^-d; for d from `count` on, the share is taken for 0. */
APART void log_softmax_of(const int8_t *x, int8_t *y, int32_t length, const int32_t *terms, const int32_t *arguments,
    int32_t count)
{
    int32_t largest = -128, index, total = 0, log_of_sum;
    for (index = 0; index < length; index++)
        if (x[index] > largest)
            largest = x[index];
    for (index = 0; index < length; index++)
        if (largest - x[index] < count)
            total += terms[largest - x[index]];
    log_of_sum = logarithm(total);
    for (index = 0; index < length; index++) {
        const int32_t d = largest - x[index];
        const int32_t code = d < count ? shifted_right(arguments[d] - log_of_sum, 22) + 127 : -128;
        y[index] = (int8_t)(code < -128 ? -128 : code);
    }
}
