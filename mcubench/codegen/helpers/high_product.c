/* needs: compiler */
/* (2 a b + 2^31) / 2^32, rounded down, for b >= 0. */
INLINE int32_t high_product(int32_t a, int32_t b)
{
#if LONG_PRODUCTS
    return (int32_t)(((int64_t)a * b + 0x40000000) >> 31);
#else
    const int32_t a_high = a >> 16, b_high = b >> 16;
    const uint32_t a_low = (uint32_t)a & 0xFFFFu, b_low = (uint32_t)b & 0xFFFFu;
    const int32_t first = a_high * (int32_t)b_low, second = (int32_t)(a_low * (uint32_t)b_high);
    const uint32_t middle = ((uint32_t)first & 0xFFFFu) + ((uint32_t)second & 0xFFFFu) + ((a_low * b_low) >> 16);
    const int32_t top = a_high * b_high + (first >> 16) + (second >> 16) + (int32_t)(middle >> 16);
    return 2 * top + (int32_t)(((middle & 0xFFFFu) + 0x4000u) >> 15);
#endif
}
