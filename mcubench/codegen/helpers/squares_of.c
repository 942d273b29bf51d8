/* needs: compiler */
APART float squares_of(const float *x, int32_t n)
{
    float total = 0.0f;
    for (; n > 0; n--, x++)
        total += *x * *x;
    return total;
}
