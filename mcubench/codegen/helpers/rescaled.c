/* needs: high_product, shifted_right */
/* x times multiplier / 2^31 times 2^exponent, rounded twice. */
INLINE int32_t rescaled(int32_t x, int32_t multiplier, int32_t exponent)
{
    if (exponent > 0)
        return high_product((int32_t)((uint32_t)x << exponent), multiplier);
    return shifted_right(high_product(x, multiplier), -exponent);
}
