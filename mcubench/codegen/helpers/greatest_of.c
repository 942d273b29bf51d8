/* needs: compiler */
APART float greatest_of(const float *x, int32_t n)
{
    float greatest = *x;
    while (--n > 0)
        if (*++x > greatest)
            greatest = *x;
    return greatest;
}
