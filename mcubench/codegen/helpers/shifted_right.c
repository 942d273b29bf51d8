/* needs: compiler */
/* x / 2^shift, rounded to nearest, halves away from 0; 0 <= shift <= 31. */
INLINE int32_t shifted_right(int32_t x, int32_t shift)
{
    const int32_t mask = (int32_t)((1u << shift) - 1u), rest = x & mask;
    return (x >> shift) + (rest > (mask >> 1) + (x < 0));
}
