/* needs: compiler */
APART float magnitudes_of(const float *x, int32_t n)
{
    float total = 0.0f;
    for (; n > 0; n--, x++)
        total += *x < 0.0f ? -*x : *x;
    return total;
}
