/* needs: compiler */
/* Of a multiple of 8 numbers, eight by eight, which loses less than one by one. */
APART float total_of(const float *x, int32_t n)
{
    float total = 0.0f;
    for (; n > 0; n -= 8, x += 8)
        total += ((x[0] + x[1]) + (x[2] + x[3])) + ((x[4] + x[5]) + (x[6] + x[7]));
    return total;
}
