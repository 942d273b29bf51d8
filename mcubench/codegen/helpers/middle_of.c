/* needs: compiler */
/* The second largest of three. */
INLINE float middle_of(float a, float b, float c)
{
    const float low = a < b ? a : b, high = a < b ? b : a;
    return c < low ? low : c < high ? c : high;
}
