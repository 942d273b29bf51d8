/* needs: compiler */
/* Sum of the numbers' places, from 1, times the numbers. */
APART float numbers_weighted(const float *x, int32_t n)
{
    float total = 0.0f;
    int32_t i;
    for (i = 1; i <= n; i++)
        total += (float)i * *x++;
    return total;
}
