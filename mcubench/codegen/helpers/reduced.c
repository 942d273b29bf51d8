/* needs: high_product */
/* The same for exponents below 0: by all but one bit first, then by that bit, halves away from 0. */
INLINE int32_t reduced(int32_t x, int32_t multiplier, int32_t exponent)
{
    const int32_t high = high_product(x, multiplier);
    return (((high + (high >> 31)) >> ~exponent) + 1) >> 1;
}
