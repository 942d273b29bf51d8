/* needs: root_of */
/* The arcsine, up to 1/2: a polynomial in the square, within 1e-8 of it. */
INLINE float arcsine_of_half(float x, float square)
{
    const float high = 0x1.b2150ep-6f + square * 0x1.38fcbcp-5f;
    return x + x * square * (0x1.55555ep-3f + square * (0x1.3326b6p-4f + square * (0x1.70ba48p-5f + square * high)));
}

/* Of a number from -1 to 1, or what rounding makes of it. */
APART float arccosine(float x)
{
    const float size = x < 0.0f ? -x : x;
    float half = 0.5f - 0.5f * size, angle;
    half = half < 0.0f ? 0.0f : half;
    if (size < 0.5f)
        return 0x1.921fb6p+0f - arcsine_of_half(x, x * x);
    angle = 2.0f * arcsine_of_half(root_of(half), half);
    return x < 0.0f ? 0x1.921fb6p+1f - angle : angle;
}
