/* needs: high_product */
/* The same for exponents below 0 and |x| < 2^30: by all but one bit first, then by that bit, halves away from 0. */
INLINE int32_t reduced(int32_t x, int32_t multiplier, int32_t exponent)
{
#if LONG_PRODUCTS
    const int32_t high = (int32_t)(((int64_t)(2 * x) * multiplier + 0x80000000) >> 32);
#else
    const int32_t high = high_product(x, multiplier);
#endif
    return (((high + (high >> 31)) >> ~exponent) + 1) >> 1;
}
