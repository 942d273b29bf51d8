/* needs: compiler */
APART float least_of(const float *x, int32_t n)
{
    float least = *x;
    while (--n > 0)
        if (*++x < least)
            least = *x;
    return least;
}
