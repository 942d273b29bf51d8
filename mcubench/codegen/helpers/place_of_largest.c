/* needs: compiler */
/* Where the largest number stands first, from 1. */
APART float place_of_largest(const float *x, int32_t n)
{
    int32_t place = 0, i;
    for (i = 1; i < n; i++)
        if (x[i] > x[place])
            place = i;
    return (float)(place + 1);
}
