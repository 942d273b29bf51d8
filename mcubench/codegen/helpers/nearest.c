/* needs: floats */
/* The nearest whole number within bounds, of two as near the even one: a sum with 1.5 * 2^23 has no digits behind the point. */
INLINE int32_t nearest(float x, float low, float high)
{
    const float bounded = x < low ? low : x > high ? high : x;
    return (int32_t)((bounded + 12582912.0f) - 12582912.0f);
}
